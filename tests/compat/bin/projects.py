"""Sample projects for the doctor, each with one planted fault and what it must find; and some without any."""

from __future__ import annotations

START = (
    'from celery import Celery\napp = Celery("proj", broker="redis://127.0.0.1:1/0", backend="redis://127.0.0.1:1/0")\n'
)
TASK = "@app.task\ndef add(x, y):\n    return x + y\n"

# What a grown project has: every common setting in Django's manner, tasks of every kind, a schedule of each.
BIG = """\
import functools
from celery import Celery, Task, chain, group, chord, shared_task
from celery.schedules import crontab, schedule, solar
from datetime import timedelta
app = Celery("proj")
class Settings:
    CELERY_BROKER_URL="redis://127.0.0.1:1/0"; CELERY_RESULT_BACKEND="redis://127.0.0.1:1/1"
    CELERY_TASK_TIME_LIMIT=30*60; CELERY_TASK_SOFT_TIME_LIMIT=20*60
    CELERY_TIMEZONE="America/New_York"; CELERY_ENABLE_UTC=True
    CELERY_BROKER_TRANSPORT_OPTIONS={"visibility_timeout": 7200, "priority_steps":[0,3,6,9]}
    CELERY_RESULT_EXTENDED=True; CELERY_RESULT_EXPIRES=timedelta(days=2)
    CELERY_TASK_ROUTES={"proj.*":{"queue":"a"}}
    CELERY_WORKER_HIJACK_ROOT_LOGGER=False
    CELERY_WORKER_CONCURRENCY=4; CELERY_WORKER_MAX_TASKS_PER_CHILD=100; CELERY_WORKER_PREFETCH_MULTIPLIER=1
    CELERY_TASK_ACKS_LATE=True
    CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP=True
    CELERY_BEAT_SCHEDULER="django_celery_beat.schedulers:DatabaseScheduler"
    CELERY_RESULT_BACKEND_TRANSPORT_OPTIONS={"retry_policy":{"timeout":5.0}}
    CELERY_CACHE_BACKEND="default"
    CELERY_ACCEPT_CONTENT=["json"]; CELERY_TASK_SERIALIZER="json"
    DEBUG=True; TIME_ZONE="UTC"; INSTALLED_APPS=[]
    CELERY_TASK_PUBLISH_RETRY_POLICY={"max_retries":3,"interval_start":0.2}
    CELERY_BROKER_POOL_LIMIT=None
    CELERY_BEAT_SCHEDULE={
     "a": {"task":"proj.add","schedule":crontab(minute=0),"args":(1,2)},
     "b": {"task":"proj.cls","schedule":timedelta(seconds=30),"kwargs":{"x":1}},
     "c": {"task":"proj.wrapped","schedule":30.0,"args":[1],"options":{"queue":"a","expires":15}},
     "d": {"task":"proj.shared","schedule":solar("sunset",-37,144)},
     "e": {"task":"celery.backend_cleanup","schedule":crontab(4,0),"options":{"expires":3600}},
     "f": {"task":"proj.auto","schedule":30.0,"args":[1]},
     "g": {"task":"proj.meth","schedule":30.0,"kwargs":{"x":3}},
     "h": {"task":"proj.add","schedule":30.0,"args":None,"kwargs":{"x":3,"y":2}},
    }
app.config_from_object(Settings, namespace="CELERY")
@app.task
def add(x, y): return x+y
class Cls(Task):
    name="proj.cls"
    def run(self, x): pass
app.register_task(Cls())
def deco(f):
    @functools.wraps(f)
    def w(*a, **k): return f(1, *a, **k)
    return w
@app.task
@deco
def wrapped(injected, x): pass
@shared_task
def shared(): pass
@app.task(autoretry_for=(Exception,), retry_backoff=True)
def auto(x): pass
class Base(Task):
    abstract=True
    def __call__(self,*a,**k): return super().__call__(*a,**k)
@app.task(bind=True, base=Base)
def meth(self, x, y=2): pass
@app.on_after_configure.connect
def setup(sender, **k):
    sender.add_periodic_task(10.0, add.s(1,2), name="one")
    sender.add_periodic_task(10.0, chain(add.s(1,2), add.s(3)), name="chain")
    sender.add_periodic_task(10.0, group(add.s(1,2), add.s(3,4)), name="group")
    sender.add_periodic_task(10.0, chord([add.s(1,2)], add.s(3)), name="chord")
    sender.add_periodic_task(10.0, add.map([(1,2)]), name="map")
    sender.add_periodic_task(10.0, add.chunks([(1,2)],1), name="chunks")
    sender.add_periodic_task(10.0, meth.s(3), name="bound")
"""

