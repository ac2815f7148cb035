"""Every method of AMQP 0-9-1 with RabbitMQ's additions, as a table, and the codec that the table drives.

Law: the table is the protocol. Fields named `-` are reserved: written empty, read and forgotten.
Short texts of a method are names; what is not UTF-8 in one is read with its bytes shown as `\\xff`, so that one odd
routing key costs nobody the connection.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from struct import Struct, error

from ...errors import BadCall, BadMessage, shown
from ...hints import Any
from ...values import dataclass
from .table import read_table, write_table

_TABLE = """
10.10  connection.start       octet:version_major octet:version_minor table:server_properties
                              longstr:mechanisms longstr:locales
10.11  connection.start-ok    table:client_properties shortstr:mechanism longstr:response shortstr:locale
10.20  connection.secure      longstr:challenge
10.21  connection.secure-ok   longstr:response
10.30  connection.tune        short:channel_max long:frame_max short:heartbeat
10.31  connection.tune-ok     short:channel_max long:frame_max short:heartbeat
10.40  connection.open        shortstr:virtual_host shortstr:capabilities bit:insist
10.41  connection.open-ok     shortstr:known_hosts
10.50  connection.close       short:reply_code shortstr:reply_text short:class_id short:method_id
10.51  connection.close-ok
10.60  connection.blocked     shortstr:reason
10.61  connection.unblocked
10.70  connection.update-secret     longstr:new_secret shortstr:reason
10.71  connection.update-secret-ok
20.10  channel.open           shortstr:out_of_band
20.11  channel.open-ok        longstr:channel_id
20.20  channel.flow           bit:active
20.21  channel.flow-ok        bit:active
20.40  channel.close          short:reply_code shortstr:reply_text short:class_id short:method_id
20.41  channel.close-ok
40.10  exchange.declare       short:- shortstr:exchange shortstr:type bit:passive bit:durable bit:auto_delete
                              bit:internal bit:no_wait table:arguments
40.11  exchange.declare-ok
40.20  exchange.delete        short:- shortstr:exchange bit:if_unused bit:no_wait
40.21  exchange.delete-ok
40.30  exchange.bind          short:- shortstr:destination shortstr:source shortstr:routing_key bit:no_wait
                              table:arguments
40.31  exchange.bind-ok
40.40  exchange.unbind        short:- shortstr:destination shortstr:source shortstr:routing_key bit:no_wait
                              table:arguments
40.51  exchange.unbind-ok
50.10  queue.declare          short:- shortstr:queue bit:passive bit:durable bit:exclusive bit:auto_delete
                              bit:no_wait table:arguments
50.11  queue.declare-ok       shortstr:queue long:message_count long:consumer_count
50.20  queue.bind             short:- shortstr:queue shortstr:exchange shortstr:routing_key bit:no_wait
                              table:arguments
50.21  queue.bind-ok
50.30  queue.purge            short:- shortstr:queue bit:no_wait
50.31  queue.purge-ok         long:message_count
50.40  queue.delete           short:- shortstr:queue bit:if_unused bit:if_empty bit:no_wait
50.41  queue.delete-ok        long:message_count
50.50  queue.unbind           short:- shortstr:queue shortstr:exchange shortstr:routing_key table:arguments
50.51  queue.unbind-ok
60.10  basic.qos              long:prefetch_size short:prefetch_count bit:global
60.11  basic.qos-ok
60.20  basic.consume          short:- shortstr:queue shortstr:consumer_tag bit:no_local bit:no_ack bit:exclusive
                              bit:no_wait table:arguments
60.21  basic.consume-ok       shortstr:consumer_tag
60.30  basic.cancel           shortstr:consumer_tag bit:no_wait
60.31  basic.cancel-ok        shortstr:consumer_tag
60.40  basic.publish          short:- shortstr:exchange shortstr:routing_key bit:mandatory bit:immediate
60.50  basic.return           short:reply_code shortstr:reply_text shortstr:exchange shortstr:routing_key
60.60  basic.deliver          shortstr:consumer_tag longlong:delivery_tag bit:redelivered shortstr:exchange
                              shortstr:routing_key
60.70  basic.get              short:- shortstr:queue bit:no_ack
60.71  basic.get-ok           longlong:delivery_tag bit:redelivered shortstr:exchange shortstr:routing_key
                              long:message_count
