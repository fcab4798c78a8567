// What is known, and no more than fits: the newest of what was said, and the newest word on each thing: pipelines,
// hosts, numbers, alerts. The stream keeps one for tabs that come later, and every tab keeps its own.

import { WRONG, all, isSeen, like, plain, share, standing } from './text.js';

const MOST = {
  said: 2000, characters: 4e6, channels: 100, runs: 200, hosts: 10_000, things: 2000, values: 240, recent: 20,
};
const LOADS_MOST = 40;
const HOURS_MOST = 72;
const HOURS_STEP_S = 300; // of the last hours, one load and one share of memory is known every five minutes
const CI = /^ci\b/;

// What the words for a pipeline's state come to. Any other is as bad as its standing, or waits for something.
const STATES = {
  passed: /^(pass|succe|ok)/i,
  failed: /^(fail|err|bad|timed_out|startup)/i,
  running: /^(run|in_progress|canceling)/i,
  canceled: /^(cancel|skip)/i,
  queued: /^wait/i,
};
const HOST_STATES = ['up', 'late', 'down', 'failed'];

export class Model {
  said = [];
  characters = 0;
  count = 0; // of all that was ever put into `said`
  ids = new Set();
  channels = new Set();
  runs = new Map();
  hosts = new Map();
  things = new Map(); // numbers and alerts
  newest = 0; // the newest word that the server's list of things knew
  listed = 0; // of a page at rest: when its list of hosts was made; words of before are older than the list
  saved = {}; // beats of hosts, as a page heard them before it was loaded anew
  version = { runs: 0, hosts: 0, things: 0 }; // rises with what has to be sorted anew

  // Takes in one item of the stream.
  apply({ heard, things, hosts, newest, now, part }) {
    if (hosts) this.takeHosts(hosts, now, part);
    if (things) this.takeThings(things, newest, part);
    if (heard) this.take(heard);
  }

  // What was heard before, as after a lost connection, changes nothing. That a pipeline is gone is heard again, because
  // the history may have words on it that the server's list has not.
  take(word) {
    const { id, event, name, text, key, fields } = word;
    if (event === 'host') return this.takeBeat(word);
    if (this.ids.has(id) || (event === 'gap' && !id && this.said.at(-1)?.event === event)) return;
    if (!key || id > this.newest || (CI.test(event) && word.status === 'gone')) this.takeWord(word);
    // A host that flaps, or is late among many, is said in another line.
    const unsaid = event === 'host-state' && (fields.among || fields.flaps);
    if (event !== 'ci.update' && event !== 'number' && !unsaid && (text || name)) this.keep(word);
  }

  // A word on a thing.
  takeWord(word) {
    const { event, key, fields, name, text, status } = word;
    const shorter = { name: short(name), text: short(text), status: short(status), fields: shortFields(fields) };
    const bounded = { ...word, ...shorter };
    if (event === 'host-state') this.takeState(bounded);
    else if (CI.test(event)) this.takeRun(bounded);
    else if (key || event === 'number') this.takeThing(bounded);
  }

  keep(word) {
    this.said.push({ ...word, number: (this.count += 1) });
    this.characters += word.text.length;
    if (word.id) this.ids.add(word.id);
    if (word.channel && this.channels.size < MOST.channels) this.channels.add(word.channel);
    while (this.said.length > MOST.said || (this.characters > MOST.characters && this.said.length > 1)) {
      const oldest = this.said.shift();
      this.characters -= oldest.text.length;
      this.ids.delete(oldest.id);
    }
  }

  // The newest comes last; of too many the first goes that is well, or acknowledged.
  put(kind, place, thing) {
    const known = this[kind];
    known.delete(place);
    if (thing) known.set(place, thing);
    if (known.size <= MOST[kind]) return;
    const [least] = [...known].find(([, { state, seen }]) => seen || !WRONG.test(state)) ?? known.keys();
    known.delete(least);
  }

  // The server's own list: the things there are, and no other; or the `part` of them that is wrong.
  takeThings(list, newest, part) {
    const isOver = ({ state, seen }) => !part || (WRONG.test(state) && !seen);
    if (!part) this.newest = newest;
    this.version.things += 1;
    this.version.runs += 1;
    for (const [place, thing] of this.things) if (isOver(thing)) this.things.delete(place);
    for (const [place, run] of this.runs) if (run.listed && isOver(run)) this.runs.delete(place);
    list.map(wordOf).sort((one, other) => one.id - other.id).forEach((word) => this.takeWord(word));
  }

  // A number, an alert, or whatever else a speaker gave a key.
  takeThing(word) {
    const { event, channel, name, status, fields, time, since, recent, id } = word;
    const key = word.key || name;
    const place = [event, channel, key].join('\n');
    const before = this.things.get(place);
    if (before?.id > id) return;
    const stays = before?.status === status;
    if (!stays) this.version.things += 1;
    if (status === 'gone') return this.put('things', place);
    const number = event === 'number';
    const brief = [time / 1000, number ? Number(fields.value) : status];
    const as = before && standing(before.status) === standing(status) ? before.since : time;
    const known = recent ?? [...(before?.recent ?? []), brief].slice(number ? -MOST.values : -MOST.recent);
    const stands = standing(plain(status));
    const state = WRONG.test(stands) ? stands : number ? 'number' : 'other';
    const thing = { ...word, key, place, state, seen: isSeen(status), since: since || as, recent: known };
    this.put('things', place, Object.assign(stays ? before : {}, thing));
  }

