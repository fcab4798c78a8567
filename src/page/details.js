// A row opened: all that is known of a host, a pipeline, a number or an alert, and what can be done with it. Both are
// words in this module; `Details` draws them.

import { FULL } from './headline.js';
import { plot } from './plot.js';
import { draw, make, web, write } from './rows.js';
import { ACKNOWLEDGED, isSeen, plain, share, size, span, standing } from './text.js';

const GAP_S = 900; // from one value of the last hours to the next
const CHANGES = 12;
const SPANS = ['up', 'every', 'grace', 'duration', 'seconds'];

const figureOf = ([key, value]) => {
  const number = /_(used|total)$/.test(key) ? size : SPANS.includes(key) ? span : String;
  return [key.replaceAll('_', ' '), value !== '' && Number.isFinite(Number(value)) ? number(value) : value];
};

// What is shown of `item`, one of `hosts`, `runs` or `things`: its title and text, plots by their names, figures, and its
// last changes with their times, the newest first; whether it is wrong.
export function details(kind, item) {
  const { state, status, fields = {}, text = '', channel = '', recent } = item;
  const hours = (place) => plot(item.hours.map((each) => [each[0], each[place]]), GAP_S);
  const called = [channel, item.key || item.name].filter(Boolean).join('/');
  const number = item.event === 'number';
  const changes = number ? [] : recent.slice(-CHANGES).reverse();
  const all = (figures) => Object.entries(figures).map(figureOf);
  return {
    hosts: () => ({
      title: item.name, text, figures: all(item.figures), changes,
      plots: [['load', hours(1)], ['memory %', hours(2)]],
      wrong: state !== 'up' || share(item.figures, 'disk') >= FULL,
    }),
    runs: () => ({ title: called, text, url: fields.url, figures: all(fields), changes, plots: [], wrong: state === 'failed' }),
    things: () => ({
      title: called, text, figures: all(fields), changes, plots: number ? [[fields.unit || 'value', plot(recent)]] : [],
      wrong: /bad|warn/.test(standing(plain(status))),
    }),
  }[kind]();
}

// What is said on the channel of `item` when somebody does this with it: `seen`, `unseen` or `gone`. It is the newest word
// on the thing, so it carries along what was known.
export function wordOn(kind, item, what, who, now) {
  const { among, flaps, ...fields } = item.fields ?? {};
  const host = kind === 'hosts';
  const known = host ? item.state : plain(item.status);
  const status = { seen: known + ACKNOWLEDGED, unseen: known, gone: 'gone' }[what];
  if (host) fields.state = what === 'gone' ? 'forgotten' : item.state;
  if (fields.silent) fields.silent = Math.round((now - item.heard) / 1000);
  const name = item.name ?? '';
  const before = (item.text ?? '').replace(/(, |^)acknowledged( by [^]*)?$/, '');
  const by = who ? `acknowledged by ${who}` : 'acknowledged';
  const sentences = {
    seen: [before || (name ? '' : item.key), by].filter(Boolean).join(', '),
    unseen: before || (name ? known : `${item.key} ${known}`),
    gone: name ? 'is forgotten' : `${item.key} is forgotten`,
  };
  return { ...fields, event: host ? 'host-state' : item.event, key: host ? name : item.key, name, status, message: sentences[what] };
}

export class Details {
  // `say` says fields on a channel, and returns what was wrong with that.
  constructor(dialog, say, nameOf) {
    Object.assign(this, { dialog, parts: {} });
    dialog.querySelectorAll('[data-part]').forEach((part) => (this.parts[part.dataset.part] = part));
    dialog.querySelectorAll('button[value]').forEach((button) => {
      button.onclick = async () => {
        if (!button.value) return dialog.close();
        const { kind, item } = this;
        const done = await say(item.channel ?? '', wordOn(kind, item, button.value, nameOf(), this.now), this.parts.trouble);
        if (done && button.value === 'gone') dialog.close();
      };
    });
  }

  open(kind, place) {
    Object.assign(this, { kind, place, drawn: '' });
    write(this.parts.trouble, '');
    this.dialog.showModal();
  }

  show(model, now) {
    if (!this.dialog.open) return;
    const item = model[this.kind].get(this.place);
    if (!item) return this.dialog.close();
    Object.assign(this, { item, now });
    const shown = details(this.kind, item);
    const text = JSON.stringify([shown, item.seen]);
    if (text === this.drawn) return;
    this.drawn = text;
    const { title, words, link, seen, unseen, plots, figures, changes } = this.parts;
    write(title, shown.title);
    write(words, shown.text);
    link.hidden = !web(shown.url ?? '');
    link.href = web(shown.url ?? '');
    seen.hidden = item.seen || !shown.wrong;
    unseen.hidden = !item.seen;
    plots.replaceChildren(...shown.plots.filter(([, { line }]) => line).map(([name, { range, seconds, line, area }]) => {
      const figure = plots.nextElementSibling.content.firstElementChild.cloneNode(true);
      write(figure.firstElementChild, `${name}: ${range}, ${span(seconds)}`);
      const [below, above] = figure.querySelectorAll('path');
      draw({ below, above }, { below: this.kind === 'hosts' ? '' : area, above: line });
      return figure;
    }));
    figures.replaceChildren(...shown.figures.map(([key, value]) => make('div', {}, make('dt', {}, key), make('dd', { dir: 'auto' }, value))));
    changes.replaceChildren(...shown.changes.map(([time, word, took]) => {
      const at = make('time', {}, new Date(1000 * time).toLocaleString());
      return make('li', { className: isSeen(word) ? '' : standing(word) }, at, ` ${word}${took ? `, ${span(took)}` : ''}`);
    }));
  }
}
