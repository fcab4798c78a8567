// The one stream: in a shared worker where there is one, so that all tabs hear through one connection of the six that a
// browser allows; else in the page. It comes back by itself, with the last id it heard. While every page is hidden
// there is none, because each of its pieces costs: what was said is asked for now and then, all at once.

import { wrongIn } from './headline.js';
import { Model, wordOf } from './model.js';

const AGAIN_MS = 1100; // from one attempt to the next: the page is back within two seconds of the network
const PATIENCE_MS = 5000; // for one attempt; and until a server that refuses is asked again
const REST_MS = 12_000; // while every page is hidden, from one time to the next

const model = new Model();
const ports = new Map(); // to the pages, and whether each of them is hidden
const attempts = new Set(); // that hang: each holds one of the browser's connections
let stream = null; // the one attempt that is heard
let rests = false; // whether it ends when all is heard that was said
let state = 'connecting'; // live, lost, token, refused
let word = Date.now(); // when the server was last heard, by our clock
let heartbeat = 15_000;
let token = null;
let last = 0; // the newest id of the stream
let skew = 0; // how far the server's clock is ahead of ours
let batch = [];
let flushed = 0;
let known; // what the hidden pages know
let knownAt = 0;
let next; // the timer of the next attempt

const tell = (what, those) => ports.forEach((hidden, port) => those === !hidden || port.postMessage(what));
const news = () => ({ state, word, silence: 2.5 * Math.max(heartbeat, rests && REST_MS) });
const become = (now) => tell(news((state = now)));
const unseen = () => ![...ports.values()].includes(false);

async function ask(path, query, signal) {
  const url = new URL(`../${path}?${new URLSearchParams(query)}`, import.meta.url);
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  return fetch(url, { headers, signal, cache: 'no-store' });
}

// Begins anew: what is open is over.
function open() {
  stop();
  attempt();
}

function stop() {
  stream?.abort();
  stream = null;
}

// Begins to rest when no page can be seen any more, and hears all again when one can.
function restOrHear() {
  if (state !== 'live') return;
  clearTimeout(next);
  if (unseen()) next = setTimeout(open, REST_MS);
  else if (rests) open();
}

// Asks for the stream, and once more in a while if no answer comes: of several attempts the first that is answered
// wins.
async function attempt() {
  clearTimeout(next);
  next = setTimeout(attempt, AGAIN_MS * (0.8 + Math.random() * 0.2));
  const ours = new AbortController();
  const asked = token;
  attempts.add(ours);
  const patience = setTimeout(() => ours.abort(), PATIENCE_MS);
  const path = unseen() ? 'said' : 'listen';
  const answer = await ask(path, { as: 'json', event: '*', ...(last ? { since: last } : { last: 200 }) }, ours.signal)
    .catch(() => null);
  attempts.delete(ours);
  if (stream || asked !== token) return ours.abort();
  if (!answer) return become('lost');
  if (answer.ok && answer.headers.get('Content-Type')?.includes('ndjson')) {
    rests = path === 'said';
    return hear(answer, ours, patience);
  }
  ours.abort();
  clearTimeout(next);
  next = setTimeout(attempt, PATIENCE_MS);
  become(answer.status === 401 ? 'token' : 'refused');
}

async function hear(answer, ours, patience) {
  stream = ours;
  attempts.forEach((other) => other.abort());
  clearTimeout(next);
  word = Date.now();
  const told = answer.headers.get('Aloud-Heartbeat'); // in seconds; a rest has none
  if (told) heartbeat = 1000 * told;
  try {
    const lines = read(answer.body);
    await stands(ours.signal, answer); // what comes meanwhile waits in the stream
    clearTimeout(patience);
    become('live');
    restOrHear();
    for await (const line of lines) {
      if (stream !== ours) return;
      if (line) heard(JSON.parse(line));
    }
    if (rests) return tellHidden(stop());
  } catch {} // the network, or we, have ended it
  if (stream !== ours) return;
  stop();
  become('lost');
  clearTimeout(next);
  next = setTimeout(attempt, 200 * (1 + Math.random()));
}

// How everything stands: the things, and the hosts with their figures. A page that is hidden needs a part of them: what
// is wrong.
async function stands(signal, { headers }) {
  const date = Date.parse(headers.get('Date'));
  skew = Math.abs(date - Date.now()) > 2000 ? date - Date.now() : 0;
  const part = rests && model.newest;
  const query = { as: 'json', ...(part && { status: 'bad,warn' }) };
  const now = await ask('now', query, signal);
  const hosts = await ask('hosts', query, signal); // it may be newer, never older
  if (!now.ok || !hosts.ok) throw new Error('no answer to believe');
  const newest = Number(now.headers.get('Aloud-Id')) || 0;
  push({ things: await now.json(), hosts: await hosts.json(), newest, part, now: Date.now() + skew, skew });
}

// The lines of `body`. An empty one is a heartbeat.
async function* read(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done || rest.length > 4e6) return;
    word = Date.now();
    if (value === '\n') tell(news());
    const lines = (rest + value).split('\n');
    rest = lines.pop();
    yield* lines;
  }
}

function heard(said) {
  const word = wordOf(said);
  last = Math.max(last, word.id);
  word.time ||= Date.now() + skew;
  if (said.after) {
    Object.assign(word, { id: 0, text: 'Messages may be missing here.' });
    if (rests) model.newest = 0; // the next time all is asked for
  }
  push({ heard: word });
}

function push(item) {
  model.apply(item);
  if (batch.push(item) === 1) setTimeout(flush, Math.max(10, flushed + 100 - Date.now()));
}

function flush() {
  if (batch.length) tell({ batch, ...news() }, false);
  batch = [];
  flushed = Date.now();
}

// A hidden page is told what is wrong, when that changes, and now and then that there was a word. The rest it gets when
// it is shown.
function tellHidden() {
  if (![...ports.values()].includes(true)) return;
  const wrong = wrongIn(model);
  const text = JSON.stringify(wrong);
  if (known === text && Date.now() - knownAt < 5000) return;
  known = text;
  knownAt = Date.now();
  tell({ known: wrong, ...news() }, true);
}

export function join(port) {
  port.onmessage = ({ data }) => {
    if (data.bye) return ports.delete(port);
    if (!model.hosts.size) model.saved = data.saved;
    if (!ports.has(port) || (ports.get(port) && !data.hidden)) {
      flush();
      port.postMessage({ model: { ...model }, skew, ...news() });
    }
    ports.set(port, data.hidden);
    knownAt = 0;
    if (data.token === token) return restOrHear();
    token = data.token;
    become('connecting');
    open();
  };
  port.start?.();
}

// A frozen server, a cable that is out, a machine that slept: no end of the connection tells of them.
setInterval(() => {
  if (!stream) return;
  tellHidden();
  if (Date.now() - word < 2.5 * heartbeat) return;
  open();
  become('lost');
}, 500);

if (!globalThis.document) globalThis.onconnect = ({ ports: [port] }) => join(port);
