// The state of everything as one sentence: what one reads from across the room. All that is red or amber on the page is
// in it. It begins with how things stand, so that no long name hides that.

import { WRONG, all, figure, share, shortened, span, those } from './text.js';

// Whether a disk, or the memory, is 95 % full, or as full as its host says that it may be.
export const isFull = (figures = {}, what = 'disk') => share(figures, what) >= (figures[what + '_above'] ?? 95);

// What is wrong in `known`, the worst first: [how it stands, names, whether it is bad, the places of what is named].
// What somebody has acknowledged is not in it.
function troubles(known) {
  const [hosts, runs, things] = [known.hosts, known.runs, known.things].map((list) => list.filter(({ seen }) => !seen));
  const numbers = things.filter(({ event }) => event === 'number');
  const alerts = [...things.filter(({ event }) => event !== 'number'), ...those(runs, 'warn')];
  const word = (wanted, usual) => {
    const words = new Set(those(alerts, wanted).map(({ status }) => status));
    return words.size === 1 ? [...words][0].replace(/^./, (letter) => letter.toUpperCase()) : usual;
  };
  const full = hosts.filter(({ figures, state }) => state !== 'down' && isFull(figures));
  const title = ({ project, ref, key, name, channel }) =>
    project ? all(shortened(project), shortened(ref, 18)).join(' ') : shortened(key || name || channel);
  const disk = ({ name, figures }) => `${shortened(name)} ${Math.floor(share(figures, 'disk'))} %`;
  const number = (thing) => all(title(thing), figure(Number(thing.fields.value)), thing.fields.unit).join(' ');
  const beyond = those(numbers, 'bad');
  return [
    ['Down', those(hosts, 'down'), title, true],
    ['Failed', those([...hosts, ...runs], 'failed'), title, true],
    [word('bad', 'Bad'), those(alerts, 'bad'), title, true],
    ['Disk full', full, disk, true],
    ['Out of bounds', [...beyond, ...those(numbers, 'warn')], number, beyond.length > 0],
    ['Late', those(hosts, 'late'), title, false],
    [word('warn', 'Not well'), those(alerts, 'warn'), title, false],
  ].flatMap(([state, list, name, bad]) => {
    return list.length ? [[state, list.map(name), bad, list.map(({ place }) => place)]] : [];
  });
}

export const isWrong = ({ state, figures }) => WRONG.test(state) || isFull(figures);

// Of all that is in `model` what a headline can be about, and whether there is anything.
export function wrongIn(model) {
  const list = (kind) => [...model[kind].values()].filter(isWrong).map(({ loads, hours, recent, ...rest }) => rest);
  const [hosts, runs, things] = ['hosts', 'runs', 'things'].map(list);
  return { hosts, runs, things, some: model.hosts.size + model.runs.size + model.things.size };
}

// As many names as there is room for.
function sentence([state, names], _, found) {
  const shown = names.slice(0, found.length > 2 ? 1 : names.length === 3 ? 3 : 2);
  const more = names.length - shown.length;
  return `${state}: ${shown.join(', ')}${more ? ` and ${more} more` : ''}.`;
}

// `known` is what the page knows; `link` how it is connected: its state, for how many milliseconds there was no word,
// and how many may pass so. Returns the text, its class, and how many things are bad.
export function headline(known, { state, silent, silence: most }) {
  const found = troubles(known);
  const bad = new Set(found.flatMap(([, , bad, places]) => (bad ? places : [])));
  const tell = (text, level) => ({ text, level, bad, stale: level === 'lost' });
  const token = known.hadToken ? 'takes this token no more' : 'wants a token';
  if (state === 'token') return tell(`The server ${token}.`, 'lost');
  if (state === 'refused') return tell('The server is there, but turns us away.', 'lost');
  if (state !== 'connecting' && (silent > most || (state === 'lost' && silent > Math.min(most, 5000)))) {
    return tell(`No word from the server for ${span(silent / 1000)}.`, 'lost');
  }
  if (found.length) return tell(found.map(sentence).join(' '), bad.size ? 'bad' : 'warn');
  if (state !== 'live') return tell('Connecting.', '');
  const some = known.some ?? known.hosts.length + known.runs.length + known.things.length;
  return tell(some ? 'All is well.' : 'Listening.', '');
}
