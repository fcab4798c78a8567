// What is known, drawn when the screen is ready for it, and not at all while nobody can see it.

import { openDetails, showDetails } from './details.js';
import { store } from './door.js';
import { headline } from './headline.js';
import { Model } from './model.js';
import { Hosts, Numbers, Pipelines, find, set, write } from './rows.js';
import { Talk } from './talk.js';
import { tellOf } from './tell.js';
import { WRONG, all, nameOf, those, when } from './text.js';
import { filter, isWithin, only } from './view.js';

const ORDER = [
  'down', 'failed', 'bad', 'warn', 'late', 'running', 'queued', 'number', 'up', 'passed', 'canceled', 'other',
];

const { compare } = new Intl.Collator('en', { numeric: true });
const rank = ({ state }) => ORDER.indexOf(state);
const SORTED = {
  runs: (one, other) => rank(one) - rank(other) || other.id - one.id,
  hosts: (one, other) => rank(one) - rank(other) || compare(one.name, other.name),
  things: (one, other) => rank(one) - rank(other) || compare(nameOf(one), nameOf(other)),
};

// The icon of the page when something is wrong.
const badge = (text) =>
  "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'>" +
  "<rect width='32' height='32' rx='7' fill='%23b5301d'/>" +
  `<text x='16' y='24' text-anchor='middle' font-size='24' fill='%23fff'>${text}</text></svg>`;

// What the page knows, and how it is connected. While it is hidden, `known` is what is wrong; the model waits.
export const page = { model: new Model(), skew: 0, link: { state: 'connecting' } };

const lists = {};
let drawn = {}; // what of the model is on the screen
let drawnAt = 0;
let lasted = 0;
let soon;
export let talk;
let areas;

export function beginToDraw() {
  talk = new Talk(find('#talk'), find('#newest'));
  const open = (kind, place) => drawNow(openDetails(kind, place));
  areas = [new Pipelines('pipelines', open), new Hosts('hosts', open), new Numbers('numbers', open)];
  setInterval(() => document.hidden || drawSoon(), 1000); // a hidden page is told when to
  onbeforeprint = drawNow;
  drawSoon();
}

// At most ten times a second, and less where that would take over a fortieth of the time, but each two seconds. By a
// timer: a hidden page gets no frames.
export function drawSoon() {
  const pause = document.hidden ? 1000 : Math.min(2000, Math.max(100, 40 * lasted));
  soon ??= setTimeout(drawNow, Math.max(10, drawnAt + pause - Date.now()));
}

// Draws all of it once more; of the talk only what is new, where the page was hidden.
export function drawAnew() {
  const { filter, day, count } = drawn;
  drawn = page.known ? { filter, day, count } : {};
}

function drawNow() {
  clearTimeout(soon);
  soon = null;
  drawnAt = Date.now();
  const { model } = page;
  for (const [kind, sorted] of Object.entries(SORTED)) {
    if (drawn[kind] !== model.version[kind]) lists[kind] = [...model[kind].values()].sort(sorted);
    drawn[kind] = model.version[kind];
    page.known?.[kind].sort(sorted);
  }
  drawHeadline();
  if (document.hidden || page.known) return;
  drawTalk();
  drawRows(drawnAt + page.skew);
  showDetails(model, drawnAt + page.skew);
  lasted = Date.now() - drawnAt;
}

function drawTalk() {
  const { said, count, channels } = page.model;
  const day = new Date().toDateString();
  if (drawn.filter !== filter || drawn.day !== day) {
    talk.toNewest(said.filter(isWithin));
  } else if (drawn.count < count) {
    talk.add(said.filter((each) => each.number > drawn.count && isWithin(each)), said[0].number);
  }
  Object.assign(drawn, { filter, day, count });
  if (drawn.channels === channels.size) return;
  drawn.channels = channels.size;
  find('#channels').replaceChildren(...[...channels].sort().map((channel) => new Option(channel)));
}

function drawRows(now) {
  const things = lists.things.filter(isWithin);
  const runs = lists.runs.filter(isWithin);
  find('.numbers').classList.toggle('quiet', !lists.things.length && !only.includes('numbers'));
  [runs, lists.hosts, things].forEach((list, place) => areas[place].show(list, now));
  tally('pipelines', runs, ['running', 'warn', 'failed']);
  tally('hosts', lists.hosts, ['up', 'late', 'failed', 'down']);
  tally('numbers', things, ['warn', 'bad']);
  write(find('#clock'), when(Date.now()));
}

// How many there are of each state, and in the bar of a phone how many of them are wrong.
function tally(area, list, states) {
  const wrong = list.filter(({ state, seen }) => !seen && WRONG.test(state)).length;
  const words = states.map((state) =>
    those(list, state).length && `${those(list, state).length} ${state.replace('warn', 'not well')}`);
  write(find(`.${area} .title p`), all(...words).join(' · '));
  write(find(`nav [value=${area}] b`), String(wrong || ''));
}

function drawHeadline() {
  const { link } = page;
  const known = { ...(page.known ?? lists), hadToken: store.aloudToken };
  const { text, level, bad, stale } = headline(known, { ...link, silent: Date.now() - link.word });
  const line = find('#headline');
  write(line, text, text);
  line.className = `${level} ${text.length > 90 ? 'long longer' : text.length > 44 ? 'long' : ''}`;
  document.body.classList.toggle('stale', stale);
  const count = stale ? '?' : bad.size;
  document.title = level ? `${bad.size ? `(${count}) ` : ''}${text}` : 'aloud';
  set(find('[rel=icon]'), 'href', count ? badge(count) : find('#logo').src);
  if (link.state !== 'connecting') tellOf(stale ? new Set([...bad, 'server']) : bad, text);
}
