// Words and figures as the page writes them. No part of it knows the page.

const TIME = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

// What a status means, as the server understands it: bad, warn, ok, or nothing of these.
const STANDINGS = {
  bad: /^(bad|down|failed|firing|error|critical)$/,
  warn: /^(warn|late|waiting|degraded)$/,
  ok: /^(ok|up|passed|resolved|success)$/,
};

// The name of the first of `patterns` that `word` is like.
export const like = (patterns, word) => Object.keys(patterns).find((each) => patterns[each].test(word));

export const standing = (status) => like(STANDINGS, status) ?? '';

// `failed, acknowledged`: as it stood when somebody took it up. It is shown dimmed, and is in no headline.
export const ACKNOWLEDGED = ', acknowledged';

export const isSeen = (status) => status.endsWith(ACKNOWLEDGED);

// How it stands, whether somebody has seen that or not.
export const plain = (status) => status.replace(ACKNOWLEDGED, '');

// What is in the headline until somebody has acknowledged it.
export const WRONG = /bad|warn|down|late|failed/;

// Those of `list` that are in the state `wanted`.
export const those = (list, wanted) => list.filter(({ state }) => state === wanted);

export const all = (...words) => words.filter(Boolean);

export const nameOf = ({ channel, key }) => all(channel, key).join('/');

// The time of day, or the day where that is not today.
export function when(time, now = Date.now()) {
  return new Date(time).toDateString() === new Date(now).toDateString() ? TIME.format(time) : DAY.format(time);
}

const UNITS = { d: 86_400, h: 3600, min: 60, s: 1 };

// So many seconds, in the two largest units.
export function span(duration) {
  let rest = Math.max(0, Math.floor(duration));
  const names = Object.keys(UNITS).filter((unit) => unit === 's' || duration >= UNITS[unit]).slice(0, 2);
  return names.map((unit) => {
    const count = Math.floor(rest / UNITS[unit]);
    rest %= UNITS[unit];
    return `${count} ${unit}`;
  }).join(' ');
}

// At most `most` characters of a name, its beginning and its end.
export function shortened(name, most = 28) {
  const letters = [...name.replace(/\s+/g, ' ').trim()];
  const half = Math.floor((most - 1) / 2);
  if (letters.length > most) letters.splice(half, letters.length - 2 * half, '…');
  return letters.join('');
}

// A number with no more digits than one reads.
export function figure(value) {
  if (!Number.isFinite(value)) return '';
  const large = Math.abs(value);
  return large < 1e15 ? String(Number(large < 1000 ? value.toPrecision(4) : value.toFixed())) : value.toExponential(2);
}

// So many bytes.
export function size(bytes) {
  const step = bytes < 1000 ? 0 : Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${figure(bytes / 1000 ** step)} ${['B', 'kB', 'MB', 'GB', 'TB'][step]}`;
}

// How much of `what` a host uses, in percent; NaN if it does not say.
export function share(figures, what) {
  return (100 * figures[`${what}_used`]) / figures[`${what}_total`];
}
