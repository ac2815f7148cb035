"""The short way of a call: what a kind of call always does is worked out once, and then only filled in.

Law: a call takes the short way only where nobody could tell it from the long one (`sending.send_task`): nobody hears
the publish signals, nothing on the way was replaced, its options are plain. Whatever may change that is a mark that
is looked at in each call; in doubt the answer is None, and the long way is taken.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from ...protocol.errors import BadCall
from ...protocol.hints import Any
from ...protocol.moments import datetime, timezone
from ...protocol.rules.calling import Call, draft, eta_text
from ...protocol.wire.message import CODECS
from ...protocol.wire.reprs import Shown, saferepr
from ...protocol.wire.serializers import BUILTIN as SERIALIZERS
from ...protocol.wire.template import Particulars, Template
from ...worker.brokers.base import KinFill, Queue
from ...worker.forks import in_child
from ...worker.ids import new_id
from ...worker.producer import Patience, Plan
from .. import _state, signals
from .producing import Outlet, TaskSender, patience, publish_policy, seen

# Options that differ from call to call, and those that make another kind of call of it.
PARTICULAR = frozenset(("task_id", "countdown", "eta", "group_id", "group_index", "root_id", "parent_id"))
_CONSTANT = frozenset(
    (
        *("queue", "priority", "routing_key", "exchange", "serializer", "compression", "ignore_result", "time_limit"),
        *("soft_time_limit", "shadow", "delivery_mode", "retries", "reply_to", "replaced_task_nesting", "retry"),
        *("add_to_parent", "immediate", "mandatory"),
    )
)
_NOTHING = frozenset(("link", "link_error", "chord", "chain", "producer", "expires", "headers", "stamped_headers"))
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)  # nothing in a template depends on the time
_BEFORE, _AFTER, _SENT = signals.before_task_publish, signals.after_task_publish, signals.task_sent
_held = _state._task_stack.held
_PLAIN = (str, int, float, bool, type(None))


class Changes:
    """Counts what may make a shortcut wrong, in any app: queues added, parts of `app.amqp` replaced, a fork."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0

    def happened(self) -> None:
        self.count += 1


CHANGES = Changes()
in_child(CHANGES.happened)


