// What is shown, as the address says: a filter hides rows, and never what is wrong from the headline.

import { find, findAll, write } from './rows.js';
import { all } from './text.js';

const AREAS = ['talk', 'numbers', 'pipelines', 'hosts'];
const query = new URLSearchParams(location.search);
const trimmed = (channel) => channel.trim().replace(/^\/+|\/+$/g, '');

export const only = (query.get('only') ?? '').split(',').filter((area) => AREAS.includes(area));
export const isWall = query.has('wall');
export let filter = trimmed(query.get('channel') ?? '');

export const isWithin = ({ channel = '' }) => !filter || `${channel}/`.startsWith(`${filter}/`);

// Puts into the address what is in the query; of a token nothing stays there.
function keep() {
  history.replaceState(null, '', `${location.pathname}${query.size ? `?${query}` : ''}`);
}

export function tokenOfAddress() {
  const token = query.get('token');
  query.delete('token');
  if (token) keep();
  return token;
}

function tellView() {
  const parts = all(only.length && `only ${only.join(', ')}`, filter && `channel ${filter}`);
  find('#view').hidden = !parts.length;
  write(find('#view'), `${parts.join(' · ')} ×`);
}

function go(area) {
  findAll('section').forEach((section) => section.classList.toggle('shown', section.matches(`.${area}`)));
  findAll('nav button').forEach((button) => (button.ariaPressed = button.value === area));
}

// Shows it, and calls `change` when another channel is to be shown.
export function showView(change) {
  AREAS.forEach((area) => (find(`.${area}`).hidden = only.length && !only.includes(area)));
  document.body.classList.toggle('wall', isWall);
  findAll('nav button').forEach((button) => (button.onclick = () => go(button.value)));
  go(only[0] ?? 'talk');
  find('#channel').value = filter;
  find('#channel').oninput = ({ target }) => {
    filter = trimmed(target.value);
    query.delete('channel');
    if (filter) query.set('channel', filter);
    keep();
    tellView();
    change();
  };
  tellView();
}