PATCHES = """
import celery.app.trace, celery.backends.redis, celery.worker.request, celery.worker.worker
import kombu.messaging, kombu.transport.redis
def other(*args, **kwargs): pass
kombu.messaging.Consumer._receive_callback = other
kombu.transport.redis.Channel.drain_events = other
kombu.transport.redis.Channel.socket_timeout = 7
"""
OF_CELERY = """
celery.app.trace.trace_task_ret = other
celery.backends.redis.RedisBackend.ensure = other
celery.worker.request.Request.on_failure = other
celery.worker.worker.WorkController.on_start = other
"""
UNTOUCHED = """
import celery.app.amqp, celery.app.trace, celery.backends.asynchronous, celery.backends.redis, celery.beat, celery.canvas
import celery.concurrency.prefork, celery.events.dispatcher, celery.result, celery.worker.components, celery.worker.loops
import celery.worker.consumer, celery.worker.pidbox, celery.worker.request, celery.worker.state, celery.worker.worker
import kombu.asynchronous.hub, kombu.messaging, kombu.pidbox, kombu.transport.pyamqp, kombu.transport.redis
"""

# Name -> source, and the kind and subject of each finding that must be there (and no other fault or risk).
FAULTY: dict[str, tuple[str, set[tuple[str, str]]]] = {
    "patches that nobody calls": (
        START + TASK + PATCHES + OF_CELERY,
        {
            ("patched", "celery.app.trace.trace_task_ret"),
            ("patched", "celery.backends.redis.RedisBackend.ensure"),
            ("patched", "celery.worker.request.Request.on_failure"),
            ("patched", "kombu.transport.redis.Channel.drain_events"),
            ("patched", "kombu.transport.redis.Channel.socket_timeout"),
        },
    ),
    "a misspelt setting": (
        START + "app.conf.update(task_ack_late=True)\n" + TASK,
        {("unknown", "task_ack_late")},
    ),
    "a value of another type": (
        START + "app.conf.update(worker_prefetch_multiplier='many')\n" + TASK,
        {("wrong", "worker_prefetch_multiplier")},
    ),
    "what nothing can start with": (
        START
        + "app.conf.update(worker_pool='gevnt', task_routes=5, task_compression='zippy', result_backend='nowhere://',\n"
        + "    broker_failover_strategy='first', task_annotations=5)\n"
        + TASK
        + "@app.task(serializer='jsn', max_retries='3')\ndef odd():\n    pass\n"
        + "@app.task(serializer=['json'])\ndef several():\n    pass\n",
        {
            ("start", "worker_pool"),
            ("start", "task_routes"),
            ("start", "task_compression"),
            ("start", "result_backend"),
            ("start", "broker_failover_strategy"),
            ("start", "task_annotations"),
            ("start", "proj.odd"),
            ("start", "proj.several"),
        },
    ),
    "a lease of beats in two places": (
        START
        + "app.conf.update(beat_scheduler='celery.beat:LeasedScheduler', broker_url='redis://a;redis://b')\n"
        + TASK,
        {("start", "beat_scheduler")},
    ),
    "limits that contradict": (
        START + "app.conf.update(task_soft_time_limit=60, task_time_limit=30)\n" + TASK,
        {("contradiction", "task_soft_time_limit")},
    ),
    "a serializer that is refused": (
        START + "app.conf.update(task_serializer='yaml')\n" + TASK,
        {("contradiction", "task_serializer")},
    ),
    "a countdown beyond the visibility timeout": (
        START + TASK + "def later():\n    add.apply_async((1, 2), countdown=2 * 60 * 60)\n",
        {("visibility_timeout", "broker_transport_options")},
    ),
    "a late ack longer than the visibility timeout": (
        START
        + "app.conf.update(broker_transport_options={'visibility_timeout': 60})\n"
        + "@app.task(acks_late=True, time_limit=600)\ndef crunch():\n    pass\n",
        {("visibility_timeout", "broker_transport_options")},
    ),
    "what is done once is acked late": (
        START + "@app.task(acks_late=True)\ndef charge_card(number):\n    pass\n",
        {("acks_late", "proj.charge_card")},
    ),
    "pickle": (
        START + "app.conf.update(accept_content=['json', 'pickle'])\n" + TASK,
        {("pickle", "accept_content")},
    ),
    "no backend for a chord": (
        "from celery import Celery, chord\napp = Celery('proj', broker='redis://127.0.0.1:1/0')\n"
        + TASK
        + "def both():\n    chord([add.s(1, 2)])(add.s(3))\n",
        {("result_backend", "result_backend")},
    ),
    "a schedule with a task that there is not": (
        START + "app.conf.beat_schedule = {'nightly': {'task': 'proj.ad', 'schedule': 60}}\n" + TASK,
        {("schedule", "beat_schedule 'nightly'")},
    ),
    "a route to a queue that there is not": (
        START
        + "from kombu import Queue\n"
        + "app.conf.update(task_queues=[Queue('celery'), Queue('data')], task_create_missing_queues=False,\n"
        + "    task_routes={'proj.add': {'queue': 'dta'}})\n"
        + TASK,
        {("route", "task_routes")},
    ),
    "an import of what is not here": (
        START + TASK + "def deep():\n    from celery.app.nowhere import Thing, other\n",
        {
            ("import", "celery.app.nowhere.Thing"),
            ("import", "celery.app.nowhere.other"),
        },
    ),
    "a task that kills its worker for ever": (
        START
        + "app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True, worker_max_deliveries=None)\n"
        + TASK,
        {("max_deliveries", "worker_max_deliveries")},
    ),
    "a time zone that there is not": (
        START + "app.conf.update(timezone='Europe/Berln')\n" + TASK,
        {("wrong", "timezone")},
    ),
    "a limit below nothing": (
        START + "app.conf.update(task_time_limit=-1)\n" + TASK,
        {("wrong", "task_time_limit")},
    ),
    "tasks with limits that cannot be": (
        START
        + "@app.task(time_limit=-2)\ndef one():\n    pass\n"
        + "@app.task(time_limit=5, soft_time_limit=9)\ndef two():\n    pass\n",
        {("time_limit", "proj.one"), ("time_limit", "proj.two")},
    ),
    "a rate that is none": (
        START
        + "@app.task(rate_limit='ten')\ndef slow():\n    pass\n@app.task(rate_limit='10/m')\ndef fine():\n    pass\n",
        {("rate_limit", "proj.slow")},
    ),
    "an option of the transport that is misspelt": (
        START + "app.conf.update(broker_transport_options={'visibilty_timeout': 7200})\n" + TASK,
        {("contradiction", "broker_transport_options")},
    ),
    "an option of the transport among the settings": (
        START + "app.conf.update(visibility_timeout=7200)\n" + TASK,
        {("unknown", "visibility_timeout")},
    ),
    "a schedule whose arguments do not fit": (
        START
        + TASK
        + "app.conf.beat_schedule = {\n"
        + "    'few': {'task': 'proj.add', 'schedule': 60, 'args': (1,)},\n"
        + "    'wrong': {'task': 'proj.add', 'schedule': 60, 'args': (1, 2), 'kwargs': {'z': 1}},\n"
        + "    'bare': {'task': 'proj.add', 'schedule': 60, 'args': (16)}}\n",
        {
            ("schedule", "beat_schedule 'few'"),
            ("schedule", "beat_schedule 'wrong'"),
            ("schedule", "beat_schedule 'bare'"),
        },
    ),
    "a broker that reaches nobody": (
        START.replace("redis://127.0.0.1:1/0", "memory://", 1) + TASK,
        {("broker", "broker_url")},
    ),
}

