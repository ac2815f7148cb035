"""What is asked of a pair: each capability is a function that sends, waits and compares, and complains in words.

`Pair` is one producer and one worker on one broker. Law: a check that returns has seen the right value; a library that
has no such thing says so itself (`Cannot`), and every other disagreement is `Wrong`.
"""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interop.brokers import Broker
from interop.processes import Answer, Producer


@dataclass(frozen=True)
class Patience:
    """How long is waited: for what must come, for all who may answer a broadcast, until what is asked for later."""

    wait: float
    reply: float
    soon: float


QUICK = Patience(wait=4.0, reply=0.7, soon=1.5)
BRIEF = Patience(wait=1.0, reply=0.7, soon=1.5)  # where the plainest result never came
HASTY = Patience(wait=2.0, reply=0.7, soon=1.5)  # where it is known what must work, and will be tried again
CALM = Patience(wait=30.0, reply=3.0, soon=5.0)  # on a machine that has much else to do


class Wrong(Exception):
    """The cell does not work, and this is what was seen."""


class Cannot(Exception):
    """The peer has no such thing, and says so."""


@dataclass
class Pair:
    producer: Producer
    broker: Broker
    lacks: Mapping[str, str]
    python_worker: bool
    settings: Mapping[str, Any] = field(default_factory=dict)
    by_keyword: bool = False
    named: str = "interop.{}"
    patience: Patience = QUICK
    by_trace: bool = False

    def ask(self, op: str, **more: Any) -> Answer:
        more.setdefault("timeout", self.patience.wait)
        answer = self.producer.ask({"op": op, "settings": dict(self.settings), **more})
        if "cannot" in answer:
            raise Cannot(answer["cannot"])
        if "error" in answer:
            raise Wrong(answer["error"])
        return answer

    def canvas(self, shape: Any, **more: Any) -> Answer:
        return self.ask("canvas", shape=named(shape, self.named), **more)

    def call(self, task: str, *args: Any, **more: Any) -> Answer:
        self.needs(task)
        return self.ask("call", task=self.named.format(task), args=list(args), **more)

    def echo(self, value: Any, **more: Any) -> None:
        """It comes back as it was sent; who has no such type sends and reads what Celery's JSON makes of it."""
        sent = value if self.producer.peer.python else spelled(value)
        if self.by_trace:
            answer = self.traced(sent, **more)
            return same(answer, value if self.python_worker else spelled(value))
        if self.by_keyword:
            return same(self.call("echo", kwargs={"value": sent}, **more), sent)
        return same(self.call("echo", sent, **more), sent)

    def traced(self, value: Any, *, wait: float = 1, keyword: bool = False, **more: Any) -> Answer:
        """A value that is kept in Redis by the task that it is sent to, as the task understood it."""
        key = f"interop-{uuid.uuid4()}"
        if keyword:
            self.call("keep", kwargs={"value": value, "key": key}, get=False, **more)
        else:
            self.call("keep", value, key, get=False, **more)
        return {"value": self.until(lambda: self.broker.trace(key), "it did not run", wait)[0]}

    def needs(self, *things: str) -> None:
        for thing in things:
            if thing in self.lacks:
                raise Cannot(self.lacks[thing])

    def until(self, look: Callable[[], Any], what: str, times: float = 1) -> Any:
        return until(look, what, self.patience.wait * times)


def until(look: Callable[[], Any], what: str, seconds: float) -> Any:
    """What `look` sees at last; else the complaint."""
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise Wrong(what)
        time.sleep(0.02)
    return found


def same(answer: Answer, expected: Any) -> None:
    if answer.get("late"):
        raise Wrong("no result came")
    if "failure" in answer:
        raise Wrong(f"read as {answer.get('state')}: {answer['failure'][:200]}")
    if answer.get("value") != expected:
        raise Wrong(f"read {str(answer.get('value'))[:80]!r}, not {str(expected)[:80]!r}")


Check = Callable[[Pair], None]
CHECKS: dict[str, Check] = {}
TITLES: dict[str, str] = {}


