// Listens to the URL it is given with the npm package named second, `event-source-polyfill` or `reconnecting-eventsource`.
// Prints `ready` once the stream is open, then each event as one line of JSON. Ends when its standard input does.

import polyfill from 'event-source-polyfill';
import { EventSource } from 'eventsource';
import Reconnecting from 'reconnecting-eventsource';

const [url, name] = process.argv.slice(2);
let opened = false;
let last = '';

function print({ lastEventId, type, data }) {
  last = lastEventId;
  console.log(JSON.stringify({ id: lastEventId, type, data }));
}

function open(at) {
  const source = name === 'event-source-polyfill'
    ? new polyfill.EventSourcePolyfill(at)
    : new (Reconnecting.default ?? Reconnecting)(at, { eventSourceClass: EventSource, max_retry_time: 500 });
  source.onopen = () => {
    if (!opened) console.log('ready');
    opened = true;
  };
  for (const event of ['message', 'gap']) source.addEventListener(event, print);
  // The polyfill gives up for good on any status but 200; its users open another one, with the id they heard last.
  source.onerror = () => {
    if (name === 'event-source-polyfill' && source.readyState === 2) setTimeout(() => open(`${url}?lastEventId=${last}`), 300);
  };
}

open(url);
process.stdin.on('end', () => process.exit()).resume();
