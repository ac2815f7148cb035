"""docs/trust.md, claim by claim: a hostile message, result, event or control request, against a real worker.

Law: each attack would leave a file behind if it worked, and the worker does honest work after it.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import stat
import time
import uuid
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from kombu.exceptions import OperationalError

from celeriac import Celery
from celeriac.compat.bin.celery import celery
from celeriac.compat.bin.top import Watch
from celeriac.compat.events.dumper import Dumper
from celeriac.compat.exceptions import ChordError, SecurityError
from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers, redis_link, redis_place
from celeriac.worker.brokers import embedded
from celeriac.worker.brokers.base import Parcel, Queue
from celeriac.worker.dead_letters import HEADER
from tests.certificate import made
from tests.compat.test_security import identity
from tests.servers import RedisServer, free_port, redis_server
from tests.worker.running import Project, Running, wait_until

pytestmark = pytest.mark.real

EMBED: dict[str, Any] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
PASSWORD = "correct-horse"
SECRET = "battery-staple"
TRAP = "import os\nos.mkdir({loot!r})\nclass Wrong(Exception): pass\n"
"""A module that leaves its mark when it is imported."""


class Opened:
    """As a pickle it writes the file when somebody reads it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


class House:
    """A worker of ours on a Redis with a password, its app as a program has it, and a hand that writes anything."""

    def __init__(self, running: Running, url: str, loot: Path, server: RedisServer) -> None:
        self.running = running
        self.loot = loot
        self.server = server
        self.app = Celery("trust", broker=url, backend=url, set_as_current=False)
        self.broker = brokers.connect(url)

    def send(self, body: bytes, content_type: str = "application/json", **headers: Any) -> str:
        task_id = str(uuid.uuid4())
        fields = {"lang": "py", "task": "proj.add", "id": task_id, "retries": 0, "timelimit": [None, None], **headers}
        message = Message(body, content_type, "utf-8", fields, {"correlation_id": task_id})
        self.broker.send([Parcel(message, "celery")])
        return task_id

    def command(self, body: bytes, content_type: str = "application/json") -> None:
        exchange = Queue("", "celery.pidbox", "fanout", exchange_durable=False)
        self.broker.send([Parcel(Message(body, content_type, "utf-8", {}, {}), "", exchange.exchange, "fanout")])

    def buried(self) -> list[dict[str, Any]]:
        return [json.loads(each) for each in self.server.call("LRANGE", "celery.dead", 0, -1)]

    def still_works(self) -> None:
        """And nothing was taken."""
        assert self.app.send_task("proj.add", (20, 22)).get(timeout=30) == 42
        assert not self.loot.exists(), "an attack has worked"
        assert self.running.process.poll() is None


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, stock_python: Path) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("trust")
    with redis_server() as server:
        server.call("CONFIG", "SET", "requirepass", PASSWORD)
        server.call("AUTH", PASSWORD)
        url = f"redis://:{PASSWORD}@127.0.0.1:{server.port}/0"
        project = Project(folder, url, url, stock_python)
        project.more(f"\napp.conf.update(mail_password={SECRET!r}, shop_api_key={SECRET!r}, result_expires=77)\n")
        (folder / "trap.py").write_text(TRAP.format(loot=str(folder / "loot")))
        with project.worker(pool="prefork") as running:
            made = House(running, url, folder / "loot", server)
            yield made
            made.broker.close()
            made.app.close()


def test_a_pickled_task_is_not_read(house: House) -> None:
    before = len(house.buried())
    for kind in ("application/x-python-serialize", "application/json", "application/x-yaml"):
        house.send(pickle.dumps([[Opened(house.loot)], {}, EMBED]), kind)
    house.send(f"!!python/object/apply:os.mkdir ['{house.loot}']".encode(), "application/x-yaml")
    wait_until(lambda: len(house.buried()) == before + 4, 20, lambda: house.running.text()[-2000:])
    assert all(each["headers"][HEADER]["reason"] for each in house.buried())
    house.still_works()


def test_a_name_is_not_imported(house: House) -> None:
    """Nor what it is to set off: that becomes a message to a worker which does not know it either."""
    place = str(house.loot)
    args = json.dumps([[place], {}, EMBED]).encode()
    for name in ("os.mkdir", "os:mkdir", "posix.mkdir", "proj.os.mkdir", "builtins.open", "__import__", "proj.note"):
        house.send(args, task=name)
    call = {"task": "os.mkdir", "args": [place], "kwargs": {}, "options": {}, "subtask_type": None, "immutable": True}
    house.send(json.dumps([[1, 1], {}, {**EMBED, "callbacks": [call]}]).encode())
    house.still_works()
    wait_until(lambda: house.running.text().count("os.mkdir") >= 2, 20, lambda: house.running.text()[-2000:])
    house.still_works()


