"""The app of every Python peer, stock or celeriac: the tasks that the matrix asks for.

Law: runs on Python 3.6 and Celery 3.1.
"""

import datetime
import decimal
import json
import os
import time
import uuid

import redis
from celery import VERSION, Celery
from kombu import Queue

FORMATS = ["json", "msgpack", "yaml", "pickle"]
# Celery 3.1 by its own names: it pickles unless it is told otherwise, and its broadcasts are heard by none of ours.
OF_OLD = {
    "CELERY_ACCEPT_CONTENT": FORMATS,
    "CELERY_TASK_SERIALIZER": "json",
    "CELERY_RESULT_SERIALIZER": "json",
    "BROKER_TRANSPORT_OPTIONS": {"fanout_prefix": True, "fanout_patterns": True},
}


def make(more=None):
    app = Celery("interop", broker=os.environ["BROKER"], backend=os.environ["BACKEND"])
    settings = dict(json.loads(os.environ.get("SETTINGS", "{}")), accept_content=FORMATS, result_accept_content=FORMATS)
    settings.update(more or {})
    # Stock asks for 19 seconds again and again for a result that it cannot read.
    patience = {"retry_policy": {"max_retries": 1, "interval_start": 0, "interval_step": 0.1, "interval_max": 0.1}}
    settings["result_backend_transport_options"] = dict(
        patience, **settings.get("result_backend_transport_options", {})
    )
    if VERSION[0] < 4:
        settings = dict(OF_OLD)
    if os.environ.get("QUEUE_ARGUMENTS"):  # Celery before 5.5 knows no task_default_queue_type
        arguments = json.loads(os.environ["QUEUE_ARGUMENTS"])
        settings["CELERY_QUEUES" if VERSION[0] < 4 else "task_queues"] = [
            Queue(name, routing_key=name, queue_arguments=arguments) for name in ("celery", "a", "b")
        ]
    app.conf.update(settings)
    return app


def shown(value):
    """A value with an object of one key that begins with a dollar for what JSON has no word for."""
    if isinstance(value, bytes):
        return {"$bytes": value.hex()}
    if isinstance(value, datetime.datetime):
        return {"$datetime": value.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f")}
    if isinstance(value, decimal.Decimal):
        return {"$decimal": str(value)}
    if isinstance(value, uuid.UUID):
        return {"$uuid": str(value)}
    if isinstance(value, dict):
        return {str(key): shown(each) for key, each in value.items()}
    return [shown(each) for each in value] if isinstance(value, (list, tuple)) else value


app = make()
store = redis.Redis.from_url(os.environ["STORE"])  # where tasks leave traces, wherever their results go


@app.task(name="interop.add")
def add(x, y):
    return x + y


@app.task(name="interop.echo")
def echo(value):
    return value


@app.task(name="interop.sub")
def sub(x=0, y=0):
    return x - y


@app.task(name="interop.total")
def total(numbers):
    return sum(numbers)


@app.task(name="interop.fail")
def fail(text):
    raise ValueError(text)


@app.task(name="interop.nothing")
def nothing():
    return None


@app.task(name="interop.tracked", track_started=True)
def tracked(x):
    time.sleep(0.2)
    return x


@app.task(name="interop.now")
def now():
    return time.time()


@app.task(name="interop.again", bind=True, max_retries=2)
def again(self, countdown=0):
    if self.request.retries < 1:
        raise self.retry(countdown=countdown)
    return self.request.retries


@app.task(name="interop.hold")
def hold(key, seconds):
    """Keeps its worker busy, and says since when."""
    store.rpush(key, json.dumps("held"))
    time.sleep(seconds)


@app.task(name="interop.describe", bind=True)
def describe(self):
    """What the task is told of its message."""
    request = self.request
    headers = request.headers or {}
    return {
        "id": request.id,
        "priority": (request.delivery_info or {}).get("priority"),
        "mine": headers.get("x-mine", request.get("x-mine")),
        "protocol": 2 if getattr(request, "lang", None) else 1,
        "limits": list(request.timelimit or [None, None]),
    }


@app.task(name="interop.keep")
def keep(value, key):
    """Leaves a trace that needs no result: for callbacks and for tasks whose result is ignored."""
    store.rpush(key, json.dumps(shown(value)))
    return value


@app.task(name="interop.onfail")
def onfail(*arguments):
    """An errback: of the old style, given the id, or of the new one, given the request, the error and the traceback."""
    store.rpush("interop-errbacks-" + os.environ["QUEUE"], str(getattr(arguments[0], "id", arguments[0])))


@app.task(name="interop.errback")
def errback(failed):
    """One of the old style alone: whoever has the failed task sends for it."""
    store.rpush("interop-errbacks-" + os.environ["QUEUE"], failed)


@app.task(name="interop.roll", acks_late=True, ignore_result=True)
def roll(number):
    time.sleep(0.002)
    store.rpush("interop-ledger", number)


# What the recorded messages of tests/golden call for.
@app.task(name="wire.add")
def recorded_add(x, y):
    return x + y


@app.task(name="wire.mul")
def recorded_mul(x, y):
    return x * y


@app.task(name="wire.tsum")
def recorded_sum(numbers):
    return sum(numbers)


@app.task(name="wire.echo")
def recorded_echo(*args, **kwargs):
    return [list(args), kwargs]
