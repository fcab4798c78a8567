// Tokens, asked for once each: one to listen, and maybe another one to speak. And what is said through them.

import { write } from './rows.js';

export class Door {
  // `enter` is called with a new token to listen.
  constructor(dialog, store, enter) {
    Object.assign(this, { dialog, store, enter });
  }

  toListen() {
    const words = this.store.aloudToken ? 'This token is not taken to listen, or no more.' : 'This server asks for a token to listen.';
    this.ask('aloudToken', words, this.enter);
  }

  toSpeak(then) {
    const { aloudSay, aloudToken } = this.store;
    const words = aloudToken ? 'To speak here takes another token than to listen.' : 'To speak here takes a token.';
    this.ask('aloudSay', aloudSay ? 'This token is not taken to speak.' : words, then);
  }

  ask(key, words, then) {
    const { dialog, store } = this;
    write(dialog.querySelector('h2'), words);
    const box = dialog.querySelector('input');
    box.value = '';
    dialog.returnValue = '';
    dialog.dataset.key = key;
    if (!dialog.open) dialog.showModal();
    dialog.onclose = () => {
      const token = box.value.trim();
      if (!token || dialog.returnValue !== 'enter') return;
      store[key] = token;
      then();
    };
  }

  // It was let in to listen.
  welcome() {
    if (this.dialog.open && this.dialog.dataset.key === 'aloudToken') this.dialog.close();
  }

  // Says `fields` on `channel`; `again` does so with a new token. Returns whether it was said; `trouble` tells why not.
  async say(channel, fields, trouble, again) {
    write(trouble, '');
    try {
      const token = this.store.aloudSay ?? this.store.aloudToken;
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      const url = new URL(`../say${channel && `/${channel}`}`, import.meta.url);
      const answer = await fetch(url, { method: 'POST', body: new URLSearchParams(fields), headers });
      if (answer.ok) return true;
      write(trouble, answer.status === 401 ? 'Not said: it takes a token.' : (await answer.text()).replace(/^aloud: /, ''));
      if (answer.status === 401) this.toSpeak(again ?? (() => this.say(channel, fields, trouble)));
    } catch {
      write(trouble, 'The server cannot be reached; send it again in a moment.');
    }
    return false;
  }
}
