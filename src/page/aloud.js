// The page: hears the stream, keeps what is known, and draws it when the screen is ready for it.

import { headline } from './headline.js';
import { Model } from './model.js';
import { Hosts, Numbers, Pipelines, write } from './rows.js';
import { Talk } from './talk.js';
import { standing, when } from './text.js';

const CONNECTION = { lost: 'connection lost', token: 'token needed', refused: 'turned away' };
const HOST_ORDER = ['down', 'failed', 'late', 'up'];
const RUN_ORDER = ['failed', 'running', 'queued', 'passed', 'canceled'];
const THING_ORDER = ['bad', 'warn', 'number', ''];
const AREAS = ['talk', 'numbers', 'pipelines', 'hosts'];
const DRAW_MS = 100; // at most ten times a second

const find = (selector) => document.querySelector(selector);
const { compare } = new Intl.Collator('en', { numeric: true });

const store = (() => { try { return localStorage; } catch { return {}; } })(); // it may be forbidden

const talk = new Talk(find('#talk'), find('#newest'));
const numbers = new Numbers(find('.numbers'));
const pipelines = new Pipelines(find('.pipelines'));
const hosts = new Hosts(find('.hosts'));

let model = new Model();
let skew = 0; // how far the server's clock is ahead of ours
let link = { state: 'connecting', word: Date.now(), silence: 40_000 };
let filter = '';
let drawn = {}; // what of the model is on the screen
let port;

// The stream: by a shared worker where there is one, else in the page.

async function alone() {
  const { join } = await import('./stream.js');
  const { port1, port2 } = new MessageChannel();
  join(port1);
  hear(port2);
}

function listen() {
  const address = new URL('stream.js', import.meta.url).href;
  const policy = globalThis.trustedTypes?.createPolicy('aloud', { createScriptURL: () => address });
  try {
    const worker = new SharedWorker(policy?.createScriptURL('') ?? address, { type: 'module' });
    worker.onerror = alone;
    hear(worker.port);
  } catch {
    alone();
  }
}

function hear(from) {
  port = from;
  port.onmessage = ({ data }) => {
    if (data.model) {
      model = Object.assign(new Model(), data.model);
      drawn = {};
    }
    for (const item of [data, ...(data.batch ?? [])]) {
      skew = item.skew ?? skew;
      model.apply(item);
    }
    if (data.state) show(data);
    draw();
  };
  knock();
}

function knock() {
  port.postMessage({ token: store.aloudToken ?? '' });
}

function show({ state, word, silence }) {
  const before = link.state;
  link = { state, word, silence };
  find('#connection').dataset.state = state;
  write(find('#connection'), CONNECTION[state] ?? state);
  const door = find('#door');
  if (state === 'live' && door.open && door.dataset.key === 'aloudToken') door.close();
  if (state !== 'token' || before === 'token') return;
  const words = store.aloudToken ? 'This token is not taken, or no more.' : 'This server asks for a token to listen.';
  ask('aloudToken', words, knock);
}

addEventListener('pagehide', () => port.postMessage({ bye: true }));
addEventListener('pageshow', ({ persisted }) => persisted && knock());

// The token, asked for once; there may be another one to speak.

function ask(key, words, then) {
  const door = find('#door');
  write(find('#door h2'), words);
  find('#token').value = '';
  door.returnValue = '';
  door.dataset.key = key;
  if (!door.open) door.showModal();
  door.onclose = () => {
    const token = find('#token').value.trim();
    if (!token || door.returnValue !== 'enter') return;
    store[key] = token;
    then();
  };
}

// Drawing, by timers, because a tab in the background gets no frames but shows its title.

const within = ({ channel = '' }) => !filter || channel === filter || channel.startsWith(`${filter}/`);
let soon;
let drawnAt = 0;

