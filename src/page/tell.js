// Being told: a sound and, where the page is served over https or from this machine, the browser's own notification,
// when something turns bad. Switched on by a person: no browser lets a page be loud by itself.

import { store } from './door.js';
import { find } from './rows.js';

let audio;
let told; // what was bad before

function turn(on) {
  find('#bell').ariaPressed = Boolean(on);
  store.aloudBell = on ? 'on' : '';
  if (on) audio ??= new AudioContext();
}

function sound() {
  [880, 660].forEach((pitch, place) => {
    const [tone, gain, at] = [audio.createOscillator(), audio.createGain(), audio.currentTime + 0.2 * place];
    tone.frequency.value = pitch;
    gain.gain.setValueAtTime(0.3, at);
    gain.gain.exponentialRampToValueAtTime(0.001, at + 0.5);
    tone.connect(gain).connect(audio.destination);
    tone.start(at);
    tone.stop(at + 0.5);
  });
}

export function hangBell() {
  turn(store.aloudBell);
  find('#bell').onclick = () => {
    turn(!store.aloudBell);
    if (!store.aloudBell) return;
    sound();
    if (isSecureContext) globalThis.Notification?.requestPermission();
  };
  onpointerdown = onkeydown = () => audio?.resume(); // of a page that was loaded anew
}

// Tells of all that is `bad` where something of it was not so before.
export function tellOf(bad, text) {
  const newly = told && [...bad].some((place) => !told.has(place));
  told = bad;
  if (!newly || !store.aloudBell) return;
  sound();
  if (document.hasFocus() || globalThis.Notification?.permission !== 'granted') return;
  try {
    new Notification('aloud', { body: text, tag: 'aloud' });
  } catch {} // a phone's browser has them for service workers alone
}
