"""Runs calls in stock Celery and prints what it would send. Run by Celery's own python, never imported.

Reads JSON on stdin, `[{"call": text, "conf": {...}, "chords": kind}, ...]`, and prints one JSON list of streams.
"""

import contextlib
import datetime as dt
import json
import sys
import time
import warnings

from celery import Celery, chain, chord, group, signature
from celery.backends.base import DisabledBackend, KeyValueStoreBackend
from celery.backends.redis import RedisBackend
from celery.exceptions import CPendingDeprecationWarning
from kombu.serialization import dumps

warnings.simplefilter("ignore", CPendingDeprecationWarning)
STREAM = []


class Native(KeyValueStoreBackend):
    """Counts chords by itself, like the Redis backend; stores nothing and tells what it was asked to store."""

    supports_native_join = True
    apply_chord = RedisBackend.apply_chord

    def set_chord_size(self, group_id, chord_size):
        STREAM.append(["size", group_id, chord_size])

    def _set_chord_key(self, key, value):
        STREAM.append(["save", key.decode(), json.loads(value)])

    def on_task_call(self, producer, task_id):
        return {}

    def add_pending_result(self, *args, **kwargs):
        pass

    add_pending_results = remove_pending_result = on_result_fulfilled = add_pending_result


class Polled(Native):
    implements_incr = False
    apply_chord = DisabledBackend.apply_chord

    def ensure_chords_allowed(self):
        pass

    def set_chord_size(self, group_id, chord_size):
        pass


class App(Celery):
    thread_oid = "00000000-aaaa-3aaa-8aaa-000000000000"


def any_arguments(*args, **kwargs):
    """What every task of these calls does."""


def build(conf, chords):
    app = App("wire", broker="memory://", set_as_current=True)
    app.conf.update(task_default_queue="celery", **conf)
    app._local.backend = {"native": Native, "polled": Polled}[chords](app=app, url="stub://")
    app.set_default()

    class T:
        pass

    for name in ("add", "mul", "tsum", "echo", "noop", "errback_old", "errback_new"):
        setattr(T, name, app.task(any_arguments, name=f"wire.{name}", typing=False))
    app.finalize()
    app.producer_or_acquire = lambda producer=None: contextlib.nullcontext(Recorder())
    return app, T


class Recorder:
    """Stands where kombu's producer stands, and keeps what it is told to publish."""

    class connection:
        transport = type("transport", (), {"driver_type": "redis"})

        @staticmethod
        def _reraise_as_library_errors():
            return contextlib.nullcontext()

    serializer = "json"

    def publish(
        self,
        body,
        exchange,
        routing_key,
        serializer,
        compression,
        headers,
        retry,
        retry_policy,
        delivery_mode,
        declare,
        timeout,
        confirm_timeout,
        **properties,
    ):
        content_type, _, text = dumps(body, serializer)
        STREAM.append(["send", headers, properties, content_type, text, exchange, routing_key])


def run(job):
    STREAM.clear()
    app, T = build(job.get("conf") or {}, job.get("chords") or "native")
    names = {
        "app": app,
        "T": T,
        "chain": chain,
        "group": group,
        "chord": chord,
        "signature": signature,
        "datetime": dt,
        "time": time,
    }
    try:
        exec(job["call"], names)
    except Exception as error:
        return ["error", type(error).__name__, str(error)]
    return json.loads(json.dumps(STREAM, default=str))


def main():
    print(json.dumps([run(job) for job in json.load(sys.stdin)]))


if __name__ == "__main__":
    main()
