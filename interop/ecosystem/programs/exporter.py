"""celery-prometheus-exporter: a program of its own counts tasks, workers and queues from events and remote control."""

import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from base import URL, WORKS, app, fails, until, worker


@app.task
def add(x, y):
    return x + y


@app.task
def fail():
    raise ValueError("oh")


def metrics(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
            return reply.read().decode()
    except OSError:
        return ""


if __name__ == "__main__":
    if WORKS:
        with worker():
            pass
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    command = [Path(sys.executable).with_name("celery-prometheus-exporter"), f"--addr=127.0.0.1:{port}"]
    exporter = subprocess.Popen([*command, f"--broker={URL}/0", "--enable-events", "--queue-list", "celery", "idle"])
    try:
        with worker():
            until(lambda: "celery_workers 1.0" in metrics(port), 30)
            assert add.delay(1, 2).get(timeout=20) == 3
            assert fails(fail.delay(), ValueError)
            until(lambda: 'celery_tasks_total{state="SUCCESS"}' in metrics(port) or "SUCCESS" in metrics(port), 20)
            for line in (
                'celery_tasks_by_name{name="proj.add",state="SUCCESS"} 1.0',
                'celery_tasks_by_name{name="proj.fail",state="FAILURE"} 1.0',
                'celery_tasks_runtime_seconds_count{name="proj.add"} 1.0',
                'celery_queue_length{queue_name="idle"} 0.0',
            ):
                until(lambda line=line: line in metrics(port), 20)
    finally:
        exporter.terminate()
        exporter.wait(20)
    print("fine")