def capability(name: str, title: str) -> Callable[[Check], Check]:
    def keep(check: Check) -> Check:
        CHECKS[name] = check
        TITLES[name] = title
        return check

    return keep


@capability("run", "a task that is sent is run, and its result stored")
def runs(pair: Pair) -> None:
    sent = pair.call("add", 2, 3, get=False)
    if not sent["id"]:
        raise Cannot("its producers tell no id to look under")
    meta = pair.until(lambda: pair.broker.meta(sent["id"]), "the worker stored nothing")
    if (meta.get("status"), meta.get("result")) != ("SUCCESS", 5):
        raise Wrong(f"the worker stored {str(meta)[:200]}")


@capability("trace", "it is run, as is seen by what it leaves elsewhere")
def leaves_trace(pair: Pair) -> None:
    key = f"interop-{uuid.uuid4()}"
    pair.call("keep", 5, key, get=False)
    pair.until(lambda: pair.broker.trace(key) == [5], "it did not run")


@capability("read", "its result is read")
def reads(pair: Pair) -> None:
    same(pair.call("add", 2, 3), 5)


@capability("two reads", "a second result, after the first")
def reads_twice(pair: Pair) -> None:
    same(pair.call("add", 2, 3), 5)
    same(pair.call("add", 20, 3), 23)


@capability("kwargs", "keyword arguments")
def keywords(pair: Pair) -> None:
    if pair.by_trace:
        return same(pair.traced(5, keyword=True), 5)
    return same(pair.call("sub", kwargs={"x": 9, "y": 4}), 5)


def echoes(name: str, title: str, value: Any) -> None:
    def check(pair: Pair) -> None:
        pair.echo(value)

    capability(name, title)(check)


echoes("unicode", "text beyond ASCII, `<>&` and quotes", 'žluťoučký 🐎 <b>&amp;"\\\u2028')
echoes("nested", "nested lists and objects", {"a": [1, {"b": [[], {}, ["c"]]}], "d": {"e": {"f": "g"}}})
echoes("large", "a value of 300 kB", "x" * 300_000)
echoes("float", "floats", [1.5, -0.25, 1e300])
echoes("false", "true, false, the empty text", [True, False, ""])
echoes("53 bits", "integers beyond 53 bits", 2**53 + 1)
echoes("64 bits", "integers beyond 64 bits", 2**64 + 1)
echoes("bytes", "bytes", {"$bytes": "00ff10"})
echoes("datetime", "datetimes", {"$datetime": "2026-02-03T04:05:06.789000"})
echoes("decimal", "decimals and UUIDs", [{"$decimal": "1.50"}, {"$uuid": "0b4f7c1e-6b0a-4c58-9d37-0a5d1c2b3e4f"}])


@capability("null", "null as an argument, and as a result")
def nothing(pair: Pair) -> None:
    pair.echo(None)


@capability("no result value", "a task that returns nothing")
def returns_nothing(pair: Pair) -> None:
    same(pair.call("nothing"), None)


def failure(pair: Pair) -> Answer:
    answer = pair.call("fail", "boom")
    if answer.get("late"):
        raise Wrong("the failure never surfaced")
    return answer


@capability("fails", "a failure is seen as one")
def fails(pair: Pair) -> None:
    answer = failure(pair)
    if answer.get("state") != "FAILURE" or "No active exception" in str(answer.get("failure")):
        raise Wrong(f"seen as {str(answer)[:200]}")


@capability("exception", "its exception's class and text arrive")
def tells_exception(pair: Pair) -> None:
    answer = failure(pair)
    if answer.get("type") not in {"ValueError", "Error", "IllegalArgumentException"} or "boom" not in str(
        answer.get("failure")
    ):
        raise Wrong(f"seen as {str(answer)[:200]}")


@capability("eta", "ETA: not before its time")
def waits(pair: Pair) -> None:
    began = time.time()
    soon = pair.patience.soon
    if pair.by_trace:
        pair.traced(5, options={"eta_in": soon}, wait=2)
        if time.time() - began < soon - 0.1:
            raise Wrong(f"run after {time.time() - began:.1f} s")
        return
    answer = pair.call("now", options={"eta_in": soon}, timeout=soon + pair.patience.wait)
    if answer.get("late"):
        raise Wrong("no result came")
    if not isinstance(at := answer.get("value"), float) or not soon - 0.1 <= at - began <= soon + pair.patience.wait:
        raise Wrong(f"run after {at - began:.1f} s" if isinstance(at, float) else f"seen {answer}")


