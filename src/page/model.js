// What is known, and no more than fits: the newest of what was said, and the newest word on each thing: pipelines, hosts,
// numbers, alerts. The stream keeps one for tabs that come later, and every tab keeps its own.

import { standing } from './text.js';

const SAID_MOST = 2000;
const CHARACTERS_MOST = 4e6;
const RUNS_MOST = 200;
const HOSTS_MOST = 10_000;
const THINGS_MOST = 2000;
const LOADS_MOST = 40;
const RECENT_MOST = 100;
const VALUES_MOST = 240;
const CHANNELS_MOST = 100;
const NAME_MOST = 64;
const FIELD_MOST = 500;
const RUN = ['forge', 'project', 'ref', 'workflow', 'status', 'who', 'id', 'number', 'url', 'duration', 'seconds', 'kind'];
const FIGURES = ['load1', 'mem_used', 'mem_total', 'disk_used', 'disk_total', 'up', 'note'];
const NUMBER = ['value', 'unit', 'above', 'below'];

// What the words for a pipeline's state come to; any other waits for something.
const STATES = {
  passed: /^(pass|succe|ok)/,
  failed: /^(fail|err|bad|timed_out|startup_fail)/,
  running: /^(run|in_progress|canceling)/,
  canceled: /^(cancel|skip)/,
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
  listed = 0; // when the server made its list of hosts
  version = { runs: 0, order: 0, things: 0 }; // rises with what has to be sorted anew

  // Takes in one item of the stream.
  apply({ heard, things, hosts, newest, now }) {
    if (hosts) this.takeHosts(hosts, now);
    if (things) this.takeThings(things, newest);
    if (heard) this.take(heard);
  }

  // What was heard before, as after a lost connection, changes nothing.
  take(heard) {
    const { id, event, name, text, key } = heard;
    if (event === 'host') return this.takeBeat(heard);
    if (this.ids.has(id) || (event === 'gap' && !id && this.said.at(-1)?.event === event)) return;
    if (!key || id > this.newest) this.takeWord(heard);
    // A host that flaps, or is late among many, is said in another line.
    const unsaid = event === 'host-state' && (heard.fields?.among || heard.fields?.flaps);
    if (event !== 'ci.update' && event !== 'number' && !unsaid && (text || name)) this.keep(heard);
  }

  // A word on a thing.
  takeWord(heard) {
    const { event, key, fields, name, status } = heard;
    if (event === 'host-state') this.takeState(heard);
    else if (/^ci\b/.test(event)) (fields || key) && this.takeRun(heard);
    else if (key || event === 'number') this.takeThing({ ...heard, key: key || name, status });
  }

  keep(heard) {
    const weight = ({ name, text }) => name.length + text.length;
    this.said.push({ ...heard, number: (this.count += 1) });
    this.characters += weight(heard);
    if (heard.id) this.ids.add(heard.id);
    if (heard.channel && this.channels.size < CHANNELS_MOST) this.channels.add(heard.channel);
    while (this.said.length > SAID_MOST || (this.characters > CHARACTERS_MOST && this.said.length > 1)) {
      const oldest = this.said.shift();
      this.characters -= weight(oldest);
      this.ids.delete(oldest.id);
    }
  }

  // The server's own list: the things there are, and no other.
  takeThings(list, newest) {
    this.newest = newest;
    this.things.clear();
    this.version.things += 1;
    for (const [key, run] of this.runs) if (run.key) this.runs.delete(key);
    const word = ({ id, time, name = '', message = '', channel = '', key = '', status = '', event, fields, recent, since }) => ({
      id: Number(id), time: Date.parse(time), since: Date.parse(since), name, text: message, channel, key, status, event, fields,
      recent,
    });
    list.map(word).sort((one, other) => one.id - other.id).forEach((thing) => this.takeWord(thing));
  }

  // A number, an alert, or whatever else a speaker gave a key.
  takeThing({ event, channel, key, name, text, status, fields = {}, time, since, recent, id }) {
    const place = [event, channel, key].join('\n');
    const before = this.things.get(place);
    this.version.things += 1;
    this.things.delete(place);
    if (status === 'gone') return;
    const thing = { event, channel, key: short(key), name: short(name), text: short(text), status: short(status), time, id };
    NUMBER.forEach((field) => (thing[field] = short(fields[field])));
    const stays = before && standing(before.status) === standing(status);
    thing.since = since || (stays ? before.since : time);
    thing.recent = recent ?? (event === 'number' ? [...(before?.recent ?? []), [time / 1000, Number(thing.value)]].slice(-VALUES_MOST) : []);
    this.things.set(place, thing);
    if (this.things.size > THINGS_MOST) this.things.delete(this.things.keys().next().value);
  }

  // One row for each project and ref, and each workflow where there are some: a retry changes it, so does the next run.
  takeRun({ fields = {}, time, channel, name, key, status, id, recent, since: stood }) {
    const run = Object.fromEntries(RUN.map((field) => [field, short(fields[field])]));
    run.status = short(status) || run.status;
    run.project ||= short(name) || short(key) || run.forge;
    if (!run.status || !/pipeline|run|^$/.test(run.kind)) return; // a push, or one job of many
    const place = [channel, key || [run.forge, run.project, run.ref, run.workflow].join(' ')].join('\n');
    const before = this.runs.get(place);
    if (run.id && status !== 'gone' && Number(run.id) < Number(before?.id)) return; // late news of a run that is over
    this.runs.delete(place); // the newest comes last
    this.version.runs += 1;
    if (run.status === 'gone') return;
    const state = stateOf(run.status);
    const figure = [run.seconds, run.duration].find((text) => /^\d[\d.]*$/.test(text));
    const seconds = figure ? Number(figure) : null;
    const goesOn = before?.id === run.id && before.state === 'running';
    const since = goesOn ? before.since : (state === 'running' && stood) || time - 1000 * (seconds ?? 0);
    const over = goesOn && seconds === null && state !== 'queued';
    const took = state === 'running' ? null : (seconds ?? (over ? (time - since) / 1000 : null));
    const ended = ['passed', 'failed', 'canceled'].includes(state);
    const known = recent ?? [...(before?.recent ?? []), ...(ended ? [[time / 1000, run.status, took]] : [])];
    const runs = known.map(([at, word, took]) => [at, stateOf(word), took]).filter(([, state]) => state in STATES && state !== 'running');
    this.runs.set(place, { ...run, key, word: id, state, time, since, took, channel, recent: runs.slice(-20) });
    if (this.runs.size > RUNS_MOST) this.runs.delete(this.runs.keys().next().value);
  }

  takeBeat({ name, fields = {}, time }) {
    if (fields.state === 'forgotten') return this.forget(name);
    const host = this.change(name, fields.state);
    if (!host) return;
    Object.assign(host, { figures: figuresOf(fields), heard: time });
    const load = Number.parseFloat(fields.load1);
    if (Number.isFinite(load)) host.loads = [...host.loads.slice(1 - LOADS_MOST), load];
  }

  // What was said before the list of hosts was made is in it.
  takeState({ name, key, status, fields = {}, time, recent, text }) {
    const word = HOST_STATES.includes(status) ? status : status === 'gone' ? 'gone' : fields.state;
    const called = key || name;
    if (word === 'gone' || word === 'forgotten') return this.forget(called);
    const known = this.hosts.get(called.slice(0, NAME_MOST));
    const host = (this.listed && time >= this.listed) || (recent && !known) || word === 'failed' ? this.change(called, word) : known;
    if (!host) return;
    host.reason = word === 'failed' ? short(fields.reason || text) : '';
    host.recent = recent ?? [...(host.recent ?? []), [time / 1000, word ?? 'up']].slice(-RECENT_MOST);
    if (!host.heard) host.heard = time;
  }

  // The server's own list: the hosts there are, and no other.
  takeHosts(list, now) {
    this.listed = now;
    const named = new Set(list.map(({ host }) => host));
    [...this.hosts.keys()].filter((name) => !named.has(name)).forEach((name) => this.forget(name));
    for (const { host, state, ago, figures } of list) {
      Object.assign(this.change(host, state) ?? {}, { figures: figuresOf(figures), heard: now - 1000 * ago });
    }
  }

  forget(name) {
    if (this.hosts.delete(name)) this.version.order += 1;
  }

  change(called, word) {
    const name = called.slice(0, NAME_MOST);
    const state = HOST_STATES.includes(word) ? word : 'up';
    const known = this.hosts.get(name);
    if (known?.state === state || (!known && (!name || this.hosts.size >= HOSTS_MOST))) return known;
    const host = known ?? { name, figures: {}, heard: 0, loads: [], recent: [] };
    this.hosts.set(name, Object.assign(host, { state }));
    this.version.order += 1;
    return host;
  }
}

function stateOf(word) {
  return Object.keys(STATES).find((each) => STATES[each].test(word.toLowerCase())) ?? 'queued';
}

function short(text) {
  return String(text ?? '').slice(0, FIELD_MOST);
}

function figuresOf(fields) {
  return Object.fromEntries(FIGURES.map((key) => [key, short(fields[key])]));
}
