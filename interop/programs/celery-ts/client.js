// celery-ts as a producer: one request a line on stdin, one answer a line on stdout, both JSON.
const celery = require('celery-ts');
const readline = require('readline');

const say = (answer) => process.stdout.write(JSON.stringify(answer) + '\n');
console.log = console.info = console.error; // the library may talk on stdout; that line is for answers
const KNOWN = ['eta_in', 'expires_in', 'queue', 'priority', 'ignore_result', 'compression', 'serializer', 'time_limit', 'soft_time_limit'];
const SERIALIZERS = { json: celery.Serializer.Json, yaml: celery.Serializer.Yaml };

const backend = process.env.BACKEND.replace(/^amqp:/, 'rpc:'); // its name for results over AMQP
const { master_name: master } = JSON.parse(process.env.SETTINGS || '{}').broker_transport_options || {};
const place = (url) => (url.startsWith('sentinel:') ? `${url.replace(/\/0$/, '')}?name=${master}` : url);
const client = celery.createClient({ brokerUrl: place(process.env.BROKER), resultBackend: place(backend) });

function optionsOf(given) {
  const options = {};
  if (given.eta_in !== undefined) options.eta = new Date(Date.now() + given.eta_in * 1000);
  if (given.expires_in !== undefined) options.expires = new Date(Date.now() + given.expires_in * 1000);
  if (given.priority !== undefined) options.priority = given.priority;
  if (given.ignore_result !== undefined) options.ignoreResult = given.ignore_result;
  if (given.compression) options.compression = celery.Compressor.Zlib;
  if (given.serializer) options.serializer = SERIALIZERS[given.serializer];
  return { ...options, queue: given.queue || 'celery' };
}

async function call(ask) {
  const given = ask.options || {};
  const strange = Object.keys(given).find((name) => !KNOWN.includes(name));
  if (strange) return say({ cannot: `celery-ts has no option ${strange}` });
  if (given.serializer && !SERIALIZERS[given.serializer]) return say({ cannot: `celery-ts knows no ${given.serializer}` });
  const limits = { hardTimeLimit: given.time_limit, softTimeLimit: given.soft_time_limit };
  const made = given.time_limit ? new celery.Client({ ...client, taskDefaults: limits }) : client;
  const result = made.createTask(ask.task).applyAsync({ args: ask.args || [], kwargs: ask.kwargs || {}, ...optionsOf(given) });
  const id = result.taskId;
  if (ask.get === false) return setTimeout(() => say({ id }), 50);
  try {
    say({ id, state: 'SUCCESS', value: await result.get(ask.timeout * 1000) });
  } catch (error) {
    if (/time/i.test(String(error))) return say({ id, late: true });
    say({ id, state: 'FAILURE', failure: String(error), type: error.name });
  }
}

process.on('uncaughtException', (error) => say({ error: String(error) }));
process.on('unhandledRejection', (error) => console.error(String(error)));
say({ ready: true });
readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const ask = JSON.parse(line);
  if (ask.op === 'call') return call(ask).catch((error) => say({ error: String(error) }));
  say({ cannot: `celery-ts has no ${ask.op}` });
}).on('close', () => process.exit(0));
