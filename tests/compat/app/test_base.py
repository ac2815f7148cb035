"""The app itself: what is light, what is awaited, what survives a fork, what is sent in bulk."""

from __future__ import annotations

import asyncio
import inspect
import os
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from kombu.clocks import LamportClock

from celeriac.compat import _state
from celeriac.compat.app import Celery, app_or_default, shared_task
from celeriac.compat.app.base import PendingConfiguration
from celeriac.compat.exceptions import ImproperlyConfigured
from celeriac.protocol.wire import control
from tests.conftest import Environment


@pytest.fixture
def app() -> Iterator[Celery]:
    finalizers = dict(_state._on_app_finalizers)
    current = _state._tls.current_app
    with Celery("proj", broker="memory://", backend="disabled", set_as_current=False) as made:
        yield made
    _state._on_app_finalizers.clear()
    _state._on_app_finalizers.update(finalizers)
    _state._tls.current_app = current


@pytest.fixture
def sent(app: Celery, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What is handed to `send_task`, in the place of a broker."""
    calls: list[tuple[Any, ...]] = []

    def send_task(name: str, args: Any = None, kwargs: Any = None, **options: Any) -> str:
        calls.append((name, args, kwargs, threading.current_thread() is threading.main_thread()))
        return "result"

    monkeypatch.setattr(app, "send_task", send_task)
    return calls


HEAVY = ("kombu", "amqp", "redis", "asyncio", "click", "multiprocessing", "concurrent", "billiard", "sqlalchemy")


def test_an_app_and_its_tasks_load_nothing_heavy(celeriac_env: Environment) -> None:
    program = f"""
import sys
from celeriac.compat.app import Celery
app = Celery("x", broker="redis://", backend="redis://")
@app.task(bind=True, autoretry_for=(KeyError,))
def add(self, x, y): return x + y
add.name
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    assert celeriac_env.run("-c", program).stdout.strip() == "[]"


def test_send_task_tells_what_it_takes() -> None:
    names = list(inspect.signature(Celery.send_task).parameters)
    assert names[:7] == ["self", "name", "args", "kwargs", "countdown", "eta", "task_id"]
    assert names[-2:] == ["replaced_task_nesting", "options"]


def test_send_task_takes_options_by_position(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Sending:
        @staticmethod
        def send_task(app: Any, name: str, args: Any, kwargs: Any, **options: Any) -> None:
            seen.update(options)

    app.__dict__["_sending"] = Sending
    app.send_task("x", (), {}, 5, None, "id", link="l")
    assert seen == {"countdown": 5, "eta": None, "task_id": "id", "link": "l"}
    del app.__dict__["_sending"]


def test_many_calls_at_once(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []

    class Batch:
        def __init__(self, app: Any, producer: Any = None, options: Any = None) -> None:
            self.options = options

        def add(self, task: Any, args: Any, kwargs: Any) -> None:
            """Everything takes the long way."""

        def call(self, call: Any) -> str:
            calls.append(call)
            return "abcd"[len(calls) - 1]

        def flush(self) -> None:
            pass

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    monkeypatch.setattr("celeriac.compat.app.bulk.Batch", Batch)
    results = app.send_many([add.s(1, 2), ("add", (3, 4)), (add, (5,), {"y": 6}, {"queue": "q"}), ("bare",)])
    assert [result.id for result in results] == ["a", "b", "c", "d"]
    assert [(call.name, tuple(call.args), dict(call.kwargs or {}), dict(call.options)) for call in calls] == [
        ("add", (1, 2), {}, {}),
        ("add", (3, 4), {}, {}),
        ("add", (5,), {"y": 6}, {"queue": "q"}),
        ("bare", (), {}, {}),
    ]
    calls.clear()
    assert len(add.starmap_async([(1, 2), (3, 4)], queue="q")) == 2
    assert [(call.name, call.args, call.options) for call in calls] == [
        ("add", (1, 2), {"queue": "q"}),
        ("add", (3, 4), {"queue": "q"}),
    ]


def test_coroutines_send_beside_the_event_loop(app: Celery, sent: list[tuple[Any, ...]]) -> None:
    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    async def program() -> list[Any]:
        return [
            await add.adelay(1, y=2),
            await add.aapply_async((3,), {"y": 4}, queue="q"),
            await app.asend_task("other", (5,), queue="q"),
        ]

    assert asyncio.run(program()) == ["result"] * 3
    assert sent == [
        ("add", (1,), {"y": 2}, False),
        ("add", (3,), {"y": 4}, False),
        ("other", (5,), None, False),
    ]


def test_coroutines_get_their_errors(app: Celery) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        return x + y

    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        asyncio.run(add.adelay(1))  # type: ignore[call-arg]


def test_the_check_of_arguments_is_made_at_the_first_call(app: Celery, sent: list[tuple[Any, ...]]) -> None:
    from celeriac.compat.app.header import Header

    @app.task(name="add")
    def add(x: int, y: int) -> int:
        return x + y

    assert isinstance(type(add._get_current_object()).__dict__["__header__"], Header)  # type: ignore[attr-defined]
    add.delay(1, 2)
    assert isinstance(type(add._get_current_object()).__dict__["__header__"], staticmethod)  # type: ignore[attr-defined]
    with pytest.raises(TypeError):
        add.delay(1)  # type: ignore[call-arg]


def test_an_own_type_checker_is_used(sent: list[Any]) -> None:
    class Own(Celery):
        def type_checker(self, fun: Any, bound: bool = False) -> Any:
            return staticmethod(lambda *args, **kwargs: seen.append((args, kwargs)))

    seen: list[Any] = []
    app = Own("own", set_as_current=False)
    app.send_task = lambda *args, **kwargs: None  # type: ignore[method-assign,assignment]
    app.task(name="x", shared=False)(lambda: None).delay(1, a=2)
    assert seen == [((1,), {"a": 2})]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks here")
def test_a_forked_child_is_told_and_has_its_own_ids(app: Celery) -> None:
    told: list[int] = []

    def receive(**kwargs: Any) -> None:
        told.append(os.getpid())

    def raises(**kwargs: Any) -> None:
        raise RuntimeError("a receiver of on_after_fork")

    app.on_after_fork.connect(raises)
    app.on_after_fork.connect(receive)
    before = [app.oid, app.thread_oid]
    assert before == [app.oid, app.thread_oid]
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        same = {*before} & {app.oid, app.thread_oid}
        os.write(writer, b"told" if told == [os.getpid()] and not same else b"no")
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 10) == b"told"
    assert told == []
    os.close(reader)
    os.close(writer)


def test_a_backend_that_no_other_thread_may_use(app: Celery) -> None:
    class Backend:
        thread_safe = False

        def __init__(self, app: Any, url: Any) -> None:
            pass

    app.backend_cls = Backend
    mine, others = app.backend, []
    thread = threading.Thread(target=lambda: others.append(app.backend))
    thread.start()
    thread.join()
    assert app.backend is mine
    assert others != [mine]
    Backend.thread_safe = True
    again = Celery("again", set_as_current=False)
    again.backend_cls = Backend
    shared = again.backend
    thread = threading.Thread(target=lambda: others.append(again.backend))
    thread.start()
    thread.join()
    assert others[-1] is shared


def test_the_current_app_is_each_threads_own(app: Celery) -> None:
    app.set_current()
    assert _state.get_current_app() is app
    assert app_or_default() is app
    assert app_or_default("given") == "given"
    others: list[Any] = []
    thread = threading.Thread(target=lambda: others.append(_state._tls.current_app))
    thread.start()
    thread.join()
    assert others == [None]


def test_without_any_app_there_is_a_default(celeriac_env: Environment) -> None:
    program = """
from celeriac.compat._state import get_current_app, current_app
app = get_current_app()
print(app.main, current_app == app, app.set_as_current)
"""
    assert celeriac_env.run("-c", program).stdout.split() == ["default", "True", "False"]


@pytest.mark.parametrize("variable", ["C_STRICT_APP", "C_WARN_APP", "CELERY_TRACE_APP"])
def test_who_uses_the_current_app_is_found(variable: str, celeriac_env: Environment) -> None:
    program = """
from celeriac.compat import _state
from celeriac.compat.app import app_or_default, Celery
Celery("mine")
try:
    print(app_or_default() if "TRACE" in VARIABLE else _state.get_current_app())
except RuntimeError as problem:
    print(problem)
""".replace("VARIABLE", repr(variable))
    environment = Environment(celeriac_env.python, {**celeriac_env.variables, variable: "1"})
    done = environment.run("-c", program)
    assert {"C_STRICT_APP": "USES CURRENT APP", "C_WARN_APP": "mine", "CELERY_TRACE_APP": "RETURNING TO CURRENT APP"}[
        variable
    ] in done.stdout
    assert ("File" in done.stderr) == (variable != "C_STRICT_APP")


def test_writes_before_the_configuration_is_read_do_not_read_it() -> None:
    read: list[int] = []

    def read_it() -> dict[str, int]:
        read.append(1)
        return {"a": 1, **own}

    own: dict[str, int] = {}
    pending = PendingConfiguration(own, read_it)
    pending.x = 2
    pending["y"] = 3
    pending.update(z=4)
    assert pending.setdefault("z", 5) == 4
    assert "y" in pending
    assert not read
    assert pending.a == 1
    assert read
    assert (len(pending), pending["y"], repr(pending)) == (4, 3, repr({"a": 1, **own}))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = pending.nothing
    pending.clear()
    assert own == {}


def test_an_environment_variable_that_is_not_set(app: Celery) -> None:
    with pytest.raises(ImproperlyConfigured, match="NO_SUCH_VARIABLE"):
        app.config_from_envvar("NO_SUCH_VARIABLE")


def test_an_attribute_error_in_the_configuration_is_told(app: Celery) -> None:
    def break_it(**kwargs: Any) -> None:
        raise AttributeError("in the user's receiver")

    app.on_after_configure.send = lambda **kwargs: break_it()
    with pytest.raises(ModuleNotFoundError, match="in the user's receiver"):
        _ = app.conf.task_default_queue


def test_shared_tasks_are_made_in_the_order_of_their_declaration(celeriac_env: Environment) -> None:
    program = """
from celeriac.compat.app import Celery, shared_task
names = [f"t{n}" for n in range(50)]
for name in names:
    shared_task(name=name)(lambda: None)
app = Celery("x")
print([name for name in app.tasks if not name.startswith("celery.")] == names)
"""
    assert celeriac_env.run("-c", program).stdout.strip() == "True"


def test_a_finalized_app_gets_a_shared_task_at_once(app: Celery) -> None:
    app.finalize()

    @shared_task(name="late")
    def late() -> int:
        return 1

    assert "late" in app._tasks


def test_tasks_and_apps_survive_pickling_without_the_alias(app: Celery) -> None:
    app.set_current()

    @app.task(name="kept")
    def kept() -> int:
        return 1

    app.finalize()
    assert pickle.loads(pickle.dumps(app.tasks["kept"])) is app.tasks["kept"]
    again = pickle.loads(pickle.dumps(app))
    assert (again.main, again.conf.broker_url) == ("proj", "memory://")


def test_one_message_cannot_push_the_clock_beyond_what_others_read() -> None:
    app = Celery(set_as_current=False)
    assert isinstance(app.clock, LamportClock)
    assert [app.clock.forward(), app.clock.adjust(7), app.clock.adjust(3)] == [1, 8, 9]
    app.clock.adjust(2**63 - 1)
    said = control.build_request(control.Request("ping", clock=app.clock.forward()))
    assert control.parse_request(said).clock == 2**63 - 1
