// Fills a server with an afternoon's life: people, pipelines, hosts. For the screenshots.

const TALK = [
  ['Ana', 'morning! the new build agents are up, both of them'],
  ['Florian', 'nice. main is green again, I am merging the retry fix now'],
  ['Mei', 'docs for it: https://example.org/docs/retry#limits'],
  ['Jonas', 'does anybody know why web3 is so loud today?'],
  ['Ana', 'backups. they moved to the afternoon, disk and all'],
  ['Mei', 'then let us move them back :)'],
];

const RUNS = [
  ['gitlab', 'shop/frontend', 'main', 'passed', 'Ana', 142, 4181],
  ['gitlab', 'shop/backend', 'main', 'passed', 'Florian', 391, 4179],
  ['gitlab', 'shop/backend', 'retry-limits', 'running', 'Florian', 74, 4185],
  ['github', 'aloud', 'dashboard', 'failed', 'Mei', 123, 771],
  ['github', 'aloud', 'main', 'passed', 'Jonas', 88, 768],
  ['gitea', 'infra/images', 'weekly', 'queued', 'Renovate', '', 96],
  ['forgejo', 'docs/handbook', 'main', 'canceled', 'Mei', 12, 33],
];

const HOSTS = ['build1', 'build2', 'cache1', 'db1', 'db2', 'mail', 'router', 'web1', 'web2', 'web3'];

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
        Object.assign(figures, { mem_total: 16e9, mem_used: 16e9 * (0.31 + place * 0.043), disk_total: 5e11, disk_used: 5e11 * (0.22 + place * 0.076) });
        await beat(url, host, figures);
      }
    }
  };
  for (const [name, message] of TALK.slice(0, 3)) await say(url, { name, message });
  await beats(0, 20);
  for (const [forge, project, ref, status, who, duration, id] of RUNS) {
    const words = { passed: 'has passed', failed: 'has failed', running: 'is running', canceled: 'was canceled' };
    const message = words[status] ? `Pipeline #${id} of ${ref} by ${who} ${words[status]}` : '';
    await say(url, { event: 'ci', name: project, message, forge, project, ref, status, who, duration, id, url: `https://example.org/${project}/-/pipelines/${id}` }, 'build');
  }
  await beats(20, 40);
  await beat(url, 'pi-garage', { every: 3, load1: '0.21', up: 3600 * 31, mem_total: 1e9, mem_used: 4e8, disk_total: 3e10, disk_used: 9e9 });
  for (const [name, message] of TALK.slice(3)) await say(url, { name, message });
}
