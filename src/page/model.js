// What is known, and no more than fits: the newest of what was said, a row for each pipeline, a row for each host. The
// stream keeps one for tabs that come later, and every tab keeps its own.

const SAID_MOST = 2000;
const CHARACTERS_MOST = 4e6;
const RUNS_MOST = 200;
const HOSTS_MOST = 10_000;
const LOADS_MOST = 40;
const CHANNELS_MOST = 100;
const HOST_NAME_MOST = 64;
const FIELD_MOST = 500;
const RUN = ['forge', 'project', 'ref', 'workflow', 'status', 'who', 'id', 'number', 'url', 'duration', 'kind'];
const FIGURES = ['load1', 'mem_used', 'mem_total', 'disk_used', 'disk_total', 'up', 'note'];

// What the words for a pipeline's state come to; any other waits for something.
const STATES = {
  passed: /^(pass|succe|ok)/,
  failed: /^(fail|err|timed_out|startup_fail)/,
  running: /^(run|in_progress|canceling)/,
  canceled: /^(cancel|skip)/,
};

export class Model {
  said = [];
  characters = 0;
  count = 0; // of all that was ever put into `said`
  ids = new Set();
  channels = new Set();
  runs = new Map();
  hosts = new Map();
  listed = 0; // when the server made its list of hosts
  version = { runs: 0, order: 0 }; // rises with the runs, and with which hosts there are in which state

  // Takes in one item of the stream.
  apply({ heard, hosts, now }) {
    if (heard) this.take(heard);
    if (hosts) this.takeHosts(hosts, now);
  }

  // What was heard before, as after a lost connection, changes nothing.
  take(heard) {
    const { id, event, name, text, fields } = heard;
    if (event === 'host') return this.takeBeat(heard);
    if (this.ids.has(id) || (event === 'gap' && this.said.at(-1)?.event === event)) return;
    if (/^ci\b/.test(event) && fields) this.takeRun(heard);
    if (event === 'host-state') this.takeState(heard);
    // A host that flaps, or is late among many, is said in another line.
    const unsaid = event === 'host-state' && (fields?.among || fields?.flaps);
    if (event !== 'ci.update' && !unsaid && (text || name)) this.keep(heard);
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

  // One row for each project and ref, and each workflow where there are some: a retry changes it, so does the next run.
  takeRun({ fields, status: word, time, channel, name }) {
    const run = Object.fromEntries(RUN.map((key) => [key, short(fields[key])]));
    run.status ||= short(word);
    run.project ||= short(name) || run.forge;
    if (!run.status || !/pipeline|run|^$/.test(run.kind)) return; // a push, or one job of many
    const key = [run.forge, run.project, run.ref, run.workflow].join('\n');
    const before = this.runs.get(key);
    if (Number(run.id) < Number(before?.id)) return; // late news of a run that is over
    const status = run.status.toLowerCase();
    const state = Object.keys(STATES).find((each) => STATES[each].test(status)) ?? 'queued';
    const seconds = /^[\d.]+$/.test(run.duration) ? Number(run.duration) : null;
    const goesOn = before?.id === run.id && before.state === 'running';
    const since = goesOn ? before.since : time - 1000 * (seconds ?? 0);
    const over = goesOn && !run.duration && state !== 'queued';
    const took = state === 'running' ? null : (seconds ?? (over ? (time - since) / 1000 : null));
    this.runs.delete(key); // the newest comes last
    this.runs.set(key, { ...run, state, time, since, took, channel });
    if (this.runs.size > RUNS_MOST) this.runs.delete(this.runs.keys().next().value);
    this.version.runs += 1;
  }

  takeBeat({ name, fields = {}, time }) {
    const host = this.change(name, fields.state);
    if (!host) return;
    Object.assign(host, { figures: figuresOf(fields), heard: time });
    const load = Number.parseFloat(fields.load1);
    if (Number.isFinite(load)) host.loads = [...host.loads.slice(1 - LOADS_MOST), load];
  }

  // What was said before the list was made is in it.
  takeState({ name, status, fields, time }) {
    if (!this.listed || time < this.listed) return;
    if (status === 'gone') this.forget(name);
    else if (fields?.state) this.change(name, fields.state);
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
    const name = called.slice(0, HOST_NAME_MOST);
    const state = ['late', 'down', 'failed'].includes(word) ? word : 'up';
    const known = this.hosts.get(name);
    if (known?.state === state || (!known && (!name || this.hosts.size >= HOSTS_MOST))) return known;
    const host = known ?? { name, figures: {}, heard: 0, loads: [] };
    this.hosts.set(name, Object.assign(host, { state }));
    this.version.order += 1;
    return host;
  }
}

function short(text) {
  return String(text ?? '').slice(0, FIELD_MOST);
}

function figuresOf(fields) {
  return Object.fromEntries(FIGURES.map((key) => [key, short(fields[key])]));
}
