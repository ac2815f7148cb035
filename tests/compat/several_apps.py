"""Several apps in one process, in a program of its own: what each task belongs to, in which order things happen.

`python several_apps.py FOLDER [celeriac]` prints one object, what was asked -> what was seen. Run on both Celerys by
test_several_apps.py; never imported.
"""

import json
import pickle
import sys
import threading
from pathlib import Path

if "celeriac" in sys.argv:
    from celeriac.compat import alias

    alias.install()

from celery import Celery, Task, current_app, shared_task, signals
from celery.app import app_or_default

FOLDER = Path(sys.argv[1])
sys.path.insert(0, str(FOLDER))
for name in ("first", "second"):
    (FOLDER / name).mkdir()
    (FOLDER / name / "__init__.py").write_text("")
    (FOLDER / name / "tasks.py").write_text(
        "from celery import shared_task\n"
        f"@shared_task\ndef {name}(): return '{name}'\n"
        f"@shared_task(bind=True, name='{name}.whose')\ndef whose(self): return self.app.main\n"
    )

URLS = {"broker": "memory://", "backend": "cache+memory://"}
seen = {}


@shared_task(name="early")
def early(x):
    return x * 2


one = Celery("one", **URLS)
two = Celery("two", set_as_current=False, **URLS)
three = Celery("three", autofinalize=False, **URLS)
seen["current"] = current_app.main
events = []
for app in (one, two, three):
    for moment in ("on_configure", "on_after_configure", "on_after_finalize"):
        getattr(app, moment).connect(
            lambda sender=None, moment=moment, **told: events.append([moment, sender.main, sorted(told)]), weak=False
        )
for app in (one, two, three):
    try:
        seen[f"early in {app.main}"] = ["early" in app.tasks, list(events)]
    except RuntimeError as problem:
        seen[f"early in {app.main}"] = str(problem)
    events.clear()
three.finalize()
three.finalize()
seen["finalized"] = list(events)
seen["bound to"] = [early.app.main, *(app.tasks["early"].app.main for app in (one, two, three))]
seen["one object each"] = one.tasks["early"] is not two.tasks["early"]
follows = []
for app in (one, two):
    app.set_current()
    follows.append([early.app.main, early(4)])
seen["follows the current app"] = follows
elsewhere = []
for app in (None, two):
    if app is not None:
        app.set_default()
    thread = threading.Thread(target=lambda: elsewhere.append([current_app.main, early.app.main]))
    thread.start()
    thread.join()
seen["another thread"] = elsewhere


@shared_task(name="late")
def late():
    return "late"


seen["late"] = ["late" in app.tasks for app in (one, two, three)]


@one.task(name="of.one")
def of_one():
    return 1


@one.task(name="of.one.alone", shared=False)
def of_one_alone():
    return 1


four = Celery("four", set_as_current=False, **URLS)
seen["shared"] = sorted(name for name in four.tasks if not name.startswith("celery."))
seen["built in"] = sorted(name for name in four.tasks if name.startswith("celery."))

imported = []
signals.import_modules.connect(lambda sender=None, **told: imported.append([sender.main, sorted(told)]), weak=False)
five = Celery("five", set_as_current=False, **URLS)
six = Celery("six", **URLS)
five.autodiscover_tasks(["first"])
six.autodiscover_tasks(lambda: ["first", "second"])
found = []
for app in (five, six):
    found.append(["first.tasks" in sys.modules, "second.tasks" in sys.modules])
    app.loader.import_default_modules()
    found.append([sorted(name for name in each.tasks if name.startswith(("first", "second"))) for each in (five, six)])
seen["discovered"] = found
seen["imported"] = imported
seen["whose"] = [app.tasks["first.whose"]() for app in (five, six)]

seen["app or default"] = [app_or_default().main, app_or_default(one).main]
seen["pickled app"] = pickle.loads(pickle.dumps(one)).main
seen["pickled task"] = [pickle.loads(pickle.dumps(early)).name, pickle.loads(pickle.dumps(of_one)).app.main]
changed = Celery("changed", set_as_current=False, changes={"task_acks_late": True}, include=["os"], **URLS)
changed.conf.task_track_started = True
again = pickle.loads(pickle.dumps(changed))
seen["pickled settings"] = [again.conf.task_acks_late, again.conf.task_track_started, list(again.conf.include)]
made = (one.subclass_with_self(Task, name="Mine", attribute="app"), one.Worker, one.Beat, one.AsyncResult, one.Task)
seen["classes of an app"] = [[each.__name__, each.app.main] for each in made]
seen["report"] = [line.split("->")[0].strip() for line in one.bugreport().splitlines() if "->" in line]
print(json.dumps(seen))
