// Chromium without a screen, driven over a pipe by its own protocol (https://chromedevtools.github.io/devtools-protocol):
// commands go in at descriptor 3, answers and events come out at 4, each a JSON text ended by a zero byte.

import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const PATIENCE_MS = 30_000;

// Waits until `expression` is true in `page`, and returns how long that took, in milliseconds.
export async function until(page, what, expression, patience = PATIENCE_MS) {
  const start = performance.now();
  // A page that is just loaded anew answers nothing.
  const holds = () => page.evaluate(expression).catch((error) => {
    if (!/context|navigat|destroyed|unload/i.test(error.message)) throw error;
  });
  while (!(await holds())) {
    if (performance.now() - start > patience) {
      const text = await page.evaluate('document.body.innerText.slice(0, 2000)');
      throw new Error(`late after ${patience} ms: ${what}\n${(await page.errors()).join('\n')}\n--- the page says\n${text}`);
    }
    await new Promise((go) => setTimeout(go, 10));
  }
  return performance.now() - start;
}

export class Browser {
  #waiting = new Map();
  #pages = new Map();
  #number = 0;

  static async start() {
    const browser = new Browser();
    browser.profile = mkdtempSync(join(tmpdir(), 'aloud-dashboard-'));
    const stdio = ['ignore', 'ignore', 'pipe', 'pipe', 'pipe'];
    browser.process = spawn('/usr/bin/chromium', flags(browser.profile), { stdio, detached: true });
    browser.ended = new Promise((ended) => browser.process.on('close', ended));
    browser.process.stderr.resume();
    let text = '';
    browser.process.stdio[4].setEncoding('utf8').on('data', (more) => {
      const messages = (text + more).split('\0');
      text = messages.pop();
      messages.forEach((message) => browser.#hear(JSON.parse(message)));
    });
    return browser;
  }

  #hear({ id, result, error, method, params, sessionId }) {
    if (id) {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      return error ? reject(new Error(error.message)) : resolve(result);
    }
    this.#pages.get(sessionId)?.hear(method, params);
  }

  send(method, params = {}, sessionId = undefined) {
    const id = (this.#number += 1);
    this.process.stdio[3].write(`${JSON.stringify({ id, method, params, sessionId })}\0`);
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
  }

  // Opens `url` in a tab of its own: `width` by `height` pixels, in the `dark` or the light theme.
  async open(url, { width = 1440, height = 900, scale = 1, dark = false, before = '' } = {}) {
    const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await this.send('Target.attachToTarget', { targetId, flatten: true });
    const page = new Page(this, targetId, sessionId);
    this.#pages.set(sessionId, page);
    for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await page.send(`${domain}.enable`);
    await page.size(width, height, scale);
    await page.theme(dark);
    if (before) await page.send('Page.addScriptToEvaluateOnNewDocument', { source: before });
    await page.send('Page.navigate', { url });
    await page.until('the page has loaded', 'document.readyState === "complete"');
    return page;
  }

  async end() {
    process.kill(-this.process.pid, 'SIGKILL');
    await this.ended;
    rmSync(this.profile, { recursive: true, force: true, maxRetries: 10 });
  }
}

export class Page {
  complaints = []; // what a developer would see in red
  requests = [];

  constructor(browser, targetId, sessionId) {
    Object.assign(this, { browser, targetId, sessionId });
  }

  hear(method, params) {
    if (method === 'Runtime.exceptionThrown') this.complaints.push(params.exceptionDetails.exception?.description ?? params.exceptionDetails.text);
    if (method === 'Log.entryAdded' && params.entry.level === 'error') this.complaints.push(`${params.entry.text} ${params.entry.url ?? ''}`);
    if (method === 'Network.requestWillBeSent') this.requests.push(params.request.url);
  }

  send(method, params) {
    return this.browser.send(method, params, this.sessionId);
  }

  size(width, height, scale = 1) {
    return this.send('Emulation.setDeviceMetricsOverride', { width, height, deviceScaleFactor: scale, mobile: false });
  }

  theme(dark) {
    return this.send('Emulation.setEmulatedMedia', { features: [{ name: 'prefers-color-scheme', value: dark ? 'dark' : 'light' }] });
  }

  // The value of a JavaScript expression in the page; a promise is waited for.
  async evaluate(expression) {
    const { result, exceptionDetails } = await this.send('Runtime.evaluate', { expression, returnByValue: true, awaitPromise: true });
    if (exceptionDetails) throw new Error(`${exceptionDetails.exception?.description ?? exceptionDetails.text} in ${expression.slice(0, 200)}`);
    return result.value;
  }

  until(what, expression, patience) {
    return until(this, what, expression, patience);
  }

  // What a developer would see in red of this page.
  async errors() {
    return this.complaints;
  }

  async screenshot() {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png', optimizeForSpeed: false });
    return Buffer.from(data, 'base64');
  }

  async type(text) {
    await this.send('Input.insertText', { text });
  }

  async press(key, code = key, number = 0, text = undefined) {
    const event = { key, code, windowsVirtualKeyCode: number, text };
    await this.send('Input.dispatchKeyEvent', { type: 'keyDown', ...event });
    await this.send('Input.dispatchKeyEvent', { type: 'keyUp', ...event });
  }

  // A page behind another one draws nothing.
  front() {
    return this.send('Page.bringToFront');
  }

  close() {
    return this.browser.send('Target.closeTarget', { targetId: this.targetId });
  }
}

// What a browser without a person, a screen or an Internet needs. It opens our own page only, and root has no sandbox.
function flags(profile) {
  const plain = ['headless', 'no-sandbox', 'disable-gpu', 'disable-dev-shm-usage', 'disable-quic', 'disable-sync'];
  const quiet = ['no-first-run', 'no-proxy-server', 'disable-background-networking', 'disable-component-update'];
  const driven = ['remote-debugging-pipe', 'hide-scrollbars', 'disable-breakpad', 'enable-precise-memory-info', 'ignore-certificate-errors'];
  return [...plain, ...quiet, ...driven, `user-data-dir=${profile}`].map((name) => `--${name}`);
}
