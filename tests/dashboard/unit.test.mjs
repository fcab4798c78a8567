// What the page's pure parts promise: `node --test unit.test.mjs`.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { details, wordOn } from '../../src/page/details.js';
import { headline, wrongIn } from '../../src/page/headline.js';
import { Model } from '../../src/page/model.js';
import { day, plot, runs } from '../../src/page/plot.js';
import { figure, shortened, size, span, standing, when } from '../../src/page/text.js';

const LIVE = { state: 'live', silent: 100, silence: 37_500 };
const nothing = { hosts: [], runs: [], things: [] };
const host = (name, state = 'up', figures = {}) => ({ place: name, name, state, figures });
const run = (project, state, ref = 'main') => ({ place: `${project} ${ref}`, project, ref, state });
const thing = (event, key, status, also = {}) => ({ place: `${event} ${key}`, event, key, status, state: standing(status) || event, name: '', channel: '', fields: also });
const text = (known, link = LIVE) => headline({ ...nothing, ...known }, link).text;

test('all is well only while the server is heard', () => {
  assert.equal(text({ hosts: [host('a')] }), 'All is well.');
  assert.equal(text({}), 'Listening.');
  for (const state of ['lost', 'connecting', 'token', 'refused']) {
    assert.notEqual(text({ hosts: [host('a')] }, { ...LIVE, state }), 'All is well.', state);
  }
  assert.equal(text({ hosts: [host('a')] }, { ...LIVE, silent: 40_000 }), 'No word from the server for 40 s.');
  assert.equal(text({ hosts: [host('a')] }, { ...LIVE, state: 'lost', silent: 6000 }), 'No word from the server for 6 s.');
  assert.equal(text({ hosts: [host('a', 'down')] }, { ...LIVE, silent: 40_000 }), 'No word from the server for 40 s.');
  assert.match(text({}, { ...LIVE, state: 'token' }), /token/);
  assert.match(text({ hadToken: true }, { ...LIVE, state: 'token' }), /no more/);
});

test('everything red or amber is in the headline, and it begins with how things stand', () => {
  const check = (known, expected, level) => {
    const found = headline({ ...nothing, ...known }, LIVE);
    assert.deepEqual([found.text, found.level], [expected, level]);
  };
  check({ hosts: [host('a', 'down')] }, 'Down: a.', 'bad');
  check({ hosts: [host('a', 'failed')] }, 'Failed: a.', 'bad');
  check({ hosts: [host('a', 'late')] }, 'Late: a.', 'warn');
  check({ runs: [run('app', 'failed')] }, 'Failed: app main.', 'bad');
  check({ things: [thing('alert', 'DiskFull', 'firing')] }, 'Firing: DiskFull.', 'bad');
  check({ things: [thing('alert', 'a', 'firing'), thing('deploy', 'b', 'error')] }, 'Bad: a, b.', 'bad');
  check({ things: [thing('alert', 'a', 'degraded')] }, 'Degraded: a.', 'warn');
  check({ runs: [{ ...run('app', 'warn'), status: 'degraded' }] }, 'Degraded: app main.', 'warn');
  check({ things: [thing('number', 'temp', 'warn', { value: '29', unit: '°C' })] }, 'Out of bounds: temp 29 °C.', 'warn');
  check({ hosts: [host('a', 'up', { disk_used: '95', disk_total: '100' })] }, 'Disk full: a 95 %.', 'bad');
  check({ hosts: [host('a', 'up', { disk_used: '94.9', disk_total: '100' })] }, 'All is well.', '');
  check({ hosts: [host('a', 'up', { disk_used: '80', disk_total: '100', disk_above: '80' })] }, 'Disk full: a 80 %.', 'bad');
  check({ hosts: [host('a', 'up', { disk_used: '97', disk_total: '100', disk_above: '98' })] }, 'All is well.', '');
  check(
    { hosts: [host('a', 'down'), host('b', 'late')], runs: [run('app', 'failed')] },
    'Down: a. Failed: app main. Late: b.', 'bad',
  );
  const many = ['a', 'b', 'c', 'd'].map((name) => host(name, 'down'));
  check({ hosts: many }, 'Down: a, b and 2 more.', 'bad');
  check({ hosts: many.slice(0, 3) }, 'Down: a, b, c.', 'bad');
  assert.deepEqual([...headline({ ...nothing, hosts: many }, LIVE).bad], ['a', 'b', 'c', 'd']);
});