@capability("expires", "expired is revoked, not run")
def expires(pair: Pair) -> None:
    if pair.by_trace:
        pair.call("keep", 1, "interop-expired", options={"expires_in": -10}, get=False)
        pair.traced(2)  # sent later
        if pair.broker.trace("interop-expired"):
            raise Wrong("it was run")
        return
    sent = pair.call("keep", 1, "interop-expired", options={"expires_in": -10}, get=False)
    if pair.broker.keeps:
        meta = pair.until(lambda: pair.broker.meta(sent["id"]), "the worker stored nothing")
    else:
        meta = {"status": pair.ask("await_id", id=sent["id"]).get("state")}
    if meta["status"] != "REVOKED" or pair.broker.trace("interop-expired"):
        raise Wrong(f"it was run, and {meta['status']} stored" if meta["status"] == "SUCCESS" else f"stored {meta}")


@capability("expires later", "an expiry that is still to come is none")
def expires_later(pair: Pair) -> None:
    options = {"expires_in": 300}
    same(pair.traced(5, options=options) if pair.by_trace else pair.call("add", 2, 3, options=options), 5)


@capability("priority", "its priority is seen by the task")
def has_priority(pair: Pair) -> None:
    answer = pair.call("describe", options={"priority": 7})
    if (answer.get("value") or {}).get("priority") != 7:
        raise Wrong(f"seen {answer}")


@capability("order", "what is more urgent goes first")
def by_priority(pair: Pair) -> None:
    key = f"interop-{uuid.uuid4()}"
    pair.call("hold", key, 1.0, get=False)
    pair.until(lambda: pair.broker.trace(key), "it did not run")
    priorities = sorted((0, 3, 6, 9, 0, 3, 6, 9), reverse=pair.broker.urgent_first == "low")  # the least urgent first
    for priority in priorities:
        pair.call("keep", priority, key, options={"priority": priority}, get=False)
    pair.until(lambda: len(pair.broker.trace(key)) == 1 + len(priorities), "not all have run", 2)
    # The first may have been taken before the others were there.
    seen = pair.broker.trace(key)[2:]
    if seen != sorted(seen, reverse=pair.broker.urgent_first == "high"):
        raise Wrong(f"run in the order {seen}")


@capability("retry", "a retry, then its result")
def retries(pair: Pair) -> None:
    same(pair.call("again"), 1)


@capability("retry seen", "RETRY is seen while it waits")
def shows_retry(pair: Pair) -> None:
    sent = pair.call("again", 0.7, get=False)
    pair.until(lambda: (pair.broker.meta(sent["id"]) or {}).get("status") == "RETRY", "nobody said RETRY")
    pair.until(lambda: (pair.broker.meta(sent["id"]) or {}).get("result") == 1, "the retry never came")


@capability("started", "a task that says it has started")
def tracked(pair: Pair) -> None:
    same(pair.call("tracked", 7), 7)


@capability("revoke", "revoked while it waits")
def revoked(pair: Pair) -> None:
    key, due = f"interop-{uuid.uuid4()}", time.monotonic() + pair.patience.soon
    sent = pair.call("keep", 1, key, options={"eta_in": pair.patience.soon}, get=False)
    time.sleep(pair.patience.soon / 5)
    stays_revoked(pair, sent["id"], key, due)


def stays_revoked(pair: Pair, task_id: str, key: str, due: float) -> None:
    """Whoever hears of it may say REVOKED: what counts is that the task is not run when it is due."""
    pair.ask("revoke", id=task_id)
    answer = pair.ask("await_id", id=task_id)
    if answer.get("state") != "REVOKED":
        raise Wrong(f"seen {answer}")
    time.sleep(max(0.0, due + 0.5 - time.monotonic()))
    if pair.broker.trace(key):
        raise Wrong("it was run, though REVOKED was said")


