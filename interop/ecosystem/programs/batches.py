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


def waiting():
    with app.connection_for_read() as connection:
        return connection.default_channel.client.llen("celery")


if __name__ == "__main__":
    with worker():
        results = [total.delay(number) for number in range(7)]
        assert [result.get(timeout=20) for result in results] == [10] * 5 + [11] * 2  # by number, then by time
        assert [result.get(timeout=20) for result in [late.delay(n) for n in range(3)]] == [3, 3, 3]
        late.delay(9)
        until(lambda: not waiting())  # it has come, and is kept for two more
    assert waiting() == 1  # what was still kept is back in its queue
    print("fine")
