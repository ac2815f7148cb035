"""From a job to its report: resolve, decode, run, record. What runs in the children of a pool.

Law: no message ends a child. What cannot be read or is not registered is a report like any other; only
SystemExit, KeyboardInterrupt and what a limit injects pass. Results of quick tasks wait for `flush`, which writes
those of a batch at once; one that could not be written comes back as the worker's own failure, never as a success.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

from ..protocol.errors import BadMessage, shown
from ..protocol.rules.outcome import Fate, Report
from ..protocol.wire import result as wire
from ..protocol.wire import states
from ..protocol.wire.chord_keys import Member
from ..protocol.wire.json import loads
from ..protocol.wire.message import Message, check_signature
from ..protocol.wire.message_reading import Reader, own_headers, read_body, read_head
from ..protocol.wire.sealed import BLANK, Sealed, opened
from ..protocol.wire.serializers import BUILTIN
from . import insisting, limit
from .coroutines import LOOPS
from .debts import Debt, Debts, owed
from .insisting import Insistence
from .pools.base import Job
from .ports import App, Surroundings
from .recording import complete, fail, failed_report, record_refusal, safe_repr, signal_internal_error
from .tracing import Run, Tracer

log = logging.getLogger("celery.worker.request")

Built = Callable[..., Any]
"""A tracer: ours, or one that somebody has put around it or in its place."""

_EMPTY: Mapping[str, Any] = {}
_JSON = "application/json"


class Traced:
    """Makes what Celery's tracers return. Handed to `build_tracer`, so that it reaches ours through any wrapper."""

    def __init__(self, make: Callable[..., Any], held: Debts) -> None:
        self._make = make
        self.held = held

    def __call__(self, retval: Any, info: Any, runtime: Any, retstr: Any) -> Any:
        return self._make(retval, info, runtime, retstr)


