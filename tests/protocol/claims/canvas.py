"""Every call of the captures is evaluated here, through protocol/rules alone, and must give the captured messages.

What differs on every run is made alike first: ids by the order in which they first appear, origins, and times
that are counted from now. All else must agree to the byte.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import Any, NamedTuple

from celeriac.protocol.rules.calling import Call, Parent
from celeriac.protocol.rules.canvas import group
from celeriac.protocol.rules.continuing import called_next, divided_errbacks
from celeriac.protocol.rules.publishing import Facts, SaveGroup, SetChordSize, publish
from celeriac.protocol.rules.signature import GROUP, checked
from celeriac.protocol.wire.compression import decompress
from celeriac.protocol.wire.message import Message
from celeriac.protocol.wire.serializers import accepted, decode
from tests.protocol.shell import REPLY_TO, App, Shell, numbered
from tests.protocol.vectors import Tally, Vector, claim

AMQP_PROPERTIES = frozenset(
    (
        *("content_type", "content_encoding", "headers", "delivery_mode", "priority", "correlation_id", "reply_to"),
        *("expiration", "message_id", "timestamp", "type", "user_id", "app_id", "cluster_id"),
    )
)
ONLY_REDIS = frozenset(("delivery_info", "body_encoding", "delivery_tag"))
READS = accepted(["json", "yaml", "msgpack", "pickle"])
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
        body = message.body
        if "compression" in headers:
            body = decompress(body, headers["compression"])
        content = repr(decode(body, message.content_type, message.content_encoding, READS))
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
            if any(is_task(each.message) for each in held):
                found.append(held)
    return found


def published(envelope: dict[str, Any]) -> Published:
    info = envelope["properties"]["delivery_info"]
    body = base64.b64decode(envelope["body"])
    properties = {key: value for key, value in envelope["properties"].items() if key not in ONLY_REDIS}
    message = Message(body, envelope["content-type"], envelope["content-encoding"], envelope["headers"], properties)
    return Published(message, info["exchange"], info["routing_key"])


def on_rabbit(frame: dict[str, Any]) -> Published:
    content = frame["content"]
    properties = dict(content["properties"])
    headers, kind, encoding = (properties.pop(key) for key in ("headers", "content_type", "content_encoding"))
    message = Message(base64.b64decode(content["body_b64"]), kind, encoding, headers, properties)
    return Published(message, frame["args"]["exchange"], frame["args"]["routing_key"])


def is_task(message: Message) -> bool:
    """Of protocol 2 or 1; the events that are published beside the tasks are not."""
    return "task" in message.headers or message.body[:9] == b'{"task": ' or message.body[:1] == b"\x80"


def facts_of(vector: Vector, conf: dict[str, Any]) -> Facts:
    polled = "result_backend" in vector.call or "result_backend" in conf
    return Facts(REPLY_TO, conf.get("task_protocol", 2), "polled" if polled else "native")


def evaluated(vector: Vector) -> tuple[Shell, dict[str, Any]]:
    conf = dict((vector.notes or {}).get("conf") or {}) if isinstance(vector.notes, dict) else {}
    shell = Shell(facts_of(vector, conf))
    shell.evaluate(vector.call)
    return shell, conf


def outgoing(app: App, call: Call, *, by_name: bool = False) -> Published:
    sent = app.message(call, by_name=by_name)
    return Published(sent.message, sent.exchange, sent.routing_key)


def built(shell: Shell, conf: dict[str, Any]) -> list[Published]:
    app = App({**conf, **vars(shell.app_conf)})
    return [
        outgoing(app, step, by_name=index in shell.by_name)
        for index, step in enumerate(shell.steps)
        if isinstance(step, Call)
    ]


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
    frames = [on_rabbit(frame) for _, frame in vector.frames() if frame.get("content")]
    theirs = [each for each in frames if is_task(each.message)]
    ours = list(map(on_amqp, built(shell, conf)))
    if not theirs:
        # This capture keeps of each message only where it went and whether it had a priority.
        seen = [(each["routing_key"], each["priority"]) for each in vector.capture["published"]]
        assert [(e.routing_key, e.message.properties.get("priority", "ABSENT")) for e in ours] == seen
        tally.saw("call, AMQP")
        return
    compare(ours, theirs, tally, "call, AMQP")


# --- what workers sent --------------------------------------------------------------------------------------


def pushed(vector: Vector) -> list[Published]:
    """Every task message that was pushed, in the order of the trace."""
    found = []
    for command in vector.commands():
        if command.name == "LPUSH" and b'"delivery_info"' in command.args[-1]:
            each = published(json.loads(command.args[-1]))
            if is_task(each.message) and each.message.content_type == "application/json":
                found.append(each)
    return found


def metas(vector: Vector) -> dict[str, dict[str, Any]]:
    """The last result document of each task."""
    found = {}
    for command in vector.commands():
        if command.name == "SETEX" and b"celery-task-meta-" in command.args[1] and command.args[3][:1] == b"{":
            meta = json.loads(command.args[3])
            found[meta["task_id"]] = meta
    return found


def continued(parent: Published, meta: dict[str, Any], facts: Facts) -> list[Any]:
    """What follows from a task's outcome, as its message says it."""
    _, _, embed = json.loads(parent.message.body)
    assert facts.parent is not None
    lineage = {"parent_id": facts.parent.id, "root_id": facts.parent.root_id}
    following: list[Any] = []
    if meta["status"] == "SUCCESS":
        value, priority = meta["result"], facts.parent.priority if facts.inherit_priority else None
        callbacks = [checked(callback) for callback in embed["callbacks"] or ()]
        is_group = lambda sig: sig["subtask_type"] == GROUP  # noqa: E731
        following += called_next(callbacks, embed["chain"], {**lineage, "priority": priority}, is_group, group)
    else:
        _, away = divided_errbacks(embed["errbacks"], lambda errback: errback["task"] == "wire.errback_new")
        value = facts.parent.id
        following += [(group(away), lineage)] if away else []
    ids = numbered()
    return [
        step
        for sig, options in following
        for step in publish(checked(sig), (value,), None, options, ids=ids, facts=facts)
    ]


