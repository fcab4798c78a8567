// What the model knows, drawn when the screen is ready for it, and not at all while nobody can see it.

import { Details } from './details.js';
import { headline } from './headline.js';
import { Hosts, Numbers, Pipelines, set, write } from './rows.js';
import { Talk } from './talk.js';
import { plain, standing, when } from './text.js';

const HOST_ORDER = ['down', 'failed', 'late', 'up'];
const RUN_ORDER = ['failed', 'running', 'queued', 'passed', 'canceled'];
const THING_ORDER = ['bad', 'warn', 'number', ''];
const DRAW_MS = 100; // at most ten times a second

const { compare } = new Intl.Collator('en', { numeric: true });
const by = (order, of = ({ state }) => state) => (one, other) => order.indexOf(of(one)) - order.indexOf(of(other));
const kindOf = ({ event, status }) => (/bad|warn/.exec(standing(plain(status)))?.[0] ?? (event === 'number' ? event : ''));
const nameOf = ({ channel, key }) => channel + key;

// The icon of the page when something is wrong.
const SVG = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect width="32" height="32" rx="7" fill="#b5301d"/>';
const TEXT = '<text x="16" y="24" text-anchor="middle" font-size="24" fill="#fff">';
const badge = (text) => `data:image/svg+xml,${encodeURIComponent(`${SVG}${TEXT}${text}</text></svg>`)}`;

export class Screen {
  drawn = {}; // what of the model is on the screen
  drawnAt = 0;

  // `view` says what is shown; `bell` is told what is bad; `say` says a word on a thing.
  constructor(find, view, bell, say) {
    const open = (kind, place) => this.details.open(kind, place) ?? this.draw();
    Object.assign(this, { find, view, bell });
    this.talk = new Talk(find('#talk'), find('#newest'));
    this.numbers = new Numbers(find('.numbers'), open);
    this.pipelines = new Pipelines(find('.pipelines'), open);
    this.hosts = new Hosts(find('.hosts'), open);
    this.details = new Details(find('#more'), say, () => find('#name').value);
    setInterval(() => this.draw(), 1000);
    window.onbeforeprint = document.onvisibilitychange = () => this.drawNow();
  }

  // By a timer, because a tab in the background gets no frames but shows its title.
  draw() {
    this.soon ??= setTimeout(() => this.drawNow(), Math.max(10, DRAW_MS - (Date.now() - this.drawnAt)));
  }

  drawNow() {
    clearTimeout(this.soon);
    this.soon = null;
    this.drawnAt = Date.now();
    if (!this.model) return;
    this.sort();
    this.sum();
    if (document.hidden) return;
    this.drawTalk();
    this.drawRows();
    this.details.show(this.model, Date.now() + this.skew);
  }

  drawTalk() {
    const { drawn, model, talk, view, find } = this;
    const [filter, day] = [view.channel, new Date().toDateString()];
    const within = (said) => view.within(said);
    if (drawn.filter !== filter || drawn.day !== day) {
      Object.assign(drawn, { filter, day });
      talk.toNewest(model.said.filter(within));
    } else if (drawn.count < model.count) {
      talk.add(model.said.filter((said) => said.number > drawn.count && within(said)), model.said[0].number);
    }
    drawn.count = model.count;
    if (drawn.channels === model.channels.size) return;
    drawn.channels = model.channels.size;
    find('#channels').replaceChildren(...[...model.channels].sort().map((channel) => new Option(channel)));
  }

  // What is known, sorted anew only where its order has changed.
  sort() {
    const { drawn, model } = this;
    const { runs, hosts, things } = model.version;
    if (drawn.runs !== runs) {
      Object.assign(drawn, { runs, runList: [...model.runs.values()].reverse().sort(by(RUN_ORDER)) });
    }
    if (drawn.hosts !== hosts) {
      const named = [...model.hosts.values()].sort((one, other) => compare(one.name, other.name));
      Object.assign(drawn, { hosts, hostList: named.sort(by(HOST_ORDER)) });
    }
    if (drawn.things !== things) {
      const named = [...model.things.values()].sort((one, other) => compare(nameOf(one), nameOf(other)));
      Object.assign(drawn, { things, thingList: named.sort(by(THING_ORDER, kindOf)) });
    }
  }

  drawRows() {
    const { view, find, drawn: { runList, hostList, thingList } } = this;
    const now = Date.now() + this.skew;
    const [runs, things] = [runList, thingList].map((list) => list.filter((each) => view.within(each)));
    find('.numbers').classList.toggle('quiet', !thingList.length && !view.only.includes('numbers'));
    this.numbers.show(things, now);
    this.pipelines.show(runs, now);
    this.hosts.show(hostList, now);
    this.tally('pipelines', runs, ['running', 'failed']);
    this.tally('hosts', hostList, [...HOST_ORDER].reverse());
    this.tally('numbers', things, ['warn', 'bad'], kindOf);
    write(find('.numbers h2'), things.some(({ event }) => event !== 'number') ? 'Alerts and numbers' : 'Numbers');
    write(find('#clock'), when(Date.now()));
  }

  // How many there are of each state, and in the bar of a phone how many of them are wrong.
  tally(area, list, states, of = ({ state }) => state) {
    const count = (state) => list.filter((each) => of(each) === state).length;
    const words = states.map((state) => [count(state), state === 'warn' ? 'not well' : state]).filter(([count]) => count);
    const wrong = list.filter((each) => !each.seen && /down|failed|bad|warn/.test(of(each))).length;
    write(this.find(`.${area} .title p`), words.map((each) => each.join(' ')).join(' · '));
    write(this.find(`nav [data-area=${area}] b`), String(wrong || ''));
  }

  sum() {
    const { find, link, hadToken, drawn: { runList: runs, hostList: hosts, thingList: things } } = this;
    const silent = Date.now() - link.word;
    const { text, level, bad, stale } = headline({ runs, hosts, things, hadToken }, { state: link.state, silent, most: link.silence });
    const line = find('#headline');
    write(line, text, text);
    line.className = [level, text.length > 90 ? 'long longer' : text.length > 44 ? 'long' : ''].join(' ').trim();
    document.body.classList.toggle('stale', stale);
    document.title = stale ? `${text} aloud` : bad.size ? `(${bad.size}) ${text}` : level ? text : 'aloud';
    set(find('[rel=icon]'), 'href', stale || bad.size ? badge(stale ? '?' : Math.min(bad.size, 99)) : 'page/icon.svg');
    if (link.state !== 'connecting') this.bell.hear(stale ? new Set([...bad, 'server']) : bad, text);
  }
}
