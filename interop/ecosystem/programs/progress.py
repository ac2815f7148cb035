"""celery-progress: how far a task is, by states of its own."""

import time

import django
from base import app, worker
from celery_progress.backend import Progress, ProgressRecorder
from django.conf import settings

settings.configure()
django.setup()


@app.task(bind=True)
def work(self):
    recorder = ProgressRecorder(self)
    for step in range(3):
        recorder.set_progress(step + 1, 3, "on it")
        time.sleep(0.3)
    return "done"


if __name__ == "__main__":
    with worker():
        result, seen = work.delay(), set()
        while not result.ready():
            info = Progress(result).get_info()
            seen.add((info["state"], info["progress"].get("current")))
            time.sleep(0.05)
        assert {("PROGRESS", 1), ("PROGRESS", 2), ("PROGRESS", 3)} <= seen
        info = Progress(result).get_info()
        assert (info["complete"], info["success"], info["result"]) == (True, True, "done")
    print("fine")
