// The page: hears the stream, keeps what is known, and draws it when the screen is ready for it.

import { Model } from './model.js';
import { Hosts, Pipelines, Talk, hours, write } from './views.js';

const CONNECTION = { lost: 'connection lost', token: 'token needed' };
const HOST_ORDER = ['down', 'failed', 'late', 'up'];
const RUN_ORDER = ['failed', 'running', 'queued', 'passed', 'canceled'];
const LATELY_MS = 24 * 3600 * 1000;

const find = (selector) => document.querySelector(selector);
const { compare } = new Intl.Collator('en', { numeric: true });

const store = (() => { try { return localStorage; } catch { return {}; } })(); // it may be forbidden

const talk = new Talk(find('#talk'), find('#newest'));
const pipelines = new Pipelines(find('.pipelines'));
const hosts = new Hosts(find('.hosts'));

let model = new Model();
let skew = 0; // how far the server's clock is ahead of ours
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
    if (data.state) show(data.state);
    draw();
  };
  knock();
}

function knock() {
  port.postMessage({ token: store.aloudToken ?? '' });
}

function show(state) {
  find('#connection').dataset.state = state;
  write(find('#connection'), CONNECTION[state] ?? state);
  if (state === 'token') ask('aloudToken', knock);
}

addEventListener('pagehide', () => port.postMessage({ bye: true }));
addEventListener('pageshow', ({ persisted }) => persisted && knock());

// The token, asked for once; there may be another one to speak.

function ask(key, then) {
  const door = find('#door');
  if (!door.open) door.showModal();
  door.onclose = () => {
    const token = find('#token').value.trim();
    if (!token) return;
    store[key] = token;
    then();
  };
}

// Drawing, by timers, because a tab in the background gets no frames but shows its title.

const within = ({ channel = '' }) => !filter || channel === filter || channel.startsWith(`${filter}/`);
let soon;

function draw() {
  soon ??= setTimeout(() => {
    soon = null;
    drawTalk();
    drawRows();
  }, 10);
}

function drawTalk() {
  if (drawn.filter !== filter) {
    drawn = { filter, count: model.count };
    talk.toNewest(model.said.filter(within));
  } else if (drawn.count < model.count) {
    talk.add(model.said.filter((said) => said.number > drawn.count && within(said)), model.said[0].number);
    drawn.count = model.count;
  }
  if (drawn.channels === model.channels.size) return;
  drawn.channels = model.channels.size;
  find('#channels').replaceChildren(...[...model.channels].sort().map((channel) => new Option(channel)));
}

function drawRows() {
  const now = Date.now() + skew;
  const { runs, order } = model.version;
  const failedLately = ({ state, time }) => state === 'failed' && now - time < LATELY_MS;
  const by = (order) => (one, other) => order.indexOf(one.state) - order.indexOf(other.state);
  if (drawn.runs !== runs) {
    const newest = [...model.runs.values()].filter(within).reverse();
    Object.assign(drawn, { runs, runList: newest.sort(by(RUN_ORDER)) });
  }
  if (drawn.order !== order) {
    const named = [...model.hosts.values()].sort((one, other) => compare(one.name, other.name));
    Object.assign(drawn, { order, hostList: named.sort(by(HOST_ORDER)) });
  }
  const { runList, hostList } = drawn;
  pipelines.show(runList, now);
  hosts.show(hostList, now);
  const [failed, running] = [runList.filter(failedLately), runList.filter(({ state }) => state === 'running')];
  const [down, ill, late, up] = HOST_ORDER.map((wanted) => hostList.filter(({ state }) => state === wanted));
  tally('pipelines', failed, { running, failed });
  tally('hosts', [...down, ...ill], { up, late, failed: ill, down });
  headline(down, ill, failed, late, runList.length + hostList.length);
  write(find('#clock'), hours(now));
}

function tally(area, bad, lists) {
  const text = Object.entries(lists).flatMap(([what, list]) => (list.length ? [`${list.length} ${what}`] : []));
  write(find(`.${area} .title p`), text.join(' · '));
  write(find(`nav [data-area=${area}] b`), String(bad.length || ''));
}

// The state of everything as one sentence: what one reads from across the room.
function headline(down, ill, failed, late, known) {
  const say = (list, one, many) => (list.length > 1 ? [`${list.length} ${many}`] : list.map(one));
  const bad = [
    ...say(down, ({ name }) => `${name} is down`, 'hosts are down'),
    ...say(ill, ({ name }) => `${name} has failed`, 'hosts have failed'),
    ...say(failed, ({ project, ref }) => `${project} failed on ${ref}`, 'pipelines failed'),
  ];
  const also = bad.length ? bad : say(late, ({ name }) => `${name} is late`, 'hosts are late');
  const text = also.join(', ') || (known ? 'All is well' : 'Listening');
  write(find('#headline'), `${text}.`);
  find('#headline').classList.toggle('bad', bad.length > 0);
  document.title = bad.length ? `(${down.length + ill.length + failed.length}) aloud` : 'aloud';
}

find('#channel').oninput = ({ target }) => {
  filter = target.value.trim().replace(/^\/+|\/+$/g, '');
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

form.onsubmit = async (event) => {
  event.preventDefault();
  const text = message.value;
  if (!text.trim()) return;
  write(trouble, '');
  try {
    const url = new URL(`../say${filter && `/${filter}`}`, import.meta.url);
    const token = store.aloudSay ?? store.aloudToken;
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const body = new URLSearchParams({ name: name.value, message: text });
    const answer = await fetch(url, { method: 'POST', body, headers });
    if (answer.status === 401) return ask('aloudSay', () => form.requestSubmit());
    if (!answer.ok) return write(trouble, (await answer.text()).replace(/^aloud: /, ''));
    if (message.value === text) message.value = '';
    talk.toNewest();
  } catch {
    write(trouble, 'The server cannot be reached; send it again in a moment.');
  }
};

const here = location.host;
write(find('.talk code'), `curl ${here}/say -d 'name=Florian&message=Hi'`);
write(find('.pipelines code'), `curl ${here}/say -d 'event=ci&message=app is green&project=app&status=passed'`);
write(find('.hosts code'), `curl ${here}/beat/$(uname -n)`);

// A token in the address is kept, and not shown.
const given = new URLSearchParams(location.search).get('token');
if (given) {
  store.aloudToken = given;
  history.replaceState(null, '', location.pathname);
}

draw();
setInterval(draw, 1000);
listen();
// What is there already is not read out.
setTimeout(() => (find('#talk').ariaLive = 'polite'), 3000);
