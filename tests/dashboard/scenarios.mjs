// What a person does with the dashboard, in a real browser: `node scenarios.mjs NAME URL ALOUD`, where a server that
// nobody has spoken to is at URL and ALOUD is its binary; in Chromium, or with `firefox` behind it in that. Ends with 0 if
// all went as it should.

import assert from 'node:assert/strict';
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';

import { Between } from './between.mjs';
import { Browser } from './browser.mjs';
import { Firefox } from './firefox.mjs';
import { beat, lively, say } from './lively.mjs';

const [name, url, aloud, inside] = process.argv.slice(2);
const axe = () => readFileSync(new URL('../readers/node_modules/axe-core/axe.min.js', import.meta.url), 'utf8');
const shots = new URL('../../target/dashboard/', import.meta.url);

const LIVE = 'document.querySelector("#connection").dataset.state === "live"';
const LAST = '[...document.querySelectorAll("#talk li")].at(-1)';
const ROWS = (area) => `[...document.querySelectorAll(".${area} li")]`;
const NODES = 'document.querySelectorAll("*").length';

async function live(browser, at = url, options = {}) {
  const page = await browser.open(`${at}/`, options);
  await page.until('the page is live', LIVE);
  return page;
}

const heard = (page, text) => page.until(`the page shows ${text}`, `${LAST}?.querySelector("p").textContent.startsWith(${JSON.stringify(text)})`);

// A server of one's own.
async function start(bind, ...flags) {
  const server = spawn(aloud, ['--bind', bind, ...flags], { stdio: ['ignore', 'ignore', 'pipe'] });
  for await (const line of createInterface({ input: server.stderr })) {
    if (line.includes('Running at ')) return [server, line.split('Running at ')[1]];
  }
  throw new Error('the server does not start');
}

const stop = (server) => new Promise((stopped) => server.once('exit', stopped) && server.kill('SIGKILL'));

