// Fills a server with an afternoon's life: people, pipelines, hosts. For the screenshots.

// Who says what, in order; a number stands for one of RUNS.
const TALK = [
  ['Ana', 'morning! the new build agents are up, both of them'],
  0,
  ['Florian', 'nice. main is green, I am merging the retry fix now'],
  1,
  ['Mei', 'docs for it: https://example.org/docs/retry#limits'],
  4,
  ['Jonas', 'thanks, that answers what I wanted to ask'],
  3,
  ['Mei', 'the dashboard branch is mine, on it'],
  6,
  2,
  ['Florian', 'limits are on their way, see the third commit'],
  ['Jonas', 'does anybody know why web3 is so loud today?'],
  ['Ana', 'backups. they moved to the afternoon, disk and all'],
  ['Jonas', 'can they move back?'],
  ['Ana', 'they can. tonight at three, then'],
  5,
  7, 8, 9, 10, 11,
  ['Mei', 'and the garage? the pi was quiet all week'],
  ['Florian', 'I took it apart yesterday. it will be back, some day :)'],
];

const RUNS = [
  ['gitlab', 'shop/frontend', 'main', 'passed', 'Ana', 142, 4181],
  ['gitlab', 'shop/backend', 'main', 'passed', 'Florian', 391, 4179],
  ['gitlab', 'shop/backend', 'retry-limits', 'running', 'Florian', 74, 4185],
  ['github', 'aloud', 'dashboard', 'failed', 'Mei', 123, 771],
  ['github', 'aloud', 'main', 'passed', 'Jonas', 88, 768],
  ['gitea', 'infra/images', 'weekly', 'queued', 'Renovate', '', 96],
  ['forgejo', 'docs/handbook', 'main', 'canceled', 'Mei', 12, 33],
  ['gitlab', 'shop/mobile', 'renovate/all-minor-and-patch-updates-of-november', 'passed', 'Renovate', 211, 4170],
  ['gitlab', 'shop/deploy', 'production', 'passed', 'Florian', 95, 4166],
  ['gitea', 'infra/ansible', 'main', 'passed', 'Mei', 63, 97],
  ['gitea', 'infra/dns', 'main', 'failed', 'Jonas', 8, 95],
  ['forgejo', 'docs/the-site-with-all-the-manuals-of-every-product', 'main', 'passed', 'Ana', 34, 31],
];

const HOSTS = ['build1', 'build2', 'cache1', 'db1', 'db2', 'gitlab', 'mail', 'ns1', 'router', 'runner-arm64-in-the-cellar-of-the-old-office', 'web1', 'web2', 'web3', 'web4'];

// A name, its unit, the bound above which it is out of bounds, and around what it wanders.
const NUMBERS = [
  ['greenhouse', '°C', 28, 24], ['p99', 'ms', 250, 190], ['queue', 'jobs', 20, 19], ['coffee', 'cups', 90, 7],
  ['water in the tank below the greenhouse', 'litres', 900, 612], ['orders', '', 400, 130],
];

export async function say(url, fields, channel = '') {
  const answer = await fetch(`${url}/say${channel && `/${channel}`}`, { method: 'POST', body: new URLSearchParams(fields) });
  if (!answer.ok) throw new Error(await answer.text());
}

export async function beat(url, host, figures = {}) {
  const answer = await fetch(`${url}/beat/${host}`, { method: 'POST', body: new URLSearchParams(figures) });
  if (!answer.ok) throw new Error(await answer.text());
}

// A load that wanders, the same on every run.
function load(host, beat) {
  const wave = Math.sin(beat / 3 + host * 1.7) + Math.sin(beat / 1.3 + host) / 2 + Math.sin(beat * 2.1 + host * 3) / 3;
  return (Math.max(0.04, (host % 4) * 0.55 + 0.5 + wave * 0.45)).toFixed(2);
}

export async function lively(url) {
  const beats = async (from, to) => {
    for (let number = from; number < to; number += 1) {
      for (const [place, host] of HOSTS.entries()) {
        const figures = { every: 3600, load1: load(place, number), up: 86_400 * (place * 7 + 3) + 4000 + number };
        Object.assign(figures, { mem_total: 16e9, mem_used: 16e9 * (0.31 + place * 0.043), disk_total: 5e11, disk_used: 5e11 * (0.22 + place * 0.054) });
        await beat(url, host, figures);
      }
    }
  };
  await beats(0, 40);
  await beat(url, 'pi-garage', { every: 3, load1: '0.21', up: 3600 * 31, mem_total: 1e9, mem_used: 4e8, disk_total: 3e10, disk_used: 9e9 });
  for (let at = 0; at < 60; at += 1) {
    for (const [place, [name, unit, above, around]] of NUMBERS.entries()) {
      const value = (around * (1 + (Number(load(place + 1, at)) - 1) / 7)).toFixed(around > 99 ? 0 : 1);
      await say(url, { event: 'number', name, value, unit, above });
    }
  }
  for (const line of TALK) {
    if (Array.isArray(line)) await say(url, { name: line[0], message: line[1] });
    else await run(url, ...RUNS[line]);
  }
}

// As a webhook says it: what is queued is no line.
function run(url, forge, project, ref, status, who, duration, number) {
  const words = { passed: 'has passed', failed: 'has failed', running: 'is running', canceled: 'was canceled', queued: 'is queued' };
  const message = `${project}: Pipeline #${number} of ${ref} by ${who} ${words[status]}`;
  const isOver = ['passed', 'failed', 'canceled'].includes(status);
  const fields = { ...(isOver && { key: `${project} ${ref}`.slice(0, 128) }), forge, kind: 'pipeline', project, ref, status, who, duration, id: number, number, url: `https://example.org/${project}` };
  return say(url, { event: status === 'queued' ? 'ci.update' : 'ci', message, ...fields }, 'ci');
}
