"""elastic-apm: a transaction for each task, continued from the client's, and its errors."""

import elasticapm
from base import fails, until, worker, write, written
from elasticapm.contrib.celery import register_exception_tracking, register_instrumentation
from elasticapm.transport.base import Transport
from tasks import add, fail


class Written(Transport):
    def queue(self, event_type, data, flush=False):  # noqa: ARG002 - elastic-apm gives it
        write([event_type, data])


client = elasticapm.Client(
    service_name="proj",
    transport_class="__main__.Written",
    cloud_provider="none",
    central_config=False,
    metrics_interval="0ms",
    disable_send=False,
)
register_exception_tracking(client)
register_instrumentation(client)
elasticapm.instrument()


if __name__ == "__main__":
    with worker():
        assert add.delay(1, 2).get(timeout=20) == 3
        assert fails(fail.delay(), ValueError)

        def told(kind, name):
            return [data for what, data in written() if what == kind and data.get("name") == name]

        until(lambda: told("transaction", "tasks.fail"))
        errors = until(lambda: [data for what, data in written() if what == "error"])
    (ran,) = told("transaction", "tasks.add")
    assert (ran["type"], ran["result"]) == ("celery", "SUCCESS")
    assert told("transaction", "tasks.fail")[0]["result"] == "FAILURE"
    assert errors[0]["exception"]["type"] == "ValueError"
    print("fine")
