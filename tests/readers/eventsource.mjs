// Listens to the URL it is given with the npm package `eventsource`: prints `ready` once the stream is open, then each
// event as one line of JSON. Ends when its standard input does.

import { EventSource } from 'eventsource';

const source = new EventSource(process.argv[2]);
const print = ({ lastEventId, type, data }) => console.log(JSON.stringify({ id: lastEventId, type, data }));
source.onopen = () => console.log('ready');
source.onerror = (error) => console.log(`error: ${error.message ?? 'the stream was lost'}`);
source.onmessage = print;
source.addEventListener('ci', print);
source.addEventListener('gap', print);

process.stdin.on('end', () => process.exit()).resume();
