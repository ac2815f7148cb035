"""URLs and options of a Redis, as redis-py, kombu and Celery write them."""

from __future__ import annotations

import ssl
from typing import Any

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.worker.redis_place import Place, Sentinels, Tls, parse


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("redis://", Place()),
        ("redis", Place()),
        ("redis://h", Place("h")),
        ("redis://h:7000/3", Place("h", 7000, db=3)),
        ("redis://h//3", Place("h", db=3)),
        ("redis://:p%40ss@h/1", Place("h", db=1, password="p@ss")),
        ("redis://us%3Aer:pw@h", Place("h", username="us:er", password="pw")),
        ("redis://[::1]:7000/", Place("::1", 7000)),
        ("redis://h/?virtual_host=4", Place("h", db=4)),
        ("redis://h/5?db=4&socket_timeout=2.5&client_name=me", Place("h", db=5, timeout=2.5, client_name="me")),
        ("redis+socket:///run/r.sock?virtual_host=2", Place(path="/run/r.sock", db=2)),
        ("socket:///run/r.sock", Place(path="/run/r.sock")),
        ("unix://:pw@/run/r.sock?db=1", Place(path="/run/r.sock", db=1, password="pw")),
        ("rediss://h", Place("h", tls=Tls())),
        ("rediss://h?ssl_cert_reqs=CERT_NONE", Place("h", tls=Tls("none", check_hostname=False))),
        ("rediss://h?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem", Place("h", tls=Tls(ca_certs="/ca.pem"))),
    ],
)
def test_urls(url: str, place: Place) -> None:
    assert parse(url) == place


def test_the_url_wins_over_the_options() -> None:
    options = {"host": "o", "port": "7001", "db": 9, "username": "u", "password": b"p", "socket_timeout": 120}
    assert parse("redis", options) == Place("o", 7001, db=9, username="u", password="p", timeout=120)
    place = parse("redis://x:y@h:1/2?socket_timeout=3", options)
    assert place == Place("h", 1, db=2, username="x", password="y", timeout=3)
    assert parse("redis://h", dict.fromkeys(options)) == Place("h")


class Provider:
    def get_credentials(self) -> tuple[str, ...]:
        return ("ann", "hush")


def test_a_provider_of_credentials_may_be_named() -> None:
    name = f"{__name__}.Provider"
    for place in (parse("redis://", {"credential_provider": name}), parse(f"redis://?credential_provider={name}")):
        assert place.credentials.get_credentials() == ("ann", "hush")


def test_all_options_by_their_names() -> None:
    provider = Provider()
    options: dict[str, Any] = {
        "socket_connect_timeout": 1,
        "socket_keepalive": False,
        "socket_keepalive_options": {4: 10},
        "health_check_interval": 25,
        "max_connections": 7,
        "credential_provider": provider,
        "retry_on_timeout": True,
        "visibility_timeout": 3600,
    }
    assert parse("redis://", options) == Place(
        connect_timeout=1, keepalive=False, keepalive_options=((4, 10),), health_check=25, max_connections=7,
        credentials=provider,
    )  # fmt: skip
    assert parse("redis://?socket_keepalive=no").keepalive is False
    assert parse("redis://", {"health_check_interval": 0}).health_check == 0


@pytest.mark.parametrize("reqs", [ssl.CERT_OPTIONAL, "CERT_OPTIONAL", "optional"])
@pytest.mark.parametrize("prefix", ["ssl_", ""])
def test_tls_beside_the_url(reqs: Any, prefix: str) -> None:
    given = {
        f"{prefix}cert_reqs": reqs,
        f"{prefix}keyfile": "/k",
        f"{prefix}certfile": "/c",
        f"{prefix}min_version": 771,
    }
    place = parse("redis://h", tls=given)
    assert place.tls == Tls("optional", certfile="/c", keyfile="/k", min_version=771)
    assert parse("redis://h", {"ssl": given}) == place
    assert parse("redis://h", tls=True).tls == Tls()
    assert str(place) == "rediss://h:6379/0"


