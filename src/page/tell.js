// Being told: a sound and, where the page is served over https or from this machine, the browser's own notification, when
// something turns bad. Switched on by a person: no browser lets a page be loud by itself.

const PITCHES = [880, 660];
const SECONDS = 0.5;

export class Bell {
  constructor(button, store) {
    Object.assign(this, { button, store });
    button.onclick = () => this.turn(!this.on);
    if (store.aloudBell) this.turn(true, false);
    // Loaded anew, it may sound once the page was touched.
    for (const touch of ['pointerdown', 'keydown']) addEventListener(touch, () => this.on && this.context.resume());
  }

  turn(on, asked = true) {
    this.on = on;
    this.button.ariaPressed = on;
    this.store.aloudBell = on ? 'on' : '';
    if (!on) return;
    this.context ??= new AudioContext();
    if (!asked) return;
    this.sound();
    if (isSecureContext && globalThis.Notification?.permission === 'default') Notification.requestPermission();
  }

  sound() {
    const { context } = this;
    PITCHES.forEach((pitch, place) => {
      const [tone, gain, at] = [context.createOscillator(), context.createGain(), context.currentTime + 0.2 * place];
      tone.frequency.value = pitch;
      gain.gain.setValueAtTime(0.3, at);
      gain.gain.exponentialRampToValueAtTime(0.001, at + SECONDS);
      tone.connect(gain).connect(context.destination);
      tone.start(at);
      tone.stop(at + SECONDS);
    });
  }

  // Tells of all that is `bad` where something of it was not so before.
  hear(bad, text) {
    const newly = this.known && [...bad].some((place) => !this.known.has(place));
    this.known = bad;
    if (!newly || !this.on) return;
    this.sound();
    if (document.hasFocus() || globalThis.Notification?.permission !== 'granted') return;
    try {
      new Notification('aloud', { body: text, tag: 'aloud', icon: 'page/icon.svg' });
    } catch {} // a phone's browser has them for service workers alone
  }
}
