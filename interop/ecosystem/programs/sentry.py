"""sentry-sdk: errors with their task, transactions of workers that continue those of clients."""

import sentry_sdk
from base import fails, until, worker, write, written
from sentry_sdk.integrations.celery import CeleryIntegration
from sentry_sdk.transport import Transport
from tasks import add, fail


class Written(Transport):
    def capture_envelope(self, envelope):
        for item in envelope.items:
            write([item.type, item.payload.json])


sentry_sdk.init(
    dsn="http://a@127.0.0.1:1/1", transport=Written, integrations=[CeleryIntegration()], traces_sample_rate=1.0
)


if __name__ == "__main__":
    with worker():
        with sentry_sdk.start_transaction(name="client") as client:
            assert add.delay(1, 2).get(timeout=20) == 3
        assert fails(fail.delay(), ValueError)

        def told(kind, name):
            found = [data for what, data in written() if what == kind and data.get("transaction") == name]
            return found[0] if found else None

        error = until(lambda: told("event", "tasks.fail"))
        ran = until(lambda: told("transaction", "tasks.add"))
        sent = until(lambda: told("transaction", "client"))
    assert error["exception"]["values"][-1]["type"] == "ValueError"
    assert error["extra"]["celery-job"]["task_name"] == "tasks.fail"
    assert error["tags"]["celery_task_id"]
    assert ran["contexts"]["trace"]["trace_id"] == sent["contexts"]["trace"]["trace_id"] == client.trace_id
    assert ran["contexts"]["trace"]["op"] == "queue.task.celery"
    assert "queue.process" in [span["op"] for span in ran["spans"]], ran["spans"]
    assert "queue.submit.celery" in [span["op"] for span in sent["spans"]]
    print("fine")