class Way:
    """How one kind of call leaves."""

    __slots__ = (
        *("ignored", "kind", "make", "patience", "plan", "plain", "queues", "shown", "traced"),
        "waits_there",
    )

    def __init__(
        self,
        plan: Plan,
        queues: Sequence[Queue],
        tries: Patience | None,
        shown: Shown,
        ignored: Any,
        traced: bool,
        waits_there: bool,
        kind: Any,
    ) -> None:
        self.plan = plan
        self.plain: KinFill | None = None
        """Makes a message without options that no task sends, once a broker has made a form of the plan."""
        self.kind = kind
        """The class of its results, where the task leaves their making to the app."""
        self.make: Any = None if kind is None else _quick_results(kind, ignored)
        self.queues = queues
        self.patience = tries
        self.shown = shown
        self.ignored = ignored
        self.traced = traced
        self.waits_there = waits_there

    def particulars(self, app: Any, parent: Any, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Particulars:
        """Of one call."""
        get = options.get
        root_id, parent_id = get("root_id"), get("parent_id")
        if parent is not None and not (root_id and parent_id):
            request = parent.request
            root_id = root_id or request.root_id or request.id
            parent_id = parent_id or request.id
        due = None
        if get("countdown") or get("eta"):
            due = eta_text(options, _now(app))
        return Particulars(
            get("task_id") or new_id(),
            args,
            kwargs,
            saferepr(args, self.shown.args, self.shown.levels),
            saferepr(kwargs, self.shown.kwargs, self.shown.levels),
            root_id,
            parent_id,
            due,
            get("group_id"),
            get("group_index"),
        )


def _now(app: Any) -> datetime:
    now: datetime = app.now()
    return now


class Shortcuts:
    """Those of one app."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._kept = threading.local()

    def apply(self, task: Any, args: Any, kwargs: Any, options: Mapping[str, Any]) -> Any:
        """`Task.apply_async` in short; None where it must be the long way."""
        app = self._app
        args, kwargs = args or (), kwargs or {}
        if not options and not _held():
            way = self._plain(task, args, kwargs)
            if way is not None and way.plain is not None:
                task_id = new_id()
                try:
                    piece = way.plain(task_id, args, kwargs, None)
                    app.amqp.outlet.producer.post_piece(way.plan, piece, way.queues, way.patience)
                except BadCall:
                    return None  # kombu may be able to write it, and else has the words for it
                if way.kind is app.AsyncResult and task._backend is None:
                    return way.make(task_id)
                result = task.AsyncResult(task_id)
                result.ignored = way.ignored
                return result
        parent = _state.get_current_worker_task()
        way = self.way(task, args, kwargs, options, parent)
        if way is None:
            return None
        try:
            given = way.particulars(app, parent, args, kwargs, options)
            app.amqp.outlet.producer.post_one(way.plan, given, way.queues, way.patience)
        except BadCall:
            return None
        if way.plain is None and way.plan.form is not None:
            way.plain = way.plan.form.kin(way.shown)
        if way.kind is app.AsyncResult and task._backend is None:
            result = way.make(given.id)
        else:
            result = task.AsyncResult(given.id)
            result.ignored = way.ignored
        if parent is not None and way.traced:
            parent.add_trail(result)
        return result

    def _plain(self, task: Any, args: Any, kwargs: Any) -> Way | None:
        """`way` of a call without options that no task makes, if it is known: most are, and nothing else is asked."""
        app = self._app
        known = self._kept.__dict__.get(task)
        conf = app._conf
        if (
            known is None
            or conf is None
            or _BEFORE.receivers
            or _AFTER.receivers
            or _SENT.receivers
            or type(kwargs) is not dict
            or (type(args) is not tuple and type(args) is not list)
            or "send_task" in app.__dict__
            or known[0] != (conf.edition, CHANGES.count, type(app).send_task, task._exec_options, task.ignore_result)
        ):
            return None
        way: Way | None = known[1].get(())
        return way

    def way(self, task: Any, args: Any, kwargs: Any, options: Mapping[str, Any], parent: Any) -> Way | None:
        """Where this kind of call goes, if it may be short."""
        app = self._app
        if signals.before_task_publish.receivers or signals.after_task_publish.receivers or signals.task_sent.receivers:
            return None
        if type(kwargs) is not dict or type(args) not in (tuple, list) or "send_task" in app.__dict__:
            return None
        mark = (app.conf.edition, CHANGES.count, type(app).send_task, task._exec_options, task.ignore_result)
        kept = self._kept.__dict__
        known = kept.get(task)
        if known is None or known[0] != mark:
            known = kept[task] = (mark, {})
        key = _key(options) if options else ()
        if key is None:
            return None
        ways: dict[Any, Way | None] = known[1]
        try:
            way = ways[key]
        except KeyError:
            way = ways[key] = self._made(task, options)
        if way is None or (parent is not None and app.conf.task_inherit_parent_priority):
            return None
        if way.waits_there and (options.get("countdown") or options.get("eta")):
            return None
        return way

    def way_to_body(self, task: Any, options: Mapping[str, Any], body: Any) -> Way | None:
        """The way of a chord's members, where `way` has one for these options. It is for who asks to keep it."""
        return self._made(task, options, body)

    def _made(self, task: Any, given: Mapping[str, Any], body: Any = None) -> Way | None:
        app, amqp = self._app, self._app.amqp
        if not (_untouched(app, amqp) and _usual(task)):
            return None
        conf = app.conf
        own = {name: value for name, value in given.items() if name in _CONSTANT}
        options: dict[str, Any] = {**task._get_exec_options(), **own}
        options.setdefault("ignore_result", task.ignore_result)
        ignored = options.pop("ignore_result")
        if options.pop("expires", None) is not None or not (ignored or app._backend_is_silent or _quiet(app.backend)):
            return None
        limits = {name: options.pop(name, None) for name in ("time_limit", "soft_time_limit")}
        traced = options.pop("add_to_parent", True)
        reply_to = options.pop("reply_to", None) or app.thread_oid
        said: dict[str, Any] = {
            name: options.pop(name) for name in ("retries", "replaced_task_nesting") if name in options
        }
        said["shadow"] = options.pop("shadow", None) or None
        if body is not None:
            said["chord"] = body
        plain = amqp.is_plain
        router = amqp.light_router if plain else amqp.router
        options = router.route(options, task.name, (), {}, task)
        sender = amqp.send_task_message
        queue, qname = sender._queue(options.pop("queue", None), options.get("exchange"), light=plain)
        if conf.get("task_queue_protocols", {}).get(qname, 2) != 2:
            return None
        exchange, routing_key = sender._place(
            queue, qname, options.pop("exchange", None), options.pop("routing_key", None), None
        )
        name, kind, mode = seen(queue) if queue is not None else ("", None, None)
        if exchange and exchange != name:
            return None  # its type is not for us to know
        codecs = (
            options.pop("serializer", None) or conf.task_serializer,
            options.pop("compression", None) or (conf.task_compression),
        )
        if codecs[0] not in SERIALIZERS or (codecs[1] and not _is_compression(codecs[1])):
            return None
        retry = options.pop("retry", None)
        for unsaid in ("mandatory", "immediate"):
            if options.pop(unsaid, None):
                return None
        told = {
            **said,
            **limits,
            "ignore_result": ignored,
            "reply_to": reply_to,
            "serializer": codecs[0],
            "compression": codecs[1],
            "delivery_mode": options.pop("delivery_mode", None) or mode or conf.task_default_delivery_mode,
            **({"priority": options.pop("priority")} if "priority" in options else {}),
        }
        if options:
            return None
        drafted, posting = draft(Call(task.name, (), {}, told), amqp._sender(timezone.utc), _EPOCH, new_id="-")
        template = Template.of(drafted, posting, CODECS)
        queues = amqp.outlet.declared([queue]) if queue is not None and type(queue).__name__ != "Broadcast" else ()
        return Way(
            Plan(template, routing_key or "", exchange or "", kind or "direct"),
            queues,
            patience(conf.task_publish_retry if retry is None else retry, publish_policy(conf)),
            Shown(amqp.argsrepr_maxsize, amqp.kwargsrepr_maxsize, conf.task_repr_maxlevels),
            ignored,
            bool(traced),
            waits_there=not plain and amqp.outlet.kind == ".amqp",
            kind=app.AsyncResult if _usual_results(task) else None,
        )


def _key(options: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """What of the options makes another kind of call; None for those that are not plain."""
    found = []
    for name, value in options.items():
        if name in PARTICULAR:
            continue
        if name in _CONSTANT and type(value) in _PLAIN:
            found.append((name, value, type(value)))
        elif value is not None or name not in _NOTHING:
            return None
    return tuple(found)


def _is_compression(name: Any) -> bool:
    from ...protocol.wire.compression import BUILTIN

    return name in BUILTIN


def _untouched(app: Any, amqp: Any) -> bool:
    """Whether the app sends as apps do, by protocol 2 and without events."""
    from . import base
    from .amqp import AMQP
    from .routes import MapRoute, Router

    conf = app.conf
    maker = amqp.create_task_message
    return (
        type(amqp) is AMQP
        and type(app).send_task.__code__.co_filename == base.__file__
        and type(amqp.outlet) is Outlet
        and type(amqp.send_task_message) is TaskSender
        and getattr(maker, "__func__", None) is AMQP.as_task_v2
        and conf.task_protocol == 2
        and not conf.task_always_eager
        and not conf.task_send_sent_event
        and not conf.task_send_timestamp
        and all(isinstance(route, MapRoute) for route in amqp.routes)
        and (amqp.is_plain or type(amqp.router) is Router)
    )


def _usual(task: Any) -> bool:
    """Whether the task leaves to us what Celery leaves to tasks."""
    from .task import Task

    return type(task).shadow_name is Task.shadow_name and task._dump_pydantic_arguments is None


def _usual_results(task: Any) -> bool:
    """Whether the task has its app make its results, for its app's backend."""
    from .task import Task

    kind = type(task)
    return kind.AsyncResult is Task.AsyncResult and kind.backend is Task.backend and "AsyncResult" not in vars(task)


def _quick_results(kind: Any, ignored: Any) -> Any:
    from ..result import quick

    return quick(kind, ignored)


def _quiet(backend: Any) -> bool:
    """Whether the backend has nothing to do when a task is sent."""
    from ..backends.base import Backend

    return type(backend).on_task_call is Backend.on_task_call