class Execution:
    """The `Program` of `pools.base`. `build` makes the tracer of a task: it is asked once for each, late."""

    def __init__(
        self,
        app: App,
        around: Surroundings,
        build: Callable[..., Built],
        ended: Callable[..., Any],
        *,
        hostname: str | None = None,
        reader: Reader | None = None,
        begin: Callable[[int], None] = lambda _place: None,
        end: Callable[[int], None] = lambda _code: None,
        insistence: Insistence | None = None,
    ) -> None:
        self.app = app
        self.insistence = insistence
        self.around = around
        self.hostname = hostname or socket.gethostname()
        self.reader = reader or Reader()
        self._build = build
        self._begin = begin
        self._end = end
        self._debts = Debts()
        self._traced = Traced(ended, self._debts)
        self._tracers: dict[str, Built] = {}
        self._plain_json = _JSON in self.reader.accept
        known = self.reader.codecs.serializers.of_type(_JSON)
        self._loads: Callable[[bytes], Any] = (
            loads if known is None or known is BUILTIN["json"] else known.decode or loads
        )
        self._composes = self._plain_json and (known is None or known.composes)
        self._blank: dict[str, Any] | None = None
        self._embed = b""

    made_by: Callable[[], tuple[Callable[..., Execution], tuple[Any, ...]]] | None = None
    """Says how to make it again in another process, for pools that spawn."""

    def __reduce__(self) -> Any:
        if self.made_by is None:
            raise TypeError("this program was made by hand: who makes it says in `made_by` how to make it again")
        return self.made_by()

    # --- Program

    def begin(self, place: int) -> None:
        self._debts.begin()
        self._begin(place)

    def run(self, job: Job) -> Report:
        debts = self._debts
        debts.last = None
        if not debts.begun:
            debts.begun = True
            if self.insistence is not None:
                self.insistence.here()
        try:
            if type(self._tracers.get(job.task)) is Tracer and (usual := self.usual(job)) is not None:
                tracer, args, kwargs, request = usual
                return self.reported(tracer.run(job.id, args, kwargs, request))
            tracer, args, kwargs, request = self.prepared(job)
            if type(tracer) is Tracer:
                return self.reported(tracer.run(job.id, args, kwargs, self.around.Context.adopt(request)))
            return self.foreign(tracer(job.id, args, kwargs, request))
        except _Answered as answer:
            return answer.report
        except self.around.Reject as exc:
            return self.rejected(exc)
        except Exception as exc:  # noqa: BLE001 - whatever fails around a task must not end the child
            return self.internal(job, exc)

    async def run_async(self, job: Job) -> Report:
        try:
            tracer, args, kwargs, request = self.prepared(job)
            if type(tracer) is not Tracer or not tracer.awaits:
                # It would hold up the loop: in a thread beside it, which writes what it has to write itself.
                from .beside import beside

                report: Report = await beside(lambda: self.flush([self.run(job)])[0])
                return report
            return self.reported(await tracer.run_async(job.id, args, kwargs, self.around.Context.adopt(request)))
        except _Answered as answer:
            return answer.report
        except self.around.Reject as exc:
            return self.rejected(exc)
        except Exception as exc:  # noqa: BLE001 - whatever fails around a task must not end the child
            return self.internal(job, exc)

    def debts(self) -> bytes | None:
        last = self._debts.last
        return None if last is None else last.note

    def flush(self, reports: Sequence[Report]) -> Sequence[Report]:
        if not self._debts.all:
            return reports
        failed = {id(debt.report): exc for debt, exc in self._debts.pay_all() if self.lost(debt, exc)}
        if not failed:
            return reports
        return [self.unstored(report, failed.get(id(report))) for report in reports]

    def pay(self, job: Job, debts: bytes, *, last: bool = False) -> bool:
        token, document = owed(debts)
        what = "The result of %s, whose child died, could not be stored: %r"
        insists = self.insistence is not None and self.insistence.seconds > 0
        try:
            store = self.app.backend.store
            result = wire.parse(document, store.settings.codec)
            store.store(result)
            if token:
                what = "The chord of %s, whose child died, could not be told that it has succeeded: %r"
                with insisting.hurried() if insists and not last else nullcontext():
                    self.tell(job, store, Member(result.task_id, result.status, result.result), token)
        except insisting.PutOff:
            return False
        except Exception as exc:  # noqa: BLE001 - whatever a store raises, the worker goes on
            log.critical(what, job.id, exc)
        return True

    def tell(self, job: Job, store: Any, member: Member, token: str) -> None:
        """Count a member whose child died; if that child, or we, completed its chord, send the body."""
        request = self.around.Context(self.read(job)[2])
        claim = store.chord_part(request.group, member, request.group_index, token)
        if claim is not None:
            complete(self.around, self.app.tasks[job.task], request, claim)

    @property
    def overdue(self) -> type[BaseException]:
        return type(self.around.soft_limit(0.0))

    def interrupt(self, seconds: float) -> None:
        if not limit.within():
            return
        exc = self.around.soft_limit(seconds)
        if not LOOPS.interrupt(exc):
            raise exc

    def end(self, code: int) -> None:
        try:
            self._end(code)
        finally:
            self._debts.leave()
            LOOPS.close()

    # --- before

    def prepared(self, job: Job) -> tuple[Built, Any, Any, dict[str, Any]]:
        """What runs, with what; or `_Answered`."""
        try:
            args, kwargs, request = self.read(job)
        except BadMessage as bad:
            raise _Answered(self.unreadable(job, bad)) from None
        tracer = self._tracers.get(job.task)
        if tracer is None:
            tracer = self.resolve(job, request)
        return tracer, args, kwargs, request

    def usual(self, job: Job) -> tuple[Any, Any, Any, Any] | None:
        """What runs, with what, in the context of its request: of a message that is known by its looks, and whose task
        has run here before. As `prepared` and `Context.adopt` have it; None: they are to be asked."""
        message: Any = job.message  # a `Sealed` stands for a `Message`, and is none
        if type(message) is not Sealed or not self._composes:
            return None
        own = (self._blank or self._made_blank()).copy()
        data = message.fill(own)
        try:
            if data.endswith(_NOTHING_MORE):
                args, kwargs = self._loads(data[: -len(_NOTHING_MORE)] + b"]")
            else:
                at = data.find(_A_CHORD_MORE)
                if at < 0:
                    return None
                args, kwargs = self._loads(data[:at] + b"]")
                own["chord"] = self._body_in(data[at + 2 : -1])
        except (BadMessage, TypeError, ValueError):
            return None
        if type(args) is not list or type(kwargs) is not dict:
            return None
        own["properties"] = properties = message.properties_anew()
        own["reply_to"] = properties["reply_to"]
        own["correlation_id"] = properties["correlation_id"]
        own["delivery_info"] = delivery_info(job, properties)
        own["args"] = args
        own["kwargs"] = kwargs
        return self._tracers[job.task], args, kwargs, self.around.Context.adopted(own)

    def _body_in(self, embed: bytes) -> Any:
        """The body of a chord, which all its members bring in the same words: they are looked at once."""
        found = self._loads(embed)
        if embed != self._embed:
            chord = found.pop("chord")
            if found != _NO_MORE_THAN_A_CHORD or chord is None:
                raise BadMessage("task", "more follows than the body of a chord")
            check_signature(chord, "task", "chord")
            self._embed = embed
            return chord
        return found["chord"]

    def _made_blank(self) -> dict[str, Any]:
        """All that is in such a request, in its order: what is the same in each, and room for the rest."""
        headers = {**BLANK, "timelimit": [None, None]}
        blank = self.request(Job(0, "", "", Message(b"")), headers, None, None, _NOTHING_FOLLOWS, {})
        self._blank = vars(self.around.Context.adopt(blank))
        return self._blank

    def resolve(self, job: Job, request: dict[str, Any]) -> Built:
        try:
            task = self.app.tasks[job.task]
        except KeyError as exc:
            raise _Answered(self.unknown(job, request, exc)) from None
        tracer: Built | None = getattr(task, "__trace__", None)  # somebody's own, then
        if tracer is None:
            tracer = self._build(task.name, task, self.app.loader, self.hostname, app=self.app, trace_ok_t=self._traced)
        self._tracers[job.task] = tracer
        return tracer

    def read(self, job: Job) -> tuple[Any, Any, dict[str, Any]]:
        """args, kwargs, and the request as Celery's workers make it."""
        message: Any = job.message
        if type(message) is Sealed and self._plain_json:
            data, headers, properties = message.contents()
            payload = self._loads(data)
            if type(payload) is list and len(payload) == 3:  # noqa: PLR2004 - args, kwargs, embed
                args, kwargs, embed = payload
                if type(args) is list and type(kwargs) is dict and embed == _NOTHING_FOLLOWS:
                    return args, kwargs, self.request(job, headers, args, kwargs, embed, properties)
        message = opened(message)
        headers = message.headers
        if (
            self._plain_json
            and message.content_type == _JSON
            and type(headers) is dict
            and type(headers.get("retries")) is int
            and type(headers.get("timelimit")) is list
            and "compression" not in headers
            and "task" in headers
            and message.body[:2] == b"[["
        ):
            payload = self._loads(message.body)
            if type(payload) is list and len(payload) == 3:  # noqa: PLR2004 - args, kwargs, embed
                args, kwargs, embed = payload
                if type(kwargs) is dict and embed == _NOTHING_FOLLOWS:
                    return args, kwargs, self.request(job, headers, args, kwargs, embed, message.properties or _EMPTY)
        head = read_head(message, self.reader)
        body = read_body(message, head, self.reader)
        fields = {
            **{key: value for key, value in head.fields.items() if key not in ("args", "kwargs", "headers")},
            "task": head.name,
            "id": head.id,
            "shadow": head.shadow,
            "eta": head.eta_text,
            "expires": head.expires_text,
            "group": head.group,
            "group_index": head.group_index,
            "retries": head.retries,
            "timelimit": list(head.timelimit),
            "root_id": head.root_id,
            "parent_id": head.parent_id,
            "argsrepr": head.argsrepr,
            "kwargsrepr": head.kwargsrepr,
            "origin": head.origin,
            "ignore_result": head.ignore_result,
            "replaced_task_nesting": head.replaced_task_nesting,
            "stamped_headers": head.stamped_headers,
            "stamps": head.stamps,
            "headers": own_headers(head) or None,
        }
        embed = {
            "callbacks": body.callbacks,
            "errbacks": body.errbacks,
            "chain": body.chain,
            "chord": body.chord,
        }
        args = () if body.args is None else body.args
        request = self.request(job, fields, args, body.kwargs, embed, message.properties or _EMPTY)
        request["correlation_id"] = head.correlation_id
        request["reply_to"] = head.reply_to
        return args, body.kwargs, request

    def request(
        self, job: Job, headers: Mapping[str, Any], args: Any, kwargs: Any, embed: Any, properties: Mapping[str, Any]
    ) -> dict[str, Any]:
        return {
            **headers,
            "properties": properties,
            "reply_to": properties.get("reply_to"),
            "correlation_id": properties.get("correlation_id"),
            "hostname": self.hostname,
            "delivery_info": delivery_info(job, properties),
            "args": args,
            "kwargs": kwargs,
            "is_eager": False,
            "called_directly": False,
            **embed,
        }

    # --- after

    def reported(self, run: Run) -> Report:
        if run.state == states.REJECTED and not run.retval.requeue:
            self.refused(run.tracer.task, run.request, run.retval, run.shown)
        report = run.report()
        debt = self._debts.last = run.debt
        if debt is not None and debt.report is None:  # else it is of a job before this one, which had none
            debt.report = report
        return report

    def foreign(self, ended: Any) -> Report:
        """What a tracer came to that may not be ours."""
        run = getattr(ended, "run", None)
        if run is not None:
            return self.reported(run)
        retval, info, runtime, text = ended
        if info is None:
            return Report(states.SUCCESS, Fate.DONE, runtime or 0.0, text)
        traceback = getattr(retval, "traceback", None)
        if info.state == states.FAILURE:
            return failed_report(info.retval, traceback, runtime=runtime or 0.0)
        fate = _FATES.get(info.state, Fate.FAILED)
        if fate is Fate.REJECTED and getattr(info.retval, "requeue", False):
            fate = Fate.REQUEUED
        return Report(info.state, fate, runtime or 0.0, error=safe_repr(info.retval), traceback=traceback)

    def refused(self, task: Any, request: Any, exc: Any, einfo: Any) -> None:
        record_refusal(self.around, self.app, task, request, exc, einfo)

    def rejected(self, exc: Any) -> Report:
        """Refused outside its body, by a hook or because what follows it could not be sent."""
        fate = Fate.REQUEUED if exc.requeue else Fate.REJECTED
        return Report(states.REJECTED, fate, error=safe_repr(exc))

    def internal(self, job: Job, exc: Exception) -> Report:
        log.critical("Task %s[%s] INTERNAL ERROR: %r", job.task, job.id, exc, exc_info=exc)
        task = self.app.tasks.get(job.task)
        try:
            signal_internal_error(self.around, task, job.id, (), {}, {"id": job.id, "task": job.task}, exc)
        except Exception:
            log.exception("A receiver of task_internal_error failed")
        return failed_report(exc, None, internal=True)

    def unreadable(self, job: Job, bad: BadMessage) -> Report:
        """To quarantine: nobody can run it, here or elsewhere."""
        message = job.message
        log.critical(
            "Can't decode message body: %r [type:%r encoding:%r headers:%s]\n\nbody: %s",
            bad,
            message.content_type,
            message.content_encoding,
            shown(message.headers),
            shown(message.body),
        )
        return Report(states.REJECTED, Fate.REJECTED, error=str(bad), internal=True)

    def unknown(self, job: Job, request: dict[str, Any], exc: KeyError) -> Report:
        """No such task here. Who waits for it learns so."""
        log.error("Received unregistered task of type %r: %s", job.task, shown(job.message.headers))
        context = self.around.Context(request)
        fail(self.around, self.app, self.app.backend, context, exc, None, store_errors=True, errbacks=True)
        return failed_report(exc, None)

    def lost(self, debt: Debt, exc: Exception) -> bool:
        if debt.stored:
            text = "The chord of %s could not be told that it has succeeded, or its body not be sent: %r"
            log.critical(text, debt.result.task_id, exc)
        else:
            log.critical("The result of %s could not be stored: %r\n%s", debt.result.task_id, exc, shown(debt.row[1]))
        return True

    def unstored(self, report: Report, exc: Exception | None) -> Report:
        if exc is None:
            return report
        return report._replace(state=states.FAILURE, fate=Fate.FAILED, error=safe_repr(exc), internal=True)


def delivery_info(job: Job, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "exchange": job.exchange,
        "routing_key": job.routing_key,
        "priority": properties.get("priority"),
        "redelivered": job.redelivered,
    }


_NOTHING_FOLLOWS = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
_NOTHING_MORE = b', {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
"""How the body of a task ends that nothing follows, as everybody writes it."""
_A_CHORD_MORE = _NOTHING_MORE[: -len(b"null}]")] + b"{"
_NO_MORE_THAN_A_CHORD = {"callbacks": None, "errbacks": None, "chain": None}
_FATES = {
    states.IGNORED: Fate.DONE,
    states.RETRY: Fate.RETRIED,
    states.REJECTED: Fate.REJECTED,
}


class _Answered(Exception):
    """The job ends here, with this report."""

    def __init__(self, report: Report) -> None:
        self.report = report