test('names are shortened in the middle, never how things stand', () => {
  assert.equal(shortened('greenhouse/temperature-at-the-door', 15), 'greenho…he-door');
  assert.equal(shortened('a\nb'), 'a b');
  assert.equal(shortened('short'), 'short');
  const long = text({ runs: [run('p'.repeat(500), 'failed', 'r'.repeat(500))], hosts: [host('h'.repeat(64), 'down')] });
  assert.match(long, /^Down: h+…h+\. Failed: p+…p+ r+…r+\.$/);
  assert.ok(long.length < 130, long);
});

test('a status means what it means to the server', () => {
  const words = { bad: 'down failed firing error critical bad', warn: 'late waiting degraded warn', ok: 'up passed resolved success ok' };
  for (const [meaning, list] of Object.entries(words)) list.split(' ').forEach((word) => assert.equal(standing(word), meaning, word));
  assert.equal(standing('sideways'), '');
});

test('the newest word on a thing counts, and what is gone is forgotten', () => {
  const model = new Model();
  const number = (id, value, status = '') => ({ id, event: 'number', time: id * 1000, channel: '', name: 'temp', key: 'temp', status, text: '', fields: { value: String(value) } });
  const listed = { id: '5', event: 'number', time: '2026-01-01T00:00:00Z', since: '2026-01-01T00:00:00Z', name: 'temp', key: 'temp', status: 'warn', fields: { value: '29' }, recent: [[1, 28], [2, 29]] };
  model.apply({ things: [listed], newest: 5 });
  const temp = () => [...model.things.values()][0];
  assert.deepEqual([temp().status, temp().recent.length], ['warn', 2]);
  model.apply({ heard: number(4, 3) });
  assert.equal(temp().fields.value, '29', 'an older word is in the list already');
  model.apply({ heard: number(6, 21) });
  assert.deepEqual([temp().fields.value, temp().status, temp().recent.length], ['21', '', 3]);
  assert.equal(model.said.length, 0, 'a number is no line');
  model.apply({ heard: number(7, 21, 'gone') });
  assert.equal(model.things.size, 0);
});

test('a pipeline is one row by its key, with its newest runs', () => {
  const model = new Model();
  const word = (id, status, fields = {}) => ({ id, event: 'ci', time: id * 1000, channel: 'ci', name: 'app', key: 'app main', status, text: 'x', fields: { project: 'app', ref: 'main', ...fields } });
  ['running', 'failed', 'running', 'passed'].forEach((status, place) => model.apply({ heard: word(place + 1, status, { id: String(place) }) }));
  const [row] = model.runs.values();
  assert.equal(model.runs.size, 1);
  assert.deepEqual([row.state, row.recent.map(([, state]) => state)], ['passed', ['failed', 'passed']]);
  model.apply({ heard: word(9, 'gone') });
  assert.equal(model.runs.size, 0);
});

test('plots and strips stay in their picture', () => {
  const inside = (path) => [...path.matchAll(/[ML]([\d.]+) ([\d.]+)/g)].every(([, x, y]) => x >= 0 && x <= 100 && y >= 0 && y <= 24);
  for (const recent of [[], [[1, 5]], [[1, 5], [1, 5]], [[1, -1e300], [2, 1e300], [3, 0]], [[1, null], [2, 3], [9, 4]]]) {
    const { line, area, range } = plot(recent);
    assert.ok(inside(line) && inside(area) && !/NaN|Infinity/.test(line + area + range), JSON.stringify(recent));
  }
  assert.equal(plot([[10, 1], [20, 3]]).range, '1 – 3');
  assert.match(runs([[1, 'failed', 3], [2, 'passed', null]]).failed, /^M90\.00 24v-/);
  assert.equal(day([[0, 'down'], [100_000, 'up']], 100_000_000).down.startsWith('M0.00 24'), true);
  assert.equal(day([], 0).up, '');
});

