"""django-celery-results: results, chords and groups in Django's database."""

import os
import sys

import django
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django_celery_results"],
    DATABASES={
        "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": sys.argv[2] + ".db", "OPTIONS": {"timeout": 20}}
    },
    USE_TZ=True,
    SECRET_KEY="x",
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
os.environ["DJANGO_SETTINGS_MODULE"] = "settings"
django.setup()

from base import NODE, WORKS, app, fails, worker  # noqa: E402 - Django comes first
from celery import chord, group  # noqa: E402 - the same
from django.core.management import call_command  # noqa: E402 - the same
from django.db.models.signals import post_save  # noqa: E402 - the same
from django_celery_results.models import ChordCounter, GroupResult, TaskResult  # noqa: E402 - the same

app.conf.update(result_backend="django-db", result_extended=True)


@app.task
def add(x, y):
    return x + y


@app.task
def total(numbers):
    return sum(numbers)


@app.task
def bad():
    raise ValueError("x")


if __name__ == "__main__":
    if not WORKS:
        call_command("migrate", verbosity=0)
    counters = []
    post_save.connect(lambda instance, **_: counters.append(instance.count), sender=ChordCounter, weak=False)
    with worker():
        result = add.delay(1, 2)
        assert result.get(timeout=20) == 3
        assert fails(bad.delay(), ValueError)
        assert chord([add.s(1, 1), add.s(2, 2)], total.s()).apply_async().get(timeout=20) == 6
        assert counters == [2], "its own counter counts"
        sent = group(add.s(number, number) for number in range(3)).apply_async()
        sent.save()
        assert sent.get(timeout=20) == [0, 2, 4]
        row = TaskResult.objects.get(task_id=result.id)
        assert (row.status, row.result, row.task_name) == ("SUCCESS", "3", "proj.add")
        assert row.worker == NODE, row.worker
        assert TaskResult.objects.filter(status="FAILURE").count() == 1
        assert GroupResult.objects.count() == 1
        assert app.GroupResult.restore(sent.id).results == sent.results
    print("fine")
