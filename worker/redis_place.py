"""Where a Redis is and how one gets in: its URL and the options beside it as one frozen value.

Law: nothing is connected here. Options have the names that redis-py, kombu and Celery give them; a wrong one is a
`BadCall` that says which. No text made here holds a password.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module

from ..protocol.errors import BadCall, shown
from ..protocol.hints import Any
from ..protocol.values import dataclass, field
from .urls import Parts, pairs, split, unquote

PORT = 6379
SENTINEL_PORT = 26379
CONNECT_TIMEOUT = 4.0
TIMEOUT = 30.0

_SCHEMES = {
    "redis": "tcp",
    "valkey": "tcp",
    "rediss": "tls",
    "valkeys": "tls",
    "redis+socket": "unix",
    "socket": "unix",
    "unix": "unix",
    "sentinel": "sentinel",
}
SCHEMES = frozenset(_SCHEMES)


@dataclass(frozen=True, slots=True)
class Tls:
    """What `ssl.SSLContext` is told. `verify` is "required", "optional" or "none"."""

    verify: str = "required"
    check_hostname: bool = True
    ca_certs: str | None = None
    ca_path: str | None = None
    ca_data: str | None = None
    certfile: str | None = None
    keyfile: str | None = None
    password: str | None = field(default=None, repr=False)
    ciphers: str | None = None
    min_version: int | None = None


@dataclass(frozen=True, slots=True)
class Sentinels:
    """Who knows where the master is, and how one gets in there."""

    addresses: tuple[tuple[str, int], ...]
    master: str
    others: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Tls | None = None
    timeout: float | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """One Redis. `path` is a Unix socket's. Times are seconds; every operation has `timeout`, unless told otherwise."""

    host: str = "localhost"
    port: int = PORT
    path: str | None = None
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    credentials: Any = field(default=None, repr=False)
    tls: Tls | None = None
    sentinels: Sentinels | None = None
    connect_timeout: float = CONNECT_TIMEOUT
    timeout: float = TIMEOUT
    keepalive: bool = True
    keepalive_options: tuple[tuple[int, int], ...] = ()
    client_name: str | None = None
    health_check: float = 0.0
    max_connections: int | None = None

    def __str__(self) -> str:
        if self.sentinels is not None:
            where = ";".join(f"sentinel://{host}:{port}" for host, port in self.sentinels.addresses)
            return f"{where}/{self.db} (master {self.sentinels.master})"
        if self.path is not None:
            return f"redis+socket://{self.path}?virtual_host={self.db}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}/{self.db}"


def parse(url: str, options: Mapping[str, Any] | None = None, tls: Any = None) -> Place:
    """The place that a URL and the options beside it name; what the URL says wins.

    An option that is None says nothing. `tls` is `broker_use_ssl` or `redis_backend_use_ssl`: a mapping of `ssl_...`,
    or true. Several URLs with `;` between them are Sentinels.
    """
    parts = [_split(each) for each in url.split(";") if each]
    if not parts:
        raise BadCall("the URL of a Redis is empty")
    kind = _kind(parts[0])
    if len(parts) > 1 and kind != "sentinel":
        raise BadCall(f"one Redis is asked for, and there are {len(parts)} URLs; with ; between them stand Sentinels")
    given = {name: value for name, value in (options or {}).items() if value is not None}
    query = pairs(parts[0].query)
    tls = tls or given.pop("ssl", None)
    secure = kind == "tls" or bool(tls)
    asked = {key: item for key, item in (*_pairs(tls), *given.items(), *query.items()) if key.startswith("ssl_")}
    known = _known({**given, **query})
    known.update(_credentials(parts[0]))
    if kind == "unix":
        known.update(path=_path(parts[0]), db=_db(query.get("virtual_host", query.get("db", given.get("db", 0)))))
    else:
        known.update(_address(parts[0], kind, given), db=_db(_database(parts[0], query, given)))
    if kind == "sentinel":
        for name in ("master_name", "min_other_sentinels"):
            given[name] = query.get(name, given.get(name))
        known["sentinels"] = _sentinels(parts, given)
    if secure:
        known["tls"] = read_tls(asked)
    elif any(key in query for key in asked):
        raise BadCall("a redis:// URL with ssl_ options; a connection with TLS is rediss://")
    return Place(**known)


