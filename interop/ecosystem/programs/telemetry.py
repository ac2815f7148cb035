"""opentelemetry-instrumentation-celery: a span for who sends, a child of it for who runs, and what became of it."""

from base import app, fails, until, worker, write, written
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult


class Written(SpanExporter):
    def export(self, spans):
        for span in spans:
            parent = span.parent and span.parent.span_id
            events = [event.attributes.get("exception.type") for event in span.events]
            ids = [span.context.trace_id, span.context.span_id, parent]
            write([span.name, *ids, dict(span.attributes), span.status.status_code.name, events])
        return SpanExportResult.SUCCESS


provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(Written()))
trace.set_tracer_provider(provider)
CeleryInstrumentor().instrument()


@app.task
def add(x, y):
    return x + y


@app.task
def fail():
    raise ValueError("oh")


@app.task(bind=True)
def again(self):
    if not self.request.retries:
        raise self.retry(countdown=0.5)
    return "ok"


if __name__ == "__main__":
    with worker():
        assert add.delay(1, 2).get(timeout=20) == 3
        assert fails(fail.delay(), ValueError)
        assert again.delay().get(timeout=20) == "ok"

        def spans(name):
            return [span for span in written() if span[0] == name]

        until(lambda: spans("run/proj.fail") and len(spans("run/proj.again")) == 2)
    (sent,), (ran,) = spans("apply_async/proj.add"), spans("run/proj.add")
    assert ran[1] == sent[1]
    assert ran[3] == sent[2]
    assert ran[4]["celery.state"] == "SUCCESS"
    assert ran[4]["messaging.destination"] == "celery"
    (failed,) = spans("run/proj.fail")
    assert failed[4]["celery.state"] == "FAILURE"
    assert failed[5] == "ERROR"
    assert failed[6] == ["ValueError"]
    assert sorted(span[4]["celery.state"] for span in spans("run/proj.again")) == ["RETRY", "SUCCESS"]
    print("fine")
