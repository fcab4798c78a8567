// Firefox without a screen, driven over TCP by its own protocol (https://firefox-source-docs.mozilla.org/testing/marionette):
// both sides say LENGTH:JSON; commands are [0, ID, NAME, PARAMETERS], answers [1, ID, ERROR, RESULT].

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { until } from './browser.mjs';

const KEYS = { Enter: '\uE007', Tab: '\uE004', Escape: '\uE00C' };
const QUIET = ['app.update.disabledForTesting', 'browser.aboutwelcome.enabled', 'browser.shell.checkDefaultBrowser'];
const OFF = ['datareporting.policy.dataSubmissionEnabled', 'network.captive-portal-service.enabled', 'network.connectivity-service.enabled'];

export class Firefox {
  #waiting = new Map();
  #number = 0;
  #turn = Promise.resolve();

  static async start() {
    const browser = new Firefox();
    browser.profile = mkdtempSync(join(tmpdir(), 'aloud-firefox-'));
    const settings = [['marionette.port', 0], ['app.update.disabledForTesting', true], ...[...QUIET.slice(1), ...OFF].map((name) => [name, false])];
    writeFileSync(join(browser.profile, 'user.js'), settings.map((pair) => `user_pref(${JSON.stringify(pair[0])}, ${pair[1]});\n`).join(''));
    const flags = ['--headless', '--marionette', '--remote-allow-system-access', '--no-remote', '--profile', browser.profile];
    browser.process = spawn('/usr/bin/firefox-esr', flags, { stdio: 'ignore', detached: true, env: { ...process.env, HOME: browser.profile } });
    browser.ended = new Promise((ended) => browser.process.on('close', ended));
    const place = join(browser.profile, 'MarionetteActivePort');
    for (let port; !port;) {
      await new Promise((go) => setTimeout(go, 50));
      if (existsSync(place)) port = Number(readFileSync(place, 'utf8'));
      if (port) await browser.#connect(port);
    }
    await browser.send('WebDriver:NewSession', { capabilities: { alwaysMatch: { acceptInsecureCerts: true } } });
    return browser;
  }

  #connect(port) {
    let bytes = Buffer.alloc(0);
    this.socket = connect(port, '127.0.0.1');
    this.socket.on('data', (more) => {
      bytes = Buffer.concat([bytes, more]);
      for (;;) {
        const colon = bytes.indexOf(':');
        const end = colon + 1 + Number(bytes.subarray(0, colon));
        if (colon < 0 || bytes.length < end) return;
        this.#hear(JSON.parse(bytes.subarray(colon + 1, end)));
        bytes = bytes.subarray(end);
      }
    });
    return new Promise((connected) => this.socket.once('connect', connected));
  }

  #hear(said) {
    if (!Array.isArray(said)) return; // its greeting
    const [, id, error, result] = said;
    const { resolve, reject } = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error) reject(new Error(`${error.error}: ${error.message}`));
    else resolve(result);
  }

  send(name, parameters = {}) {
    const id = (this.#number += 1);
    const text = Buffer.from(JSON.stringify([0, id, name, parameters]));
    this.socket.write(Buffer.concat([Buffer.from(`${text.length}:`), text]));
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  // Does `action` while no other one goes on: there is one window at a time.
  inTurn(action) {
    const done = this.#turn.then(action);
    this.#turn = done.catch(() => {});
    return done;
  }

  async open(url, { width = 1440, height = 900 } = {}) {
    const page = new Page(this);
    await this.inTurn(async () => {
      page.handle = (await this.send('WebDriver:NewWindow', { type: 'window' })).handle;
      await this.send('WebDriver:SwitchToWindow', { handle: page.handle });
      await this.send('WebDriver:SetWindowRect', { width, height });
      await this.send('WebDriver:Navigate', { url });
    });
    return page;
  }

  async end() {
    process.kill(-this.process.pid, 'SIGKILL');
    await this.ended;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

class Page {
  complaints = [];
  requests = [];

  constructor(browser) {
    this.browser = browser;
  }

  send(name, parameters) {
    return this.browser.inTurn(async () => {
      await this.browser.send('WebDriver:SwitchToWindow', { handle: this.handle });
      return this.browser.send(name, parameters);
    });
  }

  async evaluate(expression) {
    const script = expression.startsWith('{') ? expression : `return (${expression});`;
    return (await this.send('WebDriver:ExecuteScript', { script, args: [] })).value;
  }

  until(what, expression, patience) {
    return until(this, what, expression, patience);
  }

  keys(keys) {
    const actions = keys.flatMap((value) => ['keyDown', 'keyUp'].map((type) => ({ type, value })));
    return this.send('WebDriver:PerformActions', { actions: [{ type: 'key', id: 'keys', actions }] });
  }

  type(text) {
    return this.keys([...text]);
  }

  press(key) {
    return this.keys([KEYS[key] ?? key]);
  }

  front() {
    return this.send('WebDriver:SwitchToWindow', { handle: this.handle, focus: true });
  }

  async screenshot() {
    return Buffer.from((await this.send('WebDriver:TakeScreenshot', { full: false })).value, 'base64');
  }

  // What a developer would see in red of this page.
  async errors() {
    return this.browser.inTurn(async () => {
      await this.browser.send('Marionette:SetContext', { value: 'chrome' });
      const script = `return Services.console.getMessageArray().filter((said) => said instanceof Ci.nsIScriptError && !(said.flags & 1)
        && said.sourceName.startsWith('http')).map((said) => said.errorMessage + ' ' + said.sourceName);`;
      const { value } = await this.browser.send('WebDriver:ExecuteScript', { script, args: [] });
      await this.browser.send('Marionette:SetContext', { value: 'content' });
      return value;
    });
  }

  // Leaves the first of the other windows as the one that is driven.
  async close() {
    const [other] = await this.send('WebDriver:CloseWindow', {});
    await this.browser.inTurn(() => this.browser.send('WebDriver:SwitchToWindow', { handle: other }));
  }
}
