// Pipelines, hosts and numbers, drawn: lists of rows of one height, of which those in sight and a few around them are
// there. A click opens one (`details.js`). What was said is text, never markup.

import { isFull } from './headline.js';
import { day, line, plot, runs } from './plot.js';
import { ACKNOWLEDGED, all, figure, nameOf, share, span, when } from './text.js';

const AROUND = 4; // rows beyond what is in sight

export const find = (selector) => document.querySelector(selector);
export const findAll = (selector) => document.querySelectorAll(selector);

// Writing the same again would cost a layout.
export function write(element, text, title) {
  if (element.textContent !== text) element.textContent = text;
  if (title !== undefined && element.title !== title) element.title = title;
}

export function set(element, attribute, value) {
  if (element.getAttribute(attribute) !== value) element.setAttribute(attribute, value);
}

export function make(name, properties, ...parts) {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...parts);
  return element;
}

// `text` if it is the address of a web page, else nothing: no `javascript:`, no `data:`.
export function web(text) {
  return URL.canParse(text) && /^https?:/i.test(text) ? new URL(text).href : '';
}

export function draw(parts, paths) {
  Object.entries(paths).forEach(([part, path]) => set(parts[part], 'd', path));
}

class Rows {
  items = [];

  // `open` is told the kind of a row and its place when it is clicked.
  constructor(area, open) {
    this.scroller = find(`.${area} .scroll`);
    this.list = find(`.${area} ul`);
    this.template = find(`.${area} template`).content.firstElementChild;
    this.scroller.onscroll = () => this.draw();
    this.list.onclick = ({ target }) => target.closest('a[href]') || open(this.kind, target.closest('li').item.place);
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
    const sight = matchMedia('print').matches ? items.length : Math.ceil(scroller.clientHeight / height) + 2 * AROUND;
    const first = Math.max(0, Math.min(Math.floor(scroller.scrollTop / height) - AROUND, items.length - sight));
    const shown = items.slice(first, first + sight);
    while (rows.length < shown.length) this.grow();
    while (rows.length > shown.length) list.lastElementChild.remove();
    list.style.paddingTop = `${first * height}px`;
    list.style.height = items.length ? `${items.length * height}px` : '';
    shown.forEach((item, place) => {
      const row = rows[place];
      const [ariaPosInSet, ariaSetSize] = [first + place + 1, items.length];
      const stamp = [ariaPosInSet, ariaSetSize, item.place, item.id, item.heard, Math.floor(this.now / 1000)].join();
      if (row.stamp === stamp) return; // nothing has changed, its clock neither
      Object.assign(row, { ariaPosInSet, ariaSetSize, item, stamp });
      const state = this.fill(row.parts, item, this.now);
      const name = `row ${state}${item.seen ? ' seen' : ''}`;
      if (row.className !== name) row.className = name;
      if (row.parts.shape) set(row.parts.shape, 'href', `#${state}`);
    });
  }

  grow() {
    const copy = this.template.cloneNode(true);
    copy.parts = Object.fromEntries([...copy.querySelectorAll('[class]')].map((part) => [part.classList[0], part]));
    this.list.append(copy);
  }
}

export class Pipelines extends Rows {
  kind = 'runs';

  fill(parts, run, now) {
    const { link, ref, state, also, took, at } = parts;
    const { id = '', who, workflow, url = '', duration = '' } = run.fields;
    const number = (run.fields.number || id).replace(/^\d/, '#$&');
    const passed = run.state === 'running' ? (now - run.since) / 1000 : run.took;
    const href = web(url);
    link[href ? 'setAttribute' : 'removeAttribute']('href', href);
    write(link, run.project, `${run.project} ${run.ref}`);
    write(ref, run.ref);
    write(state, run.status.replaceAll('_', ' ') + (run.seen ? ACKNOWLEDGED : ''));
    write(also, all(who && `by ${who}`, number, workflow).join(', '));
    write(took, passed === null ? duration.replace(/^[\d.]+$/, '') : span(passed));
    write(at, when(run.time, now), new Date(run.time).toLocaleString());
    draw(parts, runs(run.recent));
    return run.state;
  }
}

export class Hosts extends Rows {
  kind = 'hosts';

  fill(parts, { name, state, figures, heard, loads, recent, reason, seen }, now) {
    const ago = span((now - heard) / 1000);
    const alive = `up${figures.up > 0 ? ` ${span(figures.up)}` : ''}${figures.note ? `, ${figures.note}` : ''}`;
    const stands = { up: alive, failed: all('failed', reason).join(': ') }[state] ?? `${state}, ${ago}`;
    const why = stands + (seen ? ACKNOWLEDGED : '');
    write(parts.name, name, name);
    write(parts.state, why, why);
    set(parts.line, 'points', line(loads));
    draw(parts, day(recent, now));
    const load = Number.parseFloat(figures.load1);
    this.figure(parts.load, Number.isFinite(load) ? load.toFixed(load < 100 ? 2 : 0) : '');
    for (const what of ['mem', 'disk']) {
      const used = share(figures, what);
      this.figure(parts[what], Number.isFinite(used) ? `${Math.floor(used)} %` : '', used, isFull(figures, what));
    }
    return state;
  }

  figure(element, text, used, full) {
    write(element, text);
    const name = `figure ${full ? 'full' : used >= 85 ? 'much' : ''}`;
    if (element.parentNode.className !== name) element.parentNode.className = name;
  }
}

// Numbers, and before them the alerts and whatever else has a status.
export class Numbers extends Rows {
  kind = 'things';

  fill(parts, thing, now) {
    const { name, also, value, unit, line, area } = parts;
    const number = thing.event === 'number';
    const { range, seconds, ...paths } = number ? plot(thing.recent) : { line: '', area: '' };
    const called = nameOf(thing);
    const words = number ? `${range}${seconds ? `, ${span(seconds)}` : ''}` : thing.text || thing.event;
    write(name, called, called);
    write(also, words, words);
    draw({ line, area }, paths);
    write(value, number ? figure(Number(thing.fields.value)) : thing.status);
    write(unit, number ? (thing.fields.unit ?? '') : when(thing.since, now));
    return `${thing.state} ${number ? 'number' : 'alert'}`;
  }
}
