// The page: hears the stream, speaks, and has drawn what is known. This script is the shared worker, too.

import { Door } from './door.js';
import { Model } from './model.js';
import { write } from './rows.js';
import { Screen } from './screen.js';
import { join } from './stream.js';
import { Bell } from './tell.js';
import { View } from './view.js';
import { hang } from './wall.js';

const CONNECTION = { lost: 'connection lost', token: 'token needed', refused: 'turned away' };
const SAVED_MS = 600_000; // so long beats are kept for a page that is loaded anew

const find = (selector) => document.querySelector(selector);

class Page {
  constructor() {
    this.store = (() => { try { return localStorage; } catch { return {}; } })(); // it may be forbidden
    const { store } = this;
    this.door = new Door(find('#door'), store, () => this.knock());
    const say = (...words) => this.door.say(...words);
    this.view = new View(find, () => this.screen.draw());
    this.screen = new Screen(find, this.view, new Bell(find('#bell'), store), say);
    Object.assign(this.screen, { model: new Model(), skew: 0, link: { state: 'connecting', word: Date.now(), silence: 40_000 } });
    store.aloudToken = this.view.token() ?? store.aloudToken ?? '';
    find('#connection').onclick = () => this.screen.link.state === 'token' && this.door.toListen();
    if (this.view.wall) hang(this.screen.talk, document.querySelectorAll('.scroll[role=region]'));
    this.hint();
    this.speak();
    this.screen.draw();
    addEventListener('pagehide', () => this.leave());
    addEventListener('pageshow', ({ persisted }) => persisted && this.knock());
    setTimeout(() => (find('#talk').ariaLive = 'polite'), 3000); // what is there already is not read out
    this.look().then(() => this.listen());
  }

  // The stream: by a shared worker where there is one, else in the page. Another build has another worker.
  listen() {
    const alone = () => {
      const { port1, port2 } = new MessageChannel();
      join(port1);
      this.hear(port2);
    };
    try {
      const policy = globalThis.trustedTypes?.createPolicy('aloud', { createScriptURL: () => import.meta.url });
      const worker = new SharedWorker(policy?.createScriptURL('') ?? import.meta.url, { type: 'module', name: this.build });
      worker.onerror = alone;
      this.hear(worker.port);
    } catch {
      alone();
    }
  }

  hear(port) {
    this.port = port;
    port.onmessage = ({ data }) => this.take(data);
    this.knock();
  }

  take(data) {
    const { screen } = this;
    if (data.model) Object.assign(screen, { model: Object.assign(new Model(), data.model), drawn: {} });
    for (const item of [data, ...(data.batch ?? [])]) {
      screen.skew = item.skew ?? screen.skew;
      screen.model.apply(item);
    }
    if (data.state) this.tell(data);
    screen.draw();
  }

  knock() {
    this.port.postMessage({ token: this.store.aloudToken, saved: this.saved() });
  }

  tell({ state, word, silence }) {
    const before = this.screen.link.state;
    Object.assign(this.screen, { link: { state, word, silence }, hadToken: Boolean(this.store.aloudToken) });
    find('#connection').dataset.state = state;
    write(find('#connection'), CONNECTION[state] ?? state);
    if (state === before) return;
    if (state === 'token') this.door.toListen();
    if (state !== 'live') return;
    this.door.welcome();
    this.look();
  }

  // After an update of the server this page is an old one. It is loaded anew as soon as nobody types.
  async look() {
    const answer = await fetch(import.meta.url, { method: 'HEAD', cache: 'no-store' }).catch(() => null);
    const build = answer?.headers.get('ETag') ?? this.build;
    this.build ??= build;
    if (build === this.build) return;
    if (!find('dialog[open]') && !find('#message').value) location.reload();
    else setTimeout(() => this.look(), 5000);
  }

  // The beats that were heard stay for the page that comes after this one, because the server keeps none.
  leave() {
    this.port?.postMessage({ bye: true });
    const heard = [...this.screen.model.hosts.values()].filter(({ loads }) => loads.length);
    const hosts = Object.fromEntries(heard.map(({ name, loads, hours }) => [name, { loads, hours }]));
    try {
      this.store.aloudBeats = JSON.stringify({ at: Date.now(), hosts });
    } catch {} // there is no room
  }

  saved() {
    const { at, hosts } = JSON.parse(this.store.aloudBeats ?? '{}');
    return Date.now() - at < SAVED_MS ? hosts : {};
  }

  speak() {
    const [form, name, message] = ['#say', '#name', '#message'].map(find);
    name.value = this.store.aloudName ?? '';
    name.onchange = () => (this.store.aloudName = name.value);
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
      const said = await this.door.say(this.view.channel, { name: name.value, message: text }, find('#trouble'), () => form.requestSubmit());
      saying = false;
      if (!said) return;
      if (message.value === text) message.value = '';
      this.screen.talk.toNewest();
    };
  }

  // Commands that work here, behind a proxy's path and TLS too.
  hint() {
    const here = (location.protocol === 'https:' ? location.origin : location.host) + location.pathname.replace(/\/$/, '');
    write(find('.talk code'), `curl ${here}/say -d 'name=Florian&message=Hi'`);
    write(find('.pipelines code'), `curl ${here}/say -d 'event=ci&message=app is green&project=app&status=passed'`);
    write(find('.hosts code'), `curl ${here}/beat/$(uname -n)`);
    write(find('.numbers code'), `curl ${here}/say -d 'event=number&name=temp&value=21.5&unit=°C'`);
  }
}

if (globalThis.document) new Page();
