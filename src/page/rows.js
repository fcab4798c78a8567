// Pipelines, hosts and numbers, drawn: lists of rows of one height, of which those in sight and a few around them are
// there. What was said is text, never markup.

import { FULL } from './headline.js';
import { day, line, plot, runs } from './plot.js';
import { figure, share, span, standing, when } from './text.js';

const AROUND = 4; // rows beyond what is in sight
const MUCH = 85; // percent

// Writing the same again would cost a layout.
export function write(element, text, title) {
  if (element.textContent !== text) element.textContent = text;
  if (title !== undefined && element.title !== title) element.title = title;
}

function set(element, attribute, value) {
  if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
}

// `text` if it is the address of a web page, else nothing: no `javascript:`, no `data:`.
export function web(text) {
  return URL.canParse(text) && /^https?:/i.test(text) ? new URL(text).href : '';
}

function draw(parts, paths) {
  Object.entries(paths).forEach(([part, path]) => set(parts[part], 'd', path));
}

class Rows {
  items = [];

  constructor(section) {
    this.scroller = section.querySelector('.scroll');
    this.list = section.querySelector('ul');
    this.template = section.querySelector('template').content.firstElementChild;
    this.scroller.addEventListener('scroll', () => this.draw(), { passive: true });
    new ResizeObserver(() => this.draw()).observe(this.scroller);
  }

  show(items, now) {
    Object.assign(this, { items, now });
    this.draw();
  }

  draw() {
    const { items, list, scroller } = this;
    const rows = list.children;
    if (items.length && !rows.length) this.grow();
    const height = rows[0]?.offsetHeight || 50;
    const sight = Math.ceil(scroller.clientHeight / height) + 2 * AROUND;
    const first = Math.max(0, Math.min(Math.floor(scroller.scrollTop / height) - AROUND, items.length - sight));
    const shown = items.slice(first, first + sight);
    while (rows.length < shown.length) this.grow();
    while (rows.length > shown.length) list.lastElementChild.remove();
    list.style.paddingTop = `${first * height}px`;
    list.style.height = items.length ? `${items.length * height}px` : '';
    shown.forEach((item, place) => {
      const row = Object.assign(rows[place], { ariaSetSize: items.length, ariaPosInSet: first + place + 1, item });
      const state = this.fill(row.parts, item, this.now);
      const name = `row ${state}`;
      if (row.className !== name) row.className = name;
      if (row.parts.mark) set(row.parts.mark, 'href', `#${state}`);
    });
  }

  grow() {
    const copy = this.template.cloneNode(true);
    copy.parts = Object.fromEntries([...copy.querySelectorAll('[data-part]')].map((part) => [part.dataset.part, part]));
    this.list.append(copy);
  }
}

export class Pipelines extends Rows {
  fill(parts, run, now) {
    const { link, ref, state, also, took, at } = parts;
    const number = (run.number || run.id).replace(/^\d/, '#$&');
    const passed = run.state === 'running' ? (now - run.since) / 1000 : run.took;
    const href = web(run.url);
    link[href ? 'setAttribute' : 'removeAttribute']('href', href);
    write(link, run.project, `${run.project} ${run.ref}`);
    write(ref, run.ref);
    write(state, run.status.replaceAll('_', ' '));
    write(also, [run.who && `by ${run.who}`, number, run.workflow].filter(Boolean).join(', '));
    write(took, passed === null ? run.duration.replace(/^[\d.]+$/, '') : span(passed));
    write(at, when(run.time, now), new Date(run.time).toLocaleString());
    draw(parts, runs(run.recent));
    return run.state;
  }
}

export class Hosts extends Rows {
  fill(parts, { name, state, figures, heard, loads, recent, reason }, now) {
    const ago = span((now - heard) / 1000);
    const alive = `up${figures.up > 0 ? ` ${span(figures.up)}` : ''}${figures.note ? `, ${figures.note}` : ''}`;
    const why = { up: alive, failed: ['failed', reason].filter(Boolean).join(': ') }[state] ?? `${state}, ${ago}`;
    write(parts.name, name, name);
    write(parts.state, why, why);
    set(parts.line, 'points', line(loads));
    draw(parts, day(recent, now));
    const load = Number.parseFloat(figures.load1);
    this.figure(parts.load, Number.isFinite(load) ? load.toFixed(load < 100 ? 2 : 0) : '', 0);
    for (const what of ['mem', 'disk']) {
      const used = share(figures, what);
      this.figure(parts[what], Number.isFinite(used) ? `${Math.floor(used)} %` : '', used);
    }
    return state;
  }

  figure(element, text, used) {
    write(element, text);
    const name = `figure ${text ? (used >= FULL ? 'full' : used >= MUCH ? 'much' : '') : 'none'}`;
    if (element.parentNode.className !== name) element.parentNode.className = name;
  }
}

// Numbers, and before them the alerts and whatever else has a status.
export class Numbers extends Rows {
  fill(parts, thing, now) {
    const { name, also, value, unit, line, area } = parts;
    const number = thing.event === 'number';
    const { range, seconds, ...paths } = number ? plot(thing.recent) : { line: '', area: '' };
    const called = [thing.channel, thing.key || thing.name].filter(Boolean).join('/');
    const bounds = [thing.below && `below ${thing.below}`, thing.above && `above ${thing.above}`].filter(Boolean).join(', ');
    const words = number ? `${range}${seconds ? `, ${span(seconds)}` : ''}` : thing.text || thing.event;
    write(name, called, called);
    write(also, words, [words, bounds && `not well ${bounds}`].filter(Boolean).join('; '));
    draw({ line, area }, paths);
    write(value, number ? figure(Number(thing.value)) : thing.status);
    write(unit, number ? thing.unit : when(thing.since, now));
    return `${standing(thing.status)} ${number ? 'number' : 'alert'}`;
  }
}