def test_bytes_do_not_stop_it(house: House) -> None:
    for body in (b"[" * 100_000, b"9" * 100_000, b"\xff\xfe", b"null", b'{"__type__": "datetime", "__value__": []}'):
        house.send(body)
    house.send(zlib.compress(b"[" * 10_000_000), compression="application/x-gzip")
    house.send(b"[[], {}, {}]", eta=["os.mkdir"], expires={}, retries="x" * 1000, timelimit=7)
    house.server.call("LPUSH", "celery", b"\x00no envelope")
    house.server.call("LPUSH", "celery", b'{"body": 1}')
    house.still_works()


@pytest.mark.parametrize(
    ("module", "name"), [("os", "mkdir"), ("posix", "mkdir"), ("builtins", "exec"), ("pathlib", "Path.mkdir")]
)
def test_a_result_calls_nothing(house: House, module: str, name: str) -> None:
    """What CVE-2021-23727 was: a failure that names a function as its exception."""
    task_id = str(uuid.uuid4())
    failure = {"exc_type": name, "exc_module": module, "exc_message": [str(house.loot)]}
    document = {"status": "FAILURE", "result": failure, "traceback": None, "children": [], "task_id": task_id}
    house.server.call("SET", f"celery-task-meta-{task_id}", json.dumps(document))
    with pytest.raises(SecurityError):
        house.app.AsyncResult(task_id).get(timeout=10)
    house.still_works()


