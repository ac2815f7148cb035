"""The connection to Redis: replies in their order, deadlines, what happens when the other side goes wrong."""

from __future__ import annotations

import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.wire.redis_scripts import Script
from celeriac.protocol.wire.resp import ErrorReply
from celeriac.worker import redis_advice
from celeriac.worker.redis_link import LOST, WINDOW, Link, connect, operational
from celeriac.worker.redis_place import Place, parse
from tests import servers
from tests.certificate import made
from tests.servers import RedisServer

ECHO = Script("echo", "return ARGV[1]")


@pytest.fixture
def link(redis_server: RedisServer) -> Iterator[Link]:
    link = connect(parse(redis_server.url))
    yield link
    link.close()


Answer = Callable[[socket.socket], object]


@contextmanager
def listening(answer: Answer) -> Iterator[Place]:
    """A server that does as told with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        stop = threading.Event()

        def serve() -> None:
            while not stop.is_set():
                try:
                    connected, _ = server.accept()
                except OSError:
                    return
                with connected:
                    try:
                        answer(connected)
                        if not stop.wait(0):
                            connected.settimeout(20)
                            while connected.recv(4096):
                                pass
                    except OSError:
                        pass

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield Place("127.0.0.1", server.getsockname()[1], timeout=0.3, connect_timeout=2)
        finally:
            stop.set()
            with socket.socket() as knock:
                knock.settimeout(1)
                knock.connect_ex(server.getsockname())
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.real
class TestAsking:
    def test_replies_come_in_order_errors_among_them(self, link: Link) -> None:
        set_, bad, get = link.ask(("SET", "k", b"\x00\xff"), ("NOSUCH",), ("GET", "k"))
        assert (set_, get) == (b"OK", b"\x00\xff")
        assert isinstance(bad, ErrorReply)
        assert link.call("GET", "nothing-there") is None

    def test_an_error_is_raised_by_call_and_the_link_lives(self, link: Link) -> None:
        link.call("SET", "text", 1)
        with pytest.raises(OperationalError, match="answered LPUSH with an error: WRONGTYPE"):
            link.call("LPUSH", "text", 1)
        assert link.open
        assert link.call("PING") == b"PONG"

    def test_a_script_is_sent_when_it_is_not_known(self, link: Link) -> None:
        link.call("SCRIPT", "FLUSH")
        assert link.run(ECHO, 0, "a") == b"a"
        assert link.run(ECHO, 0, "b") == b"b"
        link.call("SCRIPT", "FLUSH")
        link.load(ECHO)
        assert link.call("EVALSHA", ECHO.sha, 0, "c") == b"c"
        with pytest.raises(OperationalError, match="SCRIPT LOAD"):
            link.load(Script("broken", "this is no Lua"))

    def test_a_transaction(self, link: Link) -> None:
        assert link.transaction(("SET", "t", 1), ("INCR", "t")) == [b"OK", 2]
        with pytest.raises(OperationalError, match="WRONGTYPE"):
            link.transaction(("SET", "t", "x"), ("LPUSH", "t", 1))
        with pytest.raises(OperationalError, match="NOSUCH"):
            link.transaction(("NOSUCH",), ("SET", "t", 2))
        assert link.call("GET", "t") == b"x"

    def test_replies_of_what_was_posted_come_later_and_in_order(self, link: Link) -> None:
        link.call("DEL", "n")
        got: list[Any] = []
        for _ in range(10):
            link.post(("INCR", "n"), then=got.append)
        link.post(("INCR", "n"), ("INCR", "n"))
        assert (link.owed, got) == (12, [])
        assert link.call("GET", "n") == b"12"
        assert (link.owed, got) == (0, list(range(1, 11)))

    def test_no_more_is_owed_than_the_window(self, link: Link) -> None:
        for _ in range(3 * WINDOW):
            link.post(("PING",))
            assert link.owed < WINDOW
        link.settle()
        assert link.owed == 0

    def test_posted_replies_are_handed_out_while_reading(self, link: Link) -> None:
        got: list[Any] = []
        link.post(("ECHO", "x"), then=got.append)
        assert link.read(0.2) == []
        assert got == [b"x"]

    def test_a_subscriber_reads_what_comes(self, link: Link, redis_server: RedisServer) -> None:
        link.tell(("SUBSCRIBE", "news"))
        got: list[Any] = []
        end = time.monotonic() + 5
        while not got and time.monotonic() < end:
            got += link.read(0.1)
        redis_server.call("PUBLISH", "news", "hi")
        while len(got) < 2 and time.monotonic() < end:
            got += link.read(0.1)
        assert got == [[b"subscribe", b"news", 1], [b"message", b"news", b"hi"]]
        assert link.alive()

    def test_big_values_both_ways(self, link: Link) -> None:
        value = os.urandom(8_000_000)
        commands = [("SET", f"big{n}", value) for n in range(4)] + [("GET", f"big{n}") for n in range(4)]
        assert link.ask(*commands)[4:] == [value] * 4
        link.call("DEL", *(f"big{n}" for n in range(4)))

    def test_waiting_reads_may_be_longer_than_the_deadline_of_others(self, redis_server: RedisServer) -> None:
        link = connect(replace(parse(redis_server.url), timeout=0.2))
        assert link.call("BLPOP", "never", 0.5, timeout=5) is None
        with pytest.raises(OperationalError, match="no answer while waiting for a reply"):
            link.call("BLPOP", "never", 5)
        assert not link.open

    def test_what_interrupts_a_call_closes_the_link(self, link: Link) -> None:
        class Interrupted(BaseException):
            pass

        def interrupt(*_: object) -> None:
            raise Interrupted

        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.1)
            with pytest.raises(Interrupted):
                link.call("BLPOP", "never", 5)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert not link.open
        with pytest.raises(OperationalError, match="is closed"):
            link.call("PING")

    def test_a_child_leaves_the_connection_of_its_parent_alone(self, link: Link) -> None:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                link.call("PING")
            except OperationalError as problem:
                code = 0 if "parent process" in str(problem) and not link.open and not link.alive() else 2
            finally:
                link.close()
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert link.call("PING") == b"PONG"

    def test_one_sees_that_the_server_hung_up(self, link: Link, redis_server: RedisServer) -> None:
        assert link.alive()
        number = link.call("CLIENT", "ID")
        redis_server.call("CLIENT", "KILL", "ID", number)
        assert select.select([link.fileno()], [], [], 5)[0]
        assert not link.alive()
        assert not link.open
        assert link.fileno() == -1

    def test_what_is_owed_by_a_lost_connection_is_said(self, link: Link, redis_server: RedisServer) -> None:
        got: list[Any] = []
        redis_server.call("CLIENT", "KILL", "ID", link.call("CLIENT", "ID"))
        link.post(*[("PING",)] * 10, then=got.append)
        with pytest.raises(OperationalError):
            link.settle()
        assert got
        assert all(isinstance(each, ErrorReply) and each.code == LOST for each in got)


@pytest.mark.real
class TestEntering:
    def test_users_databases_and_names(self) -> None:
        with servers.redis_server() as server:
            server.call("CONFIG", "SET", "requirepass", "pass word")
            server.call("ACL", "SETUSER", "ann", "on", ">hush", "~*", "&*", "+@all")
            here = f"127.0.0.1:{server.port}"
            for url in (f"redis://:pass%20word@{here}/3", f"redis://ann:hush@{here}/3"):
                link = connect(replace(parse(url), client_name="me"))
                assert b"name=me" in link.call("CLIENT", "LIST", "ID", link.call("CLIENT", "ID"))
                link.call("SET", "in-three", 1)
                link.close()
            assert server.call("SELECT", 3) == b"OK"
            assert server.call("EXISTS", "in-three") == 1
            for url, says in (
                (f"redis://{here}/1", "refused SELECT: NOAUTH"),
                (f"redis://:wrong@{here}", "refused AUTH: WRONGPASS"),
                (f"redis://ann:hush@{here}/99", "refused SELECT"),
            ):
                with pytest.raises(OperationalError, match=says) as problem:
                    connect(parse(url))
                assert "hush" not in str(problem.value)
                assert "wrong@" not in str(problem.value)

            class Provider:
                def get_credentials(self) -> tuple[str, ...]:
                    return ("ann", "hush")

            link = connect(parse(f"redis://{here}", {"credential_provider": Provider()}))
            assert link.call("ACL", "WHOAMI") == b"ann"
            link.close()

            class Failing:
                def get_credentials(self) -> tuple[str, ...]:
                    raise RuntimeError("no token today")

            with pytest.raises(OperationalError, match="provider Failing failed: RuntimeError: no token today"):
                connect(parse(f"redis://{here}", {"credential_provider": Failing()}))

    def test_a_unix_socket(self, tmp_path: Path) -> None:
        path = tmp_path / "redis.sock"
        with servers.redis_server("--unixsocket", str(path)):
            link = connect(parse(f"redis+socket://{path}?virtual_host=2"))
            assert link.call("PING") == b"PONG"
            link.close()
        with pytest.raises(OperationalError, match="cannot connect to redis\\+socket"):
            connect(parse(f"redis+socket://{path}"))

    def test_tls(self, tmp_path: Path) -> None:
        cert = made(tmp_path, "DNS:localhost")
        tls_port = servers.free_port()
        options = ["--tls-port", str(tls_port), "--tls-cert-file", str(cert), "--tls-key-file", str(cert)]
        with servers.redis_server(*options, "--tls-ca-cert-file", str(cert), "--tls-auth-clients", "optional"):
            trusting = f"rediss://localhost:{tls_port}?ssl_ca_certs={cert}"
            link = connect(parse(f"{trusting}&ssl_certfile={cert}&ssl_keyfile={cert}&ssl_min_version=771"))
            value = os.urandom(3_000_000)
            assert link.ask(("SET", "k", value), ("GET", "k")) == [b"OK", value]
            assert link.read(0) == []
            assert link.alive()
            link.tell(("SUBSCRIBE", *(f"channel-{n}" for n in range(2000))))
            got: list[Any] = []
            end = time.monotonic() + 10
            while len(got) < 2000 and time.monotonic() < end:
                got += link.read(0.1)
            assert len(got) == 2000
            link.close()
            for url, says in (
                (f"rediss://localhost:{tls_port}", "VERIFY_FAILED.*is ssl_ca_certs the authority"),
                (f"rediss://127.0.0.1:{tls_port}?ssl_ca_certs={cert}", "certificate"),
                (f"{trusting}&ssl_certfile=/nowhere.pem", r"FileNotFoundError.*may we read these: .*/nowhere\.pem\?"),
                (f"{trusting}&ssl_min_version=1", "ValueError"),
                (f"{trusting}&ssl_ciphers=NOSUCH", "SSLError"),
            ):
                with pytest.raises(OperationalError, match=says):
                    connect(parse(url))
            with pytest.raises(OperationalError, match=r"hung up at our first words: does this port want TLS"):
                connect(parse(f"redis://localhost:{tls_port}/1"))
            link = connect(parse(f"rediss://127.0.0.1:{tls_port}?ssl_cert_reqs=none"))
            assert link.call("PING") == b"PONG"
            link.close()


class TestWhatGoesWrong:
    def test_nobody_listens(self) -> None:
        with pytest.raises(OperationalError, match=r"cannot connect to redis://127\.0\.0\.1:\d+/0: ConnectionRefused"):
            connect(Place("127.0.0.1", servers.free_port()))

    def test_a_frozen_server(self) -> None:
        with listening(lambda connected: None) as place:
            link = connect(place)
            started = time.monotonic()
            with pytest.raises(OperationalError, match=r"no answer while waiting for a reply, after 0\.3 s"):
                link.call("PING")
            assert time.monotonic() - started < 3
            assert not link.open
            with pytest.raises(OperationalError, match="no answer"):
                connect(replace(place, password="x", connect_timeout=0.3))

    def test_a_server_that_drips_does_not_stretch_the_deadline(self) -> None:
        def drip(connected: socket.socket) -> None:
            for _ in range(30):
                time.sleep(0.05)
                connected.sendall(b"$1")

        with listening(drip) as place:
            link = connect(place)
            started = time.monotonic()
            with pytest.raises(OperationalError, match="no answer"):
                link.call("GET", "k")
            assert time.monotonic() - started < 1

    def test_a_server_that_does_not_read(self) -> None:
        with listening(lambda connected: time.sleep(1.5)) as place:  # a server that says nothing
            link = connect(place)
            with pytest.raises(OperationalError, match="no answer while sending"):
                link.call("SET", "k", b"x" * 50_000_000)
            assert not link.open

    def test_a_server_that_speaks_something_else(self) -> None:
        with listening(lambda connected: connected.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as place:
            link = connect(place)
            with pytest.raises(OperationalError, match="no reply begins with"):
                link.call("PING")
            assert not link.open

    def test_a_reply_in_pieces(self) -> None:
        def pieces(connected: socket.socket) -> None:
            connected.recv(4096)
            for byte in b"*2\r\n$3\r\nabc\r\n:42\r\n":
                connected.sendall(bytes([byte]))

        with listening(pieces) as place:
            link = connect(replace(place, timeout=5))
            assert link.call("LRANGE", "k", 0, -1) == [b"abc", 42]
            link.close()

    @pytest.mark.parametrize("text", ["READONLY no", "LOADING yet", "MASTERDOWN link", "NOAUTH required"])
    def test_an_answer_that_another_server_may_not_give_ends_the_link(self, text: str) -> None:
        def refuse(connected: socket.socket) -> None:
            connected.recv(4096)
            connected.sendall(f"-{text}\r\n".encode())

        with listening(refuse) as place:
            link = connect(place)
            with pytest.raises(OperationalError, match=text):
                link.call("SET", "k", 1)
            assert not link.open

    def test_closing_may_be_done_twice(self) -> None:
        with listening(lambda connected: None) as place:
            link = connect(place)
            link.close()
            link.close()
            for use in (lambda: link.post(("PING",)), lambda: link.read(0), link.load):
                with pytest.raises((OperationalError, ValueError)):
                    use()

    def test_errors_are_of_the_class_that_users_catch(self) -> None:
        assert isinstance(operational("x"), OperationalError)


def sentinel(*replies: bytes) -> Answer:
    """A Sentinel that gives these answers, one for each question."""

    def answer(connected: socket.socket) -> None:
        for reply in replies:
            connected.recv(4096)
            connected.sendall(reply)

    return answer


def told(port: int, flags: str = "master", others: int = 2) -> bytes:
    pairs = [
        b"ip",
        b"127.0.0.1",
        b"port",
        b"%d" % port,
        b"flags",
        flags.encode(),
        b"num-other-sentinels",
        b"%d" % others,
    ]
    return b"*%d\r\n" % len(pairs) + b"".join(b"$%d\r\n%b\r\n" % (len(each), each) for each in pairs)


class TestSentinel:
    def through(self, *addresses: Place, **options: Any) -> Place:
        url = ";".join(f"sentinel://{each.host}:{each.port}/1" for each in addresses)
        return replace(parse(url, {"master_name": "m", **options}), connect_timeout=2)

    @pytest.mark.real
    def test_the_master_is_found(self, redis_server: RedisServer) -> None:
        dead = Place("127.0.0.1", servers.free_port())
        with listening(sentinel(told(redis_server.port))) as place:
            link = connect(self.through(dead, place, min_other_sentinels=2))
            assert link.call("CLIENT", "ID") > 0
            assert link.place.port == redis_server.port
            link.close()
        with listening(sentinel(b"+OK\r\n", told(redis_server.port))) as place:
            connect(self.through(place, sentinel_kwargs={"password": "s"})).close()

    @pytest.mark.parametrize(
        ("reply", "says"),
        [
            (b"-ERR No such master with that name\r\n", "No such master"),
            (told(1, "master,s_down"), "the master is down"),
            (told(1, "slave"), "the master is down"),
            (told(1, others=1), "knows only 1 other"),
            (b"*2\r\n$5\r\nflags\r\n$6\r\nmaster\r\n", "names no address|knows only"),
            (b":5\r\n", "the master is down"),
        ],
    )
    def test_one_that_cannot_say(self, reply: bytes, says: str) -> None:
        with listening(sentinel(reply)) as place, pytest.raises(OperationalError, match=says):
            connect(self.through(place, min_other_sentinels=0 if b"names" in says.encode() else 2))

    @pytest.mark.real
    def test_one_that_is_taken_for_a_redis(self) -> None:
        reply = ErrorReply("ERR", "ERR unknown command 'MULTI', with args beginning with: ")
        assert "is this a Sentinel? Then the URL is sentinel://" in redis_advice.answer(reply)

    def test_a_real_one_follows_a_failover(self, tmp_path: Path) -> None:
        with (
            servers.redis_server() as first,
            servers.redis_server("--replicaof", "127.0.0.1", str(first.port)) as second,
        ):
            port = servers.free_port()
            config = tmp_path / "sentinel.conf"
            config.write_text(
                f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor m 127.0.0.1 {first.port} 1\n"
                "sentinel down-after-milliseconds m 500\nsentinel failover-timeout m 5000\n"
            )
            log = (tmp_path / "log").open("wb")
            process = subprocess.Popen(["redis-server", str(config), "--sentinel"], stdout=log, stderr=log)
            try:
                place = self.through(Place("127.0.0.1", port))
                link = self.until(lambda: connect(place))
                assert link.place.port == first.port
                self.until(lambda: self.failover(port))
                self.until(lambda: self.writable(place, second.port))
                link.close()
            finally:
                process.terminate()
                process.wait(10)
                log.close()

    def failover(self, port: int) -> None:
        link = connect(Place("127.0.0.1", port))
        try:
            link.call("SENTINEL", "FAILOVER", "m")
        finally:
            link.close()

    def writable(self, place: Place, port: int) -> None:
        link = connect(place)
        try:
            if link.place.port != port:
                raise operational("still the old one")
            link.call("SET", "k", 1)
        finally:
            link.close()

    def until(self, do: Callable[[], Any], within: float = 30) -> Any:
        end = time.monotonic() + within
        while True:
            try:
                return do()
            except OperationalError:  # noqa: PERF203  # a loop of attempts is what it is for
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)


def test_an_error_is_redis_pys_as_well_where_a_program_has_loaded_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who catches what Celery's own store raises catches ours; by name, stored and pickled it is kombu's."""
    theirs = pytest.importorskip("redis.exceptions")
    raised = operational("it is down")
    assert isinstance(raised, OperationalError)
    assert isinstance(raised, theirs.ConnectionError)
    assert (type(raised).__name__, type(raised).__module__) == ("OperationalError", "kombu.exceptions")
    again = pickle.loads(pickle.dumps(raised))
    assert (type(again), again.args) == (OperationalError, ("it is down",))
    refused = operational("WRONGTYPE", "ResponseError")
    assert isinstance(refused, theirs.ResponseError)
    assert not isinstance(refused, theirs.ConnectionError)
    monkeypatch.delitem(sys.modules, "redis.exceptions")
    assert type(operational("it is down")) is OperationalError
