"""Remote control where tasks are not JSON: `task_serializer` writes its messages and `accept_content` reads them, in both
Celerys alike, so that each command line reaches both workers, and a request that is not signed reaches none.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.compat.test_security import identity
from tests.conftest import Environment
from tests.servers import RedisServer
from tests.worker.running import Running, wait_until

pytestmark = pytest.mark.real

PROJ = """
from celery import Celery
app = Celery("proj", broker={url!r}, backend={url!r})
app.conf.update(control_exchange={exchange!r}, task_default_queue={exchange!r}, {settings})
"""
SIGNED = (
    "task_serializer='auth', accept_content=['auth'], result_accept_content=['json'], security_key='me.key',"
    " security_certificate='trusted/me.pem', security_cert_store='trusted'"
)
SETTINGS = {
    "pickle": "task_serializer='pickle', accept_content=['json', 'pickle']",
    "yaml": "task_serializer='yaml', accept_content=['yaml']",
    "auth": SIGNED,
}


@contextmanager
def worker(command: list[str], name: str, folder: Path, variables: dict[str, str]) -> Iterator[Running]:
    log = folder / f"{name}.log"
    words = ["-A", "proj", "worker", "-n", f"{name}@here", "-P", "solo", "-l", "INFO", "--without-gossip"]
    with log.open("wb") as out:
        process = subprocess.Popen([*command, *words], cwd=folder, env=variables, stdout=out, stderr=out)
    running = Running(process, log)
    try:
        running.wait_for("ready.")
        yield running
    finally:
        running.stop()


def shut_down(command: list[str], project: str, folder: Path, variables: dict[str, str]) -> None:
    words = ["-A", project, "control", "-t", "1", "shutdown"]
    subprocess.run([*command, *words], cwd=folder, env=variables, capture_output=True, check=False)


@pytest.mark.parametrize("serializer", SETTINGS)
def test_each_command_line_reaches_both_workers(
    serializer: str, redis_server: RedisServer, stock_python: Path, celeriac_env: Environment, tmp_path: Path
) -> None:
    (tmp_path / "trusted").mkdir()
    key, _ = identity(tmp_path / "trusted", "me")
    (tmp_path / "me.key").write_text(key)
    exchange = f"in-{serializer}"
    proj = PROJ.format(url=redis_server.url, exchange=exchange, settings=SETTINGS[serializer])
    (tmp_path / "proj.py").write_text(proj + ("app.setup_security()\n" if serializer == "auth" else ""))
    plain = PROJ.format(url=redis_server.url, exchange=exchange, settings="")
    (tmp_path / "plain.py").write_text(plain)
    variables = {**celeriac_env.variables, "C_FORCE_ROOT": "1"}
    commands = {
        "stock": [str(stock_python), "-W", "ignore", "-m", "celery"],
        "ours": [str(celeriac_env.python), "-m", "celeriac"],
    }

    def told(side: str, *words: str) -> Any:
        done = subprocess.run(
            [*commands[side], *words], cwd=tmp_path, env=variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    with ExitStack() as stack:
        first = stack.enter_context(worker(commands["ours"], "ours", tmp_path, variables))
        second = stack.enter_context(worker(commands["stock"], "stock", tmp_path, variables))
        assert "sync with 1 nodes" in second.text()
        for side in commands:
            answers = told(side, "-A", "proj", "inspect", "-d", "ours@here,stock@here", "-t", "20", "--json", "ping")
            assert answers == {"ours@here": {"ok": "pong"}, "stock@here": {"ok": "pong"}}
        third = stack.enter_context(worker(commands["ours"], "third", tmp_path, variables))
        assert "sync with 2 nodes" in third.text()
        if "json" not in SETTINGS[serializer]:
            shut_down(commands["ours"], "plain", tmp_path, variables)
            first.wait_for("A control request that cannot be read")
            assert "untrusted content of type json" in first.text()
            if serializer == "auth":
                key, _ = identity(tmp_path, "stranger")
                (tmp_path / "stranger.key").write_text(key)
                strange = proj.replace("me.key", "stranger.key").replace("trusted/me.pem", "stranger.pem")
                (tmp_path / "strange.py").write_text(f"{strange}app.setup_security()\n")
                shut_down(commands["ours"], "strange", tmp_path, variables)
                wait_until(lambda: first.text().count("A control request that cannot be read") == 2, 20, first.text)
            answers = told("ours", "-A", "proj", "inspect", "-d", "ours@here", "-t", "20", "--json", "ping")
            assert answers == {"ours@here": {"ok": "pong"}}
