// celery-node as a producer: one request a line on stdin, one answer a line on stdout, both JSON.
const celery = require('celery-node');
const readline = require('readline');
const { place } = require('./place');

const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');
console.log = console.info = console.error; // the library talks on stdout; that line is for answers

const client = place(celery.createClient, process.env.QUEUE || 'celery');

async function call(ask) {
  const strange = Object.keys(ask.options || {});
  if (strange.length) return say({ cannot: `celery-node has no option ${strange[0]}` });
  client.conf.TASK_PROTOCOL = ask.protocol || 2;
  const result = client.createTask(ask.task).applyAsync(ask.args || [], ask.kwargs || {});
  const id = result.taskId;
  if (ask.get === false) return setTimeout(() => say({ id }), 50);
  try {
    say({ id, state: 'SUCCESS', value: await result.get(ask.timeout * 1000, 50) });
  } catch (error) {
    if (error.message === 'TIMEOUT') return say({ id, late: true });
    say({ id, state: error.message, failure: JSON.stringify(error), type: error.exc_type });
  }
}

process.on('uncaughtException', (error) => say({ error: String(error) }));
process.on('unhandledRejection', (error) => say({ error: String(error) }));
client.isReady().then(() => {
  say({ ready: true });
  readline.createInterface({ input: process.stdin }).on('line', (line) => {
    const ask = JSON.parse(line);
    if (ask.op === 'call') return call(ask);
    say({ cannot: `celery-node has no ${ask.op}` });
  }).on('close', () => process.exit(0));
});
