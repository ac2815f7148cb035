"""The page's server with its memory: what it answers, what it does to whom, who cannot hold it up, and what it remembers."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from celeriac import Celery
from celeriac.compat.bin import queues
from celeriac.compat.bin import web as web_command
from celeriac.compat.bin.celery import celery
from celeriac.compat.web import server as server_module
from celeriac.compat.web.acts import ACTS
from celeriac.compat.web.guard import Guard
from celeriac.compat.web.http import Refused
from celeriac.compat.web.store import Limits, Store
from celeriac.compat.web.watch import Watch
from tests.compat.web.serving import TOKEN, Client, served
from tests.compat.web.telling import NOW, event, life, worker
from tests.servers import RedisServer
from tests.worker.running import Project, wait_until


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("web", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield made
    made.close()


@pytest.fixture
def watch(app: Celery, tmp_path: Path) -> Iterator[Watch]:
    """Not started: it hears what a test tells it."""
    with closing(Store(str(tmp_path / "history.db"))) as store:
        yield Watch(app, store)


@pytest.fixture
def client(watch: Watch) -> Iterator[Client]:
    with served(watch) as client:
        yield client


def tell(watch: Watch, *events: Any, now: float = NOW + 5) -> None:
    for each in events:
        watch.records.hear(each, now)
    watch._flush()


def test_what_is_known_is_told(watch: Watch, client: Client) -> None:
    now = time.time()
    tell(watch, *life("a", at=now - 3), *life("b", "shop.mail", at=now - 3, end="failed"), worker(), now=now)
    watch.queues = [{"queue": "celery", "ready": 3, "oldest": 1.0, "consumers": 1, "unacked": 0, "parked": 0}]
    found = client.get("/api/overview")
    assert found["totals"] == {"SUCCESS": 1, "FAILURE": 1}
    assert [(row["name"], row["alive"]) for row in found["workers"]] == [("w1@here", True)]
    assert found["queues"][0]["paused"] is False
    assert set(found["acts"]) == set(ACTS)
    assert sum(point["succeeded"] for point in client.get("/api/charts?span=hour")["points"]) == 1
    rows = client.get("/api/tasks?q=state:failure")["tasks"]
    assert [(row["id"], row["exception"]) for row in rows] == [("b", "ValueError('no')")]
    task = client.get("/api/task?id=b")
    assert (task["task"]["traceback"], len(task["family"]["boxes"])) == ("Traceback: no", 1)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404), ("GET", "/../page.js", 404), ("GET", "/page.js/..", 404), ("GET", "/api/act", 404),
        ("POST", "/api/overview", 404), ("GET", "/api/task?id=none", 404), ("GET", "/api/charts?span=year", 400),
        ("GET", "/api/tasks?before=x,y", 400), ("PUT", "/", 405), ("HEAD", "/", 200), ("GET", "/livez", 200),
    ],
)  # fmt: skip
def test_what_stands_where(client: Client, method: str, path: str, status: int) -> None:
    assert client.ask(method, path)[0] == status


def test_nobody_without_the_token_sees_or_does(client: Client) -> None:
    stranger = Client(client.port, "another-token-of-length")
    for path in ("overview", "charts", "tasks", "task?id=a", "changes?since=99"):
        assert stranger.ask("GET", f"/api/{path}")[0] == 401
    assert stranger.act("revoke", id="a")[0] == 401
    status, headers, page = stranger.ask("GET", "/")
    assert status == 200
    assert "set-cookie" not in headers
    assert TOKEN.encode() not in page


def test_the_page_asks_nobody_else(client: Client) -> None:
    for path in ("/", "/page.js", "/page.css"):
        text = client.ask("GET", path)[2].decode()
        addresses = text.replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in addresses
        assert "https:" not in addresses
        assert "innerHTML" not in text


@pytest.mark.parametrize(
    ("asked", "status", "why"),
    [
        ({"action": "none"}, 400, "no such action"),
        ({"action": ["revoke"]}, 400, "no such action"),
        ({"action": "revoke"}, 400, "id is a name"),
        ({"action": "revoke", "id": "a\nb"}, 400, "id is a name"),
        ({"action": "revoke", "id": "a", "signal": "SIGKILL"}, 400, "knows no signal"),
        ({"action": "terminate", "id": "a", "signal": "SIGSEGV"}, 400, "signal is one of"),
        ({"action": "pool_grow", "worker": "w", "n": 1000}, 400, "n is a number"),
        ({"action": "rate_limit", "name": "t", "rate": "often"}, 400, "rate looks like"),
        ({"action": "time_limit", "name": "t", "soft": "1"}, 400, "soft is a number"),
        ({"action": "pause", "queue": "celery"}, 409, "nobody takes from celery"),
        ({"action": "resume", "queue": "celery"}, 409, "was not paused"),
        ({"action": "retry", "id": "nobody"}, 409, "its name is not known"),
    ],
)
def test_what_is_asked_for_wrongly_is_not_done(client: Client, asked: dict[str, Any], status: int, why: str) -> None:
    found, said = client.act(**asked)
    assert (found, why in said["error"]) == (status, True), said


def test_where_actions_are_not_allowed_none_is_done(watch: Watch) -> None:
    with served(watch, acts=False) as client:
        assert client.act("revoke", id="a")[0] == 403
        assert client.get("/api/overview")["acts"] == {}


def test_changes_are_waited_for(watch: Watch, client: Client) -> None:
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=15)
    with closing(connection):
        connection.request("GET", f"/api/changes?since={watch.version}", headers={"Authorization": f"Bearer {TOKEN}"})
        tell(watch, *life("a"))
        assert connection.getresponse().read() == b'{"version":2}'
    assert client.get("/api/changes?since=0")["version"] == 2
    assert time.monotonic() - began < 15


def test_slow_and_hostile_clients_hold_nobody_up(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_READS", 1.0)
    with ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", client.port))) for _ in range(200)]
        for each in slow:
            try:
                each.sendall(b"GET / HTTP/1.1\r\nX: ")
            except OSError:  # noqa: PERF203 - it was put out already
                continue
        began = time.monotonic()
        for _ in range(20):
            assert client.ask("GET", "/livez")[0] == 200
        assert time.monotonic() - began < 10
        slow[-1].settimeout(10)
        assert slow[-1].recv(100) == b"", "whoever dawdles is put out"
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as rude:
        rude.sendall(b"\x16\x03\x01" + b"\xff" * 30_000)
        assert b"431" in rude.recv(1000).split(b"\r\n")[0]
    assert client.ask("GET", "/livez")[0] == 200


def test_a_broken_request_costs_only_itself(client: Client, watch: Watch, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: float) -> Any:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(watch, "overview", broken)
    status, _, body = client.ask("GET", "/api/overview")
    assert (status, b"the disk is full" in body) == (500, True)
    assert client.get("/api/tasks")["tasks"] == []


# --- memory


def test_a_restart_forgets_nothing(app: Celery, tmp_path: Path) -> None:
    path = str(tmp_path / "history.db")
    now = time.time()
    with closing(Store(path)) as store:
        tell(Watch(app, store), *life("a", at=now - 3), *life("b", at=now - 3)[:3], worker(), now=now)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o600
    with closing(Store(path)) as store:
        watch = Watch(app, store)
        found = watch.overview(now)
        assert (found["totals"], found["workers"][0]["name"]) == ({"SUCCESS": 1, "STARTED": 1}, "w1@here")
        assert sum(point["succeeded"] for point in watch.points("hour", now)) == 1
        tell(watch, event("succeeded", "b", at=now, runtime=2.0), now=now)
        record = store.record("b")
        assert record is not None
        assert (record.state, record.name, len(record.steps)) == ("SUCCESS", "shop.pay", 4)


@pytest.mark.real
def test_the_age_of_what_waits_outlives_a_restart(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis_server.call("FLUSHALL")
    cluster = Celery("aged", broker=redis_server.url, set_as_current=False)
    clock = iter((NOW, NOW + 60, NOW + 100, NOW + 160))
    monkeypatch.setattr(queues, "time", SimpleNamespace(time=lambda: next(clock)))

    def looked(watch: Watch) -> tuple[Any, Any]:
        watch._look()
        (row,) = watch.overview(NOW)["queues"]
        return row["oldest"], row["oldest_is"]

    try:
        cluster.send_task("aged.add")
        with closing(Store(str(tmp_path / "history.db"))) as store:
            watch = Watch(cluster, store, 0.2)
            assert looked(watch) == (None, "unknown")
            assert watch.overview(NOW)["unknown"] == {"oldest": "it is learned by looking again"}
            assert looked(watch) == (60.0, "at least")
            watch._prune()
            watch.acting.paused["celery"] = ["w@here"]
            with pytest.raises(Refused):  # nobody takes from it; what was paused before is kept all the same
                watch.perform(ACTS["pause"], {"queue": "other"}, "a test")
        with closing(Store(str(tmp_path / "history.db"))) as store:
            watch = Watch(cluster, store, 0.2)
            assert watch.acting.paused == {"celery": ["w@here"]}
            assert looked(watch) == (100.0, "at least")
            tell(watch, event("sent", last_id(redis_server), at=NOW - 40), now=NOW)
            assert looked(watch) == (200.0, "exact"), "who sent it has told when"
    finally:
        cluster.close()
        redis_server.call("FLUSHALL")


def last_id(server: RedisServer) -> str:
    return str(json.loads(server.call("LINDEX", "celery", -1))["headers"]["id"])


def test_the_file_keeps_to_its_limits(app: Celery, tmp_path: Path) -> None:
    with closing(Store(str(tmp_path / "a.db"), Limits(tasks=100))) as store:
        watch = Watch(app, store)
        for number in range(250):
            tell(watch, *life(f"id-{number}"), now=NOW + number)
        watch._prune()
        found = store.search([], 1000)
        assert [record.id for record in found[:2]] == ["id-249", "id-248"]
        assert len(found) == 100
    with closing(Store(str(tmp_path / "b.db"), Limits(tasks=10_000, size=2_000_000))) as store:
        watch = Watch(app, store)
        for number in range(400):
            tell(watch, event("failed", f"id-{number}", traceback=f"{number}" * 6000), now=NOW + number)
        for _ in range(20):
            watch._prune()
        assert 0 < len(store.search([], 1000)) < 200
        assert store.record("id-399") is not None


def test_a_file_that_is_none_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    content = b"this is no database, and never was" * 100
    path.write_bytes(content)
    with closing(Store(str(path))) as store:
        assert store.search([]) == []
    (aside,) = tmp_path.glob("history.db.*.aside")
    assert aside.read_bytes() == content


def test_anothers_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "history.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("CREATE TABLE precious (x)")
        other.execute("INSERT INTO precious VALUES (1)")
        other.commit()
        with pytest.raises(OSError, match="another program's database"):
            Store(str(path))
        other.execute("INSERT INTO precious VALUES (2)")
        other.commit()
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("SELECT count(*) FROM precious").fetchone() == (2,)
    assert list(tmp_path.glob("*.aside*")) == []


def test_pages_of_a_search_follow_each_other(watch: Watch, client: Client) -> None:
    for number in range(120):
        tell(watch, event("received", f"id-{number:03}", name="a"), now=NOW + number // 7)
    seen: list[str] = []
    more = ""
    for _ in range(3):
        found = client.get(f"/api/tasks?before={more}")
        seen += [row["id"] for row in found["tasks"]]
        more = found["more"]
    assert more == ""
    assert len(seen) == len(set(seen)) == 120


@pytest.mark.parametrize("typed", ["ZOË", "arg:zoë", "%", "_", "'", '"', "\\", "name:' OR 1=1 --", "id:%"])
def test_a_search_takes_texts_as_they_are(watch: Watch, typed: str) -> None:
    from celeriac.compat.web.search import conditions

    tell(watch, *life("a", args="('Zoë',)"), *life("b", args="(2,)"))
    found = [record.id for record in watch.store.search(conditions(typed))]
    both = typed in ('"', "'")  # an empty search, and what both results have
    assert found == (["b", "a"] if both else ["a"] if "zo" in typed.lower() else [])


# --- the command, and a cluster


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--token", "short"], "too short"),
        (["--token", "long-enough-as-it-is", "--token-file", "x"], "not both"),
        (["--token-file", "/nowhere/at/all"], "cannot be read"),
        (["--tls-key", "x"], "--tls-cert"),
        (["--tls-cert", "/nowhere"], "certificate"),
        (["--history", "/nowhere/at/all.db"], "--history"),
        (["--address", "203.0.113.77", "--history", ":memory:"], "--port"),
    ],
)
def test_what_is_wrong_at_the_start_is_said(app: Celery, words: list[str], why: str) -> None:
    done = CliRunner().invoke(celery, ["web", *words], default_map={"app": app})
    assert done.exit_code != 0
    assert why in done.output


@pytest.mark.parametrize(
    ("words", "acts"),
    [
        ([], True),
        (["--address", "localhost"], True),
        (["--address", "::1"], True),
        (["--address", "0.0.0.0"], False),
        (["--address", "192.0.2.1"], False),
        (["--address", "a-name.example"], False),
        (["--read-only"], False),
        (["--address", "192.0.2.1", "--allow-actions"], True),
    ],
)
def test_by_default_it_acts_only_where_no_other_machine_reaches_it(
    app: Celery, words: list[str], acts: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Guard] = []

    async def serve(_ctx: Any, _watch: Watch, guard: Guard, *_: Any) -> None:
        asked.append(guard)

    monkeypatch.setattr(web_command, "_serve", serve)
    done = CliRunner().invoke(celery, ["web", "--history", ":memory:", *words], default_map={"app": app})
    assert done.exit_code == 0, done.output
    assert [guard.acts for guard in asked] == [acts]
    assert len(asked[0].token) >= 32, "a new one at each start"


@pytest.mark.real
def test_a_real_cluster(redis_server: RedisServer, stock_python: Path, tmp_path: Path) -> None:
    """The command as it is started, a worker of each kind, a task's way, an action, SIGTERM."""
    redis_server.call("FLUSHALL")
    project = Project(tmp_path, redis_server.url, redis_server.url.replace("/0", "/1"), stock_python)
    path = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    command = [sys.executable, "-m", "celeriac", "-A", "proj", "web", "--port", "0", "-i", "0.3"]
    with ExitStack() as stack:
        stack.enter_context(project.worker("-E", "-c", "1", pool="prefork", **path))
        stack.enter_context(project.stock_worker("-E", "-Q", "elsewhere"))
        process = subprocess.Popen(
            command, cwd=tmp_path, env={**project.environment, **path}, stdout=subprocess.PIPE, text=True
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        assert process.stdout is not None
        stack.enter_context(process.stdout)
        url = process.stdout.readline().split()[-1]
        assert process.stdout.readline() == "Actions are allowed.\n"
        client = Client(int(url.split(":")[2].split("/")[0]), url.partition("#token=")[2])
        with urllib.request.urlopen(f"{client.url}livez", timeout=10) as reply:
            assert reply.read() == b"ok\n"
        wait_until(lambda: len(client.get("/api/overview")["workers"]) == 2, 30)
        project.client("add.delay(2, 3); boom.apply_async(queue='elsewhere'); nap.delay(600)")
        wait_until(lambda: len(client.get("/api/tasks?q=state:success")["tasks"]) == 1, 20)
        wait_until(lambda: len(client.get("/api/tasks?q=worker:stock+boom")["tasks"]) == 1, 20)
        wait_until(lambda: len(client.get("/api/tasks?q=name:nap+state:started")["tasks"]) == 1, 20)
        (napping,) = client.get("/api/tasks?q=name:nap")["tasks"]
        assert client.act("terminate", id=napping["id"], signal="SIGTERM")[0] == 200
        wait_until(lambda: len(client.get("/api/tasks?q=name:nap+state:revoked")["tasks"]) == 1, 20)

        def takers() -> dict[str, int]:
            return {row["queue"]: row["consumers"] for row in client.get("/api/overview")["queues"]}

        wait_until(lambda: takers() == {"celery": 1, "elsewhere": 1}, 20, lambda: f"{takers()}")
        status, said = client.act("rate_limit", name="proj.add", rate="10/m")
        assert (status, said["said"].count("new rate limit set successfully")) == (200, 2)
        (added,) = client.get("/api/tasks?q=name:add")["tasks"]
        assert client.act("retry", id=added["id"])[1]["said"].startswith("sent proj.add again as ")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    with closing(Store(str(tmp_path / "celeriac-web.db"))) as store:
        assert sum(store.totals().values()) >= 3
    redis_server.call("FLUSHALL")
