"""`celery.app.trace` and `task.request`, by the names that tools import."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from celeriac.compat import signals
from celeriac.compat._state import _task_stack
from celeriac.compat.app import trace
from celeriac.compat.app.base import Celery
from celeriac.compat.app.context import Context, get_actual_ignore_result
from celeriac.compat.app.task import Task
from celeriac.compat.exceptions import Ignore, Reject, Retry
from celeriac.worker.einfo import ExceptionInfo, ExceptionWithTraceback, rebuild_exc

IMPORTED = (
    *("LOG_SUCCESS", "task_has_custom", "Context", "EncodeError", "ExceptionInfo", "FAILURE", "IGNORED"),
    *("IGNORE_STATES", "Ignore", "InvalidTaskError", "REJECTED", "RETRY", "Reject", "Retry", "STARTED", "SUCCESS"),
    *("TraceInfo", "_task_stack", "build_tracer", "get_task_name", "gethostname", "group", "info", "logger"),
    *("report_internal_error", "saferepr", "signals", "trace_ok_t", "AsyncResult", "BackendGetMetaError"),
    *("EXCEPTION_STATES", "LOG_IGNORED", "_localized", "_signal_internal_error", "reset_worker_optimizations"),
    *("safe_repr", "send_postrun", "send_prerun", "send_success", "traceback_clear", "warn", "BaseTask"),
    *("LOG_RECEIVED", "LOG_FAILURE", "LOG_INTERNAL_ERROR", "LOG_REJECTED", "LOG_RETRY", "fast_trace_task"),
    *("trace_task_ret", "setup_worker_optimizations", "get_log_policy", "OperationalError", "loads_message"),
    *("get_pickleable_exception", "get_pickleable_etype", "get_pickled_exception", "ExceptionWithTraceback"),
)


@pytest.fixture
def app() -> Celery:
    return Celery("trace", broker="memory://", backend="memory", set_as_current=False)


@pytest.mark.parametrize("name", IMPORTED)
def test_what_tools_import_is_there(name: str) -> None:
    assert getattr(trace, name) is not None


def test_what_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match=r"celery\.app\.trace"):
        trace.nothing  # noqa: B018


def test_a_tracer_is_what_celery_s_is(app: Celery) -> None:
    @app.task(shared=False)
    def add(x: int, y: int) -> int:
        assert _task_stack.top is add
        assert add.request.id == "1"
        return x + y

    tracer = trace.build_tracer(add.name, add, app=app)
    retval, info, runtime, text = tracer("1", (1, 2), {}, {"id": "1"})
    assert (retval, info, text) == (3, None, "3")
    assert runtime > 0
    assert app.backend.get_result("1") == 3
    assert _task_stack.top is None
    failed = tracer("2", (1,), {}, {"id": "2"})
    assert isinstance(failed.retval, ExceptionInfo)
    assert failed.info.state == "FAILURE"
    assert isinstance(failed.info.retval, TypeError)
    assert trace.trace_task(add, "1", (1, 2), {}, {"id": "1"}, app=app).retstr == "3"
    assert add.__trace__ is not None


def test_a_class_of_one_s_own_for_what_a_run_came_to(app: Celery) -> None:
    class Info(trace.TraceInfo):
        def handle_failure(self, task: Any, req: Any, **kwargs: Any) -> Any:
            seen.append(kwargs)
            return super().handle_failure(task, req, **kwargs)

    @app.task(shared=False)
    def boom() -> None:
        raise KeyError

    seen: list[Any] = []
    made = trace.build_tracer(boom.name, boom, app=app, Info=Info)("1", (), {}, {"id": "1"})
    assert isinstance(made.info, Info)
    assert seen == [{"store_errors": True, "call_errbacks": True}]


def test_eager_runs_tasks_of_every_kind(app: Celery) -> None:
    @app.task(shared=False)
    async def aio(x: int) -> int:
        await asyncio.sleep(0)
        return x

    @app.task(shared=False, bind=True, max_retries=2)
    def again(self: Any) -> int:
        if self.request.retries < 2:
            raise self.retry(countdown=0)
        return int(self.request.retries)

    assert aio.apply((3,)).get() == 3
    assert again.apply().get() == 2

    async def within_a_loop() -> Any:
        return aio.apply((4,)).get()

    assert asyncio.run(within_a_loop()) == 4

    async def fails_within_a_loop() -> Any:
        return aio.apply(()).state

    assert asyncio.run(fails_within_a_loop()) == "FAILURE"


def test_a_prerun_receiver_or_a_loader_that_breaks_fails_the_task(app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    @app.task(shared=False)
    def add() -> int:
        return 1

    internal: list[Any] = []
    signals.task_internal_error.connect(lambda **said: internal.append(said), weak=False, dispatch_uid="i")
    monkeypatch.setattr(app.loader, "on_task_init", lambda *_: 1 / 0)
    try:
        with pytest.warns(RuntimeWarning, match="outside body"):
            ended = trace.build_tracer(add.name, add, app=app)("broken", (), {}, {"id": "broken"})
    finally:
        signals.task_internal_error.disconnect(dispatch_uid="i")
    assert ended.retval.internal
    assert ended.info.state == "FAILURE"
    assert app.backend.get_state("broken") == "FAILURE"
    assert isinstance(internal[0]["exception"], ZeroDivisionError)


def test_a_cleanup_that_breaks_is_logged(
    app: Celery, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(shared=False)
    def add() -> int:
        return 1

    monkeypatch.setattr(app.loader, "on_process_cleanup", lambda: 1 / 0)
    monkeypatch.setattr(trace.logger, "parent", logging.getLogger())
    assert trace.build_tracer(add.name, add, app=app)("1", (), {}, {"id": "1"}).retval == 1
    assert "Process cleanup failed: ZeroDivisionError" in caplog.text


def test_the_policy_of_log_lines(app: Celery) -> None:
    @app.task(shared=False, throws=(KeyError,))
    def known() -> None: ...

    einfo, own = ExceptionInfo((KeyError, KeyError(), None)), ExceptionInfo((KeyError, KeyError(), None), internal=True)
    assert trace.get_log_policy(known, einfo, Reject()) is trace.log_policy_reject
    assert trace.get_log_policy(known, einfo, Ignore()) is trace.log_policy_ignore
    assert trace.get_log_policy(known, own, KeyError()) is trace.log_policy_internal
    assert trace.get_log_policy(known, einfo, KeyError()) is trace.log_policy_expected
    assert trace.get_log_policy(known, einfo, ValueError()) is trace.log_policy_unexpected
    assert trace.get_task_name(Context({"shadow": "other"}), "own") == "other"
    assert trace.get_task_name(Context({"shadow": ""}), "own") == "own"


def test_a_whole_message_is_traced(app: Celery) -> None:
    @app.task(shared=False, name="add")
    def add(x: int, y: int) -> int:
        return x + y

    body = json.dumps([[1, 2], {}, {"callbacks": None}])
    failed, text, runtime = trace.trace_task_ret("add", "1", {"id": "1"}, body, "application/json", "utf-8", app=app)
    assert (failed, text, runtime > 0) == (0, "3", True)
    failed, einfo, _ = trace.trace_task_ret("add", "1", {"id": "1"}, ((1,), {}, None), None, None, app=app)
    assert (failed, type(einfo.exception.exc)) == (1, TypeError) if hasattr(einfo.exception, "exc") else True


def test_worker_optimizations_come_and_go(app: Celery) -> None:
    class Own(Task):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return super().__call__(*args, **kwargs), self.request.id

    @app.task(shared=False, base=Own, name="own")
    def own() -> int:
        return 5

    before = Task.__call__
    from celeriac.compat import _state

    current, default = _state._tls.current_app, _state.default_app
    try:
        trace.setup_worker_optimizations(app, "host")
        trace.setup_worker_optimizations(app, "host")
        app.tasks["own"].__trace__ = trace.build_tracer("own", own, app=app)
        done = trace.fast_trace_task("own", "1", {"id": "1"}, ((), {}, None), None, None)
        assert done[:2] == (0, "(5, '1')")
        assert app.use_fast_trace_task
    finally:
        trace.reset_worker_optimizations(app)
        trace._localized[:] = []
        _state._tls.current_app, _state.default_app = current, default
    assert Task.__call__ is before
    assert not app.use_fast_trace_task
    with pytest.raises(RuntimeError, match="setup_worker_optimizations"):
        trace.fast_trace_task("own", "1", {}, ((), {}, None), None, None)


# --- the request


def test_a_request_has_celery_s_attributes_and_defaults() -> None:
    assert {name for name in vars(Context) if not name.startswith("__")} >= {
        *("args", "callbacks", "called_directly", "chain", "chord", "children", "correlation_id", "delivery_info"),
        *("errbacks", "eta", "expires", "group", "group_index", "headers", "hostname", "id", "ignore_result"),
        *("is_eager", "kwargs", "logfile", "loglevel", "origin", "parent_id", "properties", "retries", "reply_to"),
        *("replaced_task_nesting", "root_id", "shadow", "taskset", "timelimit", "time_limit", "soft_time_limit"),
        *("utc", "stamped_headers", "stamps", "_children", "_protected"),
    }
    empty = Context()
    assert (empty.called_directly, empty.retries, empty.ignore_result, empty.id) == (True, 0, False, None)
    assert empty.children == []
    assert empty.children is empty.children
    assert Context().children is not empty.children
    assert empty.get("nothing", 5) == 5
    with pytest.raises(AttributeError):
        empty.nothing  # noqa: B018


def test_a_request_takes_whatever_it_is_told() -> None:
    request = Context({"id": "1", "own": 2, "lang": "py"}, timelimit=[5, 3])
    assert (request.time_limit, request.soft_time_limit, request.own) == (5, 3, 2)
    assert request.headers == {"own": 2}
    assert Context({"headers": {"x": 1}, "own": 2}).headers == {"x": 1}
    request.update(timelimit=None)
    assert (request.time_limit, request.soft_time_limit) == (None, None)
    assert repr(request).startswith("<Context: {'id': '1'")
    request.clear()
    assert vars(request) == {}


@pytest.mark.parametrize(
    "own",
    [{}, {"id": "1"}, {"timelimit": [1, 2]}, {"timelimit": None}, {"x": 1}, {"headers": {"y": 2}, "x": 1}],
)
def test_adopting_is_making(own: dict[str, Any]) -> None:
    adopted = Context.adopt(dict(own))
    made = vars(Context(dict(own)))
    assert vars(adopted) == made
    assert type(adopted) is Context


def test_options_to_send_it_again() -> None:
    request = Context(
        {
            "id": "1",
            "root_id": "r",
            "group": "g",
            "timelimit": (5, 3),
            "callbacks": ["cb"],
            "errbacks": ["eb"],
            "headers": {"own": 1, "x-death": []},
            "stamps": {"a": 1, "b": 2},
            "stamped_headers": ["a"],
        }
    )
    options = request.as_execution_options()
    assert (options["task_id"], options["root_id"], options["group_id"]) == ("1", "r", "g")
    assert (options["time_limit"], options["soft_time_limit"]) == (5, 3)
    assert (options["link"], options["link_error"], options["headers"]) == (["cb"], ["eb"], {"own": 1})
    assert (options["stamped_headers"], options["a"]) == (["a"], 1)
    assert "b" not in options
    assert "stamped_headers" not in Context().as_execution_options()


def test_who_says_that_a_result_is_ignored() -> None:
    class Says:
        ignore_result = True

    assert get_actual_ignore_result(Says, None) is True
    assert get_actual_ignore_result(Says, Context()) is True
    assert get_actual_ignore_result(Says, Context(ignore_result=None)) is True
    assert get_actual_ignore_result(Says, Context(ignore_result=False)) is False
    assert get_actual_ignore_result(Says, object()) is True


# --- exceptions as hooks see them


def test_an_exception_info_outlives_its_frames() -> None:
    import pickle
    import traceback

    def deep(levels: int) -> None:
        held = ["big"]
        if levels:
            deep(levels - 1)
        raise ValueError(held)

    try:
        deep(5)
    except ValueError:
        info = ExceptionInfo()
    assert isinstance(info.exception, ExceptionWithTraceback)
    assert isinstance(info.exception.exc, ValueError)
    assert info.type is ValueError
    assert str(info).startswith("Traceback")
    assert "ValueError" in info.exc_info[0].__name__
    assert repr(info).startswith("<ExceptionInfo: ")
    assert len(traceback.extract_tb(info.tb)) >= 6
    again = pickle.loads(pickle.dumps(info))
    assert again.traceback == info.traceback
    assert isinstance(again.exception, ValueError)
    assert "deep" in str(again.exception.__cause__)
    assert str(info.exception) == f'\n"""\n{info.traceback}"""'
    assert rebuild_exc(KeyError(), "tb").__cause__ is not None
    assert ExceptionInfo((None, None, None)).tb is None


def test_retries_in_a_tracer_are_logged_as_celery_does(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    @app.task(shared=False, name="r")
    def again() -> None:
        raise Retry("soon", ValueError("x"), 5)

    trace.logger.addHandler(caplog.handler)
    trace.logger.setLevel(logging.INFO)
    try:
        ended = trace.build_tracer("r", again, app=app)("later", (), {}, {"id": "later"})
    finally:
        trace.logger.removeHandler(caplog.handler)
        trace.logger.setLevel(logging.NOTSET)
    assert ended.info.state == "RETRY"
    assert "Task r[later] retry: soon" in caplog.messages
    assert app.backend.get_state("later") == "RETRY"
