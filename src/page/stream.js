// The one stream: a shared worker where there is one, so that all tabs hear through one connection of the six that a
// browser allows; else a part of the page. Comes back by itself, with the last id it heard.

import { Model } from './model.js';

// An EventSource hears only the names it is told; what is said under another one is not on the page.
const EVENTS =
  'message ci ci.update host host-state gap error open alarm alert build chat deploy info log notice push release ' +
  'status test warning';
const HISTORY = 200; // messages
const BATCH_MS = 10;
const WAIT_MS = [1000, 30_000];
const SLEPT_MS = 60_000;

const model = new Model();
const ports = new Set();
let source = null;
let state = 'connecting';
let token = '';
let last = 0;
let wait = WAIT_MS[0];
let skew = 0; // how far the server's clock is ahead of ours
let batch = [];
let retry = 0;

const address = (path, query = {}) => {
  const url = new URL(`../${path}`, import.meta.url);
  Object.entries(token ? { ...query, token } : query).forEach(([key, value]) => url.searchParams.set(key, value));
  return url;
};
const tell = (what) => ports.forEach((port) => port.postMessage(what));
const become = (next) => tell({ state: (state = next) });

function open() {
  clearTimeout(retry);
  source?.close();
  become('connecting');
  const from = last ? { since: last } : { last: HISTORY };
  const ours = (source = new EventSource(address('listen', { event: '*', as: 'sse', ...from })));
  const hear = (event) => {
    // Somebody may say something under the name of EventSource's own events.
    if (event instanceof MessageEvent) return ours === source && heard(event);
    if (event.type === 'open') return opened();
    become('lost');
    if (ours.readyState === EventSource.CLOSED && ours === source) later();
  };
  EVENTS.split(' ').forEach((name) => ours.addEventListener(name, hear));
}

async function opened() {
  wait = WAIT_MS[0];
  become('live');
  try {
    const answer = await fetch(address('hosts', { as: 'json' }));
    const now = Date.parse(answer.headers.get('Date'));
    skew = Math.abs(now - Date.now()) > 2000 ? now - Date.now() : 0;
    if (answer.ok) push({ hosts: await answer.json(), now, skew });
  } catch {} // the stream will tell
}

// An EventSource gives up on any answer but 200.
function later() {
  clearTimeout(retry);
  retry = setTimeout(async () => {
    const answer = await fetch(address('listen'), { method: 'HEAD' }).catch(() => null);
    if (answer?.status === 401) become('token');
    else if (answer?.ok) open();
    else later();
  }, wait * (0.75 + Math.random() / 2));
  wait = Math.min(2 * wait, WAIT_MS[1]);
}

function heard({ type, data, lastEventId }) {
  let said = JSON.parse(data);
  if (type === 'gap' && 'after' in said) said = { message: 'Messages may be missing here.' };
  last = Math.max(last, Number(lastEventId) || 0);
  const { name = '', message = '', channel = '', status, fields } = said;
  const time = Date.parse(said.time) || Date.now() + skew;
  const id = type === 'gap' ? '' : lastEventId;
  push({ heard: { id, event: type, time, name, text: message, channel, status, fields } });
}

function push(item) {
  model.apply(item);
  if (batch.push(item) === 1) setTimeout(flush, BATCH_MS);
}

function flush() {
  if (batch.length) tell({ batch });
  batch = [];
}

export function join(port) {
  port.onmessage = ({ data }) => {
    if (data.bye) return ports.delete(port);
    if (!('token' in data)) return;
    if (!ports.has(port)) {
      flush();
      port.postMessage({ model: { ...model }, skew, state });
      ports.add(port);
    }
    if (!source || data.token !== token) {
      token = data.token;
      open();
    }
  };
  port.start?.();
}

addEventListener('online', () => state === 'lost' && open());

// A machine that slept finds its connection dead and is not told so.
let looked = Date.now();
setInterval(() => {
  if (Date.now() - looked > SLEPT_MS && state === 'live') open();
  looked = Date.now();
}, 5000);

if (!globalThis.document) globalThis.onconnect = ({ ports: [port] }) => join(port);