def test_a_result_imports_nothing(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text(TRAP.format(loot=str(house.loot)))
    monkeypatch.syspath_prepend(tmp_path)
    task_id = str(uuid.uuid4())
    failure = {"exc_type": "Wrong", "exc_module": "trap", "exc_message": ["so"]}
    house.server.call("SET", f"celery-task-meta-{task_id}", json.dumps({"status": "FAILURE", "result": failure}))
    with pytest.raises(Exception, match="so") as caught:
        house.app.AsyncResult(task_id).get(timeout=10)
    assert type(caught.value).__name__ == "Wrong"
    house.still_works()


def test_a_pickled_result_is_not_read(house: House) -> None:
    task_id = str(uuid.uuid4())
    house.server.call(
        "SET", f"celery-task-meta-{task_id}", pickle.dumps({"status": "SUCCESS", "result": Opened(house.loot)})
    )
    with pytest.raises(Exception):  # noqa: B017 - which one is not promised: that nothing was unpickled is
        house.app.AsyncResult(task_id).get(timeout=2)
    house.still_works()


def test_a_result_that_would_end_who_reads_it_fails_its_chord_alone(house: House) -> None:
    """`SystemExit` is a class of exceptions; a worker that joins a chord does not leave for it, and the body is told."""
    for name in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
        member, body = str(uuid.uuid4()), str(uuid.uuid4())
        failure = {"exc_type": name, "exc_module": "builtins", "exc_message": ["so"]}
        house.server.call("SET", f"celery-task-meta-{member}", json.dumps({"status": "FAILURE", "result": failure}))
        call = {"task": "proj.add", "args": [], "kwargs": {}, "options": {"task_id": body}, "subtask_type": None}
        args = [["g", call], {"result": [[[member, None], None]]}, EMBED]
        house.send(json.dumps(args).encode(), task="celery.chord_unlock")
        with pytest.raises(ChordError, match=f"Dependency {member} raised {name}"):
            house.app.AsyncResult(body).get(timeout=20)
    assert "WorkerLostError" not in house.running.text()
    house.still_works()


@pytest.mark.parametrize(("module", "name"), [("os", "mkdir"), ("builtins", "SystemExit")])
def test_a_part_of_a_chord_calls_nothing(house: House, module: str, name: str) -> None:
    """What a chord's members have left in the store, one of them somebody else's: the body is told."""
    group, body = str(uuid.uuid4()), str(uuid.uuid4())
    failure = {"exc_type": name, "exc_module": module, "exc_message": [str(house.loot)]}
    part = [1, str(uuid.uuid4()), "FAILURE", failure]
    house.server.call("ZADD", f"celery-taskset-meta-{group}.j", 0, json.dumps(part))
    call = {"task": "proj.add", "args": [], "kwargs": {}, "options": {"task_id": body}, "subtask_type": None}
    embed = {**EMBED, "chord": {**call, "chord_size": 2}}
    house.send(json.dumps([[1, 1], {}, embed]).encode(), group=group, group_index=1)
    with pytest.raises(ChordError, match=f"Dependency {part[1]} raised"):
        house.app.AsyncResult(body).get(timeout=20)
    house.still_works()


def test_a_chord_of_no_size_costs_no_task(house: House) -> None:
    """What a message says that its chord counts is believed if it is a number of members."""
    call = {"task": "proj.add", "args": [], "kwargs": {}, "options": {"task_id": "b"}, "subtask_type": None}
    for size in ("x", "3", 1.5, -1, 2**70, {"a": 1}):
        embed = {**EMBED, "chord": {**call, "chord_size": size}}
        sent = house.send(json.dumps([[1, 1], {}, embed]).encode(), group=str(uuid.uuid4()), group_index=1)
        assert house.app.AsyncResult(sent).get(timeout=20) == 2
    house.still_works()
    assert "chord count" not in house.running.text()


def test_events_are_data(house: House) -> None:
    """What `celeriac top` hears: nonsense is passed over, a pickle is refused, and it goes on hearing."""
    watch = Watch(house.app, 1)
    watch.start()

    def send(body: bytes, kind: str = "application/json") -> None:
        message = Message(body, kind, "utf-8", {"hostname": "x"}, {})
        house.broker.send([Parcel(message, "task.sent", "celeryev", "fanout")])

    def hears(name: str) -> None:
        event = {"type": "task-sent", "uuid": name, "timestamp": time.time(), "hostname": "h", "clock": 1}

        def heard() -> bool:
            send(json.dumps(event).encode())
            return name in watch.state.tasks

        wait_until(heard, 20)

    hears("before")
    send(pickle.dumps({"type": "worker-online", "x": Opened(house.loot)}), "application/x-python-serialize")
    for body in (b'{"type": "task-received", "uuid": {"a": 1}, "hostname": 5}', b'{"type": 5}', b"[]", b"\x00"):
        send(body)
    hears("after")
    watch.stop()
    house.still_works()


def test_what_steers_a_terminal_does_not_reach_it(house: House) -> None:
    """`celeriac events` and `celeriac dead list` show names that anybody may have sent, in the line where they belong."""
    out = io.StringIO()
    dumper = Dumper(out)
    for name in ("\x1b[2J\nforged", {"a": 1}, None):
        for kind in ("task-received", "task-succeeded", "worker-online"):
            dumper.on_event({"type": kind, "uuid": name, "name": name, "hostname": name, "timestamp": name, "x": name})
    assert out.getvalue().count("\n") == 9
    house.send(b"\xff", id="\x1b[2J\nforged")
    wait_until(lambda: any("forged" in str(each) for each in house.buried()), 20)
    told = CliRunner().invoke(celery, ["-b", house.app.conf.broker_url, "dead", "list"], catch_exceptions=False).output
    for text in (out.getvalue(), told):
        assert "forged" in text
        assert "\x1b" not in text
        assert not [line for line in text.splitlines() if line.startswith("forged")]


def test_a_control_request_is_looked_up_not_called(house: House) -> None:
    request = {"destination": None, "pattern": None, "matcher": None, "ticket": None, "reply_to": None}
    for method in ("os.mkdir", "__class__", "eval", "pool_restart", "_texts"):
        for arguments in ({"modules": ["trap"]}, {"modules": ["trap"], "reload": True}, {"path": str(house.loot)}):
            house.command(json.dumps({**request, "method": method, "arguments": arguments}).encode())
    house.command(pickle.dumps(Opened(house.loot)), "application/x-python-serialize")
    for body in (b"", b"null", b"[]", b'{"method": {}}', b'{"method": "ping", "arguments": [1]}', b"\xff"):
        house.command(body)
    (reply,) = house.app.control.ping(timeout=10, limit=1)
    assert list(reply.values()) == [{"ok": "pong"}]
    house.still_works()


def test_secrets_are_hidden(house: House) -> None:
    (reply,) = house.app.control.broadcast("conf", reply=True, timeout=10, limit=1)
    (report,) = house.app.control.broadcast("report", reply=True, timeout=10, limit=1)
    assert next(iter(reply.values()))["result_expires"] == 77, "what is no secret is shown"
    for told in (json.dumps(reply), json.dumps(report), house.running.text()):
        assert PASSWORD not in told
        assert SECRET not in told
    house.still_works()


def test_by_default_a_worker_opens_nothing(house: House) -> None:
    inodes = set()
    for pid in (house.running.process.pid, *_children(house.running.process.pid)):
        for place in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):  # closed since
                inodes.add(str(place.readlink()).removeprefix("socket:[").removesuffix("]"))
    listening = "0A"
    for kind in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{kind}").read_text().splitlines()[1:]:
            fields = line.split()
            assert fields[3] != listening or fields[9] not in inodes, line


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_a_worker_without_remote_control_obeys_nobody(
    tmp_path: Path, stock_python: Path, redis_server: RedisServer
) -> None:
    """Nor does it look up what a state file names: one that holds more than stock Celery puts there is left as it is."""
    redis_server.call("FLUSHALL")
    project = Project(tmp_path, redis_server.url, redis_server.url, stock_python)
    project.more("\napp.conf.worker_enable_remote_control = False\n")
    state, loot = tmp_path / "state", tmp_path / "loot"
    state.write_bytes(pickle.dumps(Opened(loot)))
    with (
        project.worker("--statedb", str(state)) as running,
        closing(Celery("trust", broker=redis_server.url, backend=redis_server.url, set_as_current=False)) as app,
    ):
        app.control.shutdown()
        assert app.control.ping(timeout=1) == []
        assert app.send_task("proj.add", (20, 22)).get(timeout=30) == 42
        assert running.process.poll() is None
        assert "cannot be read" in running.text()
    assert state.read_bytes() == pickle.dumps(Opened(loot))
    assert not loot.exists()


