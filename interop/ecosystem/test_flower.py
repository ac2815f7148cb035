"""Flower from PyPI, on celeriac in the place of Celery, watches and steers our workers and a stock one beside them.

Law: Flower is installed as everybody installs it, in an environment of its own (`.peers/flower`); it starts as a
command of ours (`celeriac flower`), and on stock Celery, before the same workers, for the figure to compare with. Not
in the default run: `make ecosystem`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers import free_port, redis_server
from tests.worker.running import Project

pytestmark = pytest.mark.ecosystem

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".peers" / "flower"
STOCK = ROOT / ".peers" / "celery-5.7.0" / "bin" / "python"
NODES = ("w1@here", "stock@here")


@pytest.fixture(scope="session")
def flower_program(side: str, request: pytest.FixtureRequest) -> Path:
    """On ours by the command's own alias; on stock as it is installed beside Celery."""
    if side == "stock":
        programs: Path = request.getfixturevalue("programs")
        return programs / "celery"
    if not (HOME / ".ready").exists():
        pip = [str(HOME / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([sys.executable, "-m", "venv", str(HOME)], check=True)
        subprocess.run([*pip, "flower==2.*", "kombu[redis]"], check=True)
        subprocess.run([*pip, "--editable", str(ROOT)], check=True)
        (HOME / ".ready").touch()
    return HOME / "bin" / "celeriac"


class Flower:
    """What a browser and the users of its API see."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: Any) -> Any:
        return self._ask(urllib.request.Request(f"{self.url}{path}?{urllib.parse.urlencode(query)}"))

    def post(self, path: str, body: Any = None, **form: Any) -> Any:
        data = json.dumps(body) if body is not None else urllib.parse.urlencode(form)
        return self._ask(urllib.request.Request(f"{self.url}{path}", data=data.encode(), method="POST"))

    def _ask(self, request: urllib.request.Request) -> Any:
        with urllib.request.urlopen(request, timeout=20) as reply:
            text = reply.read().decode()
        return json.loads(text) if reply.headers["Content-Type"].startswith("application/json") else text

    def refused(self, path: str, **form: Any) -> str:
        """What it says to what the workers did not do."""
        with pytest.raises(urllib.error.HTTPError) as caught:
            self.post(path, **form)
        with caught.value as problem:
            assert problem.code == 403
            return f"{problem.reason} {problem.read().decode()}"

    def task(self, uuid: str, **wanted: Any) -> Any:
        """The task as its events told, once it is as wanted."""
        return until(lambda: self.get(f"/api/task/info/{uuid}"), wanted, (urllib.error.HTTPError,))


def until(ask: Callable[[], Any], wanted: dict[str, Any], errors: tuple[type[Exception], ...] = ()) -> Any:
    end = time.monotonic() + 15
    while True:
        try:
            found = ask()
        except errors as problem:
            found = {"problem": problem}
        if all(found.get(name) == value for name, value in wanted.items()) and "problem" not in found:
            return found
        assert time.monotonic() < end, f"wanted {wanted}, found {found}"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with redis_server() as redis:
        yield Project(tmp_path_factory.mktemp("flower"), redis.url, redis.url.replace("/0", "/1"), STOCK)


@pytest.fixture(scope="module")
def flower(project: Project, flower_program: Path) -> Iterator[Flower]:
    """Flower, beside one worker of each kind. Ours runs children, so that its pool can grow."""
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(project.worker("-E", "-c", "2", pool="prefork", name="w1@here"))
        stack.enter_context(project.stock_worker("-E", "-Q", "elsewhere", name="stock@here"))
        log = stack.enter_context((project.folder / "flower.log").open("wb"))
        process = subprocess.Popen(
            [str(flower_program), "-A", "proj", "flower", f"--port={port}", "--address=127.0.0.1"],
            cwd=project.folder,
            env={**project.environment, "FLOWER_UNAUTHENTICATED_API": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        client = Flower(f"http://127.0.0.1:{port}")
        try:
            until(lambda: {"ok": client.get("/healthcheck")}, {"ok": "OK"}, (OSError,))
            until(lambda: {"nodes": len(client.get("/api/workers", refresh=1))}, {"nodes": 2}, (OSError,))
            yield client
        finally:
            process.terminate()
            assert process.wait(10) is not None
    text = (project.folder / "flower.log").read_text()
    assert "Traceback" not in text, text
    assert os.fspath(HOME) not in text  # no warning out of a library either


def run(flower: Flower, name: str, *args: Any, **options: Any) -> str:
    reply = flower.post(f"/api/task/async-apply/proj.{name}", {"args": args, **options})
    return str(reply["task-id"])


def test_the_workers(flower: Flower) -> None:
    workers = flower.get("/api/workers", refresh=1)
    assert set(workers) == set(NODES)
    ours, stocks = (workers[node] for node in NODES)
    assert set(ours) == set(stocks)
    assert set(ours["stats"]) == set(stocks["stats"])
    assert set(ours["stats"]["pool"]) >= {"implementation", "max-concurrency", "processes", "timeouts"}
    assert ours["stats"]["pool"]["max-concurrency"] == 2
    assert [queue["name"] for queue in ours["active_queues"]] == ["celery"]
    assert set(ours["active_queues"][0]) == set(stocks["active_queues"][0])
    assert "proj.add" in str(ours["registered"])
    assert flower.get("/api/workers", status=1) == dict.fromkeys(NODES, True)


def test_a_task_from_sending_to_its_result(flower: Flower) -> None:
    uuid = run(flower, "add", 2, 3)
    task = flower.task(uuid, state="SUCCESS")
    assert (task["name"], task["result"], task["args"], task["worker"]) == ("proj.add", "5", "[2, 3]", "w1@here")
    assert task["received"] <= task["started"] <= task["succeeded"]
    assert flower.get(f"/api/task/result/{uuid}") == {"task-id": uuid, "state": "SUCCESS", "result": 5}
    assert flower.post("/api/task/apply/proj.add", {"args": [1, 1]})["result"] == 2
    assert uuid in flower.get("/api/tasks", taskname="proj.add", state="SUCCESS", workername="w1@here")
    assert "proj.add" in flower.get("/api/task/types")["task-types"]
    assert "proj.add" in flower.get(f"/task/{uuid}")


def test_a_task_for_the_stock_worker(flower: Flower) -> None:
    uuid = run(flower, "add", 2, 3, queue="elsewhere")
    assert flower.task(uuid, state="SUCCESS")["worker"] == "stock@here"


def test_a_task_that_fails(flower: Flower) -> None:
    uuid = run(flower, "boom")
    task = flower.task(uuid, state="FAILURE")
    assert task["exception"] == "ValueError('boom')"
    assert "in boom" in task["traceback"]
    assert "ValueError" in flower.get(f"/task/{uuid}")


def test_a_task_that_is_revoked_while_it_runs(flower: Flower) -> None:
    uuid = run(flower, "nap", 60)
    flower.task(uuid, state="STARTED")
    assert "Revoked" in flower.post(f"/api/task/revoke/{uuid}", terminate="true", signal="SIGTERM")["message"]
    assert flower.task(uuid, state="REVOKED")["worker"] == "w1@here"


def test_a_task_that_is_revoked_before_it_is_due(flower: Flower) -> None:
    uuid = run(flower, "add", 1, 1, countdown=3)
    flower.task(uuid, state="RECEIVED")
    flower.post(f"/api/task/revoke/{uuid}")
    flower.task(uuid, state="REVOKED")


@pytest.mark.parametrize("node", NODES)
def test_limits(flower: Flower, node: str) -> None:
    """Both say it in the same words."""
    rate = flower.post("/api/task/rate-limit/proj.nap", workername=node, ratelimit="200/m")
    assert rate["message"] == "new rate limit set successfully"
    time_limit = flower.post("/api/task/timeout/proj.nap", workername=node, hard=90, soft=80)
    assert time_limit["message"] == "time limits set successfully"
    assert "Invalid rate limit" in flower.refused("/api/task/rate-limit/proj.nap", workername=node, ratelimit="often")


@pytest.mark.parametrize("node", NODES)
def test_queues(flower: Flower, node: str) -> None:
    added = flower.post(f"/api/worker/queue/add-consumer/{node}", queue="extra")
    assert added["message"] == "add consumer extra"

    def queues() -> dict[str, Any]:
        rows = flower.get("/api/workers", refresh=1, workername=node)[node]["active_queues"]
        return {"extra": "extra" in [row["name"] for row in rows]}

    until(queues, {"extra": True})
    cancelled = flower.post(f"/api/worker/queue/cancel-consumer/{node}", queue="extra")
    assert cancelled["message"] == "no longer consuming from extra"
    until(queues, {"extra": False})
    lengths = flower.get("/api/queues/length")["active_queues"]
    assert {"celery", "elsewhere"} <= {row["name"] for row in lengths}


def test_a_pool_grows_and_shrinks(flower: Flower) -> None:
    def size() -> dict[str, Any]:
        return {"n": flower.get("/api/workers", refresh=1)["w1@here"]["stats"]["pool"]["max-concurrency"]}

    flower.post("/api/worker/pool/grow/w1@here", n=1)
    until(size, {"n": 3})
    flower.post("/api/worker/pool/shrink/w1@here", n=1)
    until(size, {"n": 2})


def test_what_a_worker_refuses(flower: Flower) -> None:
    assert "w1@here" in flower.refused("/api/worker/pool/restart/w1@here")
    assert "w1@here" in flower.refused("/api/worker/pool/autoscale/w1@here", min=1, max=3)


@pytest.mark.parametrize("path", ["/", "/workers", "/worker/w1@here", "/worker/stock@here", "/tasks", "/broker"])
def test_the_pages(flower: Flower, path: str) -> None:
    page = flower.get(path)
    assert "<title>" in page
    assert "Traceback" not in page
    if path != "/tasks":
        assert any(word in page for word in (*NODES, "celery"))


def test_the_table_of_tasks(flower: Flower) -> None:
    uuid = run(flower, "add", 20, 3)
    flower.task(uuid, state="SUCCESS")
    columns = {"columns[0][data]": "name", "order[0][column]": 0, "order[0][dir]": "asc"}
    table = flower.get("/tasks/datatable", draw=1, start=0, length=100, **{"search[value]": uuid}, **columns)
    assert [row["uuid"] for row in table["data"]] == [uuid]


def test_the_metrics(flower: Flower) -> None:
    text = flower.get("/metrics")
    for node in NODES:
        assert f'flower_worker_online{{worker="{node}"}} 1.0' in text
    assert 'type="task-succeeded"' in text


@pytest.mark.usefixtures("flower")
def test_it_survives_restarts_with_its_memory(project: Project, flower_program: Path) -> None:
    """`--persistent`: what one Flower pickled, the next one reads."""
    port = free_port()
    command = [str(flower_program), "-A", "proj", "flower", f"--port={port}", "--address=127.0.0.1"]
    command += ["--persistent=True", f"--db={project.folder / 'memory'}", "--state_save_interval=0"]
    second = Flower(f"http://127.0.0.1:{port}")
    uuid = ""
    for turn in range(2):
        with (project.folder / f"persistent{turn}.log").open("wb") as log:
            environment = {**project.environment, "FLOWER_UNAUTHENTICATED_API": "1"}
            process = subprocess.Popen(
                command, cwd=project.folder, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            try:
                until(lambda: {"nodes": len(second.get("/api/workers", status=1))}, {"nodes": 2}, (OSError,))
                if not turn:
                    uuid = run(second, "add", 7, 8)
                assert second.task(uuid, state="SUCCESS")["result"] == "15"
            finally:
                process.terminate()
                process.wait(10)


def test_a_worker_is_shut_down(flower: Flower) -> None:
    """The last one here: there is one worker less after it."""
    flower.post("/api/worker/shutdown/w1@here")
    until(lambda: flower.get("/api/workers", status=1), {"w1@here": False, "stock@here": True})
