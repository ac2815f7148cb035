"""Which URL is served by which module, and what is said to one that none serves."""

from __future__ import annotations

from importlib import import_module

import pytest
from kombu.transport import TRANSPORT_ALIASES

from celeriac.protocol.errors import BadCall
from celeriac.worker import brokers
from tests import house

AMQP_BY_ANOTHER_LIBRARY = {"librabbitmq", "qpid"}
OTHERS = sorted(set(TRANSPORT_ALIASES) - set(brokers.TABLE))


@pytest.mark.parametrize("scheme", sorted(brokers.TABLE))
def test_each_row_names_a_module_that_connects(scheme: str) -> None:
    assert callable(import_module(brokers.TABLE[scheme], brokers.__name__).connect)


def test_importing_the_table_loads_no_library(celeriac_env: object) -> None:
    program = (
        "import sys, celeriac.worker.brokers as b; print([m for m in ('kombu', 'redis', 'amqp') if m in sys.modules])"
    )
    assert celeriac_env.run("-c", program).stdout.strip() == "[]"  # type: ignore[attr-defined]  # tests/conftest.py


def test_a_url_is_handed_on_with_its_options(monkeypatch: pytest.MonkeyPatch) -> None:
    from celeriac.worker.brokers import kombu

    asked: list[object] = []
    monkeypatch.setattr(kombu, "connect", lambda *given: asked.append(given))
    brokers.connect("sqla+postgresql://host/db", {"a": 1}, 2.5)
    assert asked == [("sqla+postgresql://host/db", {"a": 1}, 2.5)]


@pytest.mark.parametrize("scheme", OTHERS)
def test_what_kombu_knows_is_never_unknown_here(scheme: str) -> None:
    from celeriac.worker.brokers import kombu_transports as transports

    assert transports.known(f"{scheme}://host") == scheme
    if scheme in AMQP_BY_ANOTHER_LIBRARY:
        with pytest.raises((BadCall, ImportError)):
            transports.class_of(scheme)
        return
    try:
        transports.class_of(scheme)
    except ImportError as problem:
        text = transports.missing_library(f"{scheme}://host", scheme, problem)
        extra = text.partition("celeriac[")[2].partition("]")[0]
        assert f"\n{extra} = [" in (house.ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(
    ("url", "near"),
    [("rediss2://", "rediss"), ("ampq://", "amqp"), ("mongo://", "mongodb"), ("Redis://", "redis")],
)
def test_an_unknown_scheme_is_named_with_the_nearest_right_one(url: str, near: str) -> None:
    with pytest.raises(BadCall, match=f"no broker for .*; there are .*amqp, .*sqs.*; did you mean '{near}'"):
        brokers.connect(url)


def test_nothing_is_guessed_where_nothing_is_near() -> None:
    with pytest.raises(BadCall) as refused:
        brokers.connect("https://host")
    assert "did you mean" not in str(refused.value)