@capability("ignore result", "an ignored result is not stored")
def ignored(pair: Pair) -> None:
    key = f"interop-{uuid.uuid4()}"
    sent = pair.call("keep", 5, key, options={"ignore_result": True}, get=False)
    pair.until(lambda: pair.broker.trace(key), "it did not run")
    time.sleep(0.1)
    if pair.broker.meta(sent["id"]) is not None:
        raise Wrong("its result was stored")


@capability("headers", "a header of the user's")
def own_header(pair: Pair) -> None:
    answer = pair.call("describe", options={"headers": {"x-mine": "yes"}})
    if (answer.get("value") or {}).get("mine") != "yes":
        raise Wrong(f"seen {answer}")


@capability("limits", "time limits of a call, hard and soft")
def own_limits(pair: Pair) -> None:
    answer = pair.call("describe", options={"time_limit": 30, "soft_time_limit": 20})
    if (answer.get("value") or {}).get("limits") != [30, 20]:
        raise Wrong(f"seen {answer}")


def sends_as(name: str, title: str, options: Mapping[str, Any], value: Any) -> None:
    def check(pair: Pair) -> None:
        pair.echo(value, options=dict(options))

    capability(name, title)(check)


sends_as("zlib", "compressed by zlib", {"compression": "zlib"}, "x" * 2000)
sends_as("bzip2", "compressed by bzip2", {"compression": "bzip2"}, "x" * 2000)
sends_as("lzma", "compressed by lzma", {"compression": "lzma"}, "x" * 2000)
sends_as("msgpack", "msgpack", {"serializer": "msgpack"}, {"a": [1, 2.5, None, "ž"]})
sends_as("yaml", "YAML", {"serializer": "yaml"}, {"a": [1, 2.5, None, "ž"]})
sends_as("pickle", "pickle, where the worker allows it", {"serializer": "pickle"}, {"a": [1, 2.5, None, "ž"]})


def speaks(version: int) -> Check:
    def check(pair: Pair) -> None:
        python = pair.producer.peer.python
        more = {"settings": {**pair.settings, "task_protocol": version}} if python else {"protocol": version}
        if not pair.python_worker:
            return same(pair.call("add", 2, 3, **more), 5)
        seen = (pair.call("describe", **more).get("value") or {}).get("protocol")
        if seen != version:
            raise Wrong(f"the task saw protocol {seen}" if seen else "no result came")
        return None

    return check


capability("protocol 1", "protocol 1")(speaks(1))
capability("protocol 2", "protocol 2")(speaks(2))


@capability("ping", "remote control: ping")
def pings(pair: Pair) -> None:
    answer = pair.ask("ping", timeout=pair.patience.reply)
    if {"w@interop": {"ok": "pong"}} not in answer["value"]:
        raise Wrong(f"answered {answer['value']}")


@capability("inspect", "remote control: registered, stats, active queues")
def inspects(pair: Pair) -> None:
    registered = (pair.ask("inspect", method="registered", timeout=pair.patience.reply)["value"] or {}).get(
        "w@interop"
    ) or []
    if "interop.add" not in " ".join(registered):
        raise Wrong(f"registered: {registered}")
    stats = (pair.ask("inspect", method="stats", timeout=pair.patience.reply)["value"] or {}).get("w@interop") or {}
    if not {"total", "pid", "pool", "broker"} <= stats.keys():
        raise Wrong(f"stats: {sorted(stats)}")
    queues = (pair.ask("inspect", method="active_queues", timeout=pair.patience.reply)["value"] or {}).get(
        "w@interop"
    ) or []
    if [each["name"] for each in queues] != ["celery"]:
        raise Wrong(f"active_queues: {queues}")


@capability("control", "remote control: rate limit, another queue and no more")
def controls(pair: Pair) -> None:
    for method, arguments in (
        ("rate_limit", {"task_name": "interop.add", "rate_limit": "1000/s"}),
        ("add_consumer", {"queue": "b"}),
        ("cancel_consumer", {"queue": "b"}),
    ):
        told = pair.ask("broadcast", method=method, arguments=arguments, timeout=pair.patience.reply)["value"] or []
        if "ok" not in next((each["w@interop"] for each in told if "w@interop" in each), {}):
            raise Wrong(f"{method}: answered {told}")


