// Where celery-node finds its servers. What Celery says in transport options it takes as options of ioredis.
exports.place = (create, queue) => {
  const { BROKER, BACKEND, SETTINGS } = process.env;
  const said = JSON.parse(SETTINGS || '{}').broker_transport_options || {};
  const options = said.global_keyprefix ? { keyPrefix: said.global_keyprefix } : {};
  const plain = (url) => url.replace(/^sentinel:/, 'redis:');
  if (BROKER.startsWith('sentinel:')) {
    const { hostname, port } = new URL(plain(BROKER));
    Object.assign(options, { sentinels: [{ host: hostname, port: Number(port) }], name: said.master_name });
  }
  const made = create(plain(BROKER), plain(BACKEND), queue);
  if (Object.keys(options).length) Object.assign(made.conf, { CELERY_BROKER_OPTIONS: options, CELERY_BACKEND_OPTIONS: options });
  return made;
};