function draw() {
  soon ??= setTimeout(() => {
    soon = null;
    drawnAt = Date.now();
    drawTalk();
    drawRows();
  }, Math.max(10, DRAW_MS - (Date.now() - drawnAt)));
}

function drawTalk() {
  const day = new Date().toDateString();
  if (drawn.filter !== filter || drawn.day !== day) {
    drawn = { filter, day, count: model.count };
    talk.toNewest(model.said.filter(within));
  } else if (drawn.count < model.count) {
    talk.add(model.said.filter((said) => said.number > drawn.count && within(said)), model.said[0].number);
    drawn.count = model.count;
  }
  if (drawn.channels === model.channels.size) return;
  drawn.channels = model.channels.size;
  find('#channels').replaceChildren(...[...model.channels].sort().map((channel) => new Option(channel)));
}

const by = (order, of = ({ state }) => state) => (one, other) => order.indexOf(of(one)) - order.indexOf(of(other));

// What is known, sorted anew only where its order has changed.
function sorted() {
  const { runs, order, things } = model.version;
  if (drawn.runs !== runs) {
    Object.assign(drawn, { runs, runList: [...model.runs.values()].reverse().sort(by(RUN_ORDER)) });
  }
  if (drawn.order !== order) {
    const named = [...model.hosts.values()].sort((one, other) => compare(one.name, other.name));
    Object.assign(drawn, { order, hostList: named.sort(by(HOST_ORDER)) });
  }
  if (drawn.things !== things) {
    const place = ({ event, status }) => (/bad|warn/.exec(standing(status))?.[0] ?? (event === 'number' ? event : ''));
    const named = [...model.things.values()].sort((one, other) => compare(one.channel + one.key, other.channel + other.key));
    Object.assign(drawn, { things, thingList: named.sort(by(THING_ORDER, place)) });
  }
  return drawn;
}

function drawRows() {
  const now = Date.now() + skew;
  const { runList, hostList, thingList } = sorted();
  const runsHere = runList.filter(within);
  const thingsHere = thingList.filter(within);
  find('.numbers').classList.toggle('quiet', !thingList.length && !only.includes('numbers'));
  numbers.show(thingsHere, now);
  pipelines.show(runsHere, now);
  hosts.show(hostList, now);
  const counted = (list, words) => Object.fromEntries(words.map((word) => [word, list.filter(({ state }) => state === word)]));
  const runs = counted(runsHere, ['running', 'failed']);
  const hostStates = counted(hostList, [...HOST_ORDER].reverse());
  const wrong = (wanted) => thingsHere.filter(({ status }) => standing(status) === wanted);
  tally('pipelines', runs.failed.length, runs);
  tally('hosts', hostStates.down.length + hostStates.failed.length, hostStates);
  tally('numbers', wrong('bad').length + wrong('warn').length, { 'not well': wrong('warn'), bad: wrong('bad') });
  write(find('.numbers h2'), thingsHere.some(({ event }) => event !== 'number') ? 'Alerts and numbers' : 'Numbers');
  sum({ runs: runList, hosts: hostList, things: thingList, hadToken: Boolean(store.aloudToken) });
  write(find('#clock'), when(Date.now()));
}

function tally(area, bad, lists) {
  const text = Object.entries(lists).flatMap(([what, list]) => (list.length ? [`${list.length} ${what}`] : []));
  write(find(`.${area} .title p`), text.join(' · '));
  write(find(`nav [data-area=${area}] b`), String(bad || ''));
}

function sum(known) {
  const silent = Date.now() - link.word;
  const { text, level, count, stale } = headline(known, { state: link.state, silent, most: link.silence });
  const line = find('#headline');
  write(line, text, text);
  line.className = [level, text.length > 90 ? 'long longer' : text.length > 44 ? 'long' : ''].join(' ').trim();
  document.body.classList.toggle('stale', stale);
  document.title = stale ? `${text} aloud` : count ? `(${count}) ${text}` : level ? text : 'aloud';
  const icon = count || stale ? 'page/icon-bad.svg' : 'page/icon.svg';
  if (find('[rel=icon]').getAttribute('href') !== icon) find('[rel=icon]').setAttribute('href', icon);
}

