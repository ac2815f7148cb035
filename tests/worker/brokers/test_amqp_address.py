"""kombu's URLs and options, read as kombu reads them."""

from __future__ import annotations

import ssl
from typing import Any

import kombu
import pytest

from celeriac.protocol.errors import BadCall
from celeriac.worker.brokers.amqp_address import Address, _context, deadline, flag, number, parse


@pytest.mark.parametrize(
    "url",
    [
        "amqp://",
        "amqp://localhost",
        "pyamqp://user:pass@host:1234/vhost",
        "amqp://u%40x:p%2F%3A@host//",
        "amqp://host/%2Fapp",
        "amqp://host/a/b",
        "amqp://guest@host:5673/",
        "amqp://[::1]:5673/v",
        "amqps://host",
    ],
)
def test_urls_are_read_as_kombu_reads_them(url: str) -> None:
    theirs = kombu.Connection(url)
    ours, _ = parse(url, {})
    default = 5671 if url.startswith("amqps") else 5672
    host = theirs.hostname or "127.0.0.1"
    assert (ours.host, ours.port) == (host, theirs.port or default)
    assert (ours.user, ours.password) == (theirs.userid or "guest", theirs.password or "guest")
    assert ours.virtual_host == (theirs.virtual_host or "/")


def test_the_url_wins_over_the_options() -> None:
    address, every = parse("amqp://h?heartbeat=7&confirm_publish=0", {"heartbeat": 30, "login_method": "amqplain"})
    assert (address.heartbeat, address.login_methods) == (7, ("AMQPLAIN",))
    assert flag(every, "confirm_publish", default=True) is False


def test_a_password_may_be_asked_for_each_time_and_is_never_shown() -> None:
    address, _ = parse("amqp://u@h", {"password": lambda: "s3cret"})
    assert address.password == "s3cret"
    assert "s3cret" not in f"{address} {address!r}"


@pytest.mark.parametrize(("asked", "given"), [(0, 0), (0.2, 1), (10.4, 10), ("5", 5), (None, 60)])
def test_heartbeats_are_whole_seconds(asked: Any, given: int) -> None:
    assert parse("amqp://h", {"heartbeat": asked})[0].heartbeat == given


def test_what_is_no_number_or_port_is_named() -> None:
    with pytest.raises(BadCall, match="broker option heartbeat: a number of seconds, not 'soon'"):
        parse("amqp://h?heartbeat=soon", {})
    with pytest.raises(BadCall, match="broker URL of scheme amqp"):
        parse("amqp://u:secret@h:port/", {})


@pytest.mark.parametrize(("value", "meaning"), [("no", False), ("1", True), (0, False), (None, True), (True, True)])
def test_flags(value: Any, meaning: bool) -> None:
    assert flag({"f": value}, "f", default=True) is meaning


def test_number_has_a_default() -> None:
    assert number({"n": ""}, "n", 3.0) == 3.0


@pytest.mark.parametrize(
    ("url", "options", "tls"),
    [
        ("amqp://h", {}, None),
        ("amqps://h", {}, {}),
        ("amqp://h", {"ssl": True}, {}),
        ("amqp://h", {"ssl": {"ca_certs": "f"}}, {"ca_certs": "f"}),
        ("amqps://h?ssl_cert_reqs=none", {"ssl": {"ssl_ca_certs": "f"}}, {"ca_certs": "f", "cert_reqs": "none"}),
    ],
)
def test_tls_options(url: str, options: dict[str, Any], tls: dict[str, Any] | None) -> None:
    address, _ = parse(url, options)
    assert address.tls == tls
    assert address.port == (5672 if tls is None else 5671)


def test_contexts_follow_py_amqp() -> None:
    plain = _context({}, named=False)
    assert (plain.verify_mode, plain.check_hostname) == (ssl.CERT_REQUIRED, False)
    assert _context({}, named=True).check_hostname is True
    assert _context({"cert_reqs": "none"}, named=True).verify_mode == ssl.CERT_NONE
    assert _context({"cert_reqs": "CERT_OPTIONAL"}, named=False).verify_mode == ssl.CERT_OPTIONAL
    assert _context({"cert_reqs": ssl.CERT_NONE}, named=False).verify_mode == ssl.CERT_NONE
    newest = _context({"tls_minimum_version": ssl.TLSVersion.TLSv1_3, "ciphers": "HIGH"}, named=False)
    assert newest.minimum_version == ssl.TLSVersion.TLSv1_3
    assert _context({"context": {"check_hostname": True}}, named=False).check_hostname is True
    with pytest.raises(BadCall, match="cert_reqs: none, optional or required, not 'maybe'"):
        _context({"cert_reqs": "maybe"}, named=False)


def test_addresses_are_shown_with_what_the_person_on_call_needs() -> None:
    assert str(Address("h", 5672)) == "h:5672, virtual host /"


def test_options_that_it_does_not_know_are_named_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        parse("amqp://h?heartbeet=3", {"visibility_timeout": 5, "max_retries": 3, "read_timeout": 4})
    assert [each.getMessage() for each in caplog.records] == [
        "the RabbitMQ broker knows no transport option 'heartbeet'; did you mean heartbeat?",
        "the RabbitMQ broker knows no transport option 'visibility_timeout'",
    ]


@pytest.mark.parametrize(
    ("options", "seconds"),
    [
        ({}, 10),
        ({"timeout": 3, "read_timeout": 7}, 3),
        ({"read_timeout": 7}, 7),
        ({"read_timeout": "2", "write_timeout": 5}, 5),
        ({"write_timeout": None}, 10),
    ],
)
def test_py_amqps_timeouts_are_the_deadline_where_there_is_no_other(options: dict[str, Any], seconds: float) -> None:
    assert deadline(options, 10) == seconds