INNOCENT: dict[str, str] = {
    "everything imported, and nothing patched": START + TASK + UNTOUCHED,
    "patches of kombu, on a broker of kombu": (
        START.replace("redis://127.0.0.1:1/0", "filesystem://", 1) + TASK + PATCHES
    ),
    "a big one": BIG,
    "a small one": START + TASK,
    "short countdowns and retries": (
        START
        + "@app.task(bind=True, default_retry_delay=60, retry_backoff_max=600)\n"
        + "def fetch(self, url):\n    self.retry(countdown=30)\n"
    ),
    "long countdowns with a longer timeout": (
        START
        + "app.conf.update(broker_transport_options={'visibility_timeout': 86400})\n"
        + TASK
        + "def later():\n    add.apply_async((1, 2), countdown=7200)\n"
    ),
    "long countdowns on RabbitMQ": (
        START.replace("redis://127.0.0.1:1/0", "amqp://127.0.0.1:1", 1)
        + TASK
        + "def later():\n    add.apply_async((1, 2), countdown=7200)\n"
    ),
    "options by each way that there is": (
        START
        + "class Router:\n    def route_for_task(self, name, *args, **kwargs):\n        return None\n"
        + "class Annotations:\n    def annotate(self, task):\n        return {}\n"
        + "app.conf.update(worker_pool='celery.concurrency.solo:TaskPool', task_compression='gzip',\n"
        + "    task_routes=({'proj.*': 'celery'}, Router(), lambda name, *args, **kwargs: None),\n"
        + "    task_annotations=[{'*': {'rate_limit': '10/s'}}, Annotations()], broker_failover_strategy='shuffle')\n"
        + "@app.task(serializer='pickle', compression='zlib', max_retries=None, default_retry_delay=0.5, priority=3)\n"
        + "def own():\n    pass\n"
    ),
    "what is empty, and retries without end": (
        START
        + "app.conf.update(worker_pool='', task_compression='', result_compression='', event_serializer='')\n"
        + "@app.task(serializer='', compression='', max_retries=float('inf'))\ndef one():\n    pass\n"
        + "@app.task(compression=False, max_retries=3.0)\ndef two():\n    pass\n"
    ),
    "signed messages": (
        START + "app.conf.update(task_serializer='auth', accept_content=['auth'], result_serializer='auth')\n" + TASK
    ),
    "words inside of words": START + "@app.task(acks_late=True)\ndef display_mailbox_resend():\n    pass\n",
    "a schedule that fits": (
        START + TASK + "app.conf.beat_schedule = {'nightly': {'task': 'proj.add', 'schedule': 60, 'args': (1, 2)}}\n"
    ),
    "schedules of every way to give arguments": (
        START
        + TASK
        + "@app.task(bind=True)\ndef own(self, x, y=3, *more, key=None, **others):\n    pass\n"
        + "@app.task(typing=False)\ndef loose(x):\n    pass\n"
        + "from celery.schedules import crontab\n"
        + "app.conf.beat_schedule = {\n"
        + "    'kwargs': {'task': 'proj.add', 'schedule': 60, 'kwargs': {'x': 1, 'y': 2}},\n"
        + "    'both': {'task': 'proj.own', 'schedule': crontab(hour=3), 'args': [1], 'kwargs': {'key': 2, 'other': 3}},\n"
        + "    'unchecked': {'task': 'proj.loose', 'schedule': 60},\n"
        + "    'elsewhere': {'task': 'celery.backend_cleanup', 'schedule': 60.5}}\n"
    ),
    "zones and limits that are": (
        START
        + "from datetime import timedelta, timezone\n"
        + "app.conf.update(timezone='Europe/Berlin', result_expires=timedelta(hours=1), result_cache_max=-1,\n"
        + "    task_time_limit=60, task_soft_time_limit=50, broker_transport_options={'visibility_timeout': 7200})\n"
        + "@app.task(time_limit=5, soft_time_limit=4)\ndef two():\n    pass\n"
        + TASK
    ),
    "a zone that is an object": START + "import datetime\napp.conf.timezone = datetime.timezone.utc\n" + TASK,
    "queues and routes that fit": (
        START
        + "from kombu import Queue\n"
        + "app.conf.update(task_queues=[Queue('celery'), Queue('data')], task_routes={'proj.*': 'data'})\n"
        + TASK
    ),
    "old names": START + "app.conf.update(CELERYD_CONCURRENCY=3, CELERY_TIMEZONE='UTC')\n" + TASK,
    "no backend and no wish for one": (
        "from celery import Celery\napp = Celery('proj', broker='redis://127.0.0.1:1/0')\n"
        + TASK
        + "def fire():\n    add.delay(1, 2)\n    {}.get('x')\n"
    ),
    "hooks and patches": (
        START
        + TASK
        + "from celery import Task, signals\n"
        + "@signals.task_failure.connect\ndef tell(**_):\n    pass\n"
        + "before = Task.apply_async\n"
        + "def patched(self, *args, **kwargs):\n    return before(self, *args, **kwargs)\n"
        + "Task.apply_async = patched\n"
    ),
}
