"""What a task came to, asked for by whoever sent it. Several results are `result_sets`, one that is there already is
`result_eager`: they have their names here, and are loaded when somebody asks.

Law: a result that nobody asks about costs an object with four fields: its promise and its backend are found when they
are first used. Waiting is the backend's affair.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from functools import cached_property, partial

from ..protocol.hints import TYPE_CHECKING, Any, Generic, TypeVar
from . import _state, states
from ._state import _set_task_join_will_block, task_join_will_block
from .exceptions import IncompleteStream, TimeoutError

if TYPE_CHECKING:
    from datetime import datetime
    from types import TracebackType

    from .result_eager import EagerResult
    from .result_sets import GroupResult, ResultSet

__all__ = ("AsyncResult", "EagerResult", "GroupResult", "ResultBase", "ResultSet", "result_from_tuple")

E_WOULDBLOCK = (
    "Never call result.get() within a task!\n"
    "A worker whose tasks wait for each other comes to a standstill: chain them, or use a chord, so that one starts "
    "when the other has ended. Whoever knows that nothing can block says get(disable_sync_subtasks=False), or waits "
    "within allow_join_result(). See https://docs.celeryq.dev/en/latest/userguide/tasks.html"
    "#avoid-launching-synchronous-subtasks"
)

R = TypeVar("R")


def assert_will_not_block() -> None:
    """Raise RuntimeError within a task."""
    if task_join_will_block():
        raise RuntimeError(E_WOULDBLOCK)


@contextmanager
def _join_blocks(blocks: bool) -> Generator[None, None, None]:
    before = task_join_will_block()
    _set_task_join_will_block(blocks)
    try:
        yield
    finally:
        _set_task_join_will_block(before)


def allow_join_result() -> Any:
    """A context in which a task may wait for results."""
    return _join_blocks(False)


def denied_join_result() -> Any:
    """A context in which nobody may wait for results, as within a task."""
    return _join_blocks(True)


class ResultBase:
    """What all results are."""

    #: The result of the task before, in a chain.
    parent: Any = None


class AsyncResult(ResultBase, Generic[R]):
    """The result of one task, by the task's id."""

    app: Any = None

    #: What `get` raises when its time is over.
    TimeoutError = TimeoutError

    id: Any = None

    _backend: Any = None
    _cache: Any = None
    _ignored: bool = False
    _pending: bool = False  # the backend knows that we wait
    _promise: Any = None
    _thrown: BaseException | None = None

    def __init__(
        self,
        id: str,
        backend: Any = None,
        task_name: str | None = None,  # deprecated
        app: Any = None,
        parent: Any = None,
    ) -> None:
        if id is None:
            raise ValueError(f"AsyncResult requires valid id, not {type(id)}")
        self.app = _state.app_or_default(app or self.app)
        self.id = id
        if backend is not None:
            self._backend = backend
        self.parent = parent

    @property
    def backend(self) -> Any:
        """Where the result is stored: the app's, unless another was given."""
        found = self._backend
        if found is None and self.app is not None:
            found = self._backend = self.app.backend
        return found

    @backend.setter
    def backend(self, backend: Any) -> None:
        self._backend = backend

    @property
    def ignored(self) -> bool:
        """The task stores no result, so `get` returns None at once."""
        return self._ignored

    @ignored.setter
    def ignored(self, value: bool) -> None:
        self._ignored = value

    # --- promises

    @property
    def on_ready(self) -> Any:
        """The promise of this result."""
        made = self._promise
        if made is None:
            from vine import promise  # type: ignore[import-untyped, unused-ignore]  # an untyped library

            made = self._promise = promise(self._on_fulfilled, weak=True)
            if self._cache is not None:
                made(self)
            if self._thrown is not None:
                made.throw1(self._thrown)
        return made

    @on_ready.setter
    def on_ready(self, made: Any) -> None:
        self._promise = made

    def then(self, callback: Callable[..., Any], on_error: Callable[..., Any] | None = None, weak: bool = False) -> Any:
        """Have `callback(self)` called when the result is known, which is when somebody here waits or asks."""
        self.backend.add_pending_result(self, weak=weak)
        return self.on_ready.then(callback, on_error)

    def _on_fulfilled(self, result: Any) -> Any:
        self.backend.remove_pending_result(self)
        return result

    def throw(self, *args: Any, **kwargs: Any) -> None:
        """Raise this exception here, and give it to who was promised the result."""
        if self._promise is not None or not args or kwargs:
            self.on_ready.throw(*args, **kwargs)
            return
        exc, *rest = args
        self._thrown = exc
        raise exc.with_traceback(rest[0] if rest else None)

    # --- as a tree

    def as_tuple(self) -> Any:
        parent = self.parent
        return (self.id, parent and parent.as_tuple()), None

    def as_list(self) -> list[str]:
        """The ids of this task and of its parents."""
        ids = [self.id]
        parent = self.parent
        if parent is not None:
            ids.extend(parent.as_list())
        return ids

    # --- what one does about a task

    def forget(self) -> None:
        """Delete the results of this task and of its parents."""
        self._cache = None
        if self.parent:
            self.parent.forget()
        self.backend.remove_pending_result(self)
        self.backend.forget(self.id)

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Tell all workers not to start this task; with `terminate`, to stop the process that runs it."""
        self.app.control.revoke(
            self.id, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout
        )

    def revoke_by_stamped_headers(
        self,
        headers: dict[str, Any],
        connection: Any = None,
        terminate: bool = False,
        signal: Any = None,
        wait: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Tell all workers not to start any task that carries all these stamps."""
        self.app.control.revoke_by_stamped_headers(
            headers, connection=connection, terminate=terminate, signal=signal, reply=wait, timeout=timeout
        )

    # --- waiting

    def get(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        no_ack: bool = True,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_message: Callable[[Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = True,
        EXCEPTION_STATES: Any = states.EXCEPTION_STATES,
        PROPAGATE_STATES: Any = states.PROPAGATE_STATES,
    ) -> R:
        """Wait until the task has ended, and return what it returned or raise what it raised.

        Arguments:
            timeout: seconds after which `TimeoutError` is raised; the task goes on.
            propagate: raise the task's exception; else it is returned.
            interval: seconds between two looks at a store that does not tell, and between two calls of `on_interval`.
            follow_parents: raise the exception of a parent, whose failure keeps this task from ever running.
            callback: called with the id and the value.
            on_message: called with the document of each state that arrives.
            disable_sync_subtasks: refuse to wait within a task.
        """
        if self.ignored:
            return None  # type: ignore[return-value]  # Celery's word for: there will be none
        if disable_sync_subtasks:
            assert_will_not_block()
        each_interval = on_interval
        asks_parents = bool(follow_parents and propagate and self.parent)
        if asks_parents:
            self._maybe_reraise_parent_error()
            each_interval = self._asking_parents(on_interval)
        if self._cache:
            if propagate:
                self.maybe_throw(callback=callback)
            found: R = self.result
            return found
        backend = self.backend
        if not getattr(backend, "waits_by_itself", False):
            backend.add_pending_result(self)
        value: R = backend.wait_for_pending(
            self,
            timeout=timeout,
            interval=interval,
            on_interval=each_interval,
            no_ack=no_ack,
            propagate=propagate and not asks_parents,
            callback=None if asks_parents else callback,
            on_message=on_message,
        )
        if asks_parents:
            value = self._after_parents(callback)
        return value

    wait = get  # deprecated

    async def aget(
        self,
        timeout: float | None = None,
        propagate: bool = True,
        interval: float = 0.5,
        follow_parents: bool = True,
        callback: Callable[[str, Any], Any] | None = None,
        on_interval: Callable[[], Any] | None = None,
        disable_sync_subtasks: bool = False,
    ) -> R:
        """`get` for coroutines. They hold up nobody while they wait, so tasks may."""
        from .backends.awaiting import arrive

        if self.ignored:
            return None  # type: ignore[return-value]  # as `get`
        if disable_sync_subtasks:
            assert_will_not_block()
        asks_parents = bool(follow_parents and propagate and self.parent)
        # Groups are asked once this one has failed, which it does when a member of theirs fails.
        parents = [each for each in self._parents() if isinstance(each, AsyncResult)][::-1] if asks_parents else []
        for parent in parents:
            if parent._cache:
                parent.maybe_throw()
        if not self._cache:
            await arrive(self, parents, timeout, interval, on_interval)
        value: R = self._after_parents(callback) if asks_parents else self.maybe_throw(propagate, callback)
        return value

    def _after_parents(self, callback: Callable[[str, Any], Any] | None) -> Any:
        """Its value; where it failed because a parent did, what the parent raised says more."""
        if self.state in states.PROPAGATE_STATES:
            self._maybe_reraise_parent_error()
        return self.maybe_throw(callback=callback)

    def _asking_parents(self, on_interval: Callable[[], Any] | None) -> Callable[[], None]:
        def ask() -> None:
            self._maybe_reraise_parent_error()
            if on_interval is not None:
                on_interval()

        return ask

    def _maybe_reraise_parent_error(self) -> None:
        for node in reversed(list(self._parents())):
            at_once = getattr(node, "_throw_at_once", None)
            if at_once is None or not at_once():
                node.maybe_throw()

    def _parents(self) -> Iterator[Any]:
        node = self.parent
        while node:
            yield node
            node = node.parent

    def collect(self, intermediate: bool = False, **kwargs: Any) -> Iterator[tuple[Any, Any]]:
        """This result and those of all tasks that came of it, each with its value, which is waited for."""
        for _, result in self.iterdeps(intermediate=intermediate):
            yield result, result.get(**kwargs)

    def get_leaf(self) -> Any:
        """The value of the last of them."""
        value = None
        for _, result in self.iterdeps():
            value = result.get()
        return value

    def iterdeps(self, intermediate: bool = False) -> Iterator[tuple[Any, Any]]:
        """`(parent, result)` of this and all below it; raises `IncompleteStream` at one that is not ready."""
        todo: deque[tuple[Any, Any]] = deque([(None, self)])
        while todo:
            parent, node = todo.popleft()
            yield parent, node
            if node.ready():
                todo.extend((node, child) for child in node.children or [])
            elif not intermediate:
                raise IncompleteStream

    # --- asking

    def exists(self) -> bool:
        """Whether anything is stored: tells a task that waits from an id that nobody knows, where states are kept."""
        return bool(self.backend.task_result_exists(self.id))

    def ready(self) -> bool:
        """Whether the task has ended, one way or the other."""
        return self.state in self.backend.READY_STATES

    def successful(self) -> bool:
        return bool(self.state == states.SUCCESS)

    def failed(self) -> bool:
        return bool(self.state == states.FAILURE)

    def maybe_throw(self, propagate: bool = True, callback: Callable[[str, Any], Any] | None = None) -> Any:
        """Raise what the task raised, if it did; else its value."""
        meta = self._get_task_meta() if self._cache is None else self._cache
        value = meta["result"]
        if propagate and meta["status"] in states.PROPAGATE_STATES:
            self.throw(value, self._to_remote_traceback(meta.get("traceback"), value))
        if callback is not None:
            callback(self.id, value)
        return value

    maybe_reraise = maybe_throw

    def _to_remote_traceback(self, text: Any, exc: BaseException | None = None) -> TracebackType | None:
        """The traceback of the worker, where `task_remote_tracebacks` asks for it; as a cause without tblib."""
        if not text or self.app is None or not self.app.conf.task_remote_tracebacks:
            return None
        try:
            from tblib import Traceback  # type: ignore[import-not-found, unused-ignore]  # an untyped library
        except ImportError:
            if exc is not None and exc.__cause__ is None:
                exc.__cause__ = RemoteTraceback(text)
            return None
        found: TracebackType | None = Traceback.from_string(text).as_traceback()
        return found

    def build_graph(self, intermediate: bool = False, formatter: Any = None) -> Any:
        """The tasks that came of this one, as a graph."""
        from .utils.graph import DependencyGraph, GraphFormatter

        graph = DependencyGraph(formatter=formatter or GraphFormatter(root=self.id, shape="oval"))
        for parent, node in self.iterdeps(intermediate=intermediate):
            graph.add_arc(node)
            if parent:
                graph.add_edge(parent, node)
        return graph

    @cached_property
    def graph(self) -> Any:
        return self.build_graph()

    @property
    def supports_native_join(self) -> bool:
        return bool(self.backend.supports_native_join)

    # --- what is stored

    def _get_task_meta(self) -> Any:
        if self._cache is None:
            return self._maybe_set_cache(self.backend.get_task_meta(self.id))
        return self._cache

    def _iter_meta(self, **kwargs: Any) -> Iterator[Any]:
        return iter([self._get_task_meta()])

    def _maybe_set_cache(self, meta: Any) -> Any:
        if meta and meta["status"] in states.READY_STATES:
            kept = self._set_cache(self.backend.meta_from_decoded(meta))
            if self._promise is not None:
                self._promise(self)
            elif self._pending:
                self.backend.remove_pending_result(self)
            return kept
        return meta

    def _set_cache(self, meta: Any) -> Any:
        children = meta.get("children")
        if children:
            meta["children"] = [result_from_tuple(child, self.app) for child in children]
        self._cache = meta
        return meta

    @property
    def result(self) -> Any:
        """What the task returned, or the exception that it raised."""
        return self._get_task_meta()["result"]

    info = result

    @property
    def traceback(self) -> Any:
        """The traceback of a task that failed, as text."""
        return self._get_task_meta().get("traceback")

    @property
    def state(self) -> Any:
        """PENDING, STARTED, RETRY, FAILURE, SUCCESS, REVOKED, or a state of the task's own.

        PENDING is also the state of a task that nobody knows.
        """
        return self._get_task_meta()["status"]

    status = state

    @property
    def children(self) -> Any:
        """The results of the tasks that the task sent, or None."""
        return self._get_task_meta().get("children")

    @property
    def task_id(self) -> Any:
        return self.id

    @task_id.setter
    def task_id(self, id: str) -> None:
        self.id = id

    @property
    def name(self) -> Any:
        """The name of the task; this and what follows is known with `result_extended` alone."""
        return self._get_task_meta().get("name")

    @property
    def args(self) -> Any:
        return self._get_task_meta().get("args")

    @property
    def kwargs(self) -> Any:
        return self._get_task_meta().get("kwargs")

    @property
    def worker(self) -> Any:
        return self._get_task_meta().get("worker")

    @property
    def retries(self) -> Any:
        return self._get_task_meta().get("retries")

    @property
    def queue(self) -> Any:
        return self._get_task_meta().get("queue")

    @property
    def date_done(self) -> datetime | None:
        """When the task ended."""
        done = self._get_task_meta().get("date_done")
        return _moment(done) if isinstance(done, str) else done

    # --- as a value

    def __str__(self) -> str:
        return str(self.id)

    def __hash__(self) -> int:
        return hash(self.id)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.id}>"

    def __eq__(self, other: object) -> bool:
        if isinstance(other, AsyncResult):
            return bool(other.id == self.id)
        if isinstance(other, str):
            return bool(other == self.id)
        return NotImplemented

    def __copy__(self) -> AsyncResult[R]:
        return self.__class__(self.id, self._backend, None, self.app, self.parent)

    def __reduce__(self) -> Any:
        return self.__class__, self.__reduce_args__()

    def __reduce_args__(self) -> tuple[Any, ...]:
        return self.id, self.backend, None, None, self.parent

    def __del__(self) -> None:
        if self._pending:
            self._backend.remove_pending_result(self)


class RemoteTraceback(Exception):
    """Where in the worker a task's exception was raised; the cause of that exception here."""

    def __str__(self) -> str:
        return f'\n"""\n{self.args[0]}"""'


def _moment(text: str) -> datetime | None:
    from datetime import timezone

    from ..protocol.errors import BadMessage
    from ..protocol.wire.dates import parse_iso

    try:
        return parse_iso(text, timezone.utc)
    except BadMessage as bad:
        raise ValueError(str(bad)) from None


_AS_MADE = AsyncResult.__init__
_UNSAID: Any = object()


def quick(kind: type[AsyncResult[Any]], ignored: Any = _UNSAID) -> Callable[[str], AsyncResult[Any]]:
    """`kind`, for ids that are ids: where nobody has changed how it is made, a quicker way to the same object.

    `ignored` is that of the results, where it is said.
    """
    said = ignored is not _UNSAID
    if (
        kind.__init__ is not _AS_MADE
        or kind.__new__ is not object.__new__
        or kind.__setattr__ is not object.__setattr__
        or kind.parent is not None
        or (said and kind.ignored is not AsyncResult.ignored)
    ):
        return partial(_with_ignored, kind, ignored) if said else kind
    new = kind.__new__

    # The app and the parent, which is none, are the class' own.
    def made(task_id: str) -> AsyncResult[Any]:
        result = new(kind)
        result.id = task_id
        return result

    def made_so(task_id: str) -> AsyncResult[Any]:
        result = new(kind)
        result.id = task_id
        result._ignored = ignored
        return result

    return made_so if said and ignored is not kind._ignored else made


def _with_ignored(kind: type[AsyncResult[Any]], ignored: Any, task_id: str) -> AsyncResult[Any]:
    result = kind(task_id)
    result.ignored = ignored
    return result


def result_from_tuple(r: Any, app: Any = None) -> Any:
    """The result, or group of results, in what `as_tuple` gave; a result is given back as it is."""
    if isinstance(r, ResultBase):
        return r
    app = _state.app_or_default(app)
    head, members = r
    id, parent = head if isinstance(head, (list, tuple)) else (head, None)
    if parent:
        parent = result_from_tuple(parent, app)
    if members is not None:
        return app.GroupResult(id, [result_from_tuple(member, app) for member in members], parent=parent)
    return app.AsyncResult(id, parent=parent)


_ELSEWHERE = {"ResultSet": "result_sets", "GroupResult": "result_sets", "EagerResult": "result_eager"}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module 'celery.result' has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f".{_ELSEWHERE[name]}", __package__), name)
    return found


# A pickle of one is read by stock Celery too.
ResultBase.__module__ = AsyncResult.__module__ = "celery.result"
