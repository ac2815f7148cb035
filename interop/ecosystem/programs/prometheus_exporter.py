"""celery-prometheus-exporter: a program of its own counts tasks, workers and queues from events and remote control."""

import subprocess
import sys
from pathlib import Path

from base import URL, WORKS, fails, free_port, page, until, worker
from tasks import add, fail

if __name__ == "__main__":
    if WORKS:
        with worker():
            pass
    port = free_port()
    command = [Path(sys.executable).with_name("celery-prometheus-exporter"), f"--addr=127.0.0.1:{port}"]
    exporter = subprocess.Popen([*command, f"--broker={URL}/0", "--enable-events", "--queue-list", "celery", "idle"])
    metrics = f"http://127.0.0.1:{port}/metrics"
    try:
        with worker():
            until(lambda: "celery_workers 1.0" in page(metrics), 30)
            assert add.delay(1, 2).get(timeout=20) == 3
            assert fails(fail.delay(), ValueError)
            until(lambda: 'celery_tasks_total{state="SUCCESS"}' in page(metrics) or "SUCCESS" in page(metrics), 20)
            for line in (
                'celery_tasks_by_name{name="tasks.add",state="SUCCESS"} 1.0',
                'celery_tasks_by_name{name="tasks.fail",state="FAILURE"} 1.0',
                'celery_tasks_runtime_seconds_count{name="tasks.add"} 1.0',
                'celery_queue_length{queue_name="idle"} 0.0',
            ):
                until(lambda line=line: line in page(metrics), 20)
    finally:
        exporter.terminate()
        exporter.wait(20)
    print("fine")
