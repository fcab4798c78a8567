// The page: hears the stream, speaks, and has drawn what is known. This script is the shared worker, too.

import { enter, say, store } from './door.js';
import { Model } from './model.js';
import { find, findAll, write } from './rows.js';
import { beginToDraw, drawAnew, drawSoon, page, talk } from './screen.js';
import { join } from './stream.js';
import { hangBell } from './tell.js';
import { filter, isWall, showView, tokenOfAddress } from './view.js';
import { hangOnWall } from './wall.js';

const CONNECTION = { lost: 'connection lost', token: 'token needed', refused: 'turned away' };

let build; // names the page's script
let way; // the port to the stream

// The stream: by a shared worker where there is one, else in the page. Another build has another worker.
function listen() {
  try {
    const policy = globalThis.trustedTypes?.createPolicy('aloud', { createScriptURL: () => import.meta.url });
    const worker = new SharedWorker(policy?.createScriptURL('') ?? import.meta.url, { type: 'module', name: build });
    worker.onerror = alone;
    use(worker.port);
  } catch {
    alone();
  }
}

function alone() {
  const { port1, port2 } = new MessageChannel();
  join(port1);
  use(port2);
}

function use(port) {
  way = port;
  port.onmessage = ({ data }) => {
    if (data.model) {
      page.model = Object.assign(new Model(), data.model);
      drawAnew();
    }
    if (data.model || data.known) page.known = data.known;
    for (const item of [data, ...(data.batch ?? [])]) {
      page.skew = item.skew ?? page.skew;
      page.model.apply(item);
    }
    if (data.state) showLink(data);
    drawSoon();
  };
  knock();
}

function knock() {
  const { at, hosts } = JSON.parse(store.aloudBeats ?? '{}');
  way.postMessage({ token: store.aloudToken, saved: Date.now() - at < 600_000 ? hosts : {}, hidden: document.hidden });
}

function showLink({ state, word, silence }) {
  const before = page.link.state;
  page.link = { state, word, silence };
  find('#connection').dataset.state = state;
  write(find('#connection'), CONNECTION[state] ?? state);
  if (state === before) return;
  if (state === 'token') enterToListen();
  if (state !== 'live') return;
  if (find('#door').dataset.key === 'aloudToken') find('#door').close();
  look();
}

const enterToListen = () => enter('aloudToken', 'listen', knock);

// After an update of the server this page is an old one. It is loaded anew as soon as nobody types.
async function look() {
  const answer = await fetch(import.meta.url, { method: 'HEAD', cache: 'no-store' }).catch(() => null);
  const newest = answer?.headers.get('ETag') ?? build;
  build ??= newest;
  if (newest === build) return;
  if (find('dialog[open]') || find('#message').value) setTimeout(look, 5000);
  else location.reload();
}

// The beats that were heard stay for the page that comes after this one, because the server keeps none.
function leave() {
  way?.postMessage({ bye: true });
  page.known = null;
  const heard = [...page.model.hosts.values()].map(({ name, loads, hours, heard }) => [name, { loads, hours, heard }]);
  try {
    store.aloudBeats = JSON.stringify({ at: Date.now(), hosts: Object.fromEntries(heard) });
  } catch {} // there is no room
}

function speak() {
  const [form, name, message] = ['#say', '#name', '#message'].map(find);
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
    const said = await say(filter, { name: name.value, message: text }, find('#trouble'), () => form.requestSubmit());
    saying = false;
    if (!said) return;
    if (message.value === text) message.value = '';
    talk.toNewest();
  };
}

function begin() {
  store.aloudToken = tokenOfAddress() ?? store.aloudToken ?? '';
  showView(drawSoon);
  hangBell();
  find('#logo').src = find('[rel=icon]').href;
  speak();
  beginToDraw();
  if (isWall) hangOnWall(talk);
  // Commands that work here, behind a proxy's path and TLS too.
  const { host, origin, pathname, protocol } = location;
  const here = (protocol === 'https:' ? origin : host) + pathname.replace(/\/$/, '');
  findAll('code').forEach((code) => write(code, code.textContent.replace('HERE', here)));
  find('#connection').onclick = () => page.link.state === 'token' && enterToListen();
  onpagehide = leave;
  document.onvisibilitychange = () => way && page.known !== null && knock(); // not while it leaves
  onpageshow = ({ persisted }) => persisted && knock();
  setTimeout(() => (find('#talk').ariaLive = 'polite'), 3000); // what is there already is not read out
  look().then(listen);
}

if (globalThis.document) begin();