def test_sentinels() -> None:
    options: dict[str, Any] = {
        "master_name": "mymaster",
        "min_other_sentinels": 1,
        "sentinel_kwargs": {"password": "s", "username": "su", "ssl": True, "ssl_cert_reqs": "none"},
    }
    place = parse("sentinel://:pw@a:1/2;sentinel://b;sentinel://c:3", options)
    assert place.sentinels == Sentinels(
        (("a", 1), ("b", 26379), ("c", 3)), "mymaster", 1, "su", "s", Tls("none", check_hostname=False)
    )
    assert (place.password, place.db) == ("pw", 2)
    assert str(place) == "sentinel://a:1;sentinel://b:26379;sentinel://c:3/2 (master mymaster)"
    options["sentinel_kwargs"] = {"socket_timeout": 0.5, "socket_connect_timeout": 2, "socket_keepalive": True}
    assert parse("sentinel://a", options).sentinels == Sentinels((("a", 26379),), "mymaster", 1, timeout=0.5)
    assert parse("sentinel://a", {"master_name": "m"}).sentinels == Sentinels((("a", 26379),), "m")
    told = parse("sentinel://a?master_name=m&min_other_sentinels=2", {"master_name": "of the options"}).sentinels
    assert told == Sentinels((("a", 26379),), "m", 2)


@pytest.mark.parametrize(
    ("url", "options", "says"),
    [
        ("", {}, "is empty"),
        ("amqp://h", {}, "amqp:// is no Redis"),
        ("redis://h:port", {}, "cannot be read"),
        ("redis://h:99999", {}, "cannot be read"),
        ("redis://h/main", {}, "is a number"),
        ("redis://h?ssl_cert_reqs=none", {}, "with TLS is rediss"),
        ("rediss://h?ssl_cert_reqs=maybe", {}, "ssl_cert_reqs is"),
        ("rediss://h", {"ssl_cert_reqs": []}, "ssl_cert_reqs is"),
        ("redis+socket://", {}, "names no path"),
        ("redis://a;redis://b", {}, "one Redis is asked for, and there are 2 URLs"),
        ("sentinel://h", {}, "master_name"),
        ("sentinel://h", {"master_name": "m", "min_other_sentinels": "x"}, "min_other_sentinels is a number"),
        ("redis://h?socket_timeout=soon", {}, "socket_timeout is a number of seconds"),
        ("redis://h", {"socket_timeout": 0}, "above 0"),
        ("redis://h", {"socket_connect_timeout": float("inf")}, "above 0"),
        ("redis://h", {"max_connections": 0}, "at least 1"),
        ("redis://h", {"max_connections": "x"}, "is a number"),
        ("redis://h", {"client_name": 3}, "is a text"),
        ("redis://h", {"socket_keepalive_options": 3}, "is a mapping"),
        ("redis://h", {"credential_provider": 3}, "credential_provider has a method get_credentials"),
        ("redis://h?credential_provider=no.such.Thing", {}, "cannot load no.such.Thing: ModuleNotFoundError"),
        ("rediss://h?ssl_ca_cert=/ca.pem", {}, "ssl_ca_cert is no TLS option here; did you mean ssl_ca_certs"),
        ("rediss://h", {"ssl": {"validate_ocsp": True}}, "ssl_validate_ocsp is no TLS option here"),
        (
            "sentinel://h",
            {"master_name": "m", "sentinel_kwargs": {"pasword": "x"}},
            "'pasword', which is no option of a Sentinel; did you mean password",
        ),
        (
            "sentinel://h",
            {"master_name": "m", "sentinel_kwargs": {"socket_timeout": "x"}},
            "sentinel_kwargs socket_timeout is a number",
        ),
    ],
)
def test_what_is_wrong_is_named(url: str, options: dict[str, Any], says: str) -> None:
    with pytest.raises(BadCall, match=says):
        parse(url, options)


def test_no_text_holds_a_password() -> None:
    options = {"master_name": "m", "sentinel_kwargs": {"password": "hush"}}
    for url in ("redis://u:hush@h/1", "unix://u:hush@/s", "rediss://:hush@h?ssl_password=hush", "sentinel://:hush@h"):
        place = parse(url, options)
        assert "hush" not in f"{place} {place!r}"
    with pytest.raises(BadCall) as problem:
        parse("redis://u:hush@h:port")
    assert "hush" not in str(problem.value)


def test_a_place_is_a_key() -> None:
    assert len({parse("redis://:a@h/1"), parse("redis://:a@h/1"), parse("redis://:b@h/1")}) == 2
    assert str(parse("redis+socket:///s?virtual_host=1")) == "redis+socket:///s?virtual_host=1"
    assert str(parse("redis://[::1]/1")) == "redis://[::1]:6379/1"
