"""Several URLs for one broker, and the order in which they are tried.

Law: every URL gets its turn and its own deadline; when none answers, the error says what each of them said.
The forms are kombu's: URLs in one text with `;` between them, or a list. One without a scheme has the first one's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...protocol.errors import BadCall
from ...protocol.hints import TypeVar

T = TypeVar("T")
Strategy = Callable[[Sequence[str]], Sequence[str]]


def several(url: str | Sequence[str]) -> tuple[str, ...]:
    """The URLs that this setting names, in its order."""
    texts = [url] if isinstance(url, str) else list(url)
    urls = [each.strip() for text in texts for each in text.split(";") if each.strip()]
    if not urls:
        raise BadCall("no broker URL was given")
    scheme, separator, _ = urls[0].partition("://")
    return tuple(each if "://" in each or not separator else f"{scheme}://{each}" for each in urls)


def round_robin(urls: Sequence[str]) -> Sequence[str]:
    """As they stand."""
    return urls


def shuffle(urls: Sequence[str]) -> Sequence[str]:
    """In a new order each time, so that clients spread."""
    import random

    return random.sample(urls, len(urls))


STRATEGIES: Mapping[str, Strategy] = {"round-robin": round_robin, "shuffle": shuffle}


def first_that_answers(urls: Sequence[str], connect: Callable[[str], T], strategy: str | Strategy | None = None) -> T:
    """What `connect` makes of the first URL that it can connect to."""
    if len(urls) == 1:
        return connect(urls[0])
    from kombu.exceptions import OperationalError

    troubles: list[OperationalError] = []
    for url in _order(urls, strategy):
        try:
            return connect(url)
        except OperationalError as trouble:  # noqa: PERF203 - each URL gets its turn
            troubles.append(trouble)
    every = "; ".join(map(str, troubles))
    raise OperationalError(f"none of the {len(troubles)} brokers answered: {every}") from troubles[-1]


def _order(urls: Sequence[str], strategy: str | Strategy | None) -> Sequence[str]:
    named = STRATEGIES.get(strategy or "round-robin") if not callable(strategy) else strategy
    if named is None:
        raise BadCall(f"failover strategy {strategy!r}; there are {', '.join(STRATEGIES)}")
    return named(urls)
