"""django-structlog: what a request has bound is bound in its tasks, by a bootstep and signals."""

import django
import structlog
from django.conf import settings

settings.configure(INSTALLED_APPS=["django_structlog"], DJANGO_STRUCTLOG_CELERY_ENABLED=True, SECRET_KEY="x")
django.setup()

from base import app, fails, until, worker, write, written  # noqa: E402 - Django comes first
from django_structlog.celery.steps import DjangoStructLogInitStep  # noqa: E402 - the same


def put(_logger, _method, event):
    write(event)
    raise structlog.DropEvent


structlog.configure(processors=[structlog.contextvars.merge_contextvars, put])
app.steps["worker"].add(DjangoStructLogInitStep)


@app.task
def hello():
    structlog.get_logger().info("inside")
    return 1


@app.task
def bad():
    raise ValueError("x")


if __name__ == "__main__":
    with worker():
        structlog.contextvars.bind_contextvars(request_id="R1")
        result, failing = hello.delay(), bad.delay()
        assert result.get(timeout=20) == 1
        assert fails(failing, ValueError)
        until(lambda: "task_failed" in [event["event"] for event in written()])
    by_name = {event["event"]: event for event in written() if event.get("request_id") == "R1"}
    assert {"task_enqueued", "task_started", "inside", "task_succeeded", "task_failed"} <= set(by_name)
    assert by_name["inside"]["task_id"] == result.id
    assert by_name["task_failed"]["error"] == "x"
    print("fine")
