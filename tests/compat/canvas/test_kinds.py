"""Chain, group, chord, map, starmap, chunks: how they are made, joined, changed and shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac.compat import canvas
from celeriac.compat.app import bulk
from celeriac.compat.canvas import Signature, _chain, chain, chord, chunks, group, signature, xmap, xstarmap
from celeriac.compat.canvas.lazy import Lazy
from celeriac.compat.exceptions import CPendingDeprecationWarning
from celeriac.protocol.rules.calling import Call
from tests.compat.canvas.stand import App


@pytest.fixture
def add(app: App) -> Any:
    return app.tasks["wire.add"].s


@pytest.fixture
def mul(app: App) -> Any:
    return app.tasks["wire.mul"].s


def names(sig: Any) -> list[str]:
    return [task["task"] for task in sig.tasks]


# --- chain


def test_a_chain_of_tasks(add: Any, mul: Any) -> None:
    sig = add(1, 2) | mul(3) | add(4)
    assert type(sig) is _chain
    assert sig == chain(add(1, 2), mul(3), add(4)) == chain([add(1, 2), mul(3), add(4)])
    assert sig == chain(task for task in (add(1, 2), mul(3), add(4)))
    assert repr(sig) == "wire.add(1, 2) | mul(3) | add(4)"
    assert sig.app is add(1).app


def test_the_last_task_is_shared_and_the_others_are_not(add: Any) -> None:
    first, last = add(1), add(2)
    assert chain(first, last).tasks[-1] is last
    assert chain(first, last).tasks[0] is not first
    assert [a is b for a, b in zip((first | last).tasks, (first, last), strict=True)] == [True, True]


def test_empty_chains(add: Any) -> None:
    empty = chain()
    assert empty() is None
    assert "empty" in repr(empty)
    assert names(empty | add(1)) == ["wire.add"]
    with pytest.raises(IndexError):
        (empty | group()).tasks[0]


def test_what_is_no_signature_cannot_be_joined(add: Any) -> None:
    with pytest.raises(TypeError):
        add(1) | 3
    with pytest.raises(TypeError):
        chain(add(1), 3)
    with pytest.raises(TypeError):
        group(add(1)) | "text"
    with pytest.raises(TypeError):
        chain(add(1), add(2)) | 3


def test_dicts_and_tasks_can_be_joined(app: App, add: Any) -> None:
    task, plain = app.tasks["wire.mul"], dict(add(2))
    assert add(1) | plain == add(1) | add(2)
    assert plain | add(1) == add(2) | add(1)
    assert add(1) | task == add(1) | task.s()
    assert task | add(1) == task.s() | add(1)
    assert (group(add(1), add(2)) | task)["task"] == "celery.chord"
    sig = add(1)
    sig |= plain
    assert names(sig) == ["wire.add", "wire.add"]
    assert {"a": 1} | add(1) == {"a": 1, **add(1)}


def test_chains_of_users_stay_theirs(add: Any) -> None:
    class mine(chain):
        pass

    sig = mine(add(1), add(2))
    assert type(sig) is mine
    assert type(sig | add(3)) is mine
    assert type(sig.clone()) is mine


def test_unchained_tasks_carry_the_links(add: Any, mul: Any) -> None:
    sig = add(1) | add(2)
    sig.link(mul(1))
    sig.link_error(mul(2))
    first, last = sig.unchain_tasks()
    assert first["options"] == {"link_error": [mul(2)]}
    assert last["options"] == {"link": [mul(1)], "link_error": [mul(2)]}


def test_a_frozen_chain_knows_its_steps(add: Any, app: App) -> None:
    a, b = add(1), add(2)
    sig = a | b
    result = sig.freeze("last")
    assert result.id == b.id == sig.id == "last"
    assert result.parent.id == a.id
    assert sig.apply_async().as_tuple() == result.as_tuple()


def test_prepared_steps(add: Any, app: App) -> None:
    sig = add(1) | add(2)
    tasks, results = sig.prepare_steps((9,), {}, sig.tasks, last_task_id="last", root_id="r")
    assert [task["args"] for task in tasks] == [(2,), (9, 1)]
    assert [task.id for task in tasks] == [result.id for result in results]
    assert results[0].id == "last"
    assert {task.root_id for task in tasks} == {"r"}
    assert [task["options"] for task in sig.tasks] == [{}, {}]


def test_run_of_a_chain(add: Any, app: App) -> None:
    result = (add(1) | add(2)).run((0,), task_id="last", link=add(5), priority=3)
    assert result.id == "last"
    (call,) = app.steps
    assert call.args == (0, 1)
    assert call.options["priority"] == 3
    assert call.options["chain"][0]["options"]["link"] == [add(5)]


def test_calling_a_chain(add: Any, app: App) -> None:
    (add(1) | add(2))(7, x=3)
    (call,) = app.steps
    assert (call.args, call.kwargs) == ((7, 1), {"x": 3})


def test_a_chain_of_ten_thousand(add: Any, app: App) -> None:
    sig = chain(add(number) for number in range(10_000))
    assert len(sig.tasks) == 10_000
    result = sig()
    steps = 0
    while result is not None:
        steps, result = steps + 1, result.parent
    assert steps == 10_000
    sig.freeze()


def test_use_link_puts_the_rest_into_callbacks(add: Any, app: App) -> None:
    sig = _chain(add(1), add(2), use_link=True)
    sig.apply_async()
    (call,) = app.steps
    assert call.options.get("chain") is None
    assert call.options["link"][0]["args"] == (2,)


# --- group


def test_a_group(add: Any, app: App) -> None:
    one = add(1)
    sig = group(one, add(2))
    assert sig.tasks[0] is one
    assert len(sig) == 2
    assert repr(sig) == "group((wire.add(1), add(2)))"
    assert group([one])["kwargs"]["tasks"][0] is one
    assert group(one)["kwargs"]["tasks"][0] is not one
    assert group(group(one)).tasks == [one]
    assert group(dict(one)).tasks == [one]
    assert repr(group()) == "group(<empty>)"
    assert not group()
    assert group(one) | group() == group(one)
    assert sig(7).as_tuple()[1] == [((call.options["task_id"], None), None) for call in app.steps]
    assert [call.args for call in app.steps] == [(7, 1), (7, 2)]


def test_a_group_takes_no_links(add: Any) -> None:
    for options in ({"link": add(1)}, {"link_error": add(1)}):
        with pytest.raises(TypeError, match="Cannot add link to group"):
            group(add(1)).apply_async(**options)


def test_links_of_a_group(add: Any, mul: Any) -> None:
    sig = group(add(1), add(2))
    sig.link(mul(1))
    sig.link_error(mul(2))
    assert [task["options"].get("link") for task in sig.tasks] == [[{**mul(1), "immutable": True}], None]
    assert [task["options"]["link_error"] for task in sig.tasks] == [[mul(2)]] * 2
    sig.set_immutable(True)
    assert all(task.immutable for task in sig.tasks)
    assert [task["options"]["countdown"] for task in sig.skew(1, 2).tasks] == [1, 2]


def test_a_lazy_group_is_pulled_as_it_is_sent(add: Any, app: App) -> None:
    pulled: list[int] = []

    def tasks() -> Iterator[Any]:
        for number in range(5):
            pulled.append(number)
            yield add(number)

    sig = group(tasks())
    assert type(sig.tasks) is Lazy
    sig()
    assert pulled == [0, 1, 2, 3, 4]
    sig()
    assert [call.args for call in app.steps] == [(n,) for n in range(5)] * 2
    assert group(add(n) for n in range(2)) == group([add(0), add(1)])


def test_a_big_group_streams(add: Any, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "HELD", 60.0)  # a machine that is busy is not a slow iterator
    sig = group(add(n) for n in range(5000))
    result = sig.apply_async()
    assert len(result.results) == 5000
    assert app.pieces == [2000, 2000, 1000]
    with pytest.raises(RuntimeError, match="give a list"):
        sig.apply_async()


def test_a_frozen_group(add: Any) -> None:
    sig = group(add(1), group(add(2), add(3)), chain())
    result = sig.freeze()
    assert result.id == sig.id
    assert [member.id for member in result.results] == [task.id for task in sig.tasks]
    assert [task["options"]["group_index"] for task in sig.tasks] == [0, 1, 2]


def test_from_dict_fills_the_dict_itself(add: Any) -> None:
    plain = {"task": "celery.group", "kwargs": {"tasks": [dict(add(1))]}, "options": {}, "subtask_type": "group"}
    sig = group.from_dict(plain)
    assert sig.tasks[0] is plain["kwargs"]["tasks"][0]  # type: ignore[index]
    assert isinstance(sig.tasks[0], Signature)
    lazy = {**plain, "kwargs": {"tasks": Lazy(iter([dict(add(1))]))}}
    assert isinstance(group.from_dict(lazy).tasks[0], Signature)


# --- chord


def test_a_chord(add: Any, mul: Any, app: App) -> None:
    sig = chord([add(1), add(2)], mul(3))
    assert repr(sig) == "%wire.mul([add(1), add(2)], 3)"
    assert repr(chord([add(1)], mul() | add(2))) == "%(wire.mul([add(1)]) | add(2))"
    assert repr(chord([add(1)])) == "<chord without body: [wire.add(1)]>"
    assert sig == group(add(1), add(2)) | mul(3)
    assert sig.body is not mul(3)
    assert sig.__length_hint__() == 2
    sig.link(mul(4))
    assert sig.body["options"]["link"] == [mul(4)]
    sig.set_immutable(True)
    assert [task.immutable for task in (*sig.tasks, sig.body)] == [True, True, False]


def test_a_chord_goes_on(add: Any, mul: Any) -> None:
    sig = chord([add(1)], mul()) | add(2)
    assert names(sig.body) == ["wire.mul", "wire.add"]
    assert names(chord([add(1)], mul()) | (add(2) | add(3))) == ["celery.chord", "wire.add", "wire.add"]
    assert names((chord([add(1)], mul()) | group(add(2))).body) == ["wire.mul", "wire.add"]


def test_headers_of_every_kind(app: App, add: Any, mul: Any) -> None:
    assert chord(add(1), mul()).tasks == [add(1)]
    assert chord(dict(add(1)), mul()).tasks == [add(1)]
    assert chord(add(1) | add(2), mul()).tasks == [add(1), add(2)]
    assert type(chord((add(n) for n in range(2)), mul()).tasks) is Lazy


def test_sending_a_chord(add: Any, mul: Any, app: App) -> None:
    result = chord(add(n) for n in range(3))(mul(), queue="q")
    first, second, size, third = app.steps
    assert size == ["size", result.parent.id, 3]
    bodies = [call.options["chord"] for call in (first, second, third)]
    assert {body["options"]["task_id"] for body in bodies} == {result.id}
    assert first.options["queue"] == "q"


def test_run_of_a_chord(add: Any, mul: Any, app: App) -> None:
    result = chord([add(1)], mul()).run(group(add(5), add(6)), mul(7), (0,), task_id="last", interval=3)
    calls = [step for step in app.steps if isinstance(step, Call)]
    assert [call.args for call in calls] == [(0, 5), (0, 6)]
    assert result.id == calls[0].options["chord"]["options"]["task_id"] == "last"


def test_an_empty_chord_sends_its_body(add: Any, app: App) -> None:
    chord([], add())()
    (call,) = app.steps
    assert call.args == ([],)


def test_errbacks_of_a_chord(app: App, add: Any, mul: Any) -> None:
    sig = chord([chord([add(1)], add(2)), add(3)], mul())
    with pytest.warns(CPendingDeprecationWarning, match="task_allow_error_cb_on_chord_header"):
        sig.link_error(mul(9))
    assert sig.body["options"] == sig.tasks[0].body["options"] == {"link_error": [mul(9)]}
    assert sig.tasks[1]["options"] == {}


def test_errbacks_on_headers(app: App, add: Any, mul: Any) -> None:
    app.conf["task_allow_error_cb_on_chord_header"] = True
    sig = chord([add(1)], mul())
    errback = sig.link_error(mul(9))
    assert errback == mul(9)
    # Stock clones with immutable as an option, which says nothing to anybody; readers find it there.
    assert sig.tasks[0]["options"]["link_error"] == [{**mul(9), "options": {"immutable": True}}]


def test_a_frozen_chord(add: Any, mul: Any) -> None:
    sig = chord([add(1), add(2)], mul())
    result = sig.freeze("last")
    assert result.id == sig.body.id == "last"
    assert type(sig.tasks) is group
    assert result.parent.id == sig.tasks.id == sig.id
    assert sig.tasks.tasks[0]["options"]["chord"] is sig.body


def test_no_chords(add: Any, mul: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    app = App(chords="refused")
    sig = chord([app.tasks["wire.add"].s(1)], app.tasks["wire.mul"].s(), app=app)
    for refused in (sig, app.tasks["wire.add"].s(1) | sig):
        with pytest.raises(NotImplementedError, match="no chords here"):
            refused.apply_async()


# --- maps


def test_maps(app: App) -> None:
    task = app.tasks["wire.add"]
    assert repr(task.map([1, 2])) == "[wire.add(x) for x in [1, 2]]"
    assert repr(task.starmap([(1, 2)])) == "[wire.add(*x) for x in [(1, 2)]]"
    assert repr(task.map(range(200))).endswith("...]")
    task.map(iter([1, 2])).set(queue="q").apply_async(priority=None, countdown=3)
    (call,) = app.steps
    assert call.name == "celery.map"
    assert call.kwargs == {"task": task.s(), "it": [1, 2]}
    assert {key: call.options[key] for key in ("queue", "countdown", "route_name")} == {
        "queue": "q", "countdown": 3, "route_name": "wire.add",
    }  # fmt: skip
    for kind in (xmap, xstarmap):
        assert kind.from_dict(dict(kind(task.s(), [1]))) == kind(task.s(), [1])


def test_chunks(app: App) -> None:
    task = app.tasks["wire.add"]
    task.chunks(iter([(n, n) for n in range(5)]), 2)()
    assert [call.kwargs["it"] for call in app.steps] == [[(0, 0), (1, 1)], [(2, 2), (3, 3)], [(4, 4)]]
    assert {call.options["route_name"] for call in app.steps} == {"wire.add"}
    sig = task.chunks([(1, 2)], 3)
    assert chunks.from_dict(dict(sig)) == sig
    assert len(chunks.apply_chunks(task.s(), [(1,), (2,)], 1, app=app).results) == 2


# --- the module


def test_names() -> None:
    assert canvas.subtask is canvas.signature
    assert canvas._chord is canvas.chord
    assert canvas.maybe_unroll_group(group(signature("a"))) == signature("a")
    both = group(signature("a"), signature("b"))
    assert canvas.maybe_unroll_group(both) is both
    assert canvas.task_name_from(signature("a")) == canvas.task_name_from("a") == "a"
    assert canvas._prepare_chain_from_options({"a": 1}, [2], False) == {"a": 1, "chain": [2]}
    assert canvas._prepare_chain_from_options({"chain": [1]}, [2], True) == {"chain": None}
    assert issubclass(Signature, canvas.abstract.CallableSignature)
    assert canvas.Signature.__module__ == "celery.canvas"
    with pytest.raises(AttributeError):
        canvas.nothing  # noqa: B018 - the access is what is tried


def test_classes_may_be_changed_from_outside(app: App, add: Any, mul: Any) -> None:
    other = App()
    for sig in (add(1), add(1) | add(2), group(add(1), add(2)), chord([add(1)], mul())):
        assert sig.app is app
        sig.app = other
        assert sig.app is other
    add(1).type = other.tasks["wire.mul"]


def test_clones_by_position(add: Any, mul: Any) -> None:
    assert (add(1) | add(2)).clone((5,)) == (add(1) | add(2))
    made = chord([add(1)], mul()).clone((5,), {"x": 1}, queue="q")
    assert (made["args"], made["kwargs"]["x"], made["options"]) == ((5,), 1, {"queue": "q"})
    assert group(add(1)).clone(kwargs={"x": 1}, queue="q")["options"] == {"queue": "q"}


def test_stamps(add: Any, mul: Any) -> None:
    class V(canvas.StampingVisitor):
        def __init__(self) -> None:
            self.ends: list[str] = []

        def on_signature(self, sig: Any, **headers: Any) -> Any:
            assert isinstance(sig, Signature)
            return {"on": sig.task}

        def on_group_end(self, sig: Any, **headers: Any) -> None:
            self.ends.append(sig.task)

    linked = add(3)
    linked["options"]["link"] = dict(mul(4))
    sig = chord([add(1).on_error(mul(2)), dict(add(2))], mul() | linked)
    visitor = V()
    assert sig.stamp(visitor, by="me") is None
    assert visitor.ends == ["celery.group"]
    first = sig.tasks.tasks[0]
    assert first["options"]["on"] == "wire.add"
    assert first["options"]["link_error"][0]["options"]["on"] == "wire.mul"
    assert sig.body.tasks[1]["options"]["link"]["options"]["by"] == "me"
    assert add(1).stamp(a=1)["options"] == {"a": 1, "stamped_headers": ["a"]}
    alone = add(1).on_error(dict(mul()))
    alone.stamp_links(visitor, by="me")
    assert alone["options"]["link_error"][0].options["by"] == "me"
    assert "by" not in alone["options"]
    assert add(1)._stamp_headers({"b": 2}, a=1) == {"a": 1, "b": 2, "stamped_headers": ["a", "b"]}
    lazy = group(dict(add(n)) for n in range(2))
    lazy.stamp(a=1)
    assert [task["options"]["a"] for task in lazy.tasks] == [1, 1]