def _split(url: str) -> Parts:
    try:
        return split(url.strip() if "://" in url else f"{url}://")
    except ValueError as problem:
        raise BadCall(f"the URL of a Redis cannot be read: {problem}") from None


def _kind(parts: Parts) -> str:
    kind = _SCHEMES.get(parts.scheme)
    if kind is None:
        raise BadCall(f"{parts.scheme}:// is no Redis; there are {', '.join(sorted(_SCHEMES))}")
    return kind


def _pairs(tls: Any) -> tuple[tuple[str, Any], ...]:
    if not isinstance(tls, Mapping):
        return ()
    return tuple((key if key.startswith("ssl_") else f"ssl_{key}", item) for key, item in tls.items())


def _credentials(parts: Parts) -> dict[str, str]:
    pairs = (("username", parts.username), ("password", parts.password))
    return {name: unquote(value) for name, value in pairs if value}


def _path(parts: Parts) -> str:
    path = unquote(parts.path)
    if path.strip("/") == "":
        raise BadCall("the URL of a Unix socket names no path: redis+socket:///path/to/redis.sock")
    return path


def _address(parts: Parts, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    port = parts.port or (SENTINEL_PORT if kind == "sentinel" else given.get("port") or PORT)
    return {"host": unquote(parts.hostname or "") or given.get("host") or "localhost", "port": int(port)}


def _database(parts: Parts, query: Mapping[str, str], given: Mapping[str, Any]) -> Any:
    path = unquote(parts.path).strip("/")
    return path or query.get("virtual_host") or query.get("db") or given.get("virtual_host") or given.get("db") or 0


def _db(value: Any) -> int:
    text = str(value).strip("/") or "0"
    if not text.isdecimal():
        raise BadCall(f"the database of a Redis is a number, not {shown(value)}")
    return int(text)


_SENTINEL_TIMES = ("socket_timeout", "socket_connect_timeout")
# Beside those of TLS. One is asked over a connection that lasts for one question: the latter mean nothing there.
_SENTINEL = (
    *("username", "password", *_SENTINEL_TIMES, "socket_keepalive", "socket_keepalive_options", "retry_on_timeout"),
    *("health_check_interval", "max_connections", "client_name", "db", "decode_responses", "encoding", "protocol"),
)


def _sentinels(parts: list[Parts], given: Mapping[str, Any]) -> Sentinels:
    master = given.get("master_name")
    if not isinstance(master, str) or not master:
        raise BadCall(
            "sentinel:// needs the transport option master_name, or ?master_name= in the URL: what the Sentinels watch"
        )
    inner = dict(given.get("sentinel_kwargs") or {})
    secure = inner.pop("ssl", False) or inner.pop("connection_class", None) is not None
    tls = read_tls({key: inner.pop(key) for key in list(inner) if key.startswith("ssl_")})
    for name in inner:
        if name not in _SENTINEL:
            raise BadCall(
                f"sentinel_kwargs has {shown(name)}, which is no option of a Sentinel; {_hint(name, _SENTINEL)}"
            )
    told = [_seconds(inner[name], f"sentinel_kwargs {name}") for name in _SENTINEL_TIMES if inner.get(name) is not None]
    return Sentinels(
        tuple((unquote(each.hostname or "localhost"), each.port or SENTINEL_PORT) for each in parts),
        master,
        _number(given.get("min_other_sentinels") or 0, "min_other_sentinels"),
        inner.get("username"),
        inner.get("password"),
        tls if secure else None,
        min(told) if told else None,
    )


# --- options by name


def _hint(name: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def _number(value: Any, name: str) -> int:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        raise BadCall(f"{name} is a number, not {shown(value)}") from None


def _seconds(value: Any, name: str) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError, OverflowError):
        raise BadCall(f"{name} is a number of seconds, not {shown(value)}") from None
    if not 0 < seconds < float("inf"):
        raise BadCall(f"{name} is a number of seconds above 0, not {shown(value)}")
    return seconds


def _interval(value: Any, name: str) -> float:
    return _seconds(value, name) if value else 0.0


def _flag(value: Any, _name: str) -> bool:
    return value.lower() not in ("0", "f", "false", "n", "no", "") if isinstance(value, str) else bool(value)


def _text(value: Any, name: str) -> str:
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str):
        raise BadCall(f"{name} is a text, not of the type {type(value).__name__}")
    return value