test('figures and times read well', () => {
  assert.deepEqual([figure(23.0345), figure(1234.5), figure(NaN), figure(0.00012), figure(7)], ['23.03', '1235', '', '0.00012', '7']);
  assert.deepEqual([span(59), span(61), span(3700)], ['59 s', '1 min 1 s', '1 h 1 min']);
  const noon = new Date(2026, 10, 28, 12, 0).getTime();
  assert.deepEqual([when(noon, noon), when(noon - 86_400_000, noon)], ['12:00', '27 Nov']);
});

test('what is acknowledged is no headline until it changes, and its state and strip stay', () => {
  const model = new Model();
  const word = (id, event, key, status, fields = {}, text = 'x') => model.apply({ heard: { id, event, time: id * 1000, channel: '', name: '', key, status, text, fields } });
  word(1, 'ci', 'app main', 'failed', { project: 'app', ref: 'main', seconds: '60' });
  word(2, 'alert', 'Heat', 'firing');
  word(3, 'host-state', 'web1', 'failed', { state: 'failed' });
  const known = () => ({ hosts: [...model.hosts.values()], runs: [...model.runs.values()], things: [...model.things.values()] });
  assert.equal(text(known()), 'Failed: web1, app main. Firing: Heat.');
  assert.equal(text(wrongIn(model)), 'Failed: web1, app main. Firing: Heat.', 'a hidden page says so too');
  const acknowledge = (id, kind, item) => {
    const { event, key, status, message, name, ...fields } = wordOn(kind, item, 'seen', 'Ana', 0);
    word(id, event, key, status, fields, message);
    assert.match(message, /, acknowledged by Ana$/);
    return status;
  };
  assert.equal(acknowledge(4, 'runs', known().runs[0]), 'failed, acknowledged');
  assert.equal(acknowledge(5, 'things', known().things[0]), 'firing, acknowledged');
  assert.equal(acknowledge(6, 'hosts', known().hosts[0]), 'failed, acknowledged');
  assert.equal(text(known()), 'All is well.');
  assert.equal(text(wrongIn({ ...model, hosts: new Map([['web2', { state: 'up', figures: {} }]]), runs: new Map(), things: new Map() })), 'All is well.');
  const [run] = known().runs;
  assert.deepEqual([run.state, run.seen, run.recent], ['failed', true, [[1, 'failed', 60]]]);
  assert.deepEqual([known().things[0].state, known().hosts[0].state, known().hosts[0].seen], ['bad', 'failed', true]);
  assert.ok(day(known().hosts[0].recent, 7000).failed && !day(known().hosts[0].recent, 7000).up);
  assert.equal(wordOn('runs', run, 'unseen', 'Ana', 0).message, 'x', 'and it can be taken back');
  word(7, 'ci', 'app main', 'failed', { project: 'app', ref: 'main' });
  word(8, 'alert', 'Heat', 'firing');
  assert.equal(text(known()), 'Failed: app main. Firing: Heat.');
});

test('a pipeline is as bad as its status is to the server', () => {
  const states = {
    failed: 'bad down failed firing error critical', warn: 'warn late degraded', queued: 'waiting queued', passed: 'ok up passed resolved success',
  };
  for (const [state, words] of Object.entries(states)) {
    words.split(' ').forEach((status) => {
      const model = new Model();
      model.apply({ heard: { id: 1, event: 'ci', time: 1000, channel: '', name: '', key: 'shop', status, text: '', fields: {} } });
      assert.equal([...model.runs.values()][0].state, state, status);
    });
  }
});

