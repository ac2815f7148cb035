"""HTTP as values, and who is let in: what is read, what is refused, and with which status."""

from __future__ import annotations

import random

import pytest

from celeriac.compat.web.guard import Guard
from celeriac.compat.web.http import Reader, Refused, Request, Response

GET = b"GET /api/tasks?q=a%20b HTTP/1.1\r\nHost: localhost:5566\r\n\r\n"
POST = b"POST /api/act HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
TOKEN = "correct-horse-battery"


def read(data: bytes) -> Request | None:
    reader = Reader()
    reader.feed(data)
    return reader.next()


def test_requests_are_read_however_they_come() -> None:
    reader = Reader()
    assert reader.idle
    found = []
    for byte in GET + POST:
        reader.feed(bytes([byte]))
        request = reader.next()
        if request is not None:
            found.append(request)
    assert [(each.method, each.path, each.body) for each in found] == [
        ("GET", "/api/tasks", b""),
        ("POST", "/api/act", b"{}"),
    ]
    assert found[0].query == {"q": "a b"}
    assert found[0].headers["host"] == "localhost:5566"
    assert reader.idle
    assert found[0].stays


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 400),
        (b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413),
        (b"x" * 20_000, 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000, 431),
        (b"GET /?" + b"a=b&" * 30 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
def test_what_is_no_request_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(Refused) as caught:
        read(data)
    assert caught.value.status == status


def test_nothing_but_a_refusal_comes_of_any_bytes() -> None:
    rng = random.Random(3)
    for _ in range(3000):
        data = bytearray(rng.choice([GET, POST]))
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        try:
            read(bytes(data))
        except Refused as problem:
            assert 400 <= problem.status < 500  # noqa: PT017 - many are read, not all are refused


def test_a_reply_is_closed_to_other_sites() -> None:
    data = Response(200, b"x").bytes()
    for header in (b"default-src 'none'", b"require-trusted-types-for 'script'", b"nosniff", b"frame-ancestors 'none'"):
        assert header in data
    assert b"unsafe" not in data
    assert data.endswith(b"\r\n\r\nx")
    assert Response(200, b"x").bytes(head_only=True).endswith(b"Connection: keep-alive\r\n\r\n")


def asked(method: str = "GET", path: str = "/api/overview", token: str | None = TOKEN, **headers: str) -> Request:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Request(
        method,
        path,
        {},
        {"host": "localhost:1", **({"authorization": f"Bearer {token}"} if token else {}), **more},
        b"{}",
    )


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (asked(), None),
        (asked(token=None), 401),
        (asked(token=""), 401),
        (asked(token=TOKEN[:-1]), 401),
        (asked(token=TOKEN + "x"), 401),
        (asked(token="ünglaublich"), 401),
        (asked(authorization=f"Basic {TOKEN}"), 401),
        (asked(path="/", token=None), None),
        (asked(path="/page.js", token=None), None),
        (asked("POST", "/", token=None), 401),
        (asked("POST"), None),
        (asked("POST", origin="http://localhost:1"), None),
        (asked("POST", origin="http://evil.example"), 403),
        (asked("POST", origin="null"), 403),
        (asked("POST", sec_fetch_site="cross-site"), 403),
        (asked("POST", sec_fetch_site="same-origin"), None),
        (asked(host="127.0.0.1:5566"), None),
        (asked(host="[::1]:5566"), None),
        (asked(host="10.0.0.7"), None),
        (asked(host="tasks.example.org"), None),
        (asked(host="TASKS.example.org:443"), None),
        (asked(host="evil.example"), 421),
        (asked(path="/", host="evil.example", token=None), 421),
        (asked(host="localhost.evil.example"), 421),
        (asked(host="[::1"), 421),
        (asked(host=""), 421),
    ],
)
def test_who_is_let_in(request_: Request, status: int | None) -> None:
    guard = Guard.of(TOKEN, ["tasks.example.org"], acts=True)
    if status is None:
        guard.check(request_)
        return
    with pytest.raises(Refused) as caught:
        guard.check(request_)
    assert caught.value.status == status


@pytest.mark.parametrize(
    ("acts", "kind", "body", "status"),
    [
        (True, "application/json", b'{"action": "revoke"}', None),
        (True, "application/json; charset=utf-8", b"{}", None),
        (False, "application/json", b"{}", 403),
        (True, "text/plain", b"{}", 415),
        (True, "application/x-www-form-urlencoded", b"{}", 415),
        (True, "application/json", b"[]", 400),
        (True, "application/json", b"{", 400),
        (True, "application/json", b"\xff", 400),
        (True, "application/json", b"[" * 60_000, 400),
    ],
)
def test_what_is_an_action(acts: bool, kind: str, body: bytes, status: int | None) -> None:
    request = Request("POST", "/api/act", {}, {"content-type": kind}, body)
    guard = Guard.of(TOKEN, acts=acts)
    if status is None:
        assert isinstance(guard.action(request), dict)
        return
    with pytest.raises(Refused) as caught:
        guard.action(request)
    assert caught.value.status == status