def provider(value: Any, name: str) -> Any:
    """What gives user and password for each connection anew: such an object, or where its class is, as a text."""
    if isinstance(value, str):
        module, _, kind = value.replace(":", ".").rpartition(".")
        try:
            value = getattr(import_module(module), kind)()
        except Exception as problem:
            raise BadCall(f"{name}: cannot load {value}: {type(problem).__name__}: {problem}") from problem
    if not callable(getattr(value, "get_credentials", None)):
        raise BadCall(f"{name} has a method get_credentials, as redis.CredentialProvider; {shown(value)} has none")
    return value


def _numbers(value: Any, name: str) -> tuple[tuple[int, int], ...]:
    if not isinstance(value, Mapping):
        raise BadCall(f"{name} is a mapping of numbers to numbers, not {shown(value)}")
    return tuple((_number(option, name), _number(setting, name)) for option, setting in value.items())


def _count(value: Any, name: str) -> int:
    number = _number(value, name)
    if number < 1:
        raise BadCall(f"{name} is at least 1, not {number}")
    return number


_Reader = Callable[[Any, str], Any]
# Option -> field of Place, and who reads it.
_OPTIONS: Mapping[str, tuple[str, _Reader]] = {
    "username": ("username", _text),
    "password": ("password", _text),
    "credential_provider": ("credentials", provider),
    "socket_timeout": ("timeout", _seconds),
    "socket_connect_timeout": ("connect_timeout", _seconds),
    "socket_keepalive": ("keepalive", _flag),
    "socket_keepalive_options": ("keepalive_options", _numbers),
    "client_name": ("client_name", _text),
    "health_check_interval": ("health_check", _interval),
    "max_connections": ("max_connections", _count),
}


def _known(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a Place among the options; the others are the broker's, the store's or redis-py's own."""
    return {name: read(options[option], option) for option, (name, read) in _OPTIONS.items() if option in options}


# --- TLS

_VERIFY: Mapping[Any, str] = {
    "CERT_REQUIRED": "required",
    "CERT_OPTIONAL": "optional",
    "CERT_NONE": "none",
    "required": "required",
    "optional": "optional",
    "none": "none",
    0: "none",
    1: "optional",
    2: "required",
    None: "none",
}
_TLS = frozenset(Tls.__match_args__) - {"verify"}
_TLS_NAMES = tuple(sorted(f"ssl_{name}" for name in (*_TLS, "cert_reqs")))


def read_tls(options: Mapping[str, Any]) -> Tls:
    """`ssl_cert_reqs` and the others by redis-py's names. Certificates are verified unless that is switched off.

    One that is not known is refused: it may be what a connection's safety hangs on.
    """
    found: dict[str, Any] = {}
    for key, value in options.items():
        name = key.removeprefix("ssl_")
        if name == "cert_reqs":
            found["verify"] = _verify(value)
        elif name in _TLS and value is not None:
            read: _Reader = _TLS_READERS.get(name, _text)
            found[name] = read(value, key)
        elif name not in _TLS and value not in (None, False):
            raise BadCall(f"ssl_{name} is no TLS option here; {_hint(f'ssl_{name}', _TLS_NAMES)}")
    if found.get("verify") == "none":
        found["check_hostname"] = False
    return Tls(**found)


def _verify(value: Any) -> str:
    try:
        return _VERIFY[value]
    except (KeyError, TypeError):
        raise BadCall(f"ssl_cert_reqs is CERT_REQUIRED, CERT_OPTIONAL or CERT_NONE, not {shown(value)}") from None


_TLS_READERS: Mapping[str, _Reader] = {"check_hostname": _flag, "min_version": _number}
