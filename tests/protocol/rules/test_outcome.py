"""What follows from a run: which effects, in which order, and what the run says about its message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.rules import outcome as rules
from celeriac.protocol.rules.canvas import chord, group
from celeriac.protocol.rules.continuing import Running
from celeriac.protocol.rules.outcome import (
    ChordPart,
    Continue,
    Errbacks,
    Fate,
    Outcome,
    Report,
    Store,
    Terms,
    Trouble,
)
from celeriac.protocol.rules.signature import Signature, signature

ALL = Terms(results=True, errors=True)


def s(name: str = "a", **options: Any) -> Signature:
    return signature(name, options=options)


def told(outcome: Outcome, task: Running, kept: Terms = ALL, **more: Any) -> list[Any]:
    return list(rules.follow(outcome, task, kept, **more))


def test_a_success_goes_on_then_is_stored_then_counts() -> None:
    callbacks, chain = [s("cb")], [s("next")]
    task = Running("1", chord=s("body"), callbacks=callbacks, chain=chain, errbacks=[s("never")])
    assert told(Outcome("SUCCESS", 4), task) == [
        Continue(callbacks, chain),
        Store("1", "SUCCESS"),
        ChordPart("1", "SUCCESS"),
    ]
    assert told(Outcome("SUCCESS", 4), task, Terms(results=False)) == [
        Continue(callbacks, chain),
        ChordPart("1", "SUCCESS"),
    ]
    assert told(Outcome("SUCCESS", 4), Running("1", chain=chain))[0] == Continue(None, chain)
    assert told(Outcome("SUCCESS", 4), Running("1")) == [Store("1", "SUCCESS")]


def test_a_failure_is_stored_counts_and_takes_the_chain_along() -> None:
    body = s("body")
    chain = [s("last", task_id="3", chord=body, group_id="g"), s("next", task_id="2"), s("nameless")]
    task = Running("1", chord=body, chain=chain, errbacks=[s("eb")], callbacks=[s("never")])
    first, part, last, lost, following, errbacks = told(Outcome("FAILURE", "boom"), task)
    assert (first, part) == (Store("1", "FAILURE"), ChordPart("1", "FAILURE"))
    assert (last.task_id, lost.task_id, following.task_id) == ("3", "3", "2")
    assert isinstance(lost, ChordPart)
    assert lost.lost == last.lost
    assert lost.lost.chord == body
    assert isinstance(following, Store)
    assert errbacks == Errbacks([s("eb")])


def test_errors_that_are_not_kept_still_count() -> None:
    task = Running("1", chord=s("body"), chain=[s("last", task_id="2", chord=s("body"))], errbacks=[s("eb")])
    kinds = [type(effect) for effect in told(Outcome("FAILURE"), task, Terms(errors=False))]
    assert kinds == [ChordPart, ChordPart, Errbacks]
    assert Errbacks not in map(type, told(Outcome("FAILURE"), task, errbacks=False))
    assert told(Outcome("FAILURE"), Running("1"), Terms(errors=False)) == []


def test_a_chord_that_was_to_follow_loses_its_body_too() -> None:
    step = chord(group(s("h")), s("body", task_id="b"))
    step["options"]["task_id"] = "c"
    found = told(Outcome("FAILURE"), Running("1", chain=[step]))
    assert [(type(effect), effect.task_id) for effect in found] == [(Store, "1"), (Store, "c"), (Store, "b")]


def test_a_retry_is_stored_and_nothing_else() -> None:
    task = Running("1", chord=s("body"), chain=[s("next")], callbacks=[s("cb")], errbacks=[s("eb")])
    assert told(Outcome("RETRY", "why"), task) == [Store("1", "RETRY")]
    assert told(Outcome("RETRY", "why"), task, Terms(errors=False)) == []


def test_what_refused_its_message_for_good_has_failed_for_who_waits() -> None:
    task = Running("1", errbacks=[s("eb")])
    assert told(Outcome("REJECTED"), task) == [Store("1", "FAILURE"), Errbacks([s("eb")])]
    assert told(Outcome("REJECTED", requeue=True), task) == []
    assert told(Outcome("IGNORED"), task) == []


@pytest.mark.parametrize(
    ("outcome", "fate"),
    [
        (Outcome("SUCCESS"), Fate.DONE),
        (Outcome("IGNORED"), Fate.DONE),
        (Outcome("FAILURE"), Fate.FAILED),
        (Outcome("FAILURE", requeue=True), Fate.FAILED),
        (Outcome("RETRY"), Fate.RETRIED),
        (Outcome("REJECTED"), Fate.REJECTED),
        (Outcome("REJECTED", requeue=True), Fate.REQUEUED),
    ],
)
def test_what_a_run_says_about_its_message(outcome: Outcome, fate: Fate) -> None:
    assert outcome.fate is fate


def test_a_report_is_the_task_s_own_unless_it_says_otherwise() -> None:
    assert not Report("SUCCESS", Fate.DONE).internal


def test_what_is_kept() -> None:
    assert rules.terms(False) == Terms(True, True, False)
    assert rules.terms(False, track_started=True) == Terms(True, True, True)
    assert rules.terms(True, track_started=True) == Terms(False, False, False)
    assert rules.terms(True, errors_even_if_ignored=True) == Terms(False, True, False)
    assert rules.terms(False, eager=True, track_started=True) == Terms(False, False, False)
    assert rules.terms(False, eager=True, store_eager=True) == Terms(True, True, False)
    assert rules.terms(True, eager=True, store_eager=True) == Terms(False, False, False)


def test_what_fails_a_task_that_succeeded() -> None:
    assert rules.fails_the_task(Trouble.UNWRITABLE, continued=False)
    assert rules.fails_the_task(Trouble.UNWRITABLE, continued=True)
    assert rules.fails_the_task(Trouble.UNREACHABLE, continued=False)
    assert not rules.fails_the_task(Trouble.UNREACHABLE, continued=True)
    assert not rules.fails_the_task(Trouble.OTHER, continued=False)


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans())
def test_only_a_message_that_came_again_is_looked_up(again: bool, late: bool, wanted: bool, lasting: bool) -> None:
    asks = rules.asks_before(redelivered=again, acks_late=late, deduplicate=wanted, persistent=lasting)
    assert asks is all((again, late, wanted, lasting))


def test_what_a_repeated_message_still_has_to_send() -> None:
    chain = [s("next")]

    def again(children: Any, **task: Any) -> list[Any]:
        return list(rules.repeated(Running("1", **task), children))

    assert again([], chain=chain) == again(None, chain=chain) == [Continue(None, chain)]
    assert again(None, callbacks=[s("cb")]) == [Continue([s("cb")], None)]
    assert again([["2", None]], chain=chain) == again(None) == []
    assert again([["2", None]], callbacks=[s("cb")], chord=s("body")) == [ChordPart("1", "SUCCESS")]
    assert again(None, callbacks=[s("cb")], chord=s("body")) == [Continue([s("cb")], None), ChordPart("1", "SUCCESS")]


SIGNATURES = st.lists(
    st.builds(
        lambda name, task_id, chord: s(name, **({"task_id": task_id} if task_id else {}), chord=chord),
        st.text(min_size=1, max_size=3),
        st.none() | st.text(min_size=1, max_size=3),
        st.none() | st.just(s("body")),
    ),
    max_size=4,
)
OUTCOMES = st.builds(
    Outcome, st.sampled_from(["SUCCESS", "FAILURE", "RETRY", "IGNORED", "REJECTED"]), requeue=st.booleans()
)
RUNS = st.builds(
    Running,
    st.text(min_size=1, max_size=3),
    chord=st.none() | st.just(s("body")),
    chain=st.none() | SIGNATURES,
    callbacks=st.none() | SIGNATURES,
    errbacks=st.none() | SIGNATURES,
)
KEPT = st.builds(Terms, st.booleans(), st.booleans(), st.booleans())


@given(OUTCOMES, RUNS, KEPT)
def test_whoever_waits_hears_once_and_in_order(outcome: Outcome, task: Running, kept: Terms) -> None:
    effects = told(outcome, task, kept)
    own = [effect for effect in effects if getattr(effect, "lost", None) is None]
    assert len({type(effect) for effect in own}) == len(own)
    ended = outcome.state in ("SUCCESS", "FAILURE") or (outcome.state == "REJECTED" and not outcome.requeue)
    assert any(type(effect) is ChordPart for effect in own) == (ended and task.chord is not None)
    if outcome.state == "SUCCESS":
        assert not any(isinstance(effect, Errbacks) for effect in effects)
        assert any(isinstance(effect, Continue) for effect in effects) == bool(task.callbacks or task.chain)
    else:
        assert not any(isinstance(effect, Continue) for effect in effects)
    order = [Continue, Store, ChordPart, Errbacks]
    places = [order.index(type(effect)) for effect in own]
    assert places == sorted(places)
    if not kept.errors and outcome.state != "SUCCESS":
        assert not any(isinstance(effect, Store) for effect in effects)
