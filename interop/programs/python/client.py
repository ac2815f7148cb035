"""The producer of every Python peer: one request a line on stdin, one answer a line on stdout, both JSON.

With INTEROP_CELERIAC set, `celery` is celeriac. Law: runs on Python 3.6 and Celery 3.1.
"""

import datetime
import decimal
import json
import os
import socket
import sys
import threading
import time
import uuid

if os.environ.get("INTEROP_CELERIAC"):
    import celeriac

    celeriac.install()

from app import make, shown
from celery import chain, chord, group, signature
from celery.exceptions import TimeoutError as Late
from celery.result import AsyncResult

APPS = {}
TYPED = {
    "$bytes": bytes.fromhex,
    "$datetime": lambda text: datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f").replace(
        tzinfo=datetime.timezone.utc
    ),
    "$decimal": decimal.Decimal,
    "$uuid": uuid.UUID,
}


def app_for(settings):
    key = json.dumps(settings, sort_keys=True)
    if key not in APPS:
        APPS[key] = make(settings)
    APPS[key].set_current()
    APPS[key].set_default()
    return APPS[key]


def told(value):
    """The other way round: an object of one key that begins with a dollar is what it stands for."""
    if isinstance(value, dict) and len(value) == 1:
        ((key, text),) = value.items()
        if key in TYPED:
            return TYPED[key](text)
    if isinstance(value, dict):
        return {key: told(each) for key, each in value.items()}
    return [told(each) for each in value] if isinstance(value, list) else value


def read(result, timeout):
    try:
        value = result.get(timeout=timeout)
    except Late:
        return {"id": result.id, "late": True}
    except Exception as error:  # noqa: BLE001 - whatever it was is the answer
        text = "%s: %s" % (type(error).__name__, error)
        state = getattr(result, "state", "?")
        return {"id": result.id, "state": state, "failure": text, "type": type(error).__name__}
    return {"id": result.id, "state": getattr(result, "state", "SUCCESS"), "value": shown(value)}


def options_of(given):
    options = dict(given)
    now = datetime.datetime.now(datetime.timezone.utc)
    for name in ("eta", "expires"):
        if name + "_in" in options:
            options[name] = now + datetime.timedelta(seconds=options.pop(name + "_in"))
    for name in ("link", "link_error"):
        if name in options:
            options[name] = build(options[name])
    return options


def build(shape):
    """A canvas from its description: a list says what it is and of what, an object is one call."""
    if isinstance(shape, list):
        kind, parts = shape[0], shape[1:]
        if kind == "chord":
            return chord([build(each) for each in parts[0]], build(parts[1]))
        return {"chain": chain, "group": group}[kind](*[build(each) for each in parts])
    made = signature(
        shape["task"],
        args=tuple(told(shape.get("args", ()))),
        kwargs=told(shape.get("kwargs", {})),
        options=options_of(shape.get("options", {})),
        immutable=shape.get("immutable", False),
    )
    if "link" in shape:
        made.link(build(shape["link"]))
    if "link_error" in shape:
        made.link_error(build(shape["link_error"]))
    return made


def call(app, ask):
    options = options_of(ask.get("options", {}))
    result = app.send_task(ask["task"], args=told(ask.get("args", [])), kwargs=told(ask.get("kwargs", {})), **options)
    return read(result, ask["timeout"]) if ask.get("get", True) else {"id": result.id}


def canvas(app, ask):
    result = build(ask["shape"]).apply_async()
    return read(result, ask["timeout"]) if ask.get("get", True) else {"id": result.id}


def many(app, ask):
    """Numbered tasks, as fast as they go; the number is in the id as well, where a server's record shows it."""
    for number in range(ask["count"]):
        app.send_task(ask["task"], args=[number], task_id="roll-%d" % number, ignore_result=True)
    return {"value": ask["count"]}


def await_id(app, ask):
    return read(AsyncResult(ask["id"], app=app), ask["timeout"])


def ping(app, ask):
    return {"value": shown(app.control.ping(timeout=ask["timeout"]))}


def inspect(app, ask):
    return {"value": shown(getattr(app.control.inspect(timeout=ask["timeout"]), ask["method"])())}


def broadcast(app, ask):
    return {"value": shown(app.control.broadcast(ask["method"], ask["arguments"], reply=True, timeout=ask["timeout"]))}


def revoke(app, ask):
    app.control.revoke(ask["id"])
    return {"value": None}


def events(app, ask):
    """The events of one call, as a monitor receives them."""
    seen = []
    failed = []
    ready = threading.Event()

    def watch():
        try:
            with getattr(app, "connection_for_read", app.connection)() as connection:
                receiver = app.events.Receiver(connection, handlers={"*": seen.append})
                ready.set()
                receiver.capture(limit=None, timeout=ask["timeout"], wakeup=False)
        except Exception as error:  # noqa: BLE001 - whatever it was is the answer
            if "timed out" not in str(error) and not isinstance(error, socket.timeout):
                failed.append(repr(error))
        ready.set()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    ready.wait(5)
    time.sleep(0.5)
    answer = call(app, ask)
    end = time.time() + ask["timeout"]
    mine = set()
    while time.time() < end and "task-succeeded" not in mine and not failed:
        mine = {event["type"] for event in list(seen) if event.get("uuid") == answer["id"]}
        time.sleep(0.05)
    return {"value": sorted(mine), "failed": failed}


DOORS = {each.__name__: each for each in (call, canvas, many, await_id, ping, inspect, broadcast, revoke, events)}


def main():
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        ask = json.loads(line)
        try:
            answer = DOORS[ask["op"]](app_for(ask.get("settings", {})), ask)
        except Exception as error:  # noqa: BLE001 - whatever it was is the answer
            answer = {"error": "%s: %s" % (type(error).__name__, error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
