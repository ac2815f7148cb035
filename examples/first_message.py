"""One call as Celery puts it on the wire, built and read back by the protocol alone.

It needs no server: everything here is bytes, and a broker in memory.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.rules.calling import Call, Sender, compose
from celeriac.protocol.rules.routing import Route
from celeriac.protocol.wire import envelope
from celeriac.protocol.wire.message_reading import read_task
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Parcel, Queue, Verdict

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=timezone.utc)
CALL = Call("proj.tasks.add", (2, 2), options={"task_id": "11111111-2222-4333-8444-555555555555", "countdown": 10})


def main() -> None:
    print("celeriac speaks Celery's wire format. This is add.apply_async((2, 2), countdown=10):\n")
    sent = compose(CALL, Sender(origin="demo@example", reply_to="demo"), Route("", "celery", None), NOW)
    print(f"  the task's own header fields: {len(sent.message.headers)}; its body: {sent.message.body.decode()}\n")

    lying = envelope.build(sent.message, exchange="", routing_key="celery", delivery_tag="demo-tag")
    print("As it lies in the Redis list `celery`, byte for byte what a stock worker takes:\n")
    print(json.dumps(json.loads(lying), indent=2), "\n")

    task = read_task(envelope.parse(lying).message)
    print(f"Read back: {task.name}{tuple(task.args or ())}, not before {task.eta}\n")

    print("And what is no message is answered with a reason, never with a crash:\n")
    for bad in (lying[:40], lying.replace(b'"eta": "2026', b'"eta": "year')):
        try:
            read_task(envelope.parse(bad).message)
        except BadMessage as reason:
            print(f"  BadMessage: {reason}")

    print("\nThrough a broker (here the one in memory; redis:// and amqp:// do the same):\n")
    broker = brokers.connect("memory://demo")
    broker.send([Parcel(sent.message, "celery")])
    broker.listen([Queue("celery")], credit=1)
    (taken,) = broker.take(1, timeout=1)
    print(f"  taken from {taken.queue}: {read_task(taken.message).name}; it is ours until we settle it")
    broker.settle([(taken, Verdict.ACK)])
    broker.close()


if __name__ == "__main__":
    main()
