"""Where a RabbitMQ is and how one logs in: kombu's URLs and options as one value.

Law: what kombu reads from a URL is read alike (percent-encoded parts, the virtual host as the path, options in the
query); what stands in the URL wins over the options. A password is never shown.
"""

from __future__ import annotations

from collections.abc import Mapping

from ...protocol.errors import BadCall, shown
from ...protocol.hints import TYPE_CHECKING, Any
from ...protocol.values import dataclass, field
from ..urls import pairs, split, unquote
from . import unknown

if TYPE_CHECKING:
    import socket
    import ssl

    from ..veil import Veil

PORT, TLS_PORT = 5672, 5671
HEARTBEAT = 60


OPTIONS = frozenset(
    {
        *("userid", "username", "password", "virtual_host", "port", "login_method", "heartbeat", "ssl"),
        *("timeout", "connect_timeout", "read_timeout", "write_timeout", "confirm_timeout", "confirm_publish"),
        *("mandatory", "delayed_delivery", "client_properties", "socket_settings", "failover_strategy"),
    }
)


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int
    user: str = "guest"
    password: str = field(default="guest", repr=False)
    virtual_host: str = "/"
    tls: Mapping[str, Any] | None = None
    heartbeat: int = HEARTBEAT
    login_methods: tuple[str, ...] = ("PLAIN", "AMQPLAIN")

    def __str__(self) -> str:
        return f"{self.host}:{self.port}, virtual host {self.virtual_host}"


def parse(url: str, options: Mapping[str, Any]) -> tuple[Address, dict[str, Any]]:
    """The address, and all options: those of the caller and those of the URL."""
    scheme, _, rest = url.partition("://")
    try:
        parts = split(f"amqp://{rest}")
    except ValueError as why:
        raise BadCall(f"broker URL of scheme {scheme}: {why}") from None
    every = {**options, **pairs(parts.query)}
    unknown.name("RabbitMQ", "transport option", every, OPTIONS | unknown.OF_WHO_SENDS)
    tls = _tls(every, secure=scheme == "amqps")
    password = unquote(parts.password) if parts.password else every.get("password") or "guest"
    login = every.get("login_method")
    address = Address(
        host=unquote(parts.hostname or "") or "127.0.0.1",
        port=parts.port or (PORT if tls is None else TLS_PORT),
        user=unquote(parts.username or "") or every.get("userid") or "guest",
        password=password() if callable(password) else password,
        virtual_host=unquote(parts.path[1:]) or every.get("virtual_host") or "/",
        tls=tls,
        heartbeat=_heartbeat(number(every, "heartbeat", HEARTBEAT)),
        login_methods=(login.upper(),) if login else ("PLAIN", "AMQPLAIN"),
    )
    return address, every


def number(options: Mapping[str, Any], name: str, default: float) -> float:
    value = options.get(name)
    if value is None or value == "":
        return default
    try:
        return float(value)
    except (TypeError, ValueError):
        raise BadCall(f"broker option {name}: a number of seconds, not {shown(value)}") from None


def deadline(options: Mapping[str, Any], default: float) -> float:
    """Of every operation: ours, or else the longer of py-amqp's two."""
    longer = max(number(options, "read_timeout", 0), number(options, "write_timeout", 0))
    return number(options, "timeout", longer or default)


def flag(options: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = options.get(name)
    if isinstance(value, str):
        return value.lower() not in {"", "0", "false", "no", "off"}
    return default if value is None else bool(value)


def _heartbeat(seconds: float) -> int:
    """Whole seconds on the wire; a fraction asks for a heartbeat too."""
    return max(1, round(seconds)) if seconds > 0 else 0


# -- TLS --


def _tls(options: Mapping[str, Any], *, secure: bool) -> Mapping[str, Any] | None:
    given = options.get("ssl")
    named = {name[4:]: value for name, value in options.items() if name.startswith("ssl_")}
    if isinstance(given, Mapping):
        return {**{name.removeprefix("ssl_"): value for name, value in given.items()}, **named}
    return named if given or named or secure else None


_TLS_OPTIONS = (
    *("keyfile", "certfile", "cert_reqs", "ca_certs", "server_hostname", "ciphers", "version", "ssl_version"),
    *("check_hostname", "context", "tls_minimum_version", "tls_maximum_version"),
)


def wrap(plain: socket.socket, address: Address) -> Veil:
    """The socket with TLS around it, the handshake still to do. Options are py-amqp's, by its rules."""
    options = dict(address.tls or {})
    unknown = sorted(set(options).difference(_TLS_OPTIONS))
    if unknown:
        raise BadCall(f"broker TLS options: {', '.join(unknown)} is not one of {', '.join(_TLS_OPTIONS)}")
    hostname = options.get("server_hostname")
    if "server_hostname" in options and hostname is None:
        hostname = address.host
    context = _context(options, named=hostname is not None)
    from ..veil import Veil

    return Veil(plain, context, hostname)


_CERT_REQS = {"none": "CERT_NONE", "optional": "CERT_OPTIONAL", "required": "CERT_REQUIRED"}


def _context(options: Mapping[str, Any], *, named: bool) -> ssl.SSLContext:
    import ssl

    if options.get("context"):
        wanted = dict(options["context"])
        check = wanted.pop("check_hostname", None)
        made = ssl.create_default_context(**wanted)
        made.check_hostname = bool(check)
        return made
    context = ssl.SSLContext(options.get("ssl_version") or options.get("version") or ssl.PROTOCOL_TLS_CLIENT)
    for limit, attribute in (("tls_minimum_version", "minimum_version"), ("tls_maximum_version", "maximum_version")):
        if options.get(limit) is not None:
            setattr(context, attribute, options[limit])
    if options.get("certfile"):
        context.load_cert_chain(options["certfile"], options.get("keyfile"))
    if options.get("ca_certs"):
        context.load_verify_locations(options["ca_certs"])
    if options.get("ciphers"):
        context.set_ciphers(options["ciphers"])
    reqs = options.get("cert_reqs")
    if isinstance(reqs, str):
        name = reqs if reqs.startswith("CERT_") else _CERT_REQS.get(reqs.lower(), "")
        if not hasattr(ssl, name or "?"):
            raise BadCall(f"broker TLS option cert_reqs: none, optional or required, not {reqs!r}")
        reqs = getattr(ssl, name)
    # The certificate's name is checked only where one was asked for: py-amqp's rule.
    context.check_hostname = named and reqs != ssl.CERT_NONE
    if reqs is not None:
        context.verify_mode = reqs
    if not options.get("ca_certs") and context.verify_mode != ssl.CERT_NONE:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return context
