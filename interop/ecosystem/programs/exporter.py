"""celery-exporter: a program of its own counts tasks, their time and workers, by names that it asks workers for."""

import subprocess
import sys
from pathlib import Path

from base import URL, app, fails, free_port, page, until, worker
from tasks import add, again, fail

app.conf.update(task_send_sent_event=True, task_routes={"tasks.again": {"queue": "others"}})

if __name__ == "__main__":
    with worker("-Q", "celery,others"):
        address = f"127.0.0.1:{free_port()}"
        metrics = f"http://{address}/metrics"
        program = Path(sys.executable).with_name("celery-exporter")
        exporter = subprocess.Popen([program, "-b", f"{URL}/0", "-l", address, "--enable-events"])
        try:

            def count(metric, **labels):
                """Over all queues: a worker may be quicker to tell of a task than who sent it."""
                lines = [line for line in page(metrics).splitlines() if line.startswith(metric + "{")]
                wanted = [f'{name}="{value}"' for name, value in labels.items()]
                return sum(float(line.split()[-1]) for line in lines if all(label in line for label in wanted))

            # Before the first event: from the workers' tasks and configurations.
            known = 'name="tasks.again",namespace="celery",queue="others",state="RETRY"} 0.0'
            until(lambda: known in page(metrics), 30)
            until(lambda: count("celery_workers") == 1, 30)
            # It switches the events on by and by: what was done before is not counted.
            until(lambda: add.delay(1, 2).get(timeout=20) == 3 and count("celery_tasks_total", name="tasks.add"), 30)
            assert fails(fail.delay(), ValueError)
            assert again.delay().get(timeout=20) == "ok"
            until(lambda: count("celery_tasks_total", name="tasks.fail", state="FAILURE") == 1)
            until(lambda: count("celery_tasks_total", name="tasks.again", state="SUCCESS") == 1)
            until(lambda: count("celery_tasks_total", name="tasks.again", state="RETRY") == 1)
            until(lambda: count("celery_tasks_latency_seconds_count", name="tasks.fail") == 1)
            until(lambda: count("celery_tasks_runtime_seconds_count", name="tasks.again") == 1)
        finally:
            exporter.terminate()
            exporter.wait(20)
    print("fine")