@claim("redis/canvas/*", "redis/chord/*")
def worker_continuations(vector: Vector, tally: Tally) -> None:
    conf = dict((vector.notes or {}).get("conf") or {}) if isinstance(vector.notes, dict) else {}
    sent, stored = pushed(vector), metas(vector)
    app = App(conf)
    for number, parent in enumerate(sent):
        headers = parent.message.headers
        embed = json.loads(parent.message.body)[2]
        tally.saw("workflow message")
        meta = stored.get(headers["id"])
        if meta is None or any(each.message.headers["id"] == headers["id"] for each in sent[number + 1 :]):
            continue  # replaced: it ended without a result of its own
        facts = Facts(
            REPLY_TO,
            chords="polled" if "unlock" in vector.case else "native",
            parent=Parent(headers["id"], headers["root_id"], parent.message.properties.get("priority")),
            inherit_priority=bool(conf.get("task_inherit_parent_priority")),
        )
        steps = continued(parent, meta, facts)
        ours = [on_redis(outgoing(app, step)) for step in steps if isinstance(step, Call)]
        if ours:
            names = {each.message.headers["task"] for each in ours}
            children = [each for each in sent if each.message.headers["parent_id"] == headers["id"]]
            children = [each for each in children if each.message.headers["task"] in names]
            compare(ours, children[: len(ours)], tally, "continuation")
        if embed["chord"]:
            chord_bodies(app, embed["chord"], sent, facts, tally)


def chord_bodies(app: App, body: dict[str, Any], sent: list[Published], facts: Facts, tally: Tally) -> None:
    """The body's message, once the header task that this one reports to was the last."""
    assert facts.parent is not None
    bodies = [
        each
        for each in sent
        if each.message.headers["id"] == body["options"].get("task_id")
        and each.message.headers["parent_id"] == facts.parent.id
    ]
    for each in bodies:
        results = json.loads(each.message.body)[0][0]
        steps = [
            step for step in publish(checked(body), (results,), ids=numbered(), facts=facts) if isinstance(step, Call)
        ]
        compare([on_redis(outgoing(app, step)) for step in steps[:1]], [each], tally, "chord body")
