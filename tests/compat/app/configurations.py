"""Makes apps with many configurations and prints what each says of itself. Run by a python of its own, never imported.

`python configurations.py` is stock Celery's side; `python configurations.py celeriac` first puts celeriac in the place
of `celery`. A scene leaves an `app`; it may leave `extra` too, which is told as it is.
"""

import json
import os
import sys
import tempfile
import warnings
from pathlib import Path

SCENES = {}


def scene(text):
    for part in text.strip().split("\n# "):
        name, _, body = part.removeprefix("# ").partition("\n")
        SCENES[name.strip()] = body


scene("""
# nothing
app = Celery('x')
# arguments of the app
app = Celery('x', broker='redis://:secret@h:1/2', backend='redis://u:pw@b/3', include=['a', 'b'], task_serializer='yaml')
# changes
app = Celery('x', changes={'task_serializer': 'yaml', 'task_queues': None})
# attributes before reading
app = Celery('x'); app.conf.task_serializer = 'yaml'; app.conf['timezone'] = 'Europe/Oslo'
# update before reading
app = Celery('x'); app.conf.update(task_serializer='yaml'); app.conf.update({'timezone': 'UTC'}, result_expires=3)
# update of pairs
app = Celery('x'); app.conf.update([('task_serializer', 'yaml')]); app.conf.timezone; app.conf.update([('enable_utc', 0)])
# update after reading
app = Celery('x'); app.conf.task_serializer; app.conf.update(task_serializer='yaml', unknown_thing=3)
# setdefault
app = Celery('x'); app.conf.setdefault('task_serializer', 'yaml'); app.conf.timezone; app.conf.setdefault('timezone', 'x')
# setdefault after reading
app = Celery('x'); app.conf.timezone; app.conf.setdefault('foo', 'x'); app.conf.setdefault('task_serializer', 'x')
# unknown names stay
app = Celery('x'); app.conf.update(my_thing=1, MY_THING=2); extra = [app.conf.my_thing, app.conf['MY_THING']]
# a new-style mapping
app = Celery('x'); app.config_from_object({'task_serializer': 'yaml', 'task_routes': {'a': 'b'}, 'broker_url': 'amqp://u:p@h//'})
# an old-style mapping
app = Celery('x'); app.config_from_object({'CELERY_TASK_SERIALIZER': 'yaml', 'BROKER_URL': 'memory://', 'CELERYD_CONCURRENCY': 3})
# one old name alone
app = Celery('x'); app.config_from_object({'CELERY_ALWAYS_EAGER': True})
# odd old names
app = Celery('x'); app.config_from_object({'CELERY_RESULT_DBURI': 'x', 'CELERY_SEND_EVENTS': 1, 'CELERYD_TASK_TIME_LIMIT': 3, 'CELERY_MESSAGE_COMPRESSION': 'gzip', 'CELERY_EAGER_PROPAGATES_EXCEPTIONS': True, 'CELERY_MAX_CACHED_RESULTS': 5, 'CELERY_TASK_RESULT_EXPIRES': 9})
# beat's old names
app = Celery('x'); app.config_from_object({'CELERYBEAT_SCHEDULE': {'a': {'task': 't', 'schedule': 3}}, 'CELERYBEAT_MAX_LOOP_INTERVAL': 4})
# old names set late
app = Celery('x'); app.config_from_object({'CELERY_ALWAYS_EAGER': True}); app.conf.task_serializer; app.conf.update(CELERY_TIMEZONE='Europe/Oslo')
# new names read old
app = Celery('x'); app.config_from_object({'CELERY_ALWAYS_EAGER': True}); extra = [app.conf.task_always_eager, app.conf.CELERY_ALWAYS_EAGER, app.conf['CELERY_ALWAYS_EAGER']]
# old names read new
app = Celery('x'); app.config_from_object({'task_always_eager': True}); extra = [app.conf.CELERY_ALWAYS_EAGER, app.conf.BROKER_CONNECTION_MAX_RETRIES, app.conf.get('CELERYBEAT_SCHEDULE')]
# mixed, mostly new
app = Celery('x'); app.config_from_object({'task_serializer': 'yaml', 'task_acks_late': True, 'CELERY_ALWAYS_EAGER': True}); app.conf.timezone
# mixed, mostly old
app = Celery('x'); app.config_from_object({'CELERY_TASK_SERIALIZER': 'yaml', 'CELERYD_PREFETCH_MULTIPLIER': 2, 'task_always_eager': True}); app.conf.timezone
# mixed, as many
app = Celery('x'); app.config_from_object({'CELERY_TASK_SERIALIZER': 'yaml', 'task_always_eager': True}); app.conf.timezone
# mixed, many of each
app = Celery('x'); app.config_from_object({'CELERY_TASK_SERIALIZER': 'yaml', 'CELERY_ROUTES': {}, 'CELERY_QUEUES': [], 'task_always_eager': True, 'worker_pool': 'solo', 'beat_schedule': {}}); app.conf.timezone
# both names of one
app = Celery('x'); app.config_from_object({'CELERY_TASK_RESULT_EXPIRES': 5, 'result_expires': 6, 'task_serializer': 'yaml'})
# both names of one, old
app = Celery('x'); app.config_from_object({'CELERY_TASK_RESULT_EXPIRES': 5, 'result_expires': 6, 'CELERY_TASK_SERIALIZER': 'yaml'})
# a class
class Config:
    task_serializer = 'yaml'
    result_serializer = 'json'
    _hidden = 3
app = Celery('x'); app.config_from_object(Config)
# an object
class Config:
    def __init__(self): self.task_serializer, self.timezone = 'yaml', 'UTC'
app = Celery('x'); app.config_from_object(Config())
# an old-style class
class Config: CELERY_TASK_SERIALIZER = 'yaml'; BROKER_HOST = 'there'; BROKER_PORT = 5
app = Celery('x'); app.config_from_object(Config)
# an object whose attribute raises
class Config:
    @property
    def task_serializer(self): raise ValueError('broken')
app = Celery('x'); app.config_from_object(Config()); app.conf.timezone; app.conf.task_serializer
# an object whose attribute lacks something
class Config:
    @property
    def task_serializer(self): return self.nothing
app = Celery('x'); app.config_from_object(Config()); extra = app.conf.task_serializer
# a module by name
app = Celery('x'); app.config_from_object('conf_new')
# a module by name, old
app = Celery('x'); app.config_from_object('conf_old')
# an attribute by a colon
app = Celery('x'); app.config_from_object('conf_new:Inner')
# an attribute by a dot
app = Celery('x'); app.config_from_object('conf_new.Inner')
# a module that is not there
app = Celery('x'); app.config_from_object('conf_missing'); app.conf.task_serializer
# a module that is not there, silently
app = Celery('x'); app.config_from_object('conf_missing', silent=True); app.conf.task_serializer
# a module that is not there, at once
app = Celery('x'); app.config_from_object('conf_missing', force=True)
# an attribute that is not there
app = Celery('x'); app.config_from_object('conf_new:Missing'); app.conf.task_serializer
# a module that cannot be read
app = Celery('x'); app.config_from_object('conf_broken'); app.conf.task_serializer
# at once
app = Celery('x'); app.config_from_object('conf_new', force=True); extra = app.configured
# read twice
app = Celery('x'); app.config_from_object('conf_old'); app.conf.timezone; app.config_from_object({'timezone': 'UTC'})
# changes stay over what is read later
app = Celery('x'); app.conf.task_serializer = 'pickle'; app.config_from_object('conf_new')
# the environment's module
os.environ['MY_CONF'] = 'conf_new'; app = Celery('x'); app.config_from_envvar('MY_CONF')
# the environment's module is not set
app = Celery('x'); app.config_from_envvar('MY_CONF')
# the environment's module is not set, silently
app = Celery('x'); extra = app.config_from_envvar('MY_CONF', silent=True)
# CELERY_CONFIG_MODULE
os.environ['CELERY_CONFIG_MODULE'] = 'conf_old'; app = Celery('x')
# CELERY_CONFIG_MODULE is not there
os.environ['CELERY_CONFIG_MODULE'] = 'conf_missing'; app = Celery('x'); app.conf.timezone
# CELERY_CONFIG_MODULE with a suffix
os.environ['CELERY_CONFIG_MODULE'] = 'conf_new.py'; app = Celery('x'); app.conf.timezone
# URLs of the environment
os.environ.update(CELERY_BROKER_URL='redis://e', CELERY_BROKER_READ_URL='redis://r', CELERY_RESULT_BACKEND='redis://b')
app = Celery('x', broker='amqp://a', backend='rpc://'); extra = [app.conf.broker_url, app.conf['broker_url']]
# read and write URLs
app = Celery('x'); app.conf.update(broker_read_url='redis://r', broker_url='redis://b')
# a namespace
app = Celery('x'); app.config_from_object({'CELERY_TASK_SERIALIZER': 'yaml', 'CELERY_BROKER_URL': 'memory://', 'DEBUG': True, 'task_acks_late': True}, namespace='CELERY')
# a namespace of one's own
app = Celery('x', namespace='MINE'); app.config_from_object({'MINE_TASK_SERIALIZER': 'yaml', 'MINE_TASK_ROUTES': {}})
# a namespace with an underscore
app = Celery('x', namespace='MINE_'); app.config_from_object({'MINE_TASK_SERIALIZER': 'yaml'})
# a small namespace
app = Celery('x', namespace='mine'); app.config_from_object({'mine_task_serializer': 'yaml'}); extra = ['mine_task_serializer' in app.conf]
# a namespace, set later
app = Celery('x', namespace='MINE'); app.config_from_object({'MINE_TIMEZONE': 'UTC'}); app.conf.task_serializer = 'yaml'; app.conf.MINE_ENABLE_UTC = False; extra = app.conf.enable_utc
# a namespace, mixed
app = Celery('x', namespace='CELERY'); app.config_from_object({'CELERY_TASK_SERIALIZER': 'yaml', 'CELERY_ALWAYS_EAGER': True, 'task_acks_late': True})
# a namespace, nothing found
app = Celery('x', namespace='MINE'); app.config_from_object({}); app.conf.no_such_thing
# a namespace, nothing found by item
app = Celery('x', namespace='MINE'); app.config_from_object({}); app.conf['no_such_thing']
# nothing found
app = Celery('x'); app.conf.no_such_thing
# nothing found by item
app = Celery('x'); app.conf['no_such_thing']
# Django's time zone
app = Celery('x', namespace='CELERY'); app.config_from_object({'TIME_ZONE': 'Europe/Oslo', 'CELERY_TASK_SERIALIZER': 'yaml'})
# defaults added
app = Celery('x'); app.add_defaults({'task_serializer': 'yaml', 'my_thing': 1}); extra = app.conf.my_thing
# defaults added late
app = Celery('x'); app.conf.timezone; app.add_defaults(lambda: {'task_serializer': 'yaml'})
# defaults added to the configuration
app = Celery('x'); app.conf.timezone; app.conf.add_defaults({'task_serializer': 'yaml', 'timezone': 'UTC'}); app.conf.timezone = 'Europe/Oslo'
# defaults under changes
app = Celery('x'); app.add_defaults({'task_serializer': 'yaml'}); app.conf.task_serializer = 'pickle'
# on_configure
app = Celery('x')
@app.on_configure.connect
def change(sender, **kwargs): sender.conf.task_serializer = 'yaml'
# on_after_configure
app = Celery('x'); seen = []
@app.on_after_configure.connect
def look(sender, source, **kwargs): seen.append([sender is app, source.task_serializer])
app.conf.timezone; extra = seen
# two apps do not share
other = Celery('y'); other.conf.broker_transport_options['a'] = 1; other.conf.task_serializer = 'yaml'
app = Celery('x')
# a copy
app = Celery('x'); app.conf.update(task_serializer='yaml'); copy = app.conf.copy(); copy.task_serializer = 'pickle'; extra = [copy.task_serializer, sorted(map(str, copy.changes))]
# taken out
app = Celery('x'); app.conf.update(task_serializer='yaml'); app.conf.timezone; extra = app.conf.pop('task_serializer'); del app.conf['nothing_there']
# popped where nothing is
app = Celery('x'); app.conf.timezone; app.conf.pop('task_serializer')
# popped with a default
app = Celery('x'); app.conf.timezone; extra = app.conf.pop('task_serializer', 5)
# cleared
app = Celery('x'); app.conf.update(task_serializer='yaml'); app.conf.timezone; app.conf.clear()
# the command line
app = Celery('x'); app.conf.timezone; app.config_from_cmdline(['worker.prefetch_multiplier=7', 'task_acks_late=yes', 'task_time_limit=3.5', 'task_queues=(json){"a": 1}', 'result_backend=(string)x'])
# the command line, wrong
app = Celery('x'); app.config_from_cmdline(['worker.prefetch_multiplier=many'])
# the command line, wrong truth
app = Celery('x'); app.config_from_cmdline(['task.acks_late=perhaps'])
# find an option
app = Celery('x'); extra = [str(app.conf.find_option('prefetch_multiplier', 'worker')), str(app.conf.find_option('disable_rate_limits')), str(app.conf.find_option('worker'))[:40], str(app.conf.find_option('task_serializer')), app.conf.find_value_for_key('acks_late'), app.conf.get_by_parts('worker', 'direct')]
# find no option
app = Celery('x'); app.conf.find_option('no_such_option')
# secrets
app = Celery('x'); app.config_from_object({'result_backend': 'db+mysql://u:pw@h/x', 'broker_url': 'amqp://u:pw@h', 'security_key_password': b'x', 'broker_transport_options': {'token': 'x', 'inner': {'password': 'y', 'z': 1}}, 'redis_password': 'q', 'broker_password': 'q', 'cache_backend': 'memcached://u:p@h'})
# long values
app = Celery('x'); app.config_from_object({'task_routes': {f'proj.tasks.number{i}': {'queue': f'q{i}'} for i in range(9)}, 'imports': tuple(f'module{i}' for i in range(12)), 'task_queues': ['q' * 9 for _ in range(9)]})
# broker parts
app = Celery('x'); app.config_from_object({'BROKER_HOST': 'h', 'BROKER_PORT': 3, 'BROKER_USER': 'u', 'BROKER_PASSWORD': 'p', 'BROKER_VHOST': 'v'})
# override_backends
app = Celery('x'); app.config_from_object({'override_backends': {'x': 'a:b'}}); app.conf.timezone; extra = app.loader.override_backends
# the default loader
os.environ['CELERY_LOADER'] = 'default'; os.environ['CELERY_CONFIG_MODULE'] = 'conf_new'; app = Celery('x')
# the default loader, nothing to read
os.environ['CELERY_LOADER'] = 'default'; app = Celery('x'); app.conf.timezone; extra = app.loader.configured
# the default loader by class
app = Celery('x', loader='celery.loaders.default:Loader', config_source='conf_old')
# either
app = Celery('x'); app.conf.worker_pool = 'solo'; extra = [app.either('worker_pool', None, 'a'), app.either('worker_pool'), app.either('worker_pool', None, None), app.either('task_time_limit', 0)]
# deprecated: told
app = Celery('x'); app.config_from_object({'CELERY_ALWAYS_EAGER': True, 'CELERY_ROUTES': {}}); extra = [app.conf.maybe_warn_deprecated_settings(), sorted(app.conf.deprecated_settings)]
# deprecated: nothing
app = Celery('x'); app.config_from_object({'task_always_eager': True}); extra = [app.conf.maybe_warn_deprecated_settings(), sorted(app.conf.deprecated_settings)]
# a mapping that is no dict
from collections import UserDict
app = Celery('x'); app.config_from_object(UserDict(task_serializer='yaml'))
# no configuration
app = Celery('x'); app.config_from_object(None); app.conf.task_serializer
# pickled
import pickle
first = Celery('x', set_as_current=False); first.conf.update(task_serializer='yaml'); first.conf.timezone
app = pickle.loads(pickle.dumps(first)); extra = app.main
# representations
app = Celery('main'); import celery.app.utils as u; extra = [u.appstr(app).rpartition(' ')[0], u.appstr(Celery()).rpartition(' ')[0]]
""")

