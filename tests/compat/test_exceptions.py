"""Celery's exceptions: the same family, the same texts, and pickles that cross between both."""

from __future__ import annotations

import base64
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat import alias, exceptions
from tests.compat.stock import ask

# each as source text, evaluated here and there with `e` for the module
MADE = [
    "e.Retry()",
    "e.Retry('why', KeyError('x'), 3)",
    "e.Retry(exc=ValueError('bad'), when=10)",
    "e.Retry(exc='a text', when=10)",
    "e.Ignore('x')",
    "e.Reject('no', requeue=True)",
    "e.Reject()",
    "e.NotRegistered('proj.tasks.add')",
    "e.QueueNotFound('q')",
    "e.MaxRetriesExceededError('enough', task_args=[1], task_kwargs={'a': 2})",
    "e.TimeoutError('late')",
    "e.TaskRevokedError('revoked')",
    "e.ChordError('Dependency 1 raised ValueError()')",
    "e.ImproperlyConfigured('no')",
    "e.BackendGetMetaError('x', task_id='id')",
    "e.BackendStoreError('x', state='SUCCESS', task_id='id')",
    "e.SecurityError('x')",
    "e.WorkerShutdown(1)",
    "e.WorkerTerminate()",
    "e.SoftTimeLimitExceeded()",
    "e.TimeLimitExceeded(10)",
    "e.WorkerLostError('exit 9')",
    "e.Terminated(15)",
    "e.InvalidTaskError('x')",
]

NAMES = [name for name in exceptions.__all__ if name != "reraise"]


@pytest.fixture(autouse=True)
def _aliased() -> Iterator[None]:
    alias.install()
    yield
    alias.uninstall()


def family(kind: Any) -> list[str]:
    return [f"{above.__module__}.{above.__qualname__}" for above in kind.__mro__]


def test_families_are_stock_celerys(stock_python: Path) -> None:
    program = (
        "import celery.exceptions as e\n"
        "answer = {n: [f'{c.__module__}.{c.__qualname__}' for c in getattr(e, n).__mro__] for n in question}"
    )
    theirs = ask(stock_python, program, NAMES)
    assert {name: family(getattr(exceptions, name)) for name in NAMES} == theirs


def test_texts_are_stock_celerys(stock_python: Path) -> None:
    program = "import celery.exceptions as e\nanswer = [(str(eval(m)), repr(eval(m))) for m in question]"
    theirs = ask(stock_python, program, MADE)
    for source, (text, shown) in zip(MADE, theirs, strict=True):
        made = eval(source, {"e": exceptions})
        assert str(made) == text, source
        if not isinstance(made, exceptions.Retry):  # stock's Retry holds itself as its first argument
            assert repr(made) == shown, source


def described(made: Any) -> list[str]:
    state = {name: repr(value) for name, value in vars(made).items()}
    return [f"{type(made).__module__}.{type(made).__qualname__}", str(made), repr(sorted(state.items()))]


def test_stock_celery_reads_our_pickles(stock_python: Path) -> None:
    pickles = [base64.b64encode(pickle.dumps(eval(source, {"e": exceptions}))).decode() for source in MADE]
    program = (
        "import base64, pickle, celery.exceptions as e\n"
        "read = [pickle.loads(base64.b64decode(p)) for p in question]\n"
        "answer = [[f'{type(r).__module__}.{type(r).__qualname__}', str(r),"
        " repr(sorted((n, repr(v)) for n, v in vars(r).items()))] for r in read]"
    )
    theirs = ask(stock_python, program, pickles)
    mine = [described(pickle.loads(base64.b64decode(data))) for data in pickles]
    assert theirs == mine


def test_we_read_stock_celerys_pickles(stock_python: Path) -> None:
    program = (
        "import base64, pickle, celery.exceptions as e\n"
        "answer = [base64.b64encode(pickle.dumps(eval(m))).decode() for m in question]"
    )
    for source, data in zip(MADE, ask(stock_python, program, MADE), strict=True):
        read = pickle.loads(base64.b64decode(data))
        assert type(read) is type(eval(source, {"e": exceptions}))
        assert described(read) == described(pickle.loads(pickle.dumps(eval(source, {"e": exceptions}))))


def test_what_cannot_be_pickled_is_carried_in_its_stead() -> None:
    class Local(KeyError):
        pass

    assert exceptions.Retry(exc=Local("x")).exc.args == ("x",)
    assert type(exceptions.Retry(exc=Local("x")).exc) is KeyError


def test_a_retry_holds_no_cycle() -> None:
    assert exceptions.Retry("why", None, 3).args == ("why", None, 3)


def test_reraise_gives_the_traceback() -> None:
    error = ValueError("x")
    with pytest.raises(ValueError, match="x") as caught:
        exceptions.reraise(ValueError, error, None)
    assert caught.value is error


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="Nope"):
        exceptions.Nope  # noqa: B018 - asking is the test
