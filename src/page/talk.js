// The conversation, drawn. What was said is text, never markup: it gets onto the page through `textContent` and
// `append` alone. There is a window of elements, however much was said.

import { make, web, write } from './rows.js';
import { when } from './text.js';

const TEXT_MOST = 1500;
const WINDOW = 150; // rows of the conversation

// No link's characters: what ends one in prose, and what could turn its letters around.
const LINK = /https?:\/\/[^\s<>"'\x60\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gi;
const AFTER_LINK = /[.,;:!?)\]}]+$/;

// A name keeps its colour, today and tomorrow.
function hue(name) {
  return [...name].reduce((hash, letter) => (hash * 31 + letter.codePointAt()) % 360, 7);
}

// Puts `text` into `paragraph`, its links clickable.
function prose(paragraph, text) {
  let at = 0;
  for (const { 0: found, index } of text.matchAll(LINK)) {
    const link = found.replace(AFTER_LINK, '');
    const href = web(link);
    if (!href) continue;
    paragraph.append(text.slice(at, index), make('a', { href, target: '_blank', textContent: link }));
    at = index + link.length;
  }
  paragraph.append(text.slice(at));
}

function row({ event, name, text, time, channel, status, fields }) {
  const item = make('li', { className: 'said' });
  const at = make('time', { textContent: when(time), title: new Date(time).toLocaleString() });
  if (event === 'ci' && !name && text.startsWith(`${fields.project}: `)) {
    [name, text] = [fields.project, text.slice(fields.project.length + 2)];
  }
  name = name.slice(0, 80);
  const who = make('b', { textContent: name, title: name, dir: 'auto' });
  const what = make('p', { dir: 'auto' });
  who.style.setProperty('--hue', hue(name));
  const short = text.split('\n', 15).join('\n').slice(0, TEXT_MOST).replace(/[\ud800-\udbff]$/, '');
  prose(what, short);
  if (short.length < text.length) {
    const more = make('button', { type: 'button', className: 'more', textContent: 'more' });
    more.onclick = () => prose(what, text, what.replaceChildren());
    what.append('… ', more);
  }
  if (channel) what.append(make('i', { textContent: channel }));
  item.append(at, who, what);
  if (event === 'ci' || event === 'host-state' || event === 'gap') {
    item.classList.add('news', /(failed|down|late)$/.exec(status || fields.state || fields.status)?.[0] ?? event);
  }
  return item;
}

// It follows the newest while one reads there, and then a window of rows is all there is. It holds still while one
// reads further up, where there are more rows, as far as one goes.
export class Talk {
  all = [];
  follows = true;
  unseen = 0; // how many were said while it held still
  top = 0; // where it was scrolled to

  constructor(scroller, newest) {
    Object.assign(this, { scroller, newest, list: scroller.querySelector('ol') });
    scroller.onscroll = () => this.scrolled();
    newest.onclick = () => scroller.focus(this.toNewest());
    const size = new ResizeObserver(() => this.settle()); // a keyboard, a rotation, another font
    [scroller, this.list].forEach((each) => size.observe(each));
  }

  // Adds `more`, and lets go of what came before the number `oldest`.
  add(more, oldest) {
    const { follows, list } = this;
    this.all = [...this.all.filter(({ number }) => number >= oldest), ...more];
    this.unseen += more.length;
    list.append(...more.slice(follows ? -WINDOW : 0).map(row));
    this.still(() => {
      while (list.childElementCount > (follows ? WINDOW : this.all.length)) list.firstElementChild.remove();
    });
    this.settle();
  }

  // Shows the newest, of `all` where that is given.
  toNewest(all = this.all) {
    Object.assign(this, { all, follows: true });
    this.list.replaceChildren(...all.slice(-WINDOW).map(row));
    this.settle();
  }

  settle() {
    const { follows, newest, scroller } = this;
    if (follows) {
      this.unseen = 0;
      scroller.scrollTop = scroller.scrollHeight;
    }
    newest.hidden = follows;
    write(newest, this.unseen ? `${this.unseen} new` : 'newest');
  }

  // Makes `change` above what is in sight, which stays where it is.
  still(change) {
    const { scroller } = this;
    const below = scroller.scrollHeight - scroller.scrollTop;
    change();
    scroller.scrollTop = scroller.scrollHeight - below;
  }

  scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    // Only a person scrolls up.
    this.follows = scrollTop + clientHeight >= scrollHeight - 8 || (this.follows && scrollTop >= this.top);
    const there = this.list.childElementCount;
    if (scrollTop < clientHeight && there < this.all.length && !this.follows) {
      this.still(() => this.list.prepend(...this.all.slice(-there - 60, -there).map(row)));
    }
    this.top = this.scroller.scrollTop;
    this.settle();
  }
}
