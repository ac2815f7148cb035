"""What a pool's processes hear before their first task and after their last."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = """
import os
from celery import Celery, signals

app = Celery("heard", broker="memory://")

def write(*words):
    with open("heard", "a") as file:
        print(*words, file=file, flush=True)

@signals.worker_process_init.connect
def init(sender, **_):
    from multiprocessing import current_process
    write("init", os.getpid(), sender, current_process().name, getattr(current_process(), "index", None))

@signals.worker_process_shutdown.connect
def shutdown(sender, pid, exitcode, **_):
    write("shutdown", pid, exitcode, sender)

@signals.worker_before_create_process.connect
def before(sender, **_):
    write("before", os.getpid(), type(sender).__name__)

@signals.heartbeat_sent.connect
def beat(sender, **_):
    write("beat", os.getpid(), type(sender).__name__, sender.interval)

for each in ("eventlet_pool_started", "eventlet_pool_preshutdown", "eventlet_pool_postshutdown", "eventlet_pool_apply"):
    def tell(sender, each=each, **_):
        write("green", each, type(sender).__name__)
    getattr(signals, each).connect(tell, weak=False)

@signals.worker_ready.connect
def ready(sender, **_):
    import signal, threading
    write("ready", os.getpid())
    threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM)).start()
"""


@pytest.mark.parametrize("pool", ["prefork", "solo", "threads", "eventlet"])
def test_signals_of_processes(tmp_path: Path, pool: str) -> None:
    (tmp_path / "heard_app.py").write_text(APP)
    command = [sys.executable, "-W", "ignore", "-m", "celeriac", "-A", "heard_app", "worker", "-P", pool, "-c", "2"]
    done = subprocess.run(
        [*command, "-n", "w@here"], cwd=tmp_path, env={**os.environ}, capture_output=True, timeout=40, check=False
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    lines = [line.split() for line in (tmp_path / "heard").read_text().splitlines()]
    began = [line[1:] for line in lines if line[0] == "init"]
    ended = [line[1:] for line in lines if line[0] == "shutdown"]
    before = [line[1:] for line in lines if line[0] == "before"]
    green = [line[1:] for line in lines if line[0] == "green"]
    assert green == [
        [f"eventlet_pool_{each}", "TaskPool"]
        for each in ("started", "preshutdown", "postshutdown")
        if pool == "eventlet"
    ]
    assert ("eventlet_pool_apply is not sent" in done.stderr.decode()) is (pool == "eventlet")
    (parent,) = (line[1] for line in lines if line[0] == "ready")
    beats = [line[1:] for line in lines if line[0] == "beat"]
    assert beats[0] == [parent, "Heart", "2.0"]
    assert len(beats) > 1, "as it comes and as it goes"
    if pool == "prefork":
        assert sorted(line[1:] for line in began) == [["w@here", f"ForkPoolWorker-{n + 1}", str(n)] for n in range(2)]
        assert {line[0] for line in began} == {line[0] for line in ended}
        assert parent not in {line[0] for line in began}
        assert {tuple(line[1:]) for line in ended} == {("0", "w@here")}
        assert before == [[parent, "TaskPool"]] * 2, "once for each of them, in the parent"
    elif pool == "solo":
        assert [line[:2] for line in began] == [[parent, "w@here"]]
        assert not ended
    else:
        assert not began
