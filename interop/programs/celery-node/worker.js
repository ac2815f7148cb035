// celery-node as a worker: the tasks that it can offer. It hands each handler the keyword arguments as one last object.
const celery = require('celery-node');

const { place } = require('./place');

const queue = process.env.QUEUE || 'celery';
const worker = place(celery.createWorker, queue);
worker.register('interop.add', (x, y) => x + y);
worker.register('interop.echo', (value) => value);
worker.register('interop.sub', (options) => options.x - options.y);
worker.register('interop.total', (numbers) => numbers.reduce((sum, each) => sum + each, 0));
worker.register('interop.fail', (text) => { throw new Error(text); });
worker.register('interop.nothing', () => null);
worker.register('interop.now', () => Date.now() / 1000);
const store = new (require('ioredis'))(process.env.STORE);
worker.register('interop.keep', (value, key) => store.rpush(key, JSON.stringify(value)).then(() => value));
worker.register('interop.errback', (failed) => store.rpush(`interop-errbacks-${queue}`, failed).then(() => failed));
worker.isReady().then(() => {
  worker.start();
  console.log('interop: ready');
});
