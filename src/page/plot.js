// Figures as the paths of an SVG. No part of it knows the page.

import { figure, plain } from './text.js';

// The load as it was heard, the newest at the right; the height is a load of 1 at least.
export function line(loads) {
  const most = Math.max(1, ...loads);
  const point = (load, place) => [100 + 2.5 * (place + 1 - loads.length), (22 - (20 * load) / most).toFixed(1)];
  return loads.map(point).join(' ');
}

// Values over their time, in a picture of 100 by 24: a line, the area below it, and its range in words. The line has no
// part where nothing was known for more than `gap` seconds.
export function plot(recent, gap = Infinity) {
  const values = recent.map(([, value]) => value).filter(Number.isFinite);
  if (values.length < 2) return { line: '', area: '', range: values.map(figure).join(''), seconds: 0 };
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const from = recent[0][0];
  const seconds = recent.at(-1)[0] - from;
  const y = (value) => (most > least ? 22.5 - (21 * (value - least)) / (most - least) : 12);
  let [path, before] = ['', -Infinity];
  for (const [time, value] of recent) {
    if (!Number.isFinite(value)) continue;
    const x = (100 * (time - from)) / (seconds || 1);
    path += `${path && time - before <= gap ? 'L' : 'M'}${x.toFixed(2)} ${y(value).toFixed(2)}`;
    before = time;
  }
  return { line: path, area: `${path}L100 24L0 24Z`, range: `${figure(least)} – ${figure(most)}`, seconds };
}

const bar = (x, width, height) => `M${x.toFixed(2)} 24v-${height.toFixed(1)}h${width.toFixed(2)}v${height.toFixed(1)}z`;

// The newest runs of a pipeline, one bar each, as high as they were long: a path for each state.
export function runs(recent) {
  const longest = Math.max(1, ...recent.map(([, , took]) => took ?? 0));
  const paths = { passed: '', failed: '', canceled: '' };
  recent.forEach(([, state, took], place) => {
    paths[state] += bar(100 - 5 * (recent.length - place), 3.6, 7 + (15 * (took ?? longest / 2)) / longest);
  });
  return paths;
}

// The last 24 hours of a host, by its changes: a path for each state. What was before the first of them is not known.
export function day(recent, now) {
  const paths = { up: '', late: '', down: '', failed: '' };
  const x = (time) => Math.max(0, 100 - (100 * (now / 1000 - time)) / 86_400);
  recent.forEach(([time, word], place) => {
    const [from, to] = [x(time), place + 1 < recent.length ? x(recent[place + 1][0]) : 100];
    const state = plain(word) in paths ? plain(word) : 'up';
    if (to > 0) paths[state] += bar(Math.min(from, 99), Math.max(to - from, 0.6), 24);
  });
  return paths;
}
