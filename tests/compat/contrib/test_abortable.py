"""A run that is asked to stop, seen from both sides."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.compat import Celery, exceptions
from celeriac.compat.contrib.abortable import ABORTED, AbortableAsyncResult, AbortableTask


@pytest.fixture
def task() -> Any:
    app = Celery("abortable", broker="memory://", backend="cache+memory://", set_as_current=False)

    @app.task(bind=True, base=AbortableTask)
    def work(self: Any) -> list[bool]:
        return [self.is_aborted(), self.is_aborted(task_id="another")]

    return work


def test_whoever_sent_it_asks_and_it_sees(task: Any) -> None:
    result = task.delay()
    assert type(result) is AbortableAsyncResult
    assert not result.is_aborted()
    result.abort()
    assert result.is_aborted()
    assert (result.state, result.ready()) == (ABORTED, False)
    assert task.is_aborted(task_id=result.id)
    with pytest.raises(exceptions.TimeoutError):
        result.get(timeout=0.01)


def test_nobody_asked(task: Any) -> None:
    assert task.apply().get() == [False, False]
    assert not task.AsyncResult("unknown").is_aborted()
