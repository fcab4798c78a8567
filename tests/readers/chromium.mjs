// Listens to the URL it is given with Chromium's own EventSource: prints `ready` once the stream is open, then each
// event as one line of JSON. Ends when its standard input does, and Chromium with it.
//
// No driver: the page chromium.html, or the one named second, comes from a small server here and sends what it hears back to it. That the page's
// origin is another than the stream's is wanted: so is a dashboard's.

import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const source = readFileSync(new URL(process.argv[3] ?? 'chromium.html', import.meta.url), 'utf8');
const page = source.replaceAll('http://localhost:4000', new URL(process.argv[2]).origin);
const profile = mkdtempSync(join(tmpdir(), 'aloud-chromium-'));

const server = createServer(async (request, response) => {
  if (request.method === 'POST') {
    let line = '';
    for await (const text of request.setEncoding('utf8')) line += text;
    console.log(line);
    response.writeHead(204).end();
  } else if (request.url.startsWith('/?')) {
    response.writeHead(200, { 'Content-Type': 'text/html; charset=utf-8' }).end(page);
  } else {
    response.writeHead(404).end(); // the favicon
  }
});

server.listen(0, '127.0.0.1', () => {
  const address = `http://127.0.0.1:${server.address().port}/?listen=${encodeURIComponent(process.argv[2])}`;
  const chromium = spawn('/usr/bin/chromium', [...flags(), address], { stdio: ['ignore', 'ignore', 'pipe'] });
  let complaints = '';
  chromium.stderr.setEncoding('utf8').on('data', (text) => (complaints += text));
  chromium.on('error', (error) => (complaints += error.message));
  chromium.on('close', () => {
    rmSync(profile, { recursive: true, force: true, maxRetries: 10 });
    if (!process.stdin.readableEnded) console.error(`chromium ended by itself:\n${complaints}`);
    process.exit(process.stdin.readableEnded ? 0 : 1);
  });
  process.stdin.on('end', () => chromium.kill('SIGKILL')).resume();
});

// What a browser without a person, a screen or an Internet needs. It opens our own page only, and root has no sandbox.
function flags() {
  const plain = ['headless', 'no-sandbox', 'disable-gpu', 'disable-dev-shm-usage', 'disable-quic', 'disable-sync'];
  const test = ['ignore-certificate-errors']; // a test signs its own
  const quiet = ['no-first-run', 'no-proxy-server', 'disable-background-networking', 'disable-component-update'];
  return [...plain, ...test, ...quiet, 'disable-breakpad', `user-data-dir=${profile}`].map((name) => `--${name}`);
}
