"""`celery.backends.database.retry`, which Airflow's executor puts around its questions."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError

from celeriac.compat.backends.database import retry


class Asked:
    """Refuses so many times."""

    __name__ = "asked"

    def __init__(self, refusals: int) -> None:
        self.refusals, self.calls = refusals, 0

    def __call__(self, word: str) -> str:
        self.calls += 1
        if self.calls <= self.refusals:
            raise OperationalError("SELECT 1", {}, Exception("locked"))
        return word


def test_what_was_not_let_through_is_asked_again() -> None:
    asked = Asked(2)
    assert retry(asked)("word") == "word"
    assert asked.calls == 3


@pytest.mark.parametrize(("options", "calls"), [({}, 3), ({"max_retries": 1}, 1)])
def test_there_is_an_end_to_it(options: dict[str, int], calls: int) -> None:
    asked = Asked(9)
    with pytest.raises(OperationalError, match="locked"):
        retry(asked)("word", **options)
    assert asked.calls == calls


def test_other_mistakes_are_not_repeated() -> None:
    calls: list[int] = []

    @retry
    def wrong() -> None:
        calls.append(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        wrong()
    assert calls == [1]
