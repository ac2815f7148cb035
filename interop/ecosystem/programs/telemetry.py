"""opentelemetry-instrumentation-celery: a span for who sends, a child of it for who runs, and what became of it."""

from base import fails, until, worker, write, written
from opentelemetry import trace
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from tasks import add, again, fail


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


if __name__ == "__main__":
    with worker():
        assert add.delay(1, 2).get(timeout=20) == 3
        assert fails(fail.delay(), ValueError)
        assert again.delay().get(timeout=20) == "ok"

        def spans(name):
            return [span for span in written() if span[0] == name]

        until(lambda: spans("run/tasks.fail") and len(spans("run/tasks.again")) == 2)
    (sent,), (ran,) = spans("apply_async/tasks.add"), spans("run/tasks.add")
    assert ran[1] == sent[1]
    assert ran[3] == sent[2]
    assert ran[4]["celery.state"] == "SUCCESS"
    assert ran[4]["messaging.destination"] == "celery"
    (failed,) = spans("run/tasks.fail")
    assert failed[4]["celery.state"] == "FAILURE"
    assert failed[5] == "ERROR"
    assert failed[6] == ["ValueError"]
    assert sorted(span[4]["celery.state"] for span in spans("run/tasks.again")) == ["RETRY", "SUCCESS"]
    print("fine")
