"""Messages that real clients have sent, byte for byte as they were recorded, and some that were written by hand.

They stand in tests/golden; those of clients that no machine of today can run (Celery 3.1 wants Python 3.6) are
proven here all the same. Law: what is sent is what was recorded, but that moments are moved to now. The worker has
understood a recording when it has stored just the results that belong to it.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import amqp

from interop.brokers import Broker
from interop.capabilities import QUICK, Patience, Wrong, until
from interop.matrix import Cell, Cells, How, Place, short
from interop.peers import ROOT, Peer
from interop.processes import PeerFailed, Worker

GOLDEN = ROOT / "tests" / "golden"
RECORDED = "recorded messages"
BROKERS = ("redis", "rabbitmq")
CLIENTS = {
    "celery31": "Celery 3.1.26",
    "celery44": "Celery 4.4.7",
    "celery52": "Celery 5.2.7",
    "gocelery": "gocelery",
    "nodecelery": "node-celery",
    "celerynode": "celery-node",
    "celeryts": "celery-ts",
    "rusty-celery": "rusty-celery",
}
# What the recorded calls come to, where the recording itself holds no results of all of them.
CHORD = [3, 7, 10]
ELSEWHERE = {"nodecelery/redis-produce-queue"}  # goes to a queue that nobody here reads
# By hand: what lacks this or that and can be understood nevertheless; each adds 1 and 2.
ODD_REDIS = {
    "no-delivery-info": "without delivery_info",
    "no-delivery-tag": "without a delivery tag",
    "delivery-tag-int": "with a number for its delivery tag",
    "no-content-type": "without a content type",
    "no-content-encoding": "without a content encoding",
    "body-plain-no-encoding": "its body plain text, its encoding not told",
    "minimal-v2-headers": "with the headers `task` and `id` alone",
    "timelimit-missing": "without timelimit",
    "ignore-result-missing": "without ignore_result",
    "embed-empty": "its embed an empty object",
    "embed-null": "its embed null",
    "extra-embed-keys": "its embed with keys that nobody knows",
    "hybrid": "protocol 1 in its body, protocol 2 in its headers",
    "v1-minimal": "protocol 1 with `task` and `id` and arguments alone",
    "priority-null": "its priority null",
    "retries-string": "its retries a text",
    "eta-z": "its ETA ending in Z",
    "expires-z": "its expiry ending in Z",
}
ODD_AMQP = {
    "v1-bare": "protocol 1, no property but the content type",
    "v2-no-content-type": "without a content type",
    "v2-no-encoding": "without a content encoding",
    "v2-correlation-id-differs": "its correlation id another's",
    "v2-no-correlation-id-with-reply-to": "without a correlation id",
    "v2-no-reply-to": "without reply_to",
}
# What nobody can understand: the worker must outlive it and do the next.
BROKEN = (
    "not-json",
    "json-list",
    "json-number",
    "empty-object",
    "no-properties",
    "body-not-base64",
    "body-two-elements",
)
BROKEN_AMQP = ("not-json", "v2-no-id", "v2-two-elements")

MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?"
MOMENTS = re.compile(rf'("(?:eta|expires)"\s*:\s*")({MOMENT})')


Sender = Callable[[Broker], None]


def _gopher(version: int) -> bytes:
    """As gopher-celery's sources write it (protocol/serializer.go, json.go); the client itself cannot be installed."""
    name, moment = "wire.add", datetime.now(timezone.utc).isoformat(timespec="seconds")
    call = f"60b4e2e0-0000-4000-8000-00000000000{version}"
    headers: dict[str, Any] = {}
    given = {"id": call, "task": name, "args": [1, 2], "kwargs": {}, "expires": None, "retries": 0, "eta": moment}
    body = json.dumps({**given, "utc": True}, separators=(",", ":")) + "\n"
    if version == 2:
        headers = {
            "lang": "go",
            "id": call,
            "root_id": call,
            "task": name,
            "origin": "7@go",
            "expires": None,
            "retries": 0,
        }
        body = '[[1,2]\n,{}\n,{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'
    properties = {
        "delivery_info": {"exchange": "celery", "routing_key": "celery"},
        "correlation_id": call,
        "reply_to": "60b4e2e0-0000-4000-8000-000000000000",
        "body_encoding": "base64",
        "delivery_tag": f"60b4e2e0-0000-4000-9000-00000000000{version}",
        "delivery_mode": 2,
        "priority": 0,
    }
    envelope = {
        "body": base64.b64encode(body.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    return json.dumps(envelope, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Recording:
    """One cell: what is sent, and the results that it must come to."""

    name: str
    title: str
    send: Sender
    expected: list[Any]


def trial(worker: Peer, broker: Broker, only: Sequence[str] = (), patience: Patience = QUICK) -> Cells:
    """What this worker makes of each recording."""
    chosen = [each for each in recordings(broker.name) if not only or each.name in only]
    cells: dict[str, Cell] = {}
    at_work: Worker | None = None
    with tempfile.TemporaryDirectory(prefix="celeriac-interop-") as folder:
        try:
            for each in chosen:
                if at_work is None:
                    broker.sweep()
                    at_work = Worker(worker, broker.variables(worker, "celery", {}), Path(folder) / "worker").wait()
                cells[each.name] = _tried(each, broker, patience)
                if at_work.process.poll() is not None:
                    cells[each.name] = Cell(How.cannot, "the worker ended")
                if cells[each.name].how is How.cannot:  # whatever state that has left it in
                    at_work.stop()
                    at_work = None
        except PeerFailed as error:
            cells |= {each.name: Cell(How.cannot, short(str(error))) for each in chosen if each.name not in cells}
        finally:
            if at_work is not None:
                at_work.stop()
    return {Place(RECORDED, worker.name, broker.name, name): cell for name, cell in cells.items()}


def _tried(each: Recording, broker: Broker, patience: Patience) -> Cell:
    before = set(_metas(broker))
    wanted = sorted(map(json.dumps, each.expected))
    seen: list[str] = []

    def come() -> bool:
        nonlocal seen
        found = [meta for key, meta in _metas(broker).items() if key not in before]
        seen = sorted(json.dumps(meta.get("result")) for meta in found if meta.get("status") == "SUCCESS")
        return seen == wanted

    each.send(broker)
    try:
        until(come, "", patience.wait)
    except Wrong:
        return Cell(How.cannot, f"stored {', '.join(seen)}" if seen else "nothing was stored")
    return Cell(How.works)


def _metas(broker: Broker) -> dict[bytes, Any]:
    assert broker.store
    keys = broker.store.call("KEYS", "celery-task-meta-*")
    found = ((key, broker.store.call("GET", key)) for key in keys)
    return {key: json.loads(raw) for key, raw in found if raw is not None}


@cache
def recordings(broker: str) -> tuple[Recording, ...]:
    return tuple(_redis() if broker == "redis" else _rabbitmq())


def _capture(path: str) -> dict[str, Any]:
    capture: dict[str, Any] = json.loads((GOLDEN / f"{path}.json").read_text())["capture"]
    return capture


def _results(capture: dict[str, Any], case: str) -> list[Any]:
    stored = capture.get("keys_after_worker") or capture.get("results") or {}
    values = [json.loads(each["value"]["text"]) for key, each in stored.items() if key.startswith("celery-task-meta-")]
    if case.endswith("-chord"):
        return CHORD
    return [value["result"] for value in values] or [3]


def _redis() -> Iterator[Recording]:
    for folder, client in CLIENTS.items():
        for path in sorted((GOLDEN / "client" / folder).glob("redis-produce-*.json")):
            case = f"{folder}/{path.stem}"
            if case in ELSEWHERE:
                continue
            capture = _capture(f"client/{case}")
            what = path.stem.removeprefix("redis-produce-")
            keys = capture.get("list_entries") or capture.get("keys_after_publish") or {}
            lists = {key: each["value_head_to_tail"] for key, each in keys.items() if each["type"] == "list"}
            raw = {key: [base64.b64decode(entry["b64"]) for entry in each] for key, each in lists.items()}
            beside = {
                key: base64.b64decode(each["value"]["b64"]) for key, each in keys.items() if each["type"] == "string"
            }
            pushed = _pusher(raw or {"celery": [base64.b64decode(capture["entry"]["b64"])]}, beside)
            yield Recording(f"redis/{case}", f"{client}: {what}", pushed, _results(capture, case))
    for version in (1, 2):
        title = f"gopher-celery, as its sources tell: protocol {version}"
        yield Recording(f"redis/gopher-celery/{version}", title, _pusher({"celery": [_gopher(version)]}), [3])
    for name, title in ODD_REDIS.items():
        raw = {"celery": [base64.b64decode(_capture(f"redis/odd/{name}")["pushed"]["b64"])]}
        yield Recording(f"odd/{name}", f"by hand: {title}", _pusher(raw), [3])
    poison = [base64.b64decode(_capture(f"redis/odd/{name}")["pushed"]["b64"]) for name in BROKEN]
    good = base64.b64decode(_capture("redis/odd/delivery-tag-int")["pushed"]["b64"])
    yield Recording("odd/broken", "by hand: broken ones, then one that adds", _pusher({"celery": [good, *poison]}), [3])


def _pusher(lists: dict[str, list[bytes]], beside: Mapping[str, bytes] = MappingProxyType({})) -> Sender:
    """Pushes lists as they are read, head to tail, the way clients do: the oldest, at the tail, came first."""

    def send(broker: Broker) -> None:
        assert broker.store
        for key, value in beside.items():
            broker.store.call("SET", key, value)
        for key, entries in lists.items():
            for entry in reversed(entries):
                broker.store.call("LPUSH", key, _today(entry))

    return send


def _today(message: bytes) -> bytes:
    """An entry of a list with its moments moved; what is broken stays as it is."""
    try:
        body = json.loads(message)["body"]
        plain = base64.b64decode(body, validate=True).decode()
    except (ValueError, KeyError, TypeError):
        plain = body = ""
    headers, within = _moved(message.decode(), plain)
    return (
        headers.replace(body, base64.b64encode(within.encode()).decode()).encode()
        if within != plain
        else headers.encode()
    )


def _moved(*texts: str) -> list[str]:
    """The ETA comes in a second; the expiry keeps its distance from it, or is a minute away."""
    found = dict(re.findall(rf'"(eta|expires)"\s*:\s*"({MOMENT})', " ".join(texts)))
    if not found:
        return list(texts)
    now = datetime.now(timezone.utc).replace(tzinfo=None)
    first = datetime.fromisoformat(found.get("eta") or found["expires"])
    shift = now + timedelta(seconds=1 if "eta" in found else 60) - first

    def later(match: re.Match[str]) -> str:
        return match[1] + (datetime.fromisoformat(match[2]) + shift).isoformat(timespec="milliseconds")

    return [MOMENTS.sub(later, text) for text in texts]


def _rabbitmq() -> Iterator[Recording]:
    for folder, client in CLIENTS.items():
        for path in sorted((GOLDEN / "client" / folder).glob("amqp-produce*.json")):
            case = f"{folder}/{path.stem}"
            capture = _capture(f"client/{case}")
            sent = [
                (base64.b64decode(content["body_b64"]).decode("latin1"), content["properties"])
                for frame in capture["frames"]
                if frame.get("method") == "basic.publish" and (content := frame["content"])
            ]
            what = path.stem.removeprefix("amqp-produce").removeprefix("-") or "countdown and priority"
            yield Recording(f"amqp/{case}", f"{client}: {what}", _publisher(sent), _results(capture, case))
    for name, title in ODD_AMQP.items():
        yield Recording(f"amqp/odd/{name}", f"by hand: {title}", _publisher([_by_hand(name)]), [3])
    sent = [*map(_by_hand, BROKEN_AMQP), _by_hand("v1-bare")]
    yield Recording("amqp/odd/broken", "by hand: broken ones, then one that adds", _publisher(sent), [3])


def _by_hand(name: str) -> tuple[str, dict[str, Any]]:
    capture = _capture(f"amqp/odd/{name}")
    properties = dict(capture["properties"])
    if "application_headers" in properties:
        properties["headers"] = properties.pop("application_headers")
    return capture["body"], properties


def _publisher(messages: list[tuple[str, dict[str, Any]]]) -> Sender:
    def send(broker: Broker) -> None:
        with broker.channel() as channel:
            for body, properties in messages:
                rest = dict(properties)
                raw, headers = _moved(body, json.dumps(rest.pop("headers", None)))
                if headers != "null":
                    rest["application_headers"] = json.loads(headers)
                channel.basic_publish(amqp.Message(raw.encode("latin1"), **rest), routing_key="celery")

    return send
