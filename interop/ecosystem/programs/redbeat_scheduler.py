"""celery-redbeat: entries in Redis are due, kept, changed while beat runs, and led by one beat at a time."""

import threading
import time
from datetime import timedelta

from base import URL, WORKS, app, until, worker, write, written
from celery.beat import Service
from celery.schedules import schedule
from redbeat import RedBeatSchedulerEntry

app.conf.update(
    redbeat_redis_url=f"{URL}/2",
    redbeat_lock_timeout=10,
    beat_max_loop_interval=1,
    beat_schedule={"conf": {"task": "t.note", "schedule": 1.0, "args": ["conf"]}},
)


@app.task(name="t.note")
def note(word):
    write(word)


if __name__ == "__main__":
    if WORKS:
        with worker():
            pass
    every = schedule(timedelta(seconds=1), app=app)
    one = RedBeatSchedulerEntry("one", "t.note", every, args=["one"], app=app)
    one.save()
    beat = Service(app, scheduler_cls="redbeat.RedBeatScheduler")
    with worker():
        running = threading.Thread(target=beat.start)
        running.start()
        until(lambda: written().count("one") >= 2 and "conf" in written(), 20)
        RedBeatSchedulerEntry("late", "t.note", every, args=["late"], app=app).save()
        until(lambda: "late" in written(), 20)
        one.delete()
        time.sleep(1.5)  # what was already due
        count = written().count("one")
        seen = written().count("late")
        until(lambda: written().count("late") >= seen + 2, 20)
        assert written().count("one") == count
        beat.stop()
        running.join()
    again = RedBeatSchedulerEntry.from_key(RedBeatSchedulerEntry("late", app=app).key, app=app)
    assert again.total_run_count >= 2
    assert again.schedule.run_every == timedelta(seconds=1)
    print("fine")
