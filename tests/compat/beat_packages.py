"""Schedulers of packages on our beat. Run by a test in a process of its own: `django|redbeat|sqlalchemy URL`.

The packages stand in a folder of their own on PYTHONPATH, without the Celery that they ask for: it is us.
"""

import json
import logging
import os
import sys
import threading
import time
from collections import Counter
from datetime import timedelta

import redis

import celeriac

celeriac.install()

from celery import Celery  # noqa: E402 - after the name is ours
from celery.beat import Service  # noqa: E402
from celery.schedules import schedule  # noqa: E402

WHICH, URL = sys.argv[1:]
app = Celery("packages", broker=URL)
app.conf.update(task_default_queue=f"of-{WHICH}", result_expires=None, beat_max_loop_interval=1)


def run(service, **fewest):
    """Until so many of each task are sent; how long it took, in seconds."""
    began = time.monotonic()

    def watch():
        queue = redis.Redis.from_url(URL)
        while time.monotonic() < began + 50:
            sent = Counter(json.loads(each)["headers"]["task"] for each in queue.lrange(f"of-{WHICH}", 0, -1))
            if all(sent[f"t.{name}"] >= few for name, few in fewest.items()):
                break
            time.sleep(0.1)
        service.stop()

    threading.Thread(target=watch).start()
    service.start()
    return time.monotonic() - began


def django():
    import django
    from django.conf import settings

    settings.configure(
        INSTALLED_APPS=["django_celery_beat"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "beat.sqlite3"}},
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
    )
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from django_celery_beat.models import IntervalSchedule, PeriodicTask

    every, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="one", task="t.one", interval=every, args="[1]", kwargs='{"a": 2}')
    app.conf.beat_schedule = {"configured": {"task": "t.configured", "schedule": 1.0}}
    service = Service(app, scheduler_cls="django_celery_beat.schedulers:DatabaseScheduler")

    def change():
        time.sleep(1.2)
        late = PeriodicTask(name="late", task="t.late", interval=every)
        late.save()

    threading.Thread(target=change).start()
    took = run(service, one=3, configured=3, late=1)
    counts = {task.name: task.total_run_count for task in PeriodicTask.objects.all()}
    return {"took": took, "counts": counts, "scheduler": type(service.scheduler).__name__}


def redbeat():
    app.conf.redbeat_redis_url = URL
    app.conf.redbeat_lock_timeout = 5
    app.conf.beat_schedule = {"configured": {"task": "t.configured", "schedule": 1.0}}
    from redbeat import RedBeatSchedulerEntry

    entry = RedBeatSchedulerEntry("one", "t.one", schedule(timedelta(seconds=1), app=app), args=[1], app=app)
    entry.save()
    service = Service(app, scheduler_cls="redbeat.RedBeatScheduler")
    took = run(service, one=3, configured=3)
    again = RedBeatSchedulerEntry.from_key(entry.key, app=app)
    return {"took": took, "counts": {"one": again.total_run_count}, "scheduler": type(service.scheduler).__name__}


def sqlalchemy():
    app.conf.beat_dburi = "sqlite:///beat-sqlalchemy.sqlite3"
    app.conf.beat_schedule = {"configured": {"task": "t.configured", "schedule": 1.0}}
    service = Service(app, scheduler_cls="sqlalchemy_celery_beat.schedulers:DatabaseScheduler")
    took = run(service, configured=2)
    return {"took": took, "counts": {}, "scheduler": type(service.scheduler).__name__}


logging.basicConfig(level=logging.INFO, stream=sys.stderr)
told = {"django": django, "redbeat": redbeat, "sqlalchemy": sqlalchemy}[WHICH]()
print(json.dumps(told), flush=True)
os._exit(0)