def test_tls_by_settings(tmp_path: Path) -> None:
    """`broker_use_ssl` and `redis_backend_use_ssl`: who is not vouched for gets neither a task nor is asked for results."""
    pem, port = made(tmp_path, "DNS:localhost"), free_port()
    files = [part for what in ("cert", "key", "ca-cert") for part in (f"--tls-{what}-file", str(pem))]
    with redis_server("--tls-port", str(port), "--tls-auth-clients", "no", *files) as server:
        url = f"redis://localhost:{port}/0"

        def app(**tls: str) -> Any:
            made = Celery("trust", broker=url, backend=url, set_as_current=False)
            made.conf.update(broker_use_ssl=tls, redis_backend_use_ssl=tls, task_publish_retry=False)
            made.conf.update(broker_transport_options={"socket_timeout": 5})
            made.conf.update(result_backend_transport_options={"retry_policy": {"max_retries": 0}})
            return closing(made)

        with app(ssl_ca_certs=str(pem)) as trusting:
            sent = trusting.send_task("proj.add", (1, 2))
            assert sent.state == "PENDING"
        assert server.call("LLEN", "celery") == 1
        with app(ssl_cert_reqs="required") as wary:
            with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
                wary.send_task("proj.add", (1, 2))
            with pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED"):
                wary.AsyncResult(sent.id).get(timeout=5)
        assert server.call("LLEN", "celery") == 1


def test_a_worker_for_signed_messages_takes_no_others(
    tmp_path: Path, stock_python: Path, redis_server: RedisServer
) -> None:
    """A real worker: a trusted signature is worked off; none, a stranger's and a changed body are not."""
    (tmp_path / "trusted").mkdir()
    loot = tmp_path / "notes"
    for folder, name in (("trusted", "me"), (".", "stranger")):
        key, _ = identity(tmp_path / folder, name)
        (tmp_path / f"{name}.key").write_text(key)
    redis_server.call("FLUSHALL")
    project = Project(tmp_path, redis_server.url, redis_server.url, stock_python)
    project.more(
        "\nwho = os.environ['WHO']\n"
        "app.conf.update(task_serializer='auth', accept_content=['auth'], result_accept_content=['json'],\n"
        "    security_key=f'{who}.key', security_cert_store='trusted',\n"
        "    security_certificate=f'trusted/{who}.pem' if who == 'me' else f'{who}.pem')\n"
        "app.setup_security()\n"
    )

    def send(who: str, text: str) -> None:
        project.environment["WHO"] = who
        project.client(f"write.delay({text!r})")

    with project.worker(WHO="me") as running:
        send("stranger", "from a stranger")
        with closing(brokers.connect(redis_server.url)) as broker:
            headers = {"lang": "py", "task": "proj.write", "id": str(uuid.uuid4()), "retries": 0}
            body = json.dumps([["unsigned"], {}, EMBED]).encode()
            broker.send([Parcel(Message(body, "application/json", "utf-8", headers, {}), "celery")])
            broker.send([Parcel(Message(b"bm90IHNpZ25lZA==", "application/data", "utf-8", headers, {}), "celery")])
        send("me", "from me")
        wait_until(lambda: "from me" in project.notes(), 20, running.text)
    assert project.notes() == ["from me"]
    assert loot.exists()


def test_an_embedded_server_is_for_its_user_alone(tmp_path: Path) -> None:
    with closing(brokers.connect(f"embedded://{tmp_path}/store")) as broker:
        broker.size("celery")
        url, member = embedded.reached(f"embedded://{tmp_path}/store")
        assert member is not None
        member.close()
        place = Path(url.partition("://")[2])
        assert stat.S_ISSOCK(place.stat().st_mode)
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700
        with closing(redis_link.connect(redis_place.parse(url))) as link:
            assert link.call("CONFIG", "GET", "port")[1] == b"0"
