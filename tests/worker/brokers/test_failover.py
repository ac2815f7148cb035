"""Several URLs: how they are told apart, in which order they are tried, what is said when none answers."""

from __future__ import annotations

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.worker.brokers import failover


@pytest.mark.parametrize(
    ("url", "urls"),
    [
        ("amqp://a", ("amqp://a",)),
        ("amqp://a;amqp://b", ("amqp://a", "amqp://b")),
        ("amqp://u:p@a; b:5673 ;", ("amqp://u:p@a", "amqp://b:5673")),
        (["amqp://a;amqp://b", "amqps://c"], ("amqp://a", "amqp://b", "amqps://c")),
        ("amqp", ("amqp",)),
    ],
)
def test_urls_are_told_apart(url: str | list[str], urls: tuple[str, ...]) -> None:
    assert failover.several(url) == urls


def test_no_url_is_a_mistake() -> None:
    with pytest.raises(BadCall, match="no broker URL"):
        failover.several(" ; ")


def connect(url: str) -> str:
    if url.startswith("dead"):
        raise OperationalError(f"{url} is dead")
    return url


def test_the_first_that_answers_is_taken() -> None:
    assert failover.first_that_answers(["dead1", "b", "c"], connect) == "b"


def test_when_none_answers_each_says_why() -> None:
    with pytest.raises(OperationalError, match="none of the 2 brokers answered: dead1 is dead; dead2 is dead"):
        failover.first_that_answers(["dead1", "dead2"], connect)
    with pytest.raises(OperationalError, match=r"^dead1 is dead$"):
        failover.first_that_answers(["dead1"], connect)


def test_shuffling_tries_each_once() -> None:
    urls = [f"dead{number}" for number in range(9)]
    firsts = set()
    for _ in range(50):
        tried: list[str] = []

        def note(url: str, tried: list[str] = tried) -> str:
            tried.append(url)
            return connect(url)

        with pytest.raises(OperationalError):
            failover.first_that_answers(urls, note, "shuffle")
        assert sorted(tried) == urls
        firsts.add(tried[0])
    assert len(firsts) > 1


def test_a_strategy_of_ones_own() -> None:
    assert failover.first_that_answers(["a", "b"], connect, lambda urls: urls[::-1]) == "b"


def test_an_unknown_strategy_is_named() -> None:
    with pytest.raises(BadCall, match="failover strategy 'best'; there are round-robin, shuffle"):
        failover.first_that_answers(["a", "b"], connect, "best")