  // One row for each project and ref, and each workflow or job where there are some: a retry changes it, so does the
  // next run. They are its key, which hooks say of the end of a run only.
  takeRun(word) {
    const { fields, time, channel, name, id, recent } = word;
    const { forge = '', ref = '', workflow = '', job = '', kind = '' } = fields;
    const status = plain(word.status || fields.status || '');
    const project = fields.project || name || word.key || forge;
    if (!status || !(word.key || /pipeline|run|^$/.test(kind))) return; // a push, or one job of many
    const key = word.key || all(project, ref, workflow, job).join(' ');
    const place = [channel, key].join('\n');
    const before = this.runs.get(place);
    const gone = status === 'gone';
    if (before?.id > id) return;
    if (!word.key && Number(fields.id) < Number(before?.fields.id)) return; // late news of a run that is over
    this.version.runs += 1;
    if (gone) return this.put('runs', place);
    const state = stateOf(status);
    const given = Number(fields.seconds || fields.duration || NaN);
    const seconds = Number.isFinite(given) ? given : null;
    const begun = before?.fields.id === fields.id && before?.state === 'running' && before.since;
    const since = begun || (state === 'running' && word.since) || time - 1000 * (seconds ?? 0);
    const took = seconds ?? (begun ? (time - begun) / 1000 : null);
    const seen = isSeen(word.status);
    const known = recent ?? [...(before?.recent ?? []), [time / 1000, word.status || status, took]];
    const ended = known.filter(([, word]) => !isSeen(word)).map(([at, word, took]) => [at, stateOf(word), took]);
    const runs = ended.filter(([, state]) => /passed|failed|canceled/.test(state)).slice(-MOST.recent);
    const listed = Boolean(word.key);
    const run = { ...word, key, place, project, ref, status, state, since, took, seen, listed, recent: runs };
    this.put('runs', place, run);
  }

  takeBeat({ name, fields, time }, isKnown) {
    const host = this.change(name, fields.state);
    if (!host) return;
    const figures = shortFields(fields);
    Object.assign(host, { figures, heard: time });
    if (isKnown) return;
    const load = Number.parseFloat(figures.load1);
    if (Number.isFinite(load)) host.loads = [...host.loads.slice(1 - LOADS_MOST), load];
    const at = HOURS_STEP_S * Math.floor(time / 1000 / HOURS_STEP_S);
    if (host.hours.at(-1)?.[0] === at) host.hours.pop();
    host.hours.push([at, load, Math.round(share(figures, 'mem'))]);
    if (host.hours.length > HOURS_MOST) host.hours.shift();
  }

  // What was said before the list of hosts was made is in it.
  takeState({ name, key, channel, status, fields, time, recent, text }) {
    const stands = plain(status);
    const word = [...HOST_STATES, 'gone'].includes(stands) ? stands : fields.state;
    const called = key || name;
    if (word === 'gone') return time >= this.listed && this.forget(called);
    const known = this.hosts.get(called);
    const isNews = recent ? !known : time >= this.listed;
    const host = isNews ? this.change(called, word) : known;
    if (!host) return;
    const brief = [time / 1000, status || word || 'up'];
    const reason = word === 'failed' ? fields.reason || text : '';
    Object.assign(host, { channel, text, fields, reason, seen: isSeen(status), heard: host.heard || time });
    host.recent = recent ?? [...host.recent, brief].slice(-MOST.recent);
  }

  // The server's own list: the hosts there are, and no other. Where no more than a part is needed, the others stay as
  // they are. The newest beat of a host may have been heard: the server's clock is not quite ours.
  takeHosts(list, now, part) {
    this.listed = part ? now : 0;
    const named = new Set(list.map(({ host }) => host));
    [...this.hosts.keys()].forEach((name) => named.has(name) || this.forget(name));
    for (const { host: name, state, ago, figures } of list) {
      const [known, time] = [this.hosts.get(name), now - 1000 * ago];
      const isKnown = Math.abs(time - known?.heard) < 3000;
      this.takeBeat({ name, fields: { ...figures, state }, time }, isKnown);
    }
  }

  forget(name) {
    if (this.hosts.delete(name)) this.version.hosts += 1;
  }

  change(name, word) {
    const state = HOST_STATES.includes(word) ? word : 'up';
    const known = this.hosts.get(name);
    if (known?.state === state || (!known && (!name || this.hosts.size >= MOST.hosts))) return known;
    const host = known ?? {
      name, place: name, channel: '', text: '', fields: {}, figures: {}, loads: [], hours: [], recent: [],
      ...this.saved[name],
    };
    this.hosts.set(name, Object.assign(host, { state, seen: false }));
    this.version.hosts += 1;
    return host;
  }
}

// A message as the server writes it.
export function wordOf({ id, time, since, message = '', ...said }) {
  const times = { time: Date.parse(time), since: Date.parse(since) };
  const usual = { name: '', channel: '', key: '', status: '', fields: {} };
  return { ...usual, ...said, ...times, id: Number(id) || 0, text: message };
}

function stateOf(word) {
  return like(STATES, word) ?? { bad: 'failed', warn: 'warn', ok: 'passed' }[standing(word)] ?? 'queued';
}

function short(text) {
  return String(text ?? '').slice(0, 500);
}

function shortFields(fields) {
  return Object.fromEntries(Object.entries(fields).map(([key, value]) => [key, short(value)]));
}