const scenarios = {
  // A page of the same host name, at another port, may set any cookie; it is sent here too.
  async cookie(browser) {
    const [other, at] = await start('127.0.0.1:0');
    const page = await browser.open(`http://${at}/`);
    await page.evaluate('document.cookie = "user=Jürgen; path=/"');
    await stop(other);
    const ours = await live(browser);
    assert.equal(await ours.evaluate('document.cookie'), 'user=Jürgen', 'the cookie was sent');
    await say(url, { name: 'Ana', message: 'heard' });
    await heard(ours, 'heard');
  },

  async talk(browser) {
    const page = await live(browser);
    assert.match(await page.evaluate('document.querySelector(".talk .empty").innerText'), /curl .*\/say -d 'name=Florian&message=Hi'/);

    // Said by curl, seen on the page. The server's clock is the page's here.
    await page.evaluate(`new MutationObserver(() => { globalThis.shown = Date.now(); }).observe(document.querySelector('#talk ol'), { childList: true })`);
    const took = [];
    for (let number = 1; number <= 20; number += 1) {
      const answer = execFileSync('curl', ['-si', `${url}/say/a/b`, '-d', `name=Florian&message=Hi ${number}`], { encoding: 'utf8' });
      await heard(page, `Hi ${number}`);
      took.push((await page.evaluate('shown')) - Number(/aloud-id: (\d+)/i.exec(answer)[1]) / 1000);
    }
    took.sort((one, other) => one - other);
    console.log(`from said to shown: median ${took[10].toFixed(0)} ms, slowest ${took[19].toFixed(0)} ms`);

    // Said on the page, heard by everybody.
    await page.evaluate('document.querySelector("#name").focus()');
    await page.type('Mei');
    await page.press('Tab', 'Tab', 9);
    await page.type('hello, curl');
    await page.press('Enter', 'Enter', 13, '\r');
    await heard(page, 'hello, curl');
    assert.equal(await page.evaluate(`${LAST}.querySelector("b").textContent`), 'Mei');
    await page.until('the box is empty again', 'document.querySelector("#message").value === ""');

    // A name keeps its colour; links are links, and nothing else is.
    const colour = `getComputedStyle(${LAST}.querySelector("b")).color`;
    await say(url, { name: 'Mei', message: 'see https://example.org/a?b=c#d, and (http://example.org/e).' });
    await heard(page, 'see https');
    const mei = await page.evaluate(colour);
    assert.deepEqual(await page.evaluate(`[...${LAST}.querySelectorAll("a")].map((a) => a.href)`), ['https://example.org/a?b=c#d', 'http://example.org/e']);
    await say(url, { name: 'Jonas', message: 'other' });
    await heard(page, 'other');
    assert.notEqual(await page.evaluate(colour), mei);
    await say(url, { name: 'Mei', message: 'same' });
    await heard(page, 'same');
    assert.equal(await page.evaluate(colour), mei);

    // One channel alone, and the box speaks there; what the server refuses is said, and the text is kept.
    const filter = (text) => page.evaluate(`{ const box = document.querySelector('#channel'); box.value = '${text}'; box.dispatchEvent(new Event('input')); }`);
    await filter('a');
    await heard(page, 'Hi 20');
    assert.equal(await page.evaluate('document.querySelectorAll("#talk li").length'), 20);
    await say(url, { message: 'elsewhere' });
    await page.evaluate('document.querySelector("#message").focus()');
    await page.type('here');
    await page.press('Enter', 'Enter', 13, '\r');
    await heard(page, 'here');
    assert.equal(await page.evaluate(`${LAST}.querySelector("i").textContent`), 'a');
    await filter('no channel');
    await page.type('kept');
    await page.press('Enter', 'Enter', 13, '\r');
    await page.until('the refusal is shown', 'document.querySelector("#trouble").textContent.includes("is no channel; send")');
    assert.equal(await page.evaluate('document.querySelector("#message").value'), 'kept');

    // What is said under the names of EventSource's own events is said, and disturbs nothing.
    await filter('');
    for (const event of ['error', 'open', 'gap', 'chat']) {
      await say(url, { event, message: `an event called ${event}` });
      await heard(page, `an event called ${event}`);
      assert.ok(await page.evaluate(LIVE));
    }

    // A second tab shows the same, over the same stream.
    const second = await live(browser);
    await heard(second, 'an event called chat');
    const answer = await fetch(`${url}/say`, { method: 'POST', body: 'to both' });
    assert.equal(answer.headers.get('Aloud-Listeners'), '1', 'two tabs, one listener');
    await heard(second, 'to both');
    await page.front();
    await heard(page, 'to both');
    assert.deepEqual([...page.requests, ...second.requests].filter((asked) => !asked.startsWith(url) && !asked.startsWith('data:')), [], 'nobody else is asked');
    assert.deepEqual(page.complaints.filter((line) => !line.includes('400')), []);
  },

  async history(browser) {
    await say(url, { name: 'Ana', message: 'said before anybody looked' });
    await say(url, { event: 'ci', name: 'app', message: 'app is green', project: 'app', ref: 'main', status: 'passed' });
    const page = await live(browser);
    await heard(page, 'app is green');
    await page.until('the first message', 'document.querySelector("#talk").innerText.includes("said before anybody looked")');
    await page.until('the pipeline', `${ROWS('pipelines')}.length === 1`);
  },

  async hosts(browser) {
    const page = await live(browser);
    const shows = (what, state) => page.until(`web1 is ${what}`, `${ROWS('hosts')}.some((row) => row.innerText.startsWith("web1") && row.classList.contains("${state}"))`);
    const figures = { every: 3, load1: '1.50', mem_used: 1e9, mem_total: 4e9, disk_used: 94, disk_total: 100, up: 90_061, note: 'hot' };
    await beat(url, 'web1', figures);
    await shows('up', 'up');
    const text = (await page.evaluate(`${ROWS('hosts')}[0].innerText`)).split(/\s*\n\s*/).join('|');
    assert.equal(text.replaceAll(' |', '|'), 'web1|up 1 d 1 h, hot|1.50|load|25 %|mem|94 %|disk');
    await shows('late', 'late');
    await page.until('the sentence says it', 'document.querySelector("#headline").textContent === "Late: web1."');
    await shows('down', 'down');
    await page.until('the sentence says it', 'document.querySelector("#headline").textContent === "Down: web1."');
    assert.match(await page.evaluate('document.title'), /^\(1\)/);
    await beat(url, 'web1', { ...figures, load1: '0.50', up: 12 });
    await shows('up again', 'up');
    await heard(page, 'is up again after ');
    assert.match(await page.evaluate(`${LAST}.innerText`), /it has rebooted$/);
    await page.until('the sparkline has two points', `document.querySelector(".hosts polyline")?.points.length === 2`);

    // A page opened later knows it, figures and all, without a beat; a host that is forgotten is gone.
    await beat(url, 'web2', { every: 3600, load1: '0.25' });
    await page.close();
    const later = await live(browser);
    await later.until('web2 is there with its load', `${ROWS('hosts')}.some((row) => row.innerText.startsWith("web2") && row.innerText.includes("0.25"))`);
    await fetch(`${url}/beat/web2`, { method: 'DELETE' });
    await later.until('web2 is forgotten', `${ROWS('hosts')}.every((row) => !row.innerText.startsWith("web2"))`);
  },

  async pipelines(browser) {
    const page = await live(browser);
    const run = { event: 'ci', name: 'group/app', forge: 'gitlab', project: 'group/app', ref: 'main', who: 'Ana', id: 123, url: 'https://example.org/1' };
    const row = async (status, also = {}) => {
      await say(url, { ...run, message: `Pipeline #123 of main by Ana: ${status}`, status, ...also });
      const state = { success: 'passed', pending: 'queued', degraded: 'warn' }[status] ?? status;
      await page.until(`the row is ${state}`, `${ROWS('pipelines')}[0]?.classList.contains("${state}")`);
      const rows = await page.evaluate(`${ROWS('pipelines')}.map((row) => row.innerText)`);
      assert.equal(rows.length, 1, `one row that changes: ${rows}`);
      return rows[0];
    };
    assert.match(await row('pending'), /^group\/app main\s+pending by Ana, #123/);
    await row('running');
    await page.until('it ticks', `/[1-9] s/.test(${ROWS('pipelines')}[0].innerText)`);
    assert.match(await row('failed', { duration: 123 }), /2 min 3 s/);
    assert.equal(await page.evaluate('document.querySelector("#headline").textContent'), 'Failed: group/app main.');
    await row('degraded');
    await page.until('it is counted', 'document.querySelector(".pipelines .title p").textContent === "1 not well"');
    await row('running');
    assert.match(await row('success', { duration: '47.4' }), /success by Ana, #123[\s\S]*47 s/);
    assert.equal(await page.evaluate('document.querySelector("#headline").textContent'), 'All is well.');
    assert.equal(await page.evaluate(`${ROWS('pipelines')}[0].querySelector("a").href`), 'https://example.org/1');
    await say(url, { ...run, message: 'late news of an older run', id: 122, status: 'failed' });
    await say(url, { ...run, message: 'one job of many', id: 123, kind: 'job', status: 'failed' });
    await say(url, { ...run, message: 'another ref', ref: 'feature', id: 124, status: 'canceled' });
    await page.until('a second row', `${ROWS('pipelines')}.length === 2`);
    assert.deepEqual(await page.evaluate(`${ROWS('pipelines')}.map((row) => row.className)`), ['row passed', 'row canceled']);

    // As a hook says it: a line that begins with the project, and updates that are no lines.
    const hook = { event: 'ci', forge: 'github', kind: 'pipeline', project: 'o/r', ref: 'main', id: 7_000_000_001, number: 12, workflow: 'Tests' };
    await say(url, { ...hook, message: 'o/r: Tests #12 of main has failed', status: 'failed' });
    await heard(page, 'Tests #12 of main has failed');
    assert.equal(await page.evaluate(`${LAST}.querySelector("b").textContent`), 'o/r');
    const count = await page.evaluate('document.querySelectorAll("#talk li").length');
    await say(url, { ...hook, event: 'ci.update', message: 'o/r: Tests #12 of main is queued', status: 'queued' });
    await page.until('the row is queued', `${ROWS('pipelines')}[0].innerText.includes("queued #12, Tests")`);
    assert.equal(await page.evaluate('document.querySelectorAll("#talk li").length'), count, 'an update is no line');
    await say(url, { ...hook, workflow: 'Lint', id: 7_000_000_000, message: 'o/r: Lint #12 of main has passed', status: 'passed' });
    await page.until('each workflow has a row', `${ROWS('pipelines')}.length === 4`);

    // And a recorded delivery.
    for (const [state, shown] of [['running', 'running'], ['failed', 'failed'], ['running', 'running'], ['success', 'passed']]) {
      const delivery = readFileSync(new URL(`../hooks/gitlab.Pipeline-Hook.${state}.json`, import.meta.url));
      const answer = await fetch(`${url}/hook/gitlab/ci`, { method: 'POST', body: delivery });
      assert.equal(answer.status, 200);
      await page.until(`the delivery is a row that is ${shown}`, `${ROWS('pipelines')}.filter((row) => row.innerText.startsWith("group/app main") && row.classList.contains("${shown}")).length === 1`);
    }
  },

  async hostile(browser) {
    const page = await live(browser, url, { before: 'globalThis.alert = globalThis.broken = () => { throw new Error("broken into"); };' });
    const script = '<script>broken()</script><img src=x onerror=broken()><svg onload=broken()>';
    const links = 'javascript:broken() data:text/html,<script>broken()</script> https://user@example.org/\u202Egpj.exe http://[ https://';
    const texts = [script, links, '\u202E right to left \u2066\u2067\u200F', 'a\u0300'.repeat(5000), '\n'.repeat(60_000), 'x'.repeat(64_000), '\u0000\u0007\u001b[2J\uFFFF\uD800'];
    for (const text of texts) {
      const said = JSON.stringify({ name: text, message: text, project: text, ref: text, status: text, who: text, url: text, id: text, duration: text });
      for (const event of ['message', 'ci', 'host', 'host-state']) {
        const body = said.replace('{', `{"event":"${event}","state":"down",`).slice(0, 8 * 64_000);
        await fetch(`${url}/say`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
      }
      await fetch(`${url}/say`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ message: text }) });
      await fetch(`${url}/beat/web1`, { method: 'POST', body: new URLSearchParams({ note: text.slice(0, 500), load1: text.slice(0, 100), up: '1e999' }) });
    }
    await say(url, { message: 'still here' });
    await heard(page, 'still here');
    assert.equal(await page.evaluate('document.querySelectorAll("script").length'), 1, 'no markup out of text');
    assert.equal(await page.evaluate('document.querySelectorAll("img, main svg:not(.mark, .loads, .day, .runs, .plot)").length'), 1, 'but the page\'s own');
    const hrefs = await page.evaluate('[...document.querySelectorAll("main a[href]")].map((a) => a.href)');
    assert.ok(hrefs.every((href) => href === 'https://user@example.org/'), hrefs.join(' '));

    // Nothing said reaches beyond its own row, or makes the page wider.
    assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'));
    assert.equal(await page.evaluate('getComputedStyle(document.querySelector("#talk p")).unicodeBidi'), 'isolate');
    assert.ok(await page.evaluate(`Math.max(...[...document.querySelectorAll('#talk li')].map((row) => row.offsetHeight)) < 800`), 'long texts are cut');
    await page.evaluate(`[...document.querySelectorAll('.more')].at(-1).click()`);

    // 10,000 names and channels: no state is kept for each.
    const before = await page.evaluate(NODES);
    for (let number = 0; number < 10_000; number += 100) {
      await Promise.all(Array.from({ length: 100 }, (_, place) => say(url, { name: `name ${number + place}`, message: `${number + place}` }, `c${number + place}`)));
    }
    await say(url, { message: 'the last one' });
    await heard(page, 'the last one');
    assert.ok((await page.evaluate(NODES)) < before + 1500, 'no more elements than a window of rows');
    assert.ok((await page.evaluate('document.querySelector("#channels").options.length')) <= 100);
    assert.ok(await page.evaluate(LIVE));
    assert.deepEqual(page.complaints, []);
  },

  async crowd(browser) {
    const page = await live(browser);
    const heap = async () => {
      await page.send('HeapProfiler.collectGarbage');
      return page.evaluate('performance.memory.usedJSHeapSize / 1e6');
    };
    await page.evaluate(`globalThis.slow = []; new PerformanceObserver((list) => slow.push(...list.getEntries().map((entry) => entry.duration))).observe({ type: 'longtask' })`);
    const talk = async (count) => {
      for (let number = 0; number < count; number += 50) {
        const texts = Array.from({ length: 50 }, (_, place) => `message ${number + place}: ${'words '.repeat(place % 40)}`);
        await Promise.all(texts.map((message, place) => say(url, { name: `speaker ${place % 7}`, message })));
      }
      await say(url, { message: `all ${count}` });
      await heard(page, `all ${count}`);
    };
    const beats = async (rounds) => {
      const figures = () => ({ every: 3600, load1: Math.random(), up: 500, mem_used: 1, mem_total: 2 });
      for (let host = 0; host < 500; host += 50) {
        await Promise.all(Array.from({ length: 50 }, (_, place) => beat(url, `host-${host + place}`, figures())));
      }
      await page.until('every beat is heard', `document.querySelector(".hosts polyline")?.points.length === ${rounds}`);
    };
    await beats(1);
    await talk(3000);
    const [nodes, memory] = [await page.evaluate(NODES), await heap()];
    await talk(10_000);
    for (let round = 2; round <= 6; round += 1) await beats(round);
    await page.until('500 hosts are counted', 'document.querySelector(".hosts .title p").textContent === "500 up"');
    const [nodesAfter, memoryAfter] = [await page.evaluate(NODES), await heap()];
    const slow = await page.evaluate('slow');
    console.log(`${nodesAfter} elements, ${memoryAfter.toFixed(1)} MB, ${slow.length} tasks over 50 ms, the longest ${Math.max(0, ...slow)} ms`);
    assert.ok(nodesAfter < 2000, `${nodesAfter} elements`);
    assert.ok(nodesAfter < nodes * 1.2 && memoryAfter < memory * 1.5 + 5, `${nodes} to ${nodesAfter} elements, ${memory} to ${memoryAfter} MB`);

    // The list of hosts is whole, though few of its rows are there.
    await page.evaluate(`{ const list = document.querySelector('.hosts .scroll'); list.scrollTop = list.scrollHeight; }`);
    await page.until('the last host is in sight', `${ROWS('hosts')}.at(-1).innerText.startsWith("host-499")`);
    assert.equal(await page.evaluate(`${ROWS('hosts')}.at(-1).ariaPosInSet`), '500');

    // Who reads further up is not moved by what is said meanwhile, gets all that is kept, and finds the way back.
    await page.evaluate(`document.querySelector('#talk').scrollTop = 300`);
    await page.until('the window has grown upwards', 'document.querySelectorAll("#talk li").length > 150');
    await page.evaluate(`document.querySelector('#talk').scrollTop += 50`);
    const place = `(() => { const top = document.querySelector('#talk').getBoundingClientRect().top; return [...document.querySelectorAll('#talk li')].map((row) => [row.innerText, row.getBoundingClientRect().top]).find((row) => row[1] > top); })()`;
    const read = await page.evaluate(place);
    for (let number = 0; number < 200; number += 1) await say(url, { message: `meanwhile ${number}` });
    await page.until('it is offered', '/^200 new$/.test(document.querySelector("#newest:not([hidden])")?.textContent)');
    assert.deepEqual(await page.evaluate(place), read, 'the row one reads stays where it is');
    for (let step = 0; step < 100; step += 1) {
      await page.evaluate(`document.querySelector('#talk').scrollTop = 0`);
      await page.evaluate('new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))');
      assert.ok((await page.evaluate('document.querySelectorAll("#talk li").length')) <= 2000);
    }
    const first = await page.evaluate('document.querySelector("#talk li").innerText');
    assert.match(first, /message 82\d\d/, 'the oldest of the 2000 that are kept');
    for (let step = 0; step < 100; step += 1) {
      await page.evaluate(`document.querySelector('#talk').scrollTop += 900`);
      await page.evaluate('new Promise((go) => requestAnimationFrame(() => requestAnimationFrame(go)))');
    }
    await page.evaluate('document.querySelector("#newest:not([hidden])")?.click()');
    await heard(page, 'meanwhile 199');
    const numbers = await page.evaluate(`[...document.querySelectorAll('#talk li p')].map((row) => Number(/meanwhile (\\d+)/.exec(row.textContent)?.[1])).filter((number) => number >= 0)`);
    assert.deepEqual(numbers, numbers.toSorted((one, other) => one - other), 'in order');
  },

  async connection(browser) {
    const [server, address] = await start('127.0.0.1:0');
    const page = await live(browser, `http://${address}`);
    await say(`http://${address}`, { message: 'before' });
    await beat(`http://${address}`, 'web1', { every: 3600 });
    await heard(page, 'is up');
    await stop(server);
    await page.until('the loss is shown', 'document.querySelector("#connection").innerText === "connection lost"');
    const [next] = await start(address);
    await page.until('the page is live again', LIVE);
    await page.until('a host the server does not know any more is not shown', `${ROWS('hosts')}.length === 0`);
    await say(`http://${address}`, { message: 'after' });
    await heard(page, 'after');
    assert.ok(await page.evaluate('document.querySelector("#talk").innerText.includes("before")'), 'what was known stays');
    await stop(next);
  },

  // The page says less as soon as it knows less, and is back within two seconds of the server.
  async truth(browser) {
    const flags = ['--heartbeat', '1'];
    let [server, address] = await start('127.0.0.1:0', ...flags);
    const at = `http://${address}`;
    const says = (page, text) => page.until(`it says ${text}`, `document.querySelector("#headline").textContent.startsWith(${JSON.stringify(text)}) && document.title.includes(${JSON.stringify(text.split('.')[0])})`, 45_000);
    const dimmed = 'document.body.classList.contains("stale")';
    const page = await live(browser, at);
    await beat(at, 'web1', { every: 3600 });
    await page.until('all is well', 'document.querySelector("#headline").textContent === "All is well."');
    const back = async (what, go) => {
      await says(page, 'No word from the server for ');
      assert.ok(await page.evaluate(dimmed), `${what}: rows are dimmed`);
      assert.match(await page.evaluate('document.querySelector("[rel=icon]").href'), /b5301d/);
      await go();
      const took = await page.until('the page is live again', `${LIVE} && !${dimmed}`);
      console.log(`${what}: back after ${took.toFixed(0)} ms`);
    };

    server.kill('SIGSTOP');
    await back('frozen', () => server.kill('SIGCONT'));
    await page.until('all is well again', 'document.querySelector("#headline").textContent === "All is well."');

    await stop(server);
    await back('killed', async () => ([server] = await start(address, ...flags)));
    await say(at, { event: 'ci', key: 'app main', project: 'app', ref: 'main', status: 'failed', message: 'app failed' });
    await says(page, 'Failed: app main.');

    await stop(server);
    [server] = await start(address, ...flags, '--listen-token', 'new');
    await says(page, 'The server wants a token.');
    assert.ok(await page.evaluate(dimmed));
    assert.equal(await page.evaluate('document.querySelector("#door").open'), true);
    await page.evaluate('document.querySelector("#token").focus()');
    await page.type('new');
    await page.press('Enter', 'Enter', 13, '\r');
    await page.until('the page is live', `${LIVE} && !${dimmed}`);

    await stop(server);
    [server] = await start(address, ...flags, '--listen-token', 'newer');
    await says(page, 'The server takes this token no more.');
    assert.match(await page.evaluate('document.querySelector("#door h2").textContent'), /^This token is not taken to listen\.$/);
    await stop(server);
    [server] = await start(address, ...flags, '--listen-token', 'new');
    await page.until('the token is taken again', `${LIVE} && !${dimmed} && !document.querySelector("#door").open`);
    await stop(server);
  },

  // What was said before anybody looked is known, however much was said since; a filter does not hide it.
  async standing(browser) {
    await say(url, { event: 'ci', key: 'app main', project: 'app', ref: 'main', status: 'failed', message: 'app failed' }, 'ci');
    await say(url, { event: 'alert', key: 'DiskWillFill', status: 'firing', message: 'in four hours' });
    for (let number = 0; number < 1500; number += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, place) => say(url, { message: `${number + place}` })));
    }
    const headline = (page, text) => page.until(`it says ${text}`, `document.querySelector("#headline").textContent === ${JSON.stringify(text)}`);
    const page = await live(browser);
    await headline(page, 'Failed: app main. Firing: DiskWillFill.');
    const filtered = await browser.open(`${url}/?channel=other&only=hosts&wall`);
    await headline(filtered, 'Failed: app main. Firing: DiskWillFill.');
    assert.match(await filtered.evaluate('document.title'), /^\(2\) Failed: app/);
    assert.equal(await filtered.evaluate('document.querySelector("#view").innerText'), 'only hosts · channel other ×');
    assert.equal(await filtered.evaluate('document.querySelector(".pipelines").offsetHeight'), 0);
    await say(url, { event: 'ci', key: 'app main', project: 'app', ref: 'main', status: 'passed', message: 'app passed' }, 'ci');
    await headline(page, 'Firing: DiskWillFill.');
    await say(url, { event: 'alert', key: 'DiskWillFill', status: 'gone', message: 'never mind' });
    await headline(page, 'All is well.');
    await page.front();
    await page.until('what is gone is no row', `${ROWS('numbers')}.length === 0`);
  },

  async numbers(browser) {
    const page = await live(browser);
    const number = (value, also = {}) => say(url, { event: 'number', name: 'temp', value, unit: '°C', above: 28, ...also }, 'greenhouse');
    for (let value = 0; value < 30; value += 1) await number(value);
    const row = `${ROWS('numbers')}[0]?`;
    await page.until('the newest value', `${row}.innerText.replace(/\s+/g, ' ').includes("29 °C")`);
    assert.match(await page.evaluate(`${ROWS('numbers')}[0].innerText`), /greenhouse\/temp\s+0 – 29/);
    assert.ok(await page.evaluate(`${ROWS('numbers')}[0].classList.contains("warn")`));
    await page.until('the headline has it', 'document.querySelector("#headline").textContent === "Out of bounds: temp 29 °C."');
    const points = `${ROWS('numbers')}[0].querySelector(".line").getAttribute("d")`;
    assert.equal((await page.evaluate(points)).split('L').length, 30);
    const plot = await page.evaluate(points);
    const second = await live(browser);
    await second.until('the row', `${ROWS('numbers')}.length === 1`);
    assert.equal((await second.evaluate(points)).split('L').length, plot.split('L').length, 'a new page shows the same plot');
    await number(20);
    await page.until('all is well', 'document.querySelector("#headline").textContent === "All is well."');
    assert.equal(await page.evaluate('document.querySelectorAll("#talk li").length'), 0, 'a number is no line');
  },

  // A row that somebody acknowledges is out of the headline for everyone, until it changes; a lost pipeline can be dismissed.
  async acknowledged(browser) {
    const store = ['--store', join(mkdtempSync(join(tmpdir(), 'aloud-store-')), 'store')];
    let [server, address] = await start('127.0.0.1:0', ...store);
    const at = `http://${address}`;
    const ci = { event: 'ci', key: 'app main', project: 'app', ref: 'main', number: 7, seconds: 60, message: 'app #7 has failed' };
    const fail = () => say(at, { ...ci, status: 'failed' }, 'ci');
    await fail();
    await say(at, { event: 'alert', key: 'Heat', status: 'firing', message: 'it is hot', above: 28 });
    await fetch(`${at}/beat/job/fail`, { method: 'POST', body: 'no room' });
    await say(at, { event: 'ci', project: 'lost', ref: 'main', status: 'running', id: 5, message: 'lost is running' }, 'ci');
    const page = await live(browser, at);
    const headline = (text) => page.until(`it says ${text}`, `document.querySelector("#headline").textContent === ${JSON.stringify(text)}`);
    const row = (area, name) => `${ROWS(area)}.find((row) => row.innerText.startsWith(${JSON.stringify(name)}))`;
    const press = async (area, name, label) => {
      await page.evaluate(`${row(area, name)}.querySelector("button").click()`);
      await page.until('it is open', 'document.querySelector("#more").open && document.querySelector("#more h2").textContent !== ""');
      await page.until(`it can be: ${label}`, `[...document.querySelectorAll("#more button")].some((button) => button.textContent === "${label}" && !button.hidden)`);
      await page.evaluate(`[...document.querySelectorAll("#more button")].find((button) => button.textContent === "${label}").click()`);
    };
    const close = () => page.evaluate('document.querySelector("#more").close()');
    const status = async () => (await fetch(`${at}/status`)).text();
    await page.evaluate('document.querySelector("#name").value = "Ana"');
    await headline('Failed: job, app main. Firing: Heat.');

    await press('pipelines', 'app', 'Acknowledge');
    await headline('Failed: job. Firing: Heat.');
    await heard(page, 'app #7 has failed, acknowledged by Ana');
    assert.equal(await page.evaluate(`${row('pipelines', 'app')}.className`), 'row failed seen');
    assert.match(await page.evaluate(`${row('pipelines', 'app')}.innerText`), /failed, acknowledged/);
    await close();
    await press('pipelines', 'app', 'Take back');
    await headline('Failed: job, app main. Firing: Heat.');
    await close();
    await press('pipelines', 'app', 'Acknowledge');
    await headline('Failed: job. Firing: Heat.');
    await close();
    await press('numbers', 'Heat', 'Acknowledge');
    await headline('Failed: job.');
    await close();
    assert.match(await status(), /^bad: job has failed: no room$/m);
    await press('hosts', 'job', 'Acknowledge');
    await headline('All is well.');
    await close();
    assert.equal(await status(), 'ok\n', 'for everyone');

    // It is so on a page opened later, and after a restart; what changes is in the headline again.
    await stop(server);
    [server] = await start(address, ...store);
    const later = await live(browser, at);
    await later.until('all is well', 'document.querySelector("#headline").textContent === "All is well."');
    for (const [area, name] of [['pipelines', 'app'], ['numbers', 'Heat'], ['hosts', 'job']]) {
      assert.ok(await later.evaluate(`${row(area, name)}.classList.contains("seen")`), name);
    }
    assert.match(await (await fetch(`${at}/hosts`)).text(), /^job +failed/m, 'a host is not forgotten');
    await later.close();
    await page.front();
    await fail();
    await headline('Failed: app main.');
    await fetch(`${at}/beat/job`);
    await page.until('the job is well', `${row('hosts', 'job')}.className === "row up"`);
    await say(at, { event: 'alert', key: 'Heat', status: 'firing', message: 'it is hotter' });
    await headline('Failed: app main. Firing: Heat.');

    // A pipeline of which nobody said the end, which the server's list does not have.
    assert.ok(await page.evaluate(`${row('pipelines', 'lost')}.classList.contains("running")`));
    await press('pipelines', 'lost', 'Forget');
    await page.until('it is gone', `!${row('pipelines', 'lost')} && !document.querySelector("#more").open`);
    const third = await live(browser, at);
    await third.until('the other one is there', `Boolean(${row('pipelines', 'app')})`);
    assert.ok(await third.evaluate(`!${row('pipelines', 'lost')}`));
    assert.deepEqual(await page.errors(), []);
    await stop(server);
    rmSync(dirname(store[1]), { recursive: true });
  },

  // A row opens: all figures of a host, its changes; and what was heard of it survives a reload.
  async opened(browser) {
    const page = await live(browser);
    for (const load of ['0.5', '1.5', '1']) await beat(url, 'web1', { every: 60, load1: load, mem_used: 4e9, mem_total: 16e9, up: 90_061, fans: 'two' });
    const points = 'document.querySelector(".hosts polyline")?.points.length';
    await page.until('three beats are drawn', `${points} === 3`);
    await page.evaluate('document.querySelector(".hosts .row").click()');
    await page.until('all figures', '/fans\\s+two/.test(document.querySelector("#more").innerText)');
    const text = (await page.evaluate('document.querySelector("#more").innerText')).replace(/\s+/g, ' ');
    for (const part of ['web1 is up', 'every 60', 'mem used 4 GB', 'up 1 d 1 h']) assert.ok(text.includes(part), `${part} in ${text}`);
    assert.match(text, /[\dM] up /, 'its changes');
    await page.press('Escape', 'Escape', 27);
    await page.until('it is closed', '!document.querySelector("#more").open');
    await page.evaluate('location.reload()');
    await page.until('the page is live anew', `document.readyState === "complete" && ${LIVE} && ${ROWS('hosts')}.length === 1`);
    await page.until('the sparkline is there', `${points} >= 3`);
    assert.deepEqual(await page.errors(), []);
  },

  // What turns bad is told: by a sound and a notification where that is switched on, and by a count in the icon.
  async told(browser) {
    const before = `globalThis.told = []; document.hasFocus = () => false;
      AudioContext.prototype.createOscillator = new Proxy(AudioContext.prototype.createOscillator, { apply: (make, ...rest) => (told.push('tone'), Reflect.apply(make, ...rest)) });
      globalThis.Notification = class { static permission = 'granted'; static requestPermission() {} constructor(title, { body }) { told.push(body); } };`;
    const fail = (project) => say(url, { event: 'ci', key: project, project, status: 'failed', message: `${project} failed` });
    const page = await browser.open(`${url}/`, { before });
    await page.until('the page is live', LIVE);
    const count = (number) => page.until(`the icon counts ${number}`, `document.querySelector("[rel=icon]").href.includes(">${number}<")`);
    await fail('first');
    await count(1);
    assert.deepEqual(await page.evaluate('told'), [], 'not asked for');
    await page.evaluate('document.querySelector("#bell").click()');
    assert.deepEqual(await page.evaluate('[told.splice(0), document.querySelector("#bell").ariaPressed]'), [['tone', 'tone'], 'true'], 'as it will sound');
    await fail('second');
    await count(2);
    assert.deepEqual(await page.evaluate('told.splice(0)'), ['tone', 'tone', 'Failed: second, first.']);
    await fail('second');
    await say(url, { event: 'ci', key: 'first', project: 'first', status: 'passed', message: 'first passed' });
    await count(1);
    assert.deepEqual(await page.evaluate('told'), [], 'nothing is newly bad');
    await page.evaluate('document.querySelector("#bell").click()');
    await fail('first');
    await count(2);
    assert.deepEqual(await page.evaluate('told'), [], 'switched off');
    await say(url, { event: 'ci', key: 'first', project: 'first', status: 'gone', message: 'first is gone' });
    await say(url, { event: 'ci', key: 'second', project: 'second', status: 'gone', message: 'second is gone' });
    await page.until('the icon is the usual one', '!document.querySelector("[rel=icon]").href.includes("b5301d")');
    assert.deepEqual(await page.errors(), []);
  },

  // A hidden page is told nothing but what its title needs; when it is shown, it has everything.
  async hidden(browser) {
    const before = `globalThis.came = 0; const port = Object.getOwnPropertyDescriptor(MessagePort.prototype, 'onmessage');
      Object.defineProperty(MessagePort.prototype, 'onmessage', { ...port, set(hear) { port.set.call(this, (event) => (came += 1, hear(event))); } });`;
    const page = await browser.open(`${url}/`, { before });
    await page.until('the page is live', LIVE);
    for (let number = 0; number < 100; number += 1) await say(url, { message: `before ${number}` });
    await beat(url, 'web1', { every: 3600, load1: '0.5' });
    await heard(page, 'is up');
    await page.until('the host is there', `${ROWS('hosts')}.length === 1`);
    await page.evaluate('document.querySelector("#talk").scrollTop = 0');
    const second = await live(browser);
    await second.front();
    await page.until('it is hidden', 'document.hidden');
    await page.until('it is told what is wrong', 'came > 0');
    await new Promise((go) => setTimeout(go, 1000)); // what was on its way is there
    const [came, start] = [await page.evaluate('came'), Date.now()];
    for (let number = 0; number < 200; number += 1) {
      await say(url, { message: `meanwhile ${number}` });
      await beat(url, 'web1', { every: 3600, load1: `${number / 10}` });
      await new Promise((go) => setTimeout(go, 10)); // the pace, not a wait
    }
    await heard(second, 'meanwhile 199');
    const most = 1 + (Date.now() - start) / 5000;
    const told = (await page.evaluate('came')) - came;
    assert.ok(told <= most, `told ${told} times, and not more often than ${most}`);
    await say(url, { event: 'ci', key: 'app', project: 'app', status: 'failed', message: 'app failed' });
    await page.until('its title has it', 'document.title === "(1) Failed: app."');
    assert.ok(await page.evaluate('document.hidden'));
    await page.front();
    await page.until('all that was said meanwhile is counted', '/\\b20[1-9]\\b/.test(document.querySelector("#newest").innerText)');
    await page.until('and all that was beaten', `${ROWS('hosts')}[0].innerText.includes("19.90")`);
    assert.ok(await page.evaluate('document.querySelector("#talk").scrollTop < 100'), 'it stays where it was read');
    await page.evaluate('document.querySelector("#newest").click()');
    await heard(page, 'app failed');
    assert.deepEqual(await page.errors(), []);
  },

  // While every page is hidden no stream stays open. What is wrong is in the title nevertheless, and a silent server too; a
  // page that is shown has all that was said, though the server keeps less than that.
  async resting(browser) {
    const [server, address] = await start('127.0.0.1:0', '--heartbeat', '1', '--history', '40');
    const at = `http://${address}`;
    const page = await live(browser, at);
    let said = 0;
    const speak = async () => {
      const answer = await fetch(`${at}/say`, { method: 'POST', body: `word ${said += 1}` });
      return answer.headers.get('Aloud-Listeners');
    };
    const ci = (status) => say(at, { event: 'ci', key: 'app', project: 'app', status, message: `app ${status}` });
    const disk = (used) => beat(at, 'web1', { every: 3600, disk_used: used, disk_total: 100 });
    const titled = (title, patience = 30_000) => page.until(`its title is ${title}`, `document.title === ${JSON.stringify(title)}`, patience);
    await disk(50);
    assert.equal(await speak(), '1');
    const other = await browser.open('about:blank');
    const hide = async () => {
      await other.front();
      await page.until('it is hidden', 'document.hidden');
      for (const start = Date.now(); (await speak()) !== '0';) {
        assert.ok(Date.now() - start < 30_000, 'the stream of a hidden page has ended');
        await new Promise((go) => setTimeout(go, 1000)); // the pace, not a wait
      }
    };
    await hide();
    await page.evaluate('globalThis.titles = [], new MutationObserver(() => titles.push(document.title)).observe(document.querySelector("title"), { childList: true })');

    await ci('failed');
    const took = await titled('(1) Failed: app.');
    console.log(`hidden, it has a failure in its title after ${took.toFixed(0)} ms`);
    for (let word = 0; word < 30; word += 1) assert.equal(await speak(), '0', 'no stream stays open');
    await disk(97);
    await say(at, { event: 'number', name: 'temp', value: 29, above: 28 });
    await titled('(2) Failed: app. Disk full: web1 97 %. Out of bounds: temp 29.');
    for (let word = 0; word < 30; word += 1) assert.equal(await speak(), '0', 'no stream stays open');
    await ci('passed');
    await disk(51);
    await say(at, { event: 'number', name: 'temp', value: 27, above: 28 });
    await titled('aloud');
    assert.ok(await page.evaluate('document.hidden && !titles.some((title) => title.includes("No word"))'), 'it was never silent');

    await disk(52);
    await speak();
    await page.front();
    const caught = await page.until('what was said last is there', `${LAST}?.innerText.includes("word ${said}")`);
    console.log(`shown, it has what was said after ${caught.toFixed(0)} ms`);
    await page.until('and the newest figure', `${ROWS('hosts')}[0].innerText.includes("52 %")`);
    assert.equal(await page.evaluate(`${ROWS('numbers')}[0].querySelector(".value b").textContent`), '27');
    const words = await page.evaluate('[...document.querySelectorAll("#talk li p")].map((row) => /^word (\\d+)/.exec(row.textContent)?.[1]).filter(Boolean).map(Number)');
    assert.deepEqual(words, Array.from({ length: said }, (_, word) => word + 1), 'each word once and in order');
    assert.ok(await page.evaluate('!document.querySelector("#talk").innerText.includes("missing")'));
    assert.equal(await speak(), '1', 'it listens again');

    await hide();
    server.kill('SIGSTOP');
    await page.until('it says that the server is silent', 'document.title.includes("No word from the server for ")', 45_000);
    server.kill('SIGCONT');
    await titled('aloud');
    assert.ok(await page.evaluate('document.hidden'));
    assert.deepEqual(await page.errors(), []);
    await stop(server);
  },

  // On a wall nobody scrolls.
  async wall(browser) {
    for (let host = 0; host < 20; host += 1) await beat(url, `host-${host}`, { every: 3600 });
    for (let number = 0; number < 100; number += 1) await say(url, { message: `message ${number}` });
    const page = await browser.open(`${url}/?wall`, { before: `globalThis.ahead = 0; const { now } = Date; Date.now = () => now() + ahead;
      const every = setInterval; setInterval = (step, ms) => every(step, ms === 15_000 ? 1000 : ms);` });
    await page.until('the page is live', LIVE);
    assert.equal(await page.evaluate('document.querySelector("#say").offsetHeight'), 0, 'no form');
    await heard(page, 'message 99');
    await page.evaluate('document.querySelector("#talk").scrollTop = 0');
    await page.until('it does not follow', '!document.querySelector("#newest").hidden');
    const top = 'document.querySelector(".hosts .scroll").scrollTop';
    await page.until('the list goes on', `${top} > 0`, 40_000);
    await page.until('it follows again', 'document.querySelector("#newest").hidden');
    const place = 'document.body.style.translate';
    const numbers = (text) => [...text.matchAll(/\d/g)].map(Number);
    let before = await page.evaluate(place);
    for (let hour = 1; hour <= 4; hour += 1) {
      await page.evaluate(`ahead = ${hour} * 3_600_000`);
      await page.until('an hour later the picture has moved', `${place} !== ${JSON.stringify(before)}`, 40_000);
      const after = await page.evaluate(place);
      const [[x, y = 0], [left, up = 0]] = [numbers(before), numbers(after)];
      assert.equal(Math.abs(x - left) + Math.abs(y - up), 2, 'by two pixels');
      assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight'), `it fits, ${after}`);
      before = after;
    }
    await page.until('it comes back to the top', `${top} === 0`, 60_000);
  },

  // Small things that a person meets.
  async manners(browser) {
    const page = await live(browser);
    const send = async (text) => {
      await page.evaluate('document.querySelector("#message").focus()');
      await page.type(text);
    };
    await send('once');
    await Promise.all([page.press('Enter', 'Enter', 13, '\r'), page.press('Enter', 'Enter', 13, '\r')]);
    await heard(page, 'once');
    await say(url, { message: 'then' });
    await heard(page, 'then');
    assert.equal((await (await fetch(`${url}/said?last=9`)).text()).split('once').length, 2, 'Enter twice says once');

    // It follows in a smaller window, on its side, and with a keyboard; further up, what is new is counted.
    for (let number = 0; number < 80; number += 1) await say(url, { message: `message ${number}: ${'words '.repeat(number % 30)}` });
    await heard(page, 'message 79');
    const below = '(({ scrollHeight, scrollTop, clientHeight }) => scrollHeight - scrollTop - clientHeight)(document.querySelector("#talk"))';
    for (const [width, height] of [[1440, 500], [844, 390], [390, 844], [390, 500], [1440, 900]]) {
      await page.size(width, height);
      await page.until(`it follows at ${width} by ${height}`, `innerWidth === ${width} && ${below} < 2`);
      await say(url, { message: `at ${width} by ${height}` });
      await heard(page, `at ${width} by ${height}`);
      await page.until('it still follows', `${below} < 2 && document.querySelector("#newest").hidden`);
    }
    await page.evaluate('document.querySelector("#talk").scrollTop -= 300');
    await page.until('it holds still', '!document.querySelector("#newest").hidden');
    for (let number = 0; number < 3; number += 1) await say(url, { message: `unseen ${number}` });
    await page.until('they are counted', 'document.querySelector("#newest").textContent === "3 new"');
    await page.evaluate('document.querySelector("#newest").click()');
    await heard(page, 'unseen 2');
    await page.until('none is left', 'document.querySelector("#newest").hidden');

    // The number of a pipeline is the one of its line.
    const delivery = readFileSync(new URL('../hooks/gitlab.Pipeline-Hook.failed.json', import.meta.url));
    await fetch(`${url}/hook/gitlab/ci`, { method: 'POST', body: delivery });
    await page.until('the row', `${ROWS('pipelines')}.length === 1`);
    const [number] = /#\d+/.exec(await page.evaluate(`${LAST}.innerText`));
    assert.ok((await page.evaluate(`${ROWS('pipelines')}[0].innerText`)).includes(number), number);

    // Not today is told by its date.
    const yesterday = await browser.open(`${url}/`, { before: 'const now = Date.now; Date.now = () => now() + 86_400_000 * 2;' });
    await yesterday.until('a date', '/^\\d+ [A-Z][a-z]+$/.test(document.querySelector("#talk time")?.textContent)');
    assert.deepEqual(await page.errors(), []);
  },

  // Commands that are shown work where the page is; a page reloads after an update of the server, when nobody types.
  async proxies(browser) {
    const address = url.replace('http://', '');
    const secure = await Between.start(address, { prefix: '/tools/aloud', tls: true });
    const page = await live(browser, secure.url);
    const [command] = await page.evaluate('[...document.querySelectorAll(".talk code")].map((code) => code.textContent)');
    assert.ok(command.startsWith(`curl ${secure.url}/say -d `), command);
    await promisify(execFile)('sh', ['-c', command.replace('curl', 'curl -sk')]);
    await heard(page, 'Hi');
    assert.equal(await page.evaluate('isSecureContext'), true);
    await page.close();
    secure.end();

    const between = await Between.start(address);
    const open = await live(browser, between.url);
    await open.evaluate('globalThis.old = true');
    await open.evaluate('document.querySelector("#message").value = "half a sent"');
    between.build = 'newer';
    between.cut();
    await say(url, { message: 'meanwhile' });
    await heard(open, 'meanwhile');
    assert.equal(await open.evaluate('old'), true, 'nothing that is typed is lost');
    await open.evaluate('document.querySelector("#message").value = ""');
    await open.until('it is loaded anew', `!globalThis.old && document.readyState === "complete" && ${LIVE}`);
    await heard(open, 'meanwhile');
    between.end();
  },

  async token(browser) {
    const hear = 's3cret&co+=~';
    const [server, address] = await start('127.0.0.1:0', '--listen-token', hear, '--say-token', 'other');
    const page = await browser.open(`http://${address}/`);
    const enter = async (token) => {
      await page.until('the token is asked for', 'document.querySelector("#door").open');
      await page.evaluate('document.querySelector("#token").value = ""; document.querySelector("#token").focus()');
      await page.type(token);
      await page.press('Enter', 'Enter', 13, '\r');
    };
    await page.until('the token is asked for', 'document.querySelector("#door").open');
    await page.press('Escape', 'Escape', 27);
    await page.until('it is asked for no more', '!document.querySelector("#door").open');
    await page.until('it is told', 'document.querySelector("#headline").textContent === "The server wants a token."');
    await page.evaluate('document.querySelector("#connection").click()'); // which says: token needed
    await enter('wrong');
    await page.until('it is asked for again', 'document.querySelector("#door h2").textContent === "This token is not taken to listen."');
    await enter(hear);
    await page.until('the page is live', LIVE);

    // To speak takes another one here.
    const speak = async (text) => {
      await page.evaluate('document.querySelector("#message").focus()');
      await page.type(text);
      await page.press('Enter', 'Enter', 13, '\r');
    };
    const words = 'document.querySelector("#door h2").textContent';
    await speak('with a token');
    await page.until('it is asked for', 'document.querySelector("#door").open');
    assert.equal(await page.evaluate(words), 'This server wants a token to speak.');
    await page.press('Escape', 'Escape', 27);
    await page.until('it is told what was not done', 'document.querySelector("#trouble").textContent === "Not said: it takes a token."');
    assert.equal(await page.evaluate('document.querySelector("#message").value'), 'with a token', 'the text is kept');
    await page.evaluate('document.querySelector("#message").focus()');
    await page.press('Enter', 'Enter', 13, '\r');
    await enter('wrong again');
    await page.until('a wrong one is told from none', `${words} === "This token is not taken to speak."`);
    await enter('other');
    await heard(page, 'with a token');
    await speak('and again');
    await heard(page, 'and again');
    const second = await live(browser, `http://${address}`);
    assert.equal(await second.evaluate('document.querySelector("#door").open'), false, 'asked for once');
    await Promise.all([page.close(), second.close()]);

    // Or it comes along in the address, and does not stay there.
    const other = await start('127.0.0.1:0', '--listen-token', hear);
    const third = await browser.open(`http://${other[1]}/?token=${encodeURIComponent(hear)}`);
    await third.until('the page is live', LIVE);
    assert.equal(await third.evaluate('location.href'), `http://${other[1]}/`);
    await Promise.all([stop(server), stop(other[0])]);
  },

  // Every theme, size and area, by the rules of https://www.deque.com/axe; and what it looks like, in target/dashboard.
  async accessible(browser) {
    mkdirSync(shots, { recursive: true });
    const page = await live(browser);
    await page.evaluate(axe());
    const check = async (what, of = page) => {
      const { violations, passes } = await of.evaluate('axe.run({ resultTypes: ["violations"] })');
      const found = violations.map(({ id, help, nodes }) => `${id}: ${help}\n${nodes.slice(0, 3).map(({ html, failureSummary }) => `  ${html.slice(0, 200)}\n  ${failureSummary}`).join('\n')}`);
      assert.deepEqual(found, [], `${what}\n${found.join('\n')}`);
      assert.ok(passes.length > 5);
      writeFileSync(new URL(`${what}.png`, shots), await of.screenshot());
    };
    await check('empty');
    await lively(url);
    await page.until('the host that stays silent is down', `${ROWS('hosts')}[0].className === "row down"`);
    const sizes = [['tiny', 320, 640], ['phone', 390, 844], ['side', 844, 390], ['zoomed', 960, 540], ['laptop', 1366, 768], ['wall', 1920, 1080], ['large', 3840, 2160]];
    const narrow = `Math.min(...['hosts', 'pipelines', 'numbers'].flatMap((area) => [...document.querySelectorAll('.' + area + ' .row > div:first-of-type')]).map((name) => name.offsetWidth).filter(Boolean))`;
    const small = `[...document.querySelectorAll('button, input, textarea, a')].filter((each) => each.checkVisibility({ visibilityProperty: true }) && !each.closest('.row, p') && Math.min(each.offsetHeight, each.offsetWidth) < 44).map((each) => each.outerHTML.slice(0, 80) + each.offsetWidth + ' ' + each.offsetHeight)`;
    for (const [size, width, height] of sizes) {
      for (const dark of [false, true]) {
        await page.size(width, height);
        await page.theme(dark);
        const isSmall = width <= 820 || height <= 480;
        for (const area of isSmall ? ['hosts', 'pipelines', 'numbers', 'talk'] : ['']) {
          if (area) await page.evaluate(`document.querySelector('nav [value=${area}]').click()`);
          await page.evaluate('new Promise((go) => setTimeout(go, 150))');
          assert.ok(await page.evaluate('document.documentElement.scrollWidth <= innerWidth'), `${size} fits`);
          const rem = await page.evaluate('Number.parseFloat(getComputedStyle(document.documentElement).fontSize)');
          assert.ok((await page.evaluate(narrow)) >= Math.floor(8 * rem), `${size}: a name is ${await page.evaluate(narrow)} pixels wide`);
          if (isSmall) assert.deepEqual(await page.evaluate(small), [], `${size}: what is touched has 44 pixels`);
          await check([size, area, dark ? 'dark' : 'light'].filter(Boolean).join('-'));
        }
      }
    }

    // An opened row, an acknowledged one, a filter, a wall, and a server that is silent.
    await page.size(1366, 768);
    for (const dark of [false, true]) {
      await page.theme(dark);
      await page.evaluate('document.querySelector(".hosts .row").click()');
      await check(`opened-${dark ? 'dark' : 'light'}`);
      if (!dark) await page.evaluate('document.querySelector("#more [value=seen]").click()');
      await page.until('it is acknowledged', `${ROWS('hosts')}[0].classList.contains("seen")`);
      await page.evaluate('document.querySelector("#more").close()');
      await check(`acknowledged-${dark ? 'dark' : 'light'}`);
    }
    const [server, address] = await start('127.0.0.1:0', '--heartbeat', '1');
    await lively(`http://${address}`);
    const wall = await live(browser, `http://${address}`, { width: 1920, height: 1080 });
    await wall.evaluate('history.replaceState(null, "", "/?wall&channel=ci&only=talk,hosts,pipelines"), location.reload()');
    await wall.until('it is a wall', `document.readyState === "complete" && document.body.classList.contains("wall") && ${LIVE}`);
    await wall.evaluate(axe());
    await check('filtered-wall', wall);
    server.kill('SIGSTOP');
    // After 2.5 heartbeats: of 1 s, or of the usual 15 s where it has not heard two yet.
    await wall.until('it is stale', 'document.body.classList.contains("stale")', 60_000);
    for (const dark of [false, true]) {
      await wall.theme(dark);
      await check(`stale-${dark ? 'dark' : 'light'}`, wall);
    }
    await Promise.all([stop(server), wall.close()]);
    await page.front();

    await page.evaluate('document.querySelector("#door").showModal()');
    await check('token');
    await page.evaluate('document.querySelector("#door").close()');

    // Nothing moves when news comes.
    const moved = 'performance.getEntriesByType("layout-shift").length';
    await page.evaluate(`globalThis.moved = 0; new PerformanceObserver((list) => { for (const { value } of list.getEntries()) globalThis.moved += value; }).observe({ type: 'layout-shift', buffered: false })`);
    await page.size(1440, 900);
    await page.evaluate('new Promise((go) => setTimeout(go, 300))');
    await page.evaluate('globalThis.moved = 0');
    await beat(url, 'web1', { every: 3600, load1: '123.45', mem_used: 99, mem_total: 100 });
    await say(url, { name: 'Ana', message: 'one more' });
    await heard(page, 'one more');
    assert.ok((await page.evaluate('globalThis.moved')) < 0.01, moved);

    // Every control can be reached by the keyboard.
    const reached = new Set();
    await page.evaluate('document.activeElement.blur()');
    for (let step = 0; step < 120; step += 1) {
      await page.press('Tab', 'Tab', 9);
      reached.add(await page.evaluate('document.activeElement.id || document.activeElement.ariaLabel || document.activeElement.textContent'));
    }
    for (const wanted of ['channel', 'talk', 'name', 'message', 'Say', 'Pipelines', 'Hosts']) assert.ok(reached.has(wanted), `${wanted} in ${[...reached].join(', ')}`);
    assert.deepEqual(page.complaints, []);
  },
};

const browser = await (inside === 'firefox' ? Firefox : Browser).start();
try {
  await scenarios[name](browser);
} catch (error) {
  console.error(error);
  process.exitCode = 1;
} finally {
  await browser.end();
}
process.exit();
