"""Schedulers of packages on our beat. Run by a test in a process of its own: `django|redbeat|sqlalchemy URL`.

The packages stand in a folder of their own on PYTHONPATH, without the Celery that they ask for: it is us.
"""

import json
import logging
import os
import sys
import threading
import time
from datetime import timedelta

import celeriac

celeriac.install()

from celery import Celery  # noqa: E402 - after the name is ours
from celery.beat import Service  # noqa: E402
from celery.schedules import schedule  # noqa: E402

WHICH, URL = sys.argv[1:]
app = Celery("packages", broker=URL)
app.conf.update(task_default_queue=f"of-{WHICH}", result_expires=None, beat_max_loop_interval=1)


def run(service, seconds):
    threading.Timer(seconds, service.stop).start()
    service.start()


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
    run(service, 4.7)
    counts = {task.name: task.total_run_count for task in PeriodicTask.objects.all()}
    return {"counts": counts, "scheduler": type(service.scheduler).__name__}


def redbeat():
    app.conf.redbeat_redis_url = URL
    app.conf.redbeat_lock_timeout = 5
    app.conf.beat_schedule = {"configured": {"task": "t.configured", "schedule": 1.0}}
    from redbeat import RedBeatSchedulerEntry

    entry = RedBeatSchedulerEntry("one", "t.one", schedule(timedelta(seconds=1), app=app), args=[1], app=app)
    entry.save()
    service = Service(app, scheduler_cls="redbeat.RedBeatScheduler")
    run(service, 4.2)
    again = RedBeatSchedulerEntry.from_key(entry.key, app=app)
    return {"counts": {"one": again.total_run_count}, "scheduler": type(service.scheduler).__name__}


def sqlalchemy():
    app.conf.beat_dburi = "sqlite:///beat-sqlalchemy.sqlite3"
    app.conf.beat_schedule = {"configured": {"task": "t.configured", "schedule": 1.0}}
    service = Service(app, scheduler_cls="sqlalchemy_celery_beat.schedulers:DatabaseScheduler")
    run(service, 4.2)
    return {"counts": {}, "scheduler": type(service.scheduler).__name__}


logging.basicConfig(level=logging.INFO, stream=sys.stderr)
told = {"django": django, "redbeat": redbeat, "sqlalchemy": sqlalchemy}[WHICH]()
print(json.dumps(told), flush=True)
os._exit(0)