FILES = {
    "conf_new.py": "import os\ntask_serializer = 'yaml'\nMY_THING = 2\nclass Inner:\n    task_serializer = 'inner'\n",
    "conf_old.py": "CELERY_TASK_SERIALIZER = 'yaml'\nCELERY_TIMEZONE = 'Europe/Oslo'\n",
    "conf_broken.py": "import no_such_module_anywhere\n",
}
PROPERTIES = (
    *("broker_url", "broker_read_url", "broker_write_url", "result_backend", "timezone"),
    *("task_default_exchange", "task_default_routing_key"),
)
URLS = [
    *("redis://:secret@localhost:6379/0", "redis://localhost", "redis://u@h", "amqp://u:p;w@h//", "amqp://u:p@ss@h"),
    *("cache+memcached://user:secret@s1:11211;s2:11211/", "sentinel://:s@h1:1;sentinel://:s@h2:2/0", "no url", ""),
    *("sentinel://:secret@h1:26379;h2:26379/0", "redis://user:secret@localhost:6379?a=1;b=2", "mongodb://u:p@a,b,c/x"),
    *("azureblockblob://DefaultEndpointsProtocol=https;AccountName=a;AccountKey=SECRET==;x", "db+sqlite:///a.db"),
    *("azureblockblob://BlobEndpoint=https://a?sig=X&b=1;SharedAccessSignature=s", "amqp://u:p@h1,u:q@h2", "x://a@b@c"),
    *(
        "redis://u:a,b@h",
        "redis://u:a,:b@h",
        "memcached://a;;b;",
        "x://@h",
        "x://u:@h",
        "x://h1,,h2/p@q",
        "x://a:b@c,d",
    ),
    *("x://;u:p@h", "x://u:p@h1;@h2", "x://u;v:p@h"),
]


