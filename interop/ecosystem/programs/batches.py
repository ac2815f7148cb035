"""celery-batches: a strategy of its own keeps messages, and hands many at once to the pool."""

from base import app, until, worker
from celery_batches import Batches


@app.task(base=Batches, flush_every=5, flush_interval=1)
def total(requests):
    for request in requests:
        app.backend.mark_as_done(request.id, sum(each.args[0] for each in requests), request=request)


@app.task(base=Batches, flush_every=3, flush_interval=60, acks_late=True)
def late(requests):
    for request in requests:
        app.backend.mark_as_done(request.id, len(requests), request=request)


if __name__ == "__main__":
    with worker() as started:
        results = [total.delay(number) for number in range(7)]
        assert [result.get(timeout=10) for result in results] == [10] * 5 + [11] * 2  # by number, then by time
        assert [result.get(timeout=10) for result in [late.delay(n) for n in range(3)]] == [3, 3, 3]
        late.delay(9)
        if hasattr(started, "worker"):  # celeriac's own way to know that it has come; elsewhere it may still be queued
            until(lambda: len(started.worker.consumer.outside) == 1)
    with app.connection_for_read() as connection:  # what was still kept is back in its queue
        client = connection.default_channel.client
        assert client.llen("celery") == 1
        assert not client.keys("unacked*")
    print("fine")