60.72  basic.get-empty        shortstr:cluster_id
60.80  basic.ack              longlong:delivery_tag bit:multiple
60.90  basic.reject           longlong:delivery_tag bit:requeue
60.100 basic.recover-async    bit:requeue
60.110 basic.recover          bit:requeue
60.111 basic.recover-ok
60.120 basic.nack             longlong:delivery_tag bit:multiple bit:requeue
85.10  confirm.select         bit:nowait
85.11  confirm.select-ok
90.10  tx.select
90.11  tx.select-ok
90.20  tx.commit
90.21  tx.commit-ok
90.30  tx.rollback
90.31  tx.rollback-ok
"""

RESERVED = "-"


@dataclass(frozen=True, slots=True)
class Method:
    """One line of the table."""

    name: str
    class_id: int
    method_id: int
    fields: tuple[tuple[str, str], ...]  # kind, name

    @property
    def signature(self) -> bytes:
        return _SIGNATURE.pack(self.class_id, self.method_id)


_SIGNATURE = Struct(">HH")


def _parse(table: str) -> tuple[Method, ...]:
    methods: list[Method] = []
    for line in table.strip().splitlines():
        words = line.split()
        if line[0] != " ":
            class_id, _, method_id = words.pop(0).partition(".")
            methods.append(Method(words.pop(0), int(class_id), int(method_id), ()))
        last = methods.pop()
        added = tuple((kind, name) for kind, _, name in (word.partition(":") for word in words))
        methods.append(Method(last.name, last.class_id, last.method_id, last.fields + added))
    return tuple(methods)


METHODS = _parse(_TABLE)
BY_NAME: Mapping[str, Method] = {method.name: method for method in METHODS}
_BY_SIGNATURE = {method.signature: method for method in METHODS}


def name_of(class_id: int, method_id: int) -> str:
    """The name of the method that a close complains about; empty when it names none."""
    for method in METHODS:
        if (method.class_id, method.method_id) == (class_id, method_id):
            return method.name
    return ""


# -- writing --


def write_method(name: str, args: Mapping[str, Any]) -> bytes:
    """The payload of a method frame. Fields that are left out are zero, empty or false."""
    method = BY_NAME.get(name)
    if method is None:
        raise BadCall(f"AMQP has no method {shown(name)}")
    unknown = args.keys() - {field for _, field in method.fields}
    if unknown or RESERVED in args:
        raise BadCall(f"{name} has no field {', '.join(sorted(map(str, unknown or [RESERVED])))}")
    parts = [method.signature]
    bits, free = 0, 1
    for kind, field in method.fields:
        if kind == "bit":
            if args.get(field):
                bits |= free
            free <<= 1
            continue
        if free > 1:
            parts.append(bytes((bits,)))
            bits, free = 0, 1
        try:
            parts.append(_WRITE[kind](args.get(field)))
        except BadCall as why:
            raise BadCall(f"{name}: {field}: {why}") from None
    if free > 1:
        parts.append(bytes((bits,)))
    return b"".join(parts)


def write_short_text(value: str | bytes | None) -> bytes:
    raw = _raw(value)
    if len(raw) > 255:  # noqa: PLR2004 - the length is one byte
        raise BadCall(f"{shown(value)} takes {len(raw)} bytes, 255 are possible")
    return bytes((len(raw),)) + raw


def _write_long_text(value: str | bytes | None) -> bytes:
    raw = _raw(value)
    return _LONG.pack(len(raw)) + raw


def _raw(value: object) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    if value is None:
        return b""
    if isinstance(value, bytes):
        return value
    raise BadCall(f"expected text, got {shown(value)}")


def _write_arguments(value: object) -> bytes:
    if value is not None and not isinstance(value, Mapping):
        raise BadCall(f"expected a mapping, got {shown(value)}")
    return write_table(value or {})


def _number(struct: Struct) -> Callable[[Any], bytes]:
    def write(value: Any) -> bytes:
        try:
            return struct.pack(value or 0)
        except error:
            raise BadCall(f"expected an integer of {struct.size} bytes, got {shown(value)}") from None

    return write


_OCTET, _SHORT, _LONG, _LONGLONG = Struct(">B"), Struct(">H"), Struct(">I"), Struct(">Q")

_WRITE: dict[str, Callable[[Any], bytes]] = {
    "octet": _number(_OCTET),
    "short": _number(_SHORT),
    "long": _number(_LONG),
    "longlong": _number(_LONGLONG),
    "shortstr": write_short_text,
    "longstr": _write_long_text,
    "table": _write_arguments,
}


# -- reading --


def read_method(payload: bytes) -> tuple[str, dict[str, Any]]:
    """A method frame's payload: the method's name and its fields."""
    method = _BY_SIGNATURE.get(payload[:4])
    if method is None:
        raise BadMessage("AMQP method", f"unknown: {payload[:4].hex(' ')}")
    try:
        args, at = _read_fields(method, payload)
    except (error, IndexError):
        raise BadMessage(method.name, "ends inside a field") from None
    if at != len(payload):
        raise BadMessage(method.name, f"its fields take {at} bytes, {len(payload)} are there")
    return method.name, args


def _read_fields(method: Method, payload: bytes) -> tuple[dict[str, Any], int]:
    args: dict[str, Any] = {}
    at, bits, left = 4, 0, 0
    for kind, field in method.fields:
        value: Any
        if kind == "bit":
            if not left:
                bits, left, at = payload[at], 8, at + 1
            value, bits, left = bool(bits & 1), bits >> 1, left - 1
        else:
            left = 0
            value, at = _READ[kind](payload, at)
        if field != RESERVED:
            args[field] = value
    return args, at


def read_short_text(payload: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + payload[at]
    raw = payload[at + 1 : end]
    try:
        return raw.decode(), end
    except UnicodeDecodeError:
        return raw.decode("utf-8", "backslashreplace"), end


def _read_long_text(payload: bytes, at: int) -> tuple[str | bytes, int]:
    end = at + 4 + _LONG.unpack_from(payload, at)[0]
    raw = payload[at + 4 : end]
    try:
        return raw.decode(), end
    except UnicodeDecodeError:
        return raw, end


def _unpack(struct: Struct) -> Callable[[bytes, int], tuple[int, int]]:
    def read(payload: bytes, at: int) -> tuple[int, int]:
        return struct.unpack_from(payload, at)[0], at + struct.size

    return read


_READ: dict[str, Callable[[bytes, int], tuple[Any, int]]] = {
    "octet": _unpack(_OCTET),
    "short": _unpack(_SHORT),
    "long": _unpack(_LONG),
    "longlong": _unpack(_LONGLONG),
    "shortstr": read_short_text,
    "longstr": _read_long_text,
    "table": read_table,
}
