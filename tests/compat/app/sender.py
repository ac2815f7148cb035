"""Sends calls through whichever `celery` this interpreter has, on a real broker, and prints what lay there then.

Run as a program, by stock Celery's python and by ours (with `ours` as its second argument); never imported.
Reads JSON on stdin, `[{"call": text, "conf": {...}, "watch": bool}, ...]`; prints a list of what each call did:
its messages, its signals where they are watched, its error.
"""

import datetime as dt
import json
import sys
import warnings

URL = sys.argv[1]
if "ours" in sys.argv:
    from celeriac.compat.alias import install

    install()

from celery import Celery, signals  # noqa: E402 - after the alias
from kombu import pools  # noqa: E402 - as above

warnings.simplefilter("ignore")
SIGNALS = ("before_task_publish", "after_task_publish", "task_sent")


def build(conf):
    app = Celery("wire", broker=URL, set_as_current=True, fixups=[])
    conf = {
        key: eval(value, names()) if key in ("task_queues", "task_routes") else value for key, value in conf.items()
    }
    if URL.startswith("amqp"):
        conf["broker_transport_options"] = {"confirm_publish": True}  # else stock's may still be on their way
    app.conf.update(result_backend=None, **conf)

    class T:
        pass

    def add(x, y=0, **kwargs):
        return x

    for name, options in {
        "add": {},
        "late": {"queue": "late", "priority": 3, "time_limit": 9, "soft_time_limit": 4},
        "quiet": {"ignore_result": True, "serializer": "pickle", "compression": "zlib"},
        "short": {"expires": 60, "delivery_mode": "transient"},
    }.items():
        setattr(T, name, app.task(add, name=f"wire.{name}", typing=False, **options))
    app.finalize()
    return app, T


def names():
    from kombu import Exchange, Queue, binding
    from kombu.common import Broadcast

    return {"Exchange": Exchange, "Queue": Queue, "binding": binding, "Broadcast": Broadcast, "datetime": dt}


def told(value):
    if isinstance(value, dict):
        return {str(key): told(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [type(value).__name__, *map(told, value)]
    return repr(value)


class Watch:
    def __init__(self):
        self.heard = []
        self.receivers = []
        for name in SIGNALS:
            signal = getattr(signals, name)

            def receive(signal=None, sender=None, *, _name=name, **kwargs):
                self.heard.append([_name, sender, told(kwargs)])
                if _name == "before_task_publish":
                    kwargs["headers"]["seen"] = {"by": "a receiver"}

            signal.connect(receive, weak=False, dispatch_uid=name)
            self.receivers.append((signal, name))

    def close(self):
        for signal, name in self.receivers:
            signal.disconnect(dispatch_uid=name)


class Redis:
    def __init__(self):
        import redis

        self.client = redis.Redis.from_url(URL)
        self.client.flushall()
        self.pubsub = self.client.pubsub()
        self.pubsub.psubscribe("*")
        self.pubsub.get_message(timeout=1)

    def found(self):
        found = []
        while message := self.pubsub.get_message(timeout=0.02):
            if message["type"] == "pmessage":
                found.append(["channel", message["channel"].decode(), message["data"].decode()])
        for key in sorted(self.client.keys("*")):
            if self.client.type(key) == b"list":
                found.append(["list", key.decode(), [each.decode() for each in self.client.lrange(key, 0, -1)]])
            elif self.client.type(key) == b"set":
                found.append(["set", key.decode(), sorted(each.decode() for each in self.client.smembers(key))])
        self.client.flushall()
        return found


class Rabbit:
    QUEUES = ("celery", "late", "made", "q1", "q2", "q3", "events", "prio")

    def __init__(self):
        from kombu import Connection

        self.connection = Connection(URL)
        self.channel = self.connection.channel()
        self.channel.exchange_declare("celeryev", "topic", durable=True, auto_delete=False)
        self.channel.queue_declare("events", durable=True, auto_delete=False)
        self.channel.queue_bind("events", "celeryev", "#")

    def found(self):
        from amqp.exceptions import NotFound

        found = []
        for queue in self.QUEUES:
            try:
                while message := self.channel.basic_get(queue, no_ack=True):
                    body = message.body if isinstance(message.body, str) else message.body.decode("latin-1")
                    properties = dict(sorted(message.properties.items()))
                    info = message.delivery_info
                    found.append([queue, body, properties, info["exchange"], info["routing_key"]])
            except NotFound:  # noqa: PERF203 - a queue that is not there closes the channel
                self.channel = self.connection.channel()
        for queue in self.QUEUES:
            if queue != "events":
                self.channel.queue_delete(queue)
        for exchange in (*self.QUEUES[:-2], "t", "t2", "f", "ex", "prio"):
            self.channel.exchange_delete(exchange)
        return found


def run(job, broker):
    app, T = build(job.get("conf") or {})
    watch = Watch() if job.get("watch") else None
    outcome = {}
    try:
        exec(job["call"], {**names(), "app": app, "T": T})
    except Exception as error:
        outcome["error"] = [*(kind.__name__ for kind in type(error).__mro__), str(error)]
    finally:
        if watch:
            watch.close()
            outcome["heard"] = watch.heard
    outcome["found"] = broker.found()
    app.close()
    pools.reset()  # stock remembers what it declared for as long as its connections live
    return outcome


def main():
    broker = Redis() if URL.startswith("redis") else Rabbit()
    print(json.dumps([run(job, broker) for job in json.load(sys.stdin)], default=repr))


if __name__ == "__main__":
    main()