test('a pipeline that runs and its end, which alone has a key, are one row; a dismissed one stays away', () => {
  const model = new Model();
  const word = (id, key, status, run) => ({ id, event: 'ci', time: id * 1000, channel: 'ci', name: '', key, status, text: 'x', fields: { project: 'app', ref: 'main', status, id: run } });
  const running = word(1, '', 'running', '5');
  model.apply({ heard: running });
  model.apply({ heard: word(2, 'app main', 'failed', '5') });
  assert.deepEqual([...model.runs.values()].map(({ state }) => state), ['failed']);
  const gone = word(3, 'app main', 'gone', '5');
  model.apply({ heard: gone });
  assert.equal(model.runs.size, 0);
  const later = new Model(); // which has the server's list, and then the history
  later.apply({ things: [], newest: 3 });
  [running, gone].forEach((heard) => later.apply({ heard }));
  assert.equal(later.runs.size, 0);
  const late = new Model();
  late.apply({ things: [{ id: '2', time: '2026-01-01T00:00:00Z', event: 'ci', channel: 'ci', key: 'app main', status: 'failed', fields: { project: 'app', ref: 'main', id: '5' } }], newest: 2 });
  late.apply({ heard: running });
  assert.deepEqual([...late.runs.values()].map(({ state }) => state), ['failed'], 'old news');
});

test('a hidden page takes in what is wrong and what is not any more, and the rest stays until it is shown', () => {
  const model = new Model();
  const time = '2026-01-01T00:00:00Z';
  const number = (id, key, status) => ({ id: String(id), time, since: time, event: 'number', name: key, key, status, fields: { value: '1' }, recent: [] });
  const beat = (name, state, ago, load1) => ({ host: name, state, ago, figures: { load1 } });
  const wrong = () => wrongIn(model).things.map(({ key }) => key);
  const known = () => [...model.things.values(), ...model.runs.values()].map(({ key }) => key).sort();
  const seen = [
    { ...number(1, 'seen', 'firing, acknowledged'), event: 'alert' },
    { ...number(1, 'app main', 'failed, acknowledged'), event: 'ci', fields: { project: 'app', ref: 'main' } },
  ];
  model.apply({ things: seen, newest: 1 });
  model.apply({ part: true, things: [], newest: 1 });
  assert.deepEqual(known(), ['app main', 'seen'], 'what is acknowledged is in no part, and stays');
  model.apply({ things: [number(1, 'a', ''), number(2, 'b', 'warn')], newest: 2, hosts: [beat('web1', 'up', 100, 1), beat('web2', 'up', 0, 1)], now: 1e6 });
  assert.deepEqual([wrong(), known()], [['b'], ['a', 'b']]);
  model.apply({ part: true, things: [number(3, 'c', 'warn')], newest: 4, hosts: [beat('web1', 'up', 5, 2), beat('web2', 'down', 12, 1)], now: 1_012_000 });
  assert.deepEqual([wrong(), known()], [['c'], ['a', 'c']]);
  const [web1, web2] = model.hosts.values();
  assert.deepEqual([web1.loads, web1.figures.load1, web2.state, web2.loads], [[1, 2], '2', 'down', [1]], 'no beat counts twice');
  model.apply({ things: [number(1, 'a', ''), number(3, 'c', 'warn'), number(4, 'b', '')], newest: 4 });
  assert.deepEqual([wrong(), known()], [['c'], ['a', 'b', 'c']]);
});

