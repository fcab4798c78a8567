// What is shown, as the address says: a filter hides rows, and never what is wrong from the headline.

import { write } from './rows.js';

const AREAS = ['talk', 'numbers', 'pipelines', 'hosts'];
const trimmed = (channel) => channel.trim().replace(/^\/+|\/+$/g, '');

export class View {
  // `find` finds an element, and `change` is called when another channel is shown.
  constructor(find, change) {
    const { body } = document;
    this.query = new URLSearchParams(location.search);
    this.only = (this.query.get('only') ?? '').split(',').filter((area) => AREAS.includes(area));
    this.channel = trimmed(this.query.get('channel') ?? '');
    this.wall = this.query.has('wall');
    const shows = (area) => !this.only.length || this.only.includes(area);
    AREAS.forEach((area) => (find(`.${area}`).hidden = !shows(area)));
    for (const column of document.querySelectorAll('.column')) column.hidden = !column.querySelector('section:not([hidden])');
    body.classList.toggle('wall', this.wall);
    const buttons = document.querySelectorAll('nav button');
    const go = (area) => {
      body.dataset.area = area;
      buttons.forEach((button) => (button.ariaPressed = button.dataset.area === area));
    };
    buttons.forEach((button) => (button.onclick = () => go(button.dataset.area)));
    go(this.only[0] ?? 'talk');
    this.line = find('#view');
    find('#channel').value = this.channel;
    find('#channel').oninput = ({ target }) => {
      this.channel = trimmed(target.value);
      this.query.delete('channel');
      if (this.channel) this.query.set('channel', this.channel);
      this.keep();
      this.tell();
      change();
    };
    this.tell();
  }

  within({ channel = '' }) {
    return !this.channel || `${channel}/`.startsWith(`${this.channel}/`);
  }

  // A token in the address is kept, and not shown.
  token() {
    const token = this.query.get('token');
    this.query.delete('token');
    if (token) this.keep();
    return token;
  }

  keep() {
    history.replaceState(null, '', `${location.pathname}${this.query.size ? `?${this.query}` : ''}`.replace(/=(?=&|$)/g, ''));
  }

  tell() {
    const parts = [this.only.length && `only ${this.only.join(', ')}`, this.channel && `channel ${this.channel}`].filter(Boolean);
    this.line.hidden = !parts.length;
    write(this.line, `${parts.join(' · ')} ×`);
  }
}
