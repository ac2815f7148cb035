"""What running a task needs from an app, a task and their surroundings. compat's classes have these shapes.

Law: shapes alone. The names are Celery's where Celery has the thing: users replace such things one by one, so each
is looked up when it is needed. What is Any here is the user's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from ..protocol.rules.continuing import LostStep
from ..protocol.rules.outcome import Continue, Trouble
from ..protocol.rules.signature import Signature
from ..protocol.wire.result import Result


class Settings(Protocol):
    """`app.conf`, as far as it is asked here."""

    def __getattr__(self, name: str) -> Any: ...


class Loader(Protocol):
    """`app.loader`."""

    def on_task_init(self, task_id: str, task: Any) -> Any: ...

    def on_process_cleanup(self) -> Any: ...


class Stack(Protocol):
    """What is current: one stack a thread, and a coroutine."""

    def push(self, item: Any) -> Any: ...

    def put(self, item: Any) -> None: ...

    def pop(self) -> Any: ...


class Backend(Protocol):
    """`task.backend`: ours over a `Store`, or anybody's that was written for Celery."""

    def store_result(self, task_id: str, result: Any, state: str, traceback: Any = ..., request: Any = ...) -> Any: ...

    def on_chord_part_return(self, request: Any, state: str, result: Any, **kwargs: Any) -> Any: ...

    def process_cleanup(self) -> Any: ...


class App(Protocol):
    """The application."""

    conf: Any
    loader: Any
    backend: Any
    tasks: Mapping[str, Any]


class Task(Protocol):
    """A registered task."""

    name: str
    throws: Any
    request_stack: Stack
    backend: Any
    ignore_result: Any
    store_errors_even_if_ignored: Any
    track_started: Any
    acks_late: Any
    resultrepr_maxsize: int
    store_eager_result: Any

    def run(self, *args: Any, **kwargs: Any) -> Any: ...

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> Any: ...

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> Any: ...

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> Any: ...


class Surroundings(Protocol):
    """What is around a running task in one process. There is one; compat makes it."""

    @property
    def Context(self) -> Any:  # noqa: N802 - Celery's name
        """Makes `task.request` of a mapping; `adopt` the same without a copy."""

    @property
    def Ignore(self) -> type[Exception]: ...  # noqa: N802 - Celery's name

    @property
    def Reject(self) -> Any: ...  # noqa: N802 - Celery's name

    @property
    def Retry(self) -> type[Exception]: ...  # noqa: N802 - Celery's name

    @property
    def InvalidTaskError(self) -> type[Exception]: ...  # noqa: N802 - Celery's name

    @property
    def signals(self) -> Any:
        """By name: `task_prerun`, `task_success`, ..., each with `receivers` and `send`."""

    @property
    def log(self) -> logging.Logger: ...

    @property
    def tasks(self) -> Stack:
        """The tasks that run."""

    @property
    def successful(self) -> Any:
        """Ids of tasks that are known to have succeeded: a set."""

    def custom(self, task: Any, name: str) -> bool:
        """Whether the task's class says how, and not Celery's."""

    def ignores(self, task: Any, request: Any) -> bool:
        """Whether the result of this request is ignored."""

    def trouble(self, exc: BaseException) -> Trouble:
        """Why an effect failed."""

    def unencodable(self, exc: BaseException) -> BaseException:
        """The error that says that a result cannot be written."""

    def pickleable(self, exc: BaseException) -> BaseException:
        """The exception, or the nearest that can be sent to another process."""

    def pickleable_type(self, kind: type[BaseException]) -> type[BaseException]: ...

    def restored(self, exc: BaseException) -> BaseException:
        """What `pickleable` made, as it was."""

    def soft_limit(self, seconds: float) -> BaseException:
        """What is raised in a task that is over its soft limit."""

    def proceed(self, app: Any, request: Any, value: Any, effect: Continue, priority: int | None) -> None:
        """Send callbacks and the next step of the chain; what was sent becomes the request's children."""

    def call_errbacks(
        self, app: Any, request: Any, errbacks: Sequence[Signature], exc: BaseException, traceback: str | None
    ) -> None:
        """Those that take more than an id are called here, the others sent."""

    def lost(self, step: LostStep) -> Any:
        """The request that a step would have had."""

    def send_body(self, backend: Any, request: Any, claim: Any) -> None:
        """Send the body of the chord of this request, or its errors: it is complete, and the claim ours."""

    def has_failed(self, backend: Any, task_id: str) -> bool:
        """Whether the store knows that it failed: then its chord has counted it."""

    def succeeded_before(self, app: Any, task_id: str) -> Mapping[str, Any] | None:
        """What is stored of it, if that is a SUCCESS."""


class Held(Protocol):
    """Where a result waits to be written together with others."""

    def takes(self, store: Any) -> bool: ...

    def hold(self, store: Any, result: Result) -> Any: ...

    def hold_plain(
        self, store: Any, task_id: str, value: Any, date_done: str, group_id: str | None, parent_id: str | None
    ) -> Any: ...

    def counts(self, store: Any) -> bool: ...

    def part(self, store: Any, request: Any, value: Any, complete: Callable[[Any], None]) -> Any: ...


# --- what a worker asks of the app that it works for, beside running tasks (`consumer`, `worker`)


class Owner(Protocol):
    """The app as a worker sees it. Requests are `request.Request`, queues are `brokers.base.Queue`."""

    @property
    def tasks(self) -> Mapping[str, Any]:
        """By name; its tasks have Celery's attributes."""

    @property
    def received_format(self) -> str:
        """How a received task is logged; users replace it."""

    def own_ways(self, task: Any) -> tuple[Callable[[Any], None] | None, Callable[[Any], None] | None]:
        """How requests for this task are received and run, where that is not our affair."""

    def queues(self) -> Mapping[str, Sequence[Any]]:
        """What to take from: each queue by its name, with its bindings."""

    def add_queue(self, name: str, **options: Any) -> Sequence[Any]:
        """Take from this one as well; made up if it is not known."""

    def drop_queue(self, name: str) -> None: ...

    def forget_queue(self, name: str) -> None:
        """As if this one had not been added."""

    def queue_info(self, name: str) -> Mapping[str, Any]:
        """As `inspect active_queues` shows it."""

    def listens(self, signal: str) -> bool:
        """Whether anybody would hear this signal."""

    def signal(self, signal: str, sender: Any = None, /, **fields: Any) -> None: ...

    def request(self, request: Any) -> Any:
        """What Celery's signals call a request."""

    def shown_url(self, url: str) -> str:
        """Without its secrets."""

    def clock_forward(self) -> int: ...

    def clock_adjust(self, other: int) -> int: ...

    def clock_value(self) -> int: ...

    # What nobody in the pool could record. None of these raises.

    def revoked(self, request: Any, reason: str, *, terminated: bool, signum: int | None, expired: bool) -> None: ...

    def revoke_stored(self, ids: Sequence[str]) -> None: ...

    def timed_out(self, request: Any, limit: float) -> None: ...

    def lost(self, request: Any, why: str) -> None: ...

    def resend(self, request: Any, why: str) -> bool: ...

    def cancelled(self, request: Any) -> None: ...

    def unregistered(self, request: Any) -> None: ...

    # What remote control asks.

    def settings(self, *, with_defaults: bool) -> Mapping[str, Any]: ...

    def report(self) -> str: ...

    def broker_info(self) -> Mapping[str, Any]: ...

    def reload(self, modules: Sequence[str], *, reload: bool) -> None: ...

    def send_signature(self, signature: Any) -> None: ...
