"""Tasks that take anything and answer alike each time: run by stock Celery, sent by both Celerys.

`REDIS` in the environment says where; `CELERIAC` that `celery` is ours. Never imported by the tests.
"""

import os

if os.environ.get("CELERIAC"):
    from celeriac.compat import alias

    alias.install()

from celery import Celery

app = Celery("wire", broker=os.environ["REDIS"], backend=os.environ["REDIS"])
app.conf.update(
    worker_prefetch_multiplier=50,
    broker_connection_retry_on_startup=True,
    worker_hijack_root_logger=False,
    result_extended=False,
    broker_transport_options={"visibility_timeout": 600},
)


def numbers(value):
    """All numbers in whatever came."""
    if isinstance(value, (list, tuple)):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, int) else []


@app.task(name="wire.add", typing=False)
def add(*args, **kwargs):
    return sum(numbers(args)) % 997


@app.task(name="wire.mul", typing=False)
def mul(*args, **kwargs):
    product = 1
    for number in numbers(args):
        product = product * (number + 1) % 997
    if product % 13 == 5:
        raise ValueError("unlucky", product)
    return product


@app.task(name="wire.tsum", typing=False)
def tsum(*args, **kwargs):
    return [len(args), sum(numbers(args))]


@app.task(name="wire.echo", typing=False)
def echo(*args, **kwargs):
    return list(args)


@app.task(name="wire.noop", typing=False)
def noop(*args, **kwargs):
    return None


@app.task(name="wire.errback_old", typing=False)
def errback_old(*args, **kwargs):
    return "told"


@app.task(name="wire.errback_new", bind=True, typing=False)
def errback_new(self, *args, **kwargs):
    return "told too"