@capability("events", "events of a task")
def watched(pair: Pair) -> None:
    pair.ask("broadcast", method="enable_events", arguments={}, timeout=pair.patience.reply)
    answer = pair.ask("events", task="interop.add", args=[2, 3])
    if not {"task-received", "task-started", "task-succeeded"} <= set(answer["value"]) or answer["failed"]:
        raise Wrong(f"seen {answer['value']} {answer['failed']}")


def sig(task: str, *args: Any, queue: str = "", **more: Any) -> dict[str, Any]:
    options = {"queue": queue} if queue else {}
    return {"task": f"interop.{task}", "args": list(args), "options": options, **more}


def named(shape: Any, form: str, queue: str = "") -> Any:
    """A shape with its tasks, or those that go to this queue, under the names that a peer gives them."""
    if isinstance(shape, list):
        return [named(each, form, queue) for each in shape]
    if not isinstance(shape, dict) or "task" not in shape:
        return shape
    made = {key: named(each, form, queue) for key, each in shape.items()}
    made["options"] = {key: named(each, form, queue) for key, each in shape["options"].items()}
    if not queue or made["options"].get("queue") == queue:
        made["task"] = form.format(made["task"].removeprefix("interop."))
    return made


SPELLED: dict[str, Callable[[str], Any]] = {
    "$bytes": lambda text: ("base64", base64.b64encode(bytes.fromhex(text)).decode()),
    "$datetime": lambda text: ("datetime", f"{text}+00:00"),
    "$decimal": lambda text: ("decimal", text),
    "$uuid": lambda text: ("uuid", {"hex": uuid.UUID(text).hex}),
}


def spelled(value: Any) -> Any:
    """What Celery's JSON makes of the types that JSON has no word for."""
    if isinstance(value, list):
        return [spelled(each) for each in value]
    if isinstance(value, dict) and len(value) == 1:
        ((key, text),) = value.items()
        if key in SPELLED:
            kind, held = SPELLED[key](text)
            return {"__type__": kind, "__value__": held}
    return value


def shaped(name: str, title: str, shape: Any, expected: Any) -> None:
    def check(pair: Pair) -> None:
        pair.needs("add")
        same(pair.canvas(shape), expected)

    capability(name, title)(check)


shaped("chain", "a chain", ["chain", sig("add", 1, 2), sig("add", 10), sig("add", 100)], 113)
shaped("group", "a group", ["group", sig("add", 1, 2), sig("add", 3, 4)], [3, 7])
shaped("chord", "a chord", ["chord", [sig("add", 1, 2), sig("add", 3, 4)], sig("total")], 10)
shaped(
    "chain of a group",
    "a chain with a group in it",
    ["chain", sig("add", 1, 2), ["group", sig("add", 10), sig("add", 20)], sig("total")],
    36,
)


shaped(
    "chord of chains",
    "a chord of chains, its body a chain",
    [
        "chord",
        [["chain", sig("add", 1, 2), sig("add", 3)], ["chain", sig("add", 4, 5), sig("add", 6)]],
        ["chain", sig("total"), sig("add", 100)],
    ],
    121,
)


@capability("link", "a callback")
def linked(pair: Pair) -> None:
    key = f"interop-{uuid.uuid4()}"
    pair.needs("keep")
    same(pair.call("add", 2, 3, options={"link": named(sig("keep", key), pair.named)}), 5)
    pair.until(lambda: pair.broker.trace(key) == [5], "the callback did not run")


@capability("link_error", "an errback")
def linked_error(pair: Pair) -> None:
    # What its own worker knows is called there, with the error; what it does not know is sent, with the id.
    back = sig("onfail") if pair.python_worker else named(sig("errback"), pair.named)
    sent = pair.call("fail", "boom", options={"link_error": back})
    pair.until(lambda: sent["id"] in pair.broker.failed("celery"), f"the errback did not run with {sent['id']}")
