// The conversation, drawn. What was said is text, never markup: it gets onto the page through `textContent` and `append`
// alone. There is a window of elements, however much was said.

import { when } from './text.js';
import { web, write } from './rows.js';

const NAME_MOST = 80;
const TEXT_MOST = 1500;
const LINES_MOST = 15;
const WINDOW = 150; // rows of the conversation
const WINDOW_MOST = 300; // while one reads further up
const STEP = 60; // rows fetched at once
const AROUND = 4; // rows beyond what is in sight

// No link's characters: what ends one in prose, and what could turn its letters around.
const LINK = /https?:\/\/[^\s<>"'`\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gi;
const AFTER_LINK = /[.,;:!?)\]}]+$/;

const make = (name, properties) => Object.assign(document.createElement(name), properties);

// A name keeps its colour, today and tomorrow.
function hue(name) {
  return [...name.slice(0, NAME_MOST)].reduce((hash, letter) => (hash * 31 + letter.codePointAt()) % 360, 7);
}

// Puts `text` into `element`, its links clickable.
function prose(element, text) {
  let at = 0;
  for (const { 0: found, index } of text.matchAll(LINK)) {
    const link = found.replace(AFTER_LINK, '');
    const href = web(link);
    if (!href) continue;
    element.append(text.slice(at, index), make('a', { href, target: '_blank', textContent: link }));
    at = index + link.length;
  }
  element.append(text.slice(at));
}

function row({ event, name, text, time, channel, status, fields = {} }) {
  const item = make('li', { className: 'said' });
  const at = make('time', { textContent: when(time), title: new Date(time).toLocaleString() });
  if (event === 'ci' && !name && text.startsWith(`${fields.project}: `)) {
    [name, text] = [fields.project, text.slice(fields.project.length + 2)];
  }
  const who = make('b', { textContent: name.slice(0, NAME_MOST), title: name.slice(0, NAME_MOST), dir: 'auto' });
  const what = make('p', { dir: 'auto' });
  who.style.setProperty('--hue', hue(name));
  const short = text.split('\n', LINES_MOST).join('\n').slice(0, TEXT_MOST).replace(/[\ud800-\udbff]$/, '');
  prose(what, short);
  if (short.length < text.length) {
    const more = make('button', { type: 'button', className: 'more', textContent: `all ${text.length} characters` });
    more.onclick = () => prose(what, text, what.replaceChildren());
    what.append('… ', more);
  }
  if (channel) what.append(make('i', { textContent: channel }));
  item.append(at, who, what);
  if (event === 'ci' || event === 'host-state' || event === 'gap') {
    item.classList.add('news', /fail|down|late/.exec(status || fields.state || fields.status)?.[0] ?? event);
  }
  return item;
}

// The conversation: a window of rows, [from, to), over all that is kept. It follows the newest while one reads there,
// and holds still while one reads further up.
export class Talk {
  all = [];
  base = 0; // the place of all[0] among all there ever were
  from = 0;
  to = 0;
  follows = true;

  constructor(scroller, newest) {
    Object.assign(this, { scroller, newest, list: scroller.querySelector('ol') });
    scroller.addEventListener('scroll', () => this.scrolled(), { passive: true });
    newest.onclick = () => scroller.focus(this.toNewest());
    new ResizeObserver(() => this.toBottom()).observe(scroller);
  }

  get end() {
    return this.base + this.all.length;
  }

  // Adds `more`, and lets go of what came before the number `oldest`.
  add(more, oldest) {
    this.all.push(...more);
    const kept = this.all.findIndex(({ number }) => number >= oldest);
    this.base += this.all.splice(0, kept < 0 ? this.all.length : kept).length;
    if (this.follows && more.length > WINDOW) return this.toNewest();
    this.later(this.follows ? this.end : Math.min(this.end, this.from + WINDOW_MOST));
    if (this.follows) this.dropFirst(WINDOW);
    this.toBottom();
    this.button();
  }

  // Shows the newest, of `all` where that is given.
  toNewest(all = this.all) {
    if (all !== this.all) this.base = 0;
    Object.assign(this, { all, follows: true });
    this.list.replaceChildren();
    this.from = this.to = Math.max(this.base, this.end - WINDOW);
    this.later(this.end);
    this.toBottom();
    this.button();
  }

  toBottom() {
    if (this.follows) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  button() {
    this.newest.hidden = this.follows;
    write(this.newest, this.to < this.end ? `${this.end - this.to} more` : 'newest');
  }

  rows(from, to) {
    return this.all.slice(from - this.base, to - this.base).map(row);
  }

  later(to) {
    if (this.to < this.base) {
      this.from = this.to = this.base;
      this.list.replaceChildren();
    }
    this.list.append(...this.rows(this.to, to));
    this.to = Math.max(this.to, to);
  }

  dropFirst(most) {
    while (this.list.childElementCount > most) this.list.firstElementChild.remove();
    this.from = this.to - this.list.childElementCount;
  }

  // Makes `change`, and has `still` stay where it is on the screen.
  around(still, change) {
    const before = still.offsetTop;
    change();
    this.scroller.scrollTop += still.offsetTop - before;
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const below = scrollHeight - clientHeight - scrollTop;
    this.follows = below < 8 && this.to >= this.end;
    if (scrollTop < clientHeight && this.from > this.base) {
      const from = Math.max(this.base, this.from - STEP);
      this.around(this.list.firstElementChild, () => this.list.prepend(...this.rows(from, this.from)));
      this.from = from;
      for (; this.to - this.from > WINDOW_MOST; this.to -= 1) this.list.lastElementChild.remove();
    } else if (below < clientHeight && this.to < this.end) {
      this.around(this.list.lastElementChild, () => {
        this.later(Math.min(this.end, this.to + STEP));
        this.dropFirst(WINDOW_MOST);
      });
    }
    this.button();
  }
}