test('an opened row has all that is known', () => {
  const model = new Model();
  const beat = (time, load) => model.apply({ heard: { id: 0, event: 'host', time, name: 'web1', fields: { state: 'up', load1: load, mem_used: '1', mem_total: '4', fans: 'two' } } });
  [0, 100, 400, 700, 6000, 6300].forEach((seconds, place) => beat(seconds * 1000, String(place)));
  const [host] = model.hosts.values();
  const { figures, plots, wrong } = details('hosts', host);
  assert.deepEqual(host.loads, [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(host.hours.map(([at, load]) => [at, load]), [[0, 1], [300, 2], [600, 3], [6000, 4], [6300, 5]]);
  assert.ok(figures.some(([name, value]) => name === 'fans' && value === 'two'));
  assert.deepEqual(plots.map(([name, { range }]) => [name, range]), [['load', '1 – 5'], ['memory %', '25 – 25']]);
  assert.equal(plots[0][1].line.split('M').length, 3, 'a gap where nothing was heard');
  assert.equal(wrong, false);
  const anew = new Model();
  anew.saved = { web1: { loads: host.loads, hours: host.hours } };
  anew.apply({ heard: { id: 0, event: 'host', time: 6_400_000, name: 'web1', fields: { state: 'up', load1: '6' } } });
  assert.equal([...anew.hosts.values()][0].loads.length, 7, 'what was heard before a reload');
  assert.deepEqual([size(999), size(16e9), size(1e18)], ['999 B', '16 GB', '1000000 TB']);
});

const ci = (id, key, status, fields = {}) => ({ id, event: 'ci', time: id * 1000, channel: '', name: '', key, status, text: 'x', fields });
const listed = ({ text, ...word }) => ({ ...word, id: String(word.id), time: new Date(word.time).toISOString(), message: text });
const states = (known) => [...known.values()].map(({ state }) => state);

test('all that stands has a row: a job with a key, and what is wrong among very many', () => {
  const model = new Model();
  model.apply({ heard: ci(1, '', 'failed', { kind: 'job', project: 'app', ref: 'main' }) });
  assert.equal(model.runs.size, 0, 'one job of many');
  model.apply({ heard: ci(2, 'app main build', 'failed', { kind: 'job', project: 'app', ref: 'main', job: 'build' }) });
  assert.deepEqual(states(model.runs), ['failed']);
  for (let id = 3; id < 300; id += 1) model.apply({ heard: ci(id, `p${id}`, 'passed') });
  assert.deepEqual([model.runs.size, states(model.runs).filter((state) => state === 'failed').length], [200, 1]);
});

test('an older run that fails anew is the newest word; the list of a server that knows none makes the rows anew', () => {
  const model = new Model();
  model.apply({ heard: ci(1, 'app main', 'passed', { id: '105' }) });
  model.apply({ heard: ci(2, 'app main', 'failed', { id: '100' }) });
  assert.deepEqual(states(model.runs), ['failed']);
  const before = model.version.runs;
  model.apply({ things: [], newest: 9 });
  assert.ok(model.runs.size === 0 && model.version.runs > before);
});

test('of a host the newest word counts, however long its list took; in a rest the list is newer than all words', () => {
  const model = new Model();
  const state = (id, time, word) => ({ id, event: 'host-state', time, channel: '', name: 'w1', key: 'w1', status: word, text: 'x', fields: { state: word } });
  const host = (word, disk_used) => ({ host: 'w1', state: word, ago: 2, figures: { disk_used, disk_total: 100 } });
  model.apply({ things: [listed(state(5, 5000, 'late'))], newest: 5, hosts: [host('late', 50)], now: 9000 });
  model.apply({ heard: state(6, 6000, 'down') });
  assert.deepEqual(states(model.hosts), ['down']);
  model.apply({ part: true, things: [], newest: 9, hosts: [host('up', 50)], now: 20_000 });
  model.apply({ heard: state(7, 15_000, 'failed') });
  model.apply({ heard: state(8, 16_000, 'gone') });
  assert.deepEqual(states(model.hosts), ['up']);
  model.apply({ part: true, things: [], newest: 9, hosts: [host('up', 97)], now: 21_000 });
  assert.equal(text(wrongIn(model)), 'Disk full: w1 97 %.');
});