def told(value):
    return repr(sorted(map(repr, value))) if isinstance(value, (set, frozenset)) else repr(value)


def run(name, keys):
    from celery import Celery

    names = {"Celery": Celery, "os": os}
    caught = []
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            exec(SCENES[name], names)
            app = names["app"]
            conf = app.conf
            conf.finalize()
        return {
            "extra": repr(names.get("extra")),
            "values": {key: told(conf[key]) for key in keys},
            "attributes": {key: told(getattr(conf, key)) for key in PROPERTIES},
            "changes": {str(key): told(value) for key, value in conf.changes.items()},
            "set": [key for key in keys if conf.value_set_for(key)],
            "human": conf.humanize().splitlines(),
            "uncensored": conf.humanize(censored=False).splitlines(),
            "table": sorted(conf.table(with_defaults=False)),
            "warnings": sorted(each.category.__name__ for each in caught),
        }
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}


def table():
    """Every setting that Celery has, as its own table tells."""
    from celery.app.defaults import NAMESPACES, flatten

    return {
        name: [repr(option.default), str(option.type), sorted(option.old), option.deprecate_by, option.alt]
        for name, option in flatten(NAMESPACES)
        if not getattr(option, "own", False)
    }


def detected(mapping, prefix):
    """What comes of a mapping by itself."""
    from celery.app.utils import detect_settings

    try:
        conf = detect_settings(mapping, prefix=prefix)
    except Exception as error:
        return {"error": type(error).__name__, "text": str(error)}
    return {
        "read": {key: repr(conf.get(key, "-")) for key in mapping},
        "deprecated": sorted(conf.deprecated_settings),
        "human": conf.humanize(censored=False).splitlines(),
    }


def main():
    if "celeriac" in sys.argv:
        from celeriac.compat import alias

        alias.install()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            (Path(folder) / name).write_text(text)
        sys.path.insert(0, folder)
        from celery.app.utils import sanitize_url

        given = json.loads(sys.stdin.read())
        keys = given["keys"]
        before = dict(os.environ)
        found = {}
        for name in SCENES:
            found[name] = run(name, keys)
            os.environ.clear()
            os.environ.update(before)
        told = {
            "scenes": found,
            "urls": {url: sanitize_url(url) for url in URLS},
            "table": table(),
            "detected": [detected(mapping, prefix) for mapping, prefix in given["mappings"]],
        }
        print(json.dumps(told))


if __name__ == "__main__":
    main()
