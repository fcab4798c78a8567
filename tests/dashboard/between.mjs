// A proxy in front of a server, as the page meets it in the wild: over TLS, behind a path, or leading to a newer build.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// A key and a certificate that nobody trusts.
function certificate() {
  const folder = mkdtempSync(join(tmpdir(), 'aloud-tls-'));
  const [key, cert] = ['key', 'cert'].map((name) => join(folder, name));
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=localhost'];
  execFileSync('openssl', [...request, '-keyout', key, '-out', cert], { stdio: 'ignore' });
  const pair = { key: readFileSync(key), cert: readFileSync(cert) };
  rmSync(folder, { recursive: true });
  return pair;
}

export class Between {
  build = ''; // is put into every ETag

  // Leads from `prefix` to the server at `address`; its own address is `url`.
  static async start(address, { prefix = '', tls = false } = {}) {
    const between = new Between();
    between.address = address;
    const answer = (request, response) => between.carry(prefix, request, response);
    between.server = tls ? https.createServer(certificate(), answer) : http.createServer(answer);
    await new Promise((listening) => between.server.listen(0, '127.0.0.1', listening));
    between.url = `${tls ? 'https' : 'http'}://127.0.0.1:${between.server.address().port}${prefix}`;
    return between;
  }

  carry(prefix, request, response) {
    if (!request.url.startsWith(`${prefix}/`)) return response.writeHead(404).end();
    const [host, port] = this.address.split(':');
    const headers = { ...request.headers, 'if-none-match': '' };
    const onward = http.request({ host, port, path: request.url.slice(prefix.length), method: request.method, headers }, (answer) => {
      if (answer.headers.etag) answer.headers.etag = answer.headers.etag.replace(/"$/, `${this.build}"`);
      response.writeHead(answer.statusCode, answer.headers);
      response.flushHeaders();
      answer.pipe(response);
      answer.on('error', () => response.destroy());
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    request.pipe(onward);
  }

  // Ends all that is open.
  cut() {
    this.server.closeAllConnections();
  }

  end() {
    this.cut();
    this.server.close();
  }
}
