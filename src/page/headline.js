// The state of everything as one sentence: what one reads from across the room. All that is red or amber on the page is
// in it. It begins with how things stand, so that no long name hides that.

import { figure, share, shortened, span, standing } from './text.js';

export const FULL = 95; // percent of a disk

// What is wrong in `known`, the worst first: [how it stands, names, whether it is bad].
function troubles({ hosts, runs, things }) {
  const named = (list, state) => list.filter((each) => each.state === state);
  const hostNames = (state) => named(hosts, state).map(({ name }) => shortened(name));
  const others = things.filter(({ event }) => event !== 'number');
  const alerts = (wanted) => others.filter(({ status }) => standing(status) === wanted);
  const word = (wanted, usual) => {
    const words = new Set(alerts(wanted).map(({ status }) => status));
    return words.size === 1 ? [...words][0].replace(/^./, (letter) => letter.toUpperCase()) : usual;
  };
  const full = hosts.filter(({ figures, state }) => state !== 'down' && share(figures, 'disk') >= FULL);
  const numbers = things.filter(({ event, status }) => event === 'number' && /bad|warn/.test(standing(status)));
  const title = ({ key, name, channel }) => shortened(key || name || channel);
  return [
    ['Down', hostNames('down'), true],
    ['Failed', [...hostNames('failed'), ...named(runs, 'failed').map(({ project, ref }) => `${shortened(project)} ${shortened(ref, 18)}`.trim())], true],
    [word('bad', 'Bad'), alerts('bad').map(title), true],
    ['Disk full', full.map(({ name, figures }) => `${shortened(name)} ${Math.floor(share(figures, 'disk'))} %`), true],
    ['Out of bounds', numbers.map((number) => `${title(number)} ${figure(Number(number.value))} ${number.unit}`.trim()),
      numbers.some(({ status }) => standing(status) === 'bad')],
    ['Late', hostNames('late'), false],
    [word('warn', 'Not well'), alerts('warn').map(title), false],
  ].filter(([, names]) => names.length);
}

// As many names as there is room for.
function sentence([state, names], _, found) {
  const shown = names.slice(0, found.length > 2 ? 1 : names.length === 3 ? 3 : 2);
  const more = names.length - shown.length;
  return `${state}: ${shown.join(', ')}${more ? ` and ${more} more` : ''}.`;
}

// `known` is what the page knows; `link` how it is connected: its state, for how many milliseconds there was no word, and
// how many may pass so. Returns the text, its class, and how many things are bad.
export function headline(known, { state, silent, most }) {
  const found = troubles(known);
  const count = found.filter(([, , bad]) => bad).reduce((sum, [, names]) => sum + names.length, 0);
  const tell = (text, level) => ({ text, level, count, stale: level === 'lost' });
  if (state === 'token') return tell(known.hadToken ? 'The server takes this token no more.' : 'The server wants a token.', 'lost');
  if (state === 'refused') return tell('The server is there, but turns us away.', 'lost');
  if (state !== 'connecting' && (silent > most || (state === 'lost' && silent > Math.min(most, 5000)))) {
    return tell(`No word from the server for ${span(silent / 1000)}.`, 'lost');
  }
  if (found.length) return tell(found.map(sentence).join(' '), count ? 'bad' : 'warn');
  if (state !== 'live') return tell('Connecting.', '');
  const some = known.hosts.length + known.runs.length + known.things.length;
  return tell(some ? 'All is well.' : 'Listening.', '');
}
