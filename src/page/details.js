// A row opened: all that is known of a host, a pipeline, a number or an alert, and what can be done with it. Both are
// words in this module; `showDetails` draws them.

import { say } from './door.js';
import { isWrong } from './headline.js';
import { plot } from './plot.js';
import { draw, find, findAll, make, web, write } from './rows.js';
import { ACKNOWLEDGED, nameOf, plain, size, span, standing } from './text.js';

const figureOf = ([key, value]) => {
  const words = /_(used|total)$/.test(key) ? size : key === 'up' ? span : String;
  return [key.replaceAll('_', ' '), value && Number.isFinite(Number(value)) ? words(value) : value];
};

// What is shown of `item`, one of `hosts`, `runs` or `things`: its title and text, plots by their names, figures, its
// last changes with their times, the newest first, and whether it is wrong.
export function details(kind, item) {
  const { text, fields, figures = fields, recent } = item;
  const hours = (place) => plot(item.hours.map((each) => [each[0], each[place]]), 900);
  const number = item.event === 'number';
  const host = kind === 'hosts';
  return {
    title: host ? item.name : nameOf(item),
    text,
    url: fields.url ?? '',
    figures: Object.entries(figures).filter(([key]) => key !== 'state').map(figureOf),
    changes: number ? [] : recent.slice(-12).reverse(),
    plots: host ? [['load', hours(1)], ['memory %', hours(2)]] : number ? [[fields.unit ?? 'value', plot(recent)]] : [],
    wrong: isWrong(item),
  };
}

// What is said on the channel of `item` when somebody does this with it: `seen`, `unseen` or `gone`. It is the newest
// word on the thing, so it carries along what was known.
export function wordOn(kind, item, what, who, now) {
  const { name } = item;
  const { among, flaps, ...fields } = item.fields;
  const host = kind === 'hosts';
  const known = host ? item.state : plain(item.status);
  const status = { seen: known + ACKNOWLEDGED, unseen: known, gone: 'gone' }[what];
  if (host) fields.state = what === 'gone' ? 'forgotten' : item.state;
  if (fields.silent) fields.silent = Math.round((now - item.heard) / 1000);
  const about = name ? '' : `${item.key} `;
  const text = item.text.replace(/(, |^)acknowledged( by [^]*)?$/, '') || about + known;
  const seen = `${text}, acknowledged${who && ` by ${who}`}`;
  const message = { seen, unseen: text, gone: `${about}is forgotten` }[what];
  return { ...fields, event: host ? 'host-state' : item.event, key: host ? name : item.key, name, status, message };
}

let opened; // [kind, place], the item, and what is drawn of it

export function openDetails(kind, place) {
  opened = { kind, place };
  write(find('#more [role=alert]'), '');
  find('#more').showModal();
}

async function tellThem({ target: { value } }) {
  const { kind, item, now } = opened;
  const word = wordOn(kind, item, value, find('#name').value, now);
  if (await say(item.channel, word, find('#more [role=alert]')) && value === 'gone') find('#more').close();
}

export function showDetails(model, now) {
  const dialog = find('#more');
  if (!dialog.open) return;
  const { kind, place, drawn } = opened;
  const item = model[kind].get(place);
  if (!item) return dialog.close();
  Object.assign(opened, { item, now });
  const shown = details(kind, item);
  opened.drawn = JSON.stringify([shown, item.seen]);
  if (opened.drawn === drawn) return;
  const [seen, unseen, gone] = findAll('#more [value]');
  const [words, link, plots, figures, changes] = ['p', 'a', '.plots', 'dl', 'ol'].map((part) => find(`#more ${part}`));
  seen.onclick = unseen.onclick = gone.onclick = tellThem;
  write(find('#more h2'), shown.title);
  write(words, shown.text);
  link.href = web(shown.url);
  link.hidden = !web(shown.url);
  seen.hidden = item.seen || !shown.wrong;
  unseen.hidden = !item.seen;
  plots.replaceChildren(...shown.plots.filter(([, { line }]) => line).map(([name, { range, seconds, line, area }]) => {
    const picture = find('.numbers template').content.querySelector('svg').cloneNode(true);
    draw(picture.children, [kind === 'hosts' ? '' : area, line]);
    return make('figure', {}, make('figcaption', {}, `${name}: ${range}, ${span(seconds)}`), picture);
  }));
  figures.replaceChildren(...shown.figures.map(([key, value]) => {
    return make('div', {}, make('dt', {}, key), make('dd', { dir: 'auto' }, value));
  }));
  changes.replaceChildren(...shown.changes.map(([time, word, took]) => {
    const at = make('time', {}, new Date(1000 * time).toLocaleString());
    return make('li', { className: standing(word) }, at, ` ${word}${took ? `, ${span(took)}` : ''}`);
  }));
}
