// node-celery as a producer: one request a line on stdin, one answer a line on stdout, both JSON.
const celery = require('node-celery');
const readline = require('readline');

const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');
console.log = console.info = console.error; // the library talks on stdout; that line is for answers
const KNOWN = ['eta_in', 'expires_in', 'queue'];

const client = celery.createClient({ CELERY_BROKER_URL: process.env.BROKER, CELERY_RESULT_BACKEND: process.env.BACKEND });
client.on('error', (error) => console.error(String(error)));

function send(ask) {
  const given = ask.options || {};
  const strange = Object.keys(given).filter((name) => !KNOWN.includes(name));
  if (strange.length) return say({ cannot: `node-celery has no option ${strange[0]}` });
  const options = {};
  if (given.queue) options.queue = given.queue;
  if (given.eta_in !== undefined) options.eta = new Date(Date.now() + given.eta_in * 1000);
  if (given.expires_in !== undefined) options.expires = new Date(Date.now() + given.expires_in * 1000);
  const result = client.createTask(ask.task).call(ask.args || [], ask.kwargs || {}, options);
  const id = result.taskid;
  if (ask.get === false) return setTimeout(() => say({ id }), 50);
  const late = setTimeout(() => say({ id, late: true }), ask.timeout * 1000);
  result.once('ready', (message) => {
    clearTimeout(late);
    if (message.status === 'SUCCESS') return say({ id, state: message.status, value: message.result });
    say({ id, state: message.status, failure: JSON.stringify(message.result), type: (message.result || {}).exc_type });
  });
}

client.once('connect', () => {
  say({ ready: true });
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const ask = JSON.parse(line);
    try {
      if (ask.op === 'call') return send(ask);
      say({ cannot: `node-celery has no ${ask.op}` });
    } catch (error) {
      say({ error: String(error) });
    }
  }).on('close', () => process.exit(0));
});
