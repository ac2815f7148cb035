"""django-celery-beat: rows of Django's database are due, counted, changed while beat runs, and run by a worker."""

import os
import sys
import threading

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django_celery_beat"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[2] + ".db", "OPTIONS": {"timeout": 20}}
    },
    USE_TZ=True,
    SECRET_KEY="x",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

from base import WORKS, app, until, worker, write, written  # noqa: E402 - Django comes first
from celery.beat import Service  # noqa: E402 - the same
from django.core.management import call_command  # noqa: E402 - the same
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask  # noqa: E402 - the same

app.conf.update(beat_max_loop_interval=1, timezone="UTC", beat_schedule={"conf": {"task": "t.conf", "schedule": 1.0}})


@app.task(name="t.one")
def one(a, b=0):
    write(["one", a, b])


@app.task(name="t.conf")
def conf():
    write(["conf"])


@app.task(name="t.late")
def late():
    write(["late"])


if __name__ == "__main__":
    if WORKS:
        with worker():
            pass
    call_command("migrate", verbosity=0)
    every, _ = IntervalSchedule.objects.get_or_create(every=1, period=IntervalSchedule.SECONDS)
    PeriodicTask.objects.create(name="one", task="t.one", interval=every, args="[1]", kwargs='{"b": 2}')
    never = CrontabSchedule.objects.create(minute="0", hour="0", day_of_month="30", month_of_year="2")
    PeriodicTask.objects.create(name="never", task="t.one", crontab=never, args="[9]")
    beat = Service(app, scheduler_cls="django_celery_beat.schedulers:DatabaseScheduler")
    with worker():
        running = threading.Thread(target=beat.start)
        running.start()
        until(lambda: written().count(["one", 1, 2]) >= 2 and ["conf"] in written())
        PeriodicTask(name="late", task="t.late", interval=every).save()
        until(lambda: ["late"] in written(), 20)
        beat.stop()
        running.join()
    counts = {row.name: row.total_run_count for row in PeriodicTask.objects.all()}
    assert counts["one"] >= 2, counts
    assert counts["late"] >= 1, counts
    assert counts["never"] == 0, counts
    assert ["one", 9, 0] not in written()
    print("fine")
