"""newrelic: a transaction for each task, with its trace handed on from whoever sent it, and its errors counted."""

import os
from pathlib import Path

CONFIG = Path("newrelic.ini")
CONFIG.write_text(
    "[newrelic]\napp_name = proj\ndeveloper_mode = true\nlicense_key = 0123456789012345678901234567890123456789\n"
    "distributed_tracing.enabled = true\nlog_file = stderr\nlog_level = warning\n",
    encoding="utf-8",
)
os.environ["NEW_RELIC_CONFIG_FILE"] = str(CONFIG)

import newrelic.agent  # noqa: E402 - its settings come first

newrelic.agent.initialize(str(CONFIG))
newrelic.agent.register_application(timeout=20)

from base import app, fails, until, worker, write, written  # noqa: E402 - the agent comes before Celery


def note(word):
    transaction = newrelic.agent.current_transaction()
    write(
        [word, transaction and [transaction.group, transaction.name, transaction.background_task, transaction.trace_id]]
    )


@app.task
def add(x, y):
    note("add")
    return x + y


@app.task
def fail():
    note("fail")
    raise ValueError("oh")


@newrelic.agent.background_task(name="client")
def client():
    note("client")
    return add.delay(1, 2)


def told(word):
    return next((data for name, data in written() if name == word), None)


if __name__ == "__main__":
    with worker():
        assert client().get(timeout=20) == 3
        assert fails(fail.delay(), ValueError)
        until(lambda: told("fail"))
    assert told("add")[:3] == ["Celery", "proj.add", True], written()
    assert told("fail")[:3] == ["Celery", "proj.fail", True], written()
    assert told("add")[3] == told("client")[3], written()
    print("fine")
