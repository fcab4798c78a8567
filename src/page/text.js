// Words and figures as the page writes them. No part of it knows the page.

const TIME = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit' });
const DAY = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' });

// What a status means, as the server understands it: bad, warn, ok, or nothing of these.
const STANDINGS = {
  bad: ['bad', 'down', 'failed', 'firing', 'error', 'critical'],
  warn: ['warn', 'late', 'waiting', 'degraded'],
  ok: ['ok', 'up', 'passed', 'resolved', 'success'],
};

export function standing(status) {
  return Object.keys(STANDINGS).find((each) => STANDINGS[each].includes(status)) ?? '';
}

// `failed, acknowledged`: as it stood when somebody took it up. It is shown dimmed, and is in no headline.
export const ACKNOWLEDGED = ', acknowledged';

export const isSeen = (status) => status.endsWith(ACKNOWLEDGED);

// How it stands, whether somebody has seen that or not.
export function plain(status) {
  return isSeen(status) ? status.slice(0, -ACKNOWLEDGED.length) : status;
}

// The time of day, or the day where that is not today.
export function when(time, now = Date.now()) {
  return new Date(time).toDateString() === new Date(now).toDateString() ? TIME.format(time) : DAY.format(time);
}

export function span(duration) {
  const s = Math.max(0, Math.floor(duration));
  const two = (one, unit, other, less) => `${Math.floor(s / one)} ${unit} ${Math.floor((s % one) / other)} ${less}`;
  if (s < 60) return `${s} s`;
  return s < 3600 ? two(60, 'min', 1, 's') : s < 86_400 ? two(3600, 'h', 60, 'min') : two(86_400, 'd', 3600, 'h');
}

// At most `most` characters of a name, its beginning and its end.
export function shortened(name, most = 28) {
  const letters = [...name.replace(/\s+/g, ' ').trim()];
  const half = Math.floor((most - 1) / 2);
  return letters.length > most ? `${letters.slice(0, half).join('')}…${letters.slice(-half).join('')}` : letters.join('');
}

// A number with no more digits than one reads.
export function figure(value) {
  if (!Number.isFinite(value)) return '';
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 1e-4)) return value.toExponential(2);
  return String(Number(value.toFixed(size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 2 : 4)));
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
