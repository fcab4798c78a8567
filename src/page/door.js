// What the page says, and tokens: one to listen, and maybe another one to speak, each asked for once.

import { find, write } from './rows.js';

export const store = (() => { try { return localStorage; } catch { return {}; } })(); // it may be forbidden

// Asks for the token `key`, which is needed to `act`, and does `then` with it.
export function enter(key, act, then) {
  const [door, box] = [find('#door'), find('#token')];
  write(find('#door h2'), `${store[key] ? 'This token is not taken' : 'This server wants a token'} to ${act}.`);
  box.value = '';
  door.returnValue = '';
  door.dataset.key = key;
  if (!door.open) door.showModal();
  door.onclose = () => {
    const token = box.value.trim();
    if (!token || !door.returnValue) return; // Escape
    store[key] = token;
    then();
  };
}

// Says `fields` on `channel`; `again` does so with a new token. Returns whether it was said; `trouble` tells why not.
export async function say(channel, fields, trouble, again) {
  write(trouble, '');
  try {
    const token = store.aloudSay || store.aloudToken;
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const url = new URL(`../say${channel && `/${channel}`}`, import.meta.url);
    const answer = await fetch(url, { method: 'POST', body: new URLSearchParams(fields), headers });
    if (answer.ok) return true;
    if (answer.status === 401) enter('aloudSay', 'speak', again ?? (() => say(channel, fields, trouble)));
    const why = (await answer.text()).replace(/^aloud: /, '');
    write(trouble, answer.status === 401 ? 'Not said: it takes a token.' : why);
  } catch {
    write(trouble, 'The server cannot be reached.');
  }
}