// What is shown, as the address says: a filter hides rows, and never what is wrong from the headline.

const view = new URLSearchParams(location.search);
const only = (view.get('only') ?? '').split(',').filter((area) => AREAS.includes(area));
const shows = (area) => !only.length || only.includes(area);
filter = (view.get('channel') ?? '').replace(/^\/+|\/+$/g, '');
find('#channel').value = filter;
AREAS.forEach((area) => (find(`.${area}`).hidden = !shows(area)));
document.querySelectorAll('.column').forEach((column) => (column.hidden = !AREAS.some((area) => shows(area) && column.querySelector(`.${area}`))));
document.body.classList.toggle('wall', view.has('wall'));
if (only.length) document.body.dataset.area = only[0];

function tellView() {
  const parts = [only.length && `only ${only.join(', ')}`, filter && `channel ${filter}`].filter(Boolean);
  find('#view').hidden = !parts.length;
  write(find('#view'), `${parts.join(' · ')} ×`);
}

find('#channel').oninput = ({ target }) => {
  filter = target.value.trim().replace(/^\/+|\/+$/g, '');
  view.delete('channel');
  if (filter) view.set('channel', filter);
  history.replaceState(null, '', `${location.pathname}${view.size ? `?${view}` : ''}`.replace(/=(?=&|$)/g, ''));
  tellView();
  draw();
};

for (const button of document.querySelectorAll('nav button')) {
  button.onclick = () => {
    document.body.dataset.area = button.dataset.area;
    document.querySelectorAll('nav button').forEach((each) => (each.ariaPressed = each === button));
  };
}

const [form, name, message, trouble] = ['#say', '#name', '#message', '#trouble'].map(find);
name.value = store.aloudName ?? '';
name.onchange = () => (store.aloudName = name.value);
message.onkeydown = (event) => {
  if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
};

let saying = false; // Enter twice says once

form.onsubmit = async (event) => {
  event.preventDefault();
  const text = message.value;
  if (!text.trim() || saying) return;
  saying = true;
  write(trouble, '');
  try {
    const url = new URL(`../say${filter && `/${filter}`}`, import.meta.url);
    const token = store.aloudSay ?? store.aloudToken;
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const body = new URLSearchParams({ name: name.value, message: text });
    const answer = await fetch(url, { method: 'POST', body, headers });
    if (answer.status === 401) return ask('aloudSay', 'To speak here takes another token.', () => form.requestSubmit());
    if (!answer.ok) return write(trouble, (await answer.text()).replace(/^aloud: /, ''));
    if (message.value === text) message.value = '';
    talk.toNewest();
  } catch {
    write(trouble, 'The server cannot be reached; send it again in a moment.');
  } finally {
    saying = false;
  }
};

const here = (location.protocol === 'https:' ? location.origin : location.host) + location.pathname.replace(/\/$/, '');
write(find('.talk code'), `curl ${here}/say -d 'name=Florian&message=Hi'`);
write(find('.pipelines code'), `curl ${here}/say -d 'event=ci&message=app is green&project=app&status=passed'`);
write(find('.hosts code'), `curl ${here}/beat/$(uname -n)`);
write(find('.numbers code'), `curl ${here}/say -d 'event=number&name=temp&value=21.5&unit=°C'`);

// A token in the address is kept, and not shown.
const given = view.get('token');
if (given) {
  store.aloudToken = given;
  view.delete('token');
  history.replaceState(null, '', `${location.pathname}${view.size ? `?${view}` : ''}`);
}

tellView();
draw();
setInterval(draw, 1000);
listen();
// What is there already is not read out.
setTimeout(() => (find('#talk').ariaLive = 'polite'), 3000);
