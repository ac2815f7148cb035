"""Every call of the captures is evaluated here, through protocol/rules alone, and must give the captured messages.

What differs on every run is made alike first: ids by the order in which they first appear, origins, and times
that are counted from now. All else must agree to the byte.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any, NamedTuple

from celeriac.protocol.rules.calling import Call
from celeriac.protocol.rules.publishing import Facts, SaveGroup, SetChordSize
from celeriac.protocol.wire.message import Message
from tests.protocol.claims import messages
from tests.protocol.shell import REPLY_TO, App, Shell
from tests.protocol.vectors import Tally, Vector, claim

AMQP_PROPERTIES = frozenset(
    (
        *("content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to"),
        *("expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id"),
    )
)
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
NOW = re.compile(r"20(?!30|35)\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d)?")
STAMPED = re.compile(r'("stamped_headers": )\[([^\]]*)\]')


def by_appearance(text: str) -> str:
    seen: dict[str, str] = {}
    return UUID.sub(lambda match: seen.setdefault(match[0], f"id{len(seen)}"), text)


class Published(NamedTuple):
    message: Message
    exchange: str
    routing_key: str


def alike(published: Published) -> str:
    """A message as one text without what differs on every run."""
    message = published.message
    headers, properties = dict(message.headers), dict(message.properties)
    if "origin" in headers:
        headers["origin"] = "ORIGIN"
    if headers.get("stamps"):
        headers["stamps"] = dict(sorted(headers["stamps"].items()))
    if "expiration" in properties:
        properties["expiration"] = "TIME"
    for name in ("eta", "expires"):
        if isinstance(headers.get(name), str):
            headers[name] = NOW.sub("TIME", headers[name])
    content: Any = message.body.decode("latin-1")
    if message.content_type == "application/json" and "compression" not in headers:
        content = NOW.sub("TIME", content) if "task" not in headers else content
    else:
        content = repr(messages.plain(message)) if message.content_type != "application/x-python-serialize" else ""
    if "'celery.group'" in headers.get("argsrepr", ""):
        # Stock's repr of a group object loses its commas: its length is that of its tasks. It is only for display.
        headers["argsrepr"] = "GROUP"
    text = "\n".join(
        [
            json.dumps(headers),
            json.dumps(dict(sorted(properties.items()))),
            content,
            str(message.content_type),
            str(message.content_encoding),
            str(published[1:]),
        ]
    )
    return STAMPED.sub(lambda match: match[1] + "[" + ", ".join(sorted(match[2].split(", "))) + "]", text)


def on_redis(each: Published) -> Published:
    """kombu's Redis envelope always names a priority."""
    return each._replace(message=replace(each.message, properties={"priority": 0, **each.message.properties}))


def on_amqp(each: Published) -> Published:
    """AMQP has no place for a property that it does not know."""
    known = {name: value for name, value in each.message.properties.items() if name in AMQP_PROPERTIES}
    return each._replace(message=replace(each.message, properties=known))


def redis_lists(vector: Vector) -> list[list[Published]]:
    """What each list holds, oldest first."""
    found = []
    for key, record in vector.capture["redis"].items():
        if record["type"] == "list" and not key.startswith("_kombu"):
            texts = [entry["text"] for entry in reversed(record["value_head_to_tail"])]
            held = [published(json.loads(text)) for text in texts]
            if any(messages.is_task(each.message) for each in held):
                found.append(held)
    return found


def published(envelope: dict[str, Any]) -> Published:
    info = envelope["properties"]["delivery_info"]
    return Published(messages.message_of(envelope), info["exchange"], info["routing_key"])


def facts_of(vector: Vector, conf: dict[str, Any]) -> Facts:
    polled = "result_backend" in vector.call or "result_backend" in conf
    return Facts(REPLY_TO, conf.get("task_protocol", 2), "polled" if polled else "native")


def evaluated(vector: Vector) -> tuple[Shell, dict[str, Any]]:
    conf = dict((vector.notes or {}).get("conf") or {}) if isinstance(vector.notes, dict) else {}
    shell = Shell(facts_of(vector, conf))
    shell.evaluate(vector.call)
    return shell, conf


def built(shell: Shell, conf: dict[str, Any]) -> list[Published]:
    app = App({**conf, **vars(shell.app_conf)})
    sent = [
        app.message(step, by_name=index in shell.by_name)
        for index, step in enumerate(shell.steps)
        if isinstance(step, Call)
    ]
    return [Published(each.message, each.exchange, each.routing_key) for each in sent]


def compare(ours: list[Published], theirs: list[Published], tally: Tally, kind: str) -> None:
    assert by_appearance("\n\n".join(map(alike, ours))) == by_appearance("\n\n".join(map(alike, theirs)))
    for _ in theirs:
        tally.saw(kind, rebuilt=True)


@claim("redis/msg/*")
def redis_calls(vector: Vector, tally: Tally) -> None:
    shell, conf = evaluated(vector)
    ours, lists = list(map(on_redis, built(shell, conf))), redis_lists(vector)
    if any(each.exchange == "bc" for each in ours):
        # Fanout on Redis is pub/sub: nobody listened, nothing is left to compare.
        tally.saw("call, Redis")
        return
    if len(lists) == 1:
        compare(ours, lists[0], tally, "call, Redis")
    else:
        # Between lists there is no order to see.
        theirs = [message for held in lists for message in held]
        key = lambda message: by_appearance(alike(message))  # noqa: E731
        compare(sorted(ours, key=key), sorted(theirs, key=key), tally, "call, Redis")
    stored = vector.capture["redis"]
    sizes = [step.size for step in shell.steps if isinstance(step, SetChordSize)]
    assert sizes == [int(record["value"]["text"]) for key, record in stored.items() if key.endswith(".s")]
    saved = [{"result": step.tree} for step in shell.steps if isinstance(step, SaveGroup)]
    groups = [
        json.loads(record["value"]["text"])
        for key, record in stored.items()
        if key.startswith("celery-taskset-meta-") and not key.endswith((".s", ".c"))
    ]
    assert by_appearance(json.dumps(saved)) == by_appearance(json.dumps(groups))
    tally.saw("chord size or saved group", rebuilt=True)


@claim("amqp/msg/*")
def rabbit_calls(vector: Vector, tally: Tally) -> None:
    shell, conf = evaluated(vector)
    methods = [frame for _, frame in vector.frames() if frame.get("content")]
    pairs = zip(methods, messages.amqp_messages(vector), strict=True)
    theirs = [
        Published(message, method["args"]["exchange"], method["args"]["routing_key"])
        for method, message in pairs
        if messages.is_task(message)
    ]
    ours = list(map(on_amqp, built(shell, conf)))
    if not theirs:
        # This capture keeps of each message only where it went and whether it had a priority.
        seen = [(each["routing_key"], each["priority"]) for each in vector.capture["published"]]
        assert [(e.routing_key, e.message.properties.get("priority", "ABSENT")) for e in ours] == seen
        tally.saw("call, AMQP")
        return
    compare(ours, theirs, tally, "call, AMQP")
