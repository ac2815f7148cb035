"""One task: the dict, its attributes and what changes it."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from functools import wraps
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.compat import alias
from celeriac.compat.canvas import Signature, chain, chord, group, maybe_signature, signature
from celeriac.protocol.rules.calling import Call
from tests.compat.canvas.stand import App, Result


def test_the_dict_is_what_the_wire_carries(app: App) -> None:
    sig = app.tasks["wire.add"].s(1, y=2)
    assert dict(sig) == {
        "task": "wire.add",
        "args": (1,),
        "kwargs": {"y": 2},
        "options": {},
        "subtask_type": None,
        "immutable": False,
    }
    assert repr(sig) == "wire.add(1, y=2)"
    assert sig.reprcall(0) == "wire.add(0, 1, y=2)"
    assert (sig.task, sig.name, sig.args, sig.kwargs) == ("wire.add", "wire.add", (1,), {"y": 2})
    assert (sig.options, sig.subtask_type, sig.immutable, sig.id) == ({}, None, False, None)
    assert sig.type is app.tasks["wire.add"]
    assert sig.app is app


def test_attributes_write_into_the_dict() -> None:
    sig = signature("t")
    sig.id, sig.root_id, sig.parent_id = "i", "r", "p"
    assert sig["options"] == {"task_id": "i", "root_id": "r", "parent_id": "p"}
    sig.args, sig.immutable = (3,), True
    assert sig["args"] == (3,)
    assert sig["immutable"] is True


def test_of_a_name_a_dict_or_a_signature(app: App) -> None:
    named = signature("wire.add", (1,), {"y": 2}, options={"queue": "q"}, countdown=3, app=app)
    assert named["options"] == {"queue": "q", "countdown": 3}
    again = signature(json.loads(json.dumps(named)), app=app)
    assert again.type is app.tasks["wire.add"]
    twin = signature(named)
    assert twin == named
    assert twin is not named
    assert maybe_signature(named) is named
    assert maybe_signature(named, clone=True) is not named
    assert maybe_signature(None) is None
    assert maybe_signature({"task": "t"}, app=app)["options"] == {}


def test_a_clone_is_its_own(app: App) -> None:
    sig = app.tasks["wire.add"].s(1, y={}).set(headers={"a": 1})
    sig.link(app.tasks["wire.mul"].s())
    twin = sig.clone((0,), {"z": 1}, queue="q")
    assert twin["args"] == (0, 1)
    assert twin["kwargs"] == {"y": {}, "z": 1}
    twin["options"]["headers"]["a"] = 2
    twin["options"]["link"][0]["options"]["queue"] = "q"
    assert sig["options"]["headers"] == {"a": 1}
    assert sig["options"]["link"][0]["options"] == {}
    assert twin.type is sig.type
    assert sig.partial((5,))["args"] == (5, 1)


def test_an_immutable_signature_takes_options_alone() -> None:
    sig = signature("t", (1,), immutable=True)
    assert sig.clone((5,), {"z": 1}, queue="q") == {**sig, "options": {"queue": "q"}}
    assert sig.reprcall(5) == "t(5, 1)"


def test_group_and_stamps_are_never_replaced() -> None:
    sig = signature("t", options={"group_id": "g", "stamped_headers": ["s"], "s": 1})
    merged = sig.clone(group_id="other", stamped_headers=["x"], s=2, queue="q")["options"]
    assert merged == {"group_id": "g", "stamped_headers": ["s"], "s": 1, "queue": "q"}


def test_replace() -> None:
    sig = signature("t", (1,), {"a": 1}, options={"queue": "q"})
    assert sig.replace() == sig
    assert sig.replace(args=(2,), kwargs={}, options={}) == {**sig, "args": (2,), "kwargs": {}, "options": {}}


def test_links() -> None:
    sig, back, err = signature("t"), signature("b"), signature("e")
    assert sig.link(back) is back
    assert sig.link(back) is back
    assert sig.on_error(err) is sig
    assert sig["options"] == {"link": [back], "link_error": [err]}
    back.link(signature("c"))
    assert [link["task"] for link in sig.flatten_links()] == ["t", "b", "c"]
    sig.extend_list_option("link", signature("d"))
    assert len(sig["options"]["link"]) == 2
    one = signature("t", options={"link": back})
    one.link(err)
    assert one["options"]["link"] == [back, err]


def test_a_long_line_of_links() -> None:
    first = signature("t")
    last = first
    for _ in range(3000):
        last = last.link(signature("t"))
    assert len(first.flatten_links()) == 3001


def test_copies_and_encodings(app: App) -> None:
    sig = app.tasks["wire.add"].s(1)
    copied = copy.deepcopy(sig)
    assert type(copied) is dict
    assert copied == sig
    assert copied["options"] is not sig["options"]
    assert sig.__json__() == sig
    assert dict(sig.items()) == sig


@pytest.fixture
def celery_name() -> Iterator[None]:
    was = alias.installed()
    alias.install()
    yield
    if not was:
        alias.uninstall()


@pytest.mark.usefixtures("celery_name")
def test_pickles_name_celery(app: App) -> None:
    task = app.tasks["wire.add"]
    for sig in (task.s(1), task.s(1) | task.s(2), group(task.s(1)), chord([task.s(1)], task.s())):
        data = pickle.dumps(sig)
        assert b"celery.canvas" in data
        assert b"celeriac" not in data
        again = pickle.loads(data)
        assert again == sig
        assert type(again) is type(sig)


def test_calling_it(app: App) -> None:
    sig = app.tasks["wire.add"].s(2).set(queue="q")
    result = sig.apply_async((1,), {"z": 3}, task_id="i", countdown=None)
    assert result.id == "i"
    sig.delay(0, w=1)
    first, second = app.steps
    assert first == Call("wire.add", (1, 2), {"z": 3}, {"queue": "q", "task_id": "i"})
    assert (second.args, second.kwargs) == ((0, 2), {"w": 1})


def test_an_unknown_task_is_sent_by_name(app: App) -> None:
    sig = signature("elsewhere", (1,), app=app)
    sig.apply_async(task_id="i")
    assert app.steps == [Call("elsewhere", (1,), {}, {"task_id": "i"})]
    assert isinstance(sig.freeze("j"), Result)


def test_freeze(app: App) -> None:
    sig = app.tasks["wire.add"].s()
    body = app.tasks["wire.mul"].s()
    result = sig.freeze("i", group_id="g", chord=body, root_id="r", parent_id="p", group_index=3)
    assert (result.id, result.name) == ("i", "wire.add")
    assert sig["options"] == {
        "task_id": "i", "root_id": "r", "parent_id": "p", "reply_to": app.thread_oid,
        "group_id": "g", "chord": body, "group_index": 3,
    }  # fmt: skip
    assert sig["options"]["chord"] is body
    assert sig._freeze("other").id == "i"


def test_run_it_here(app: App) -> None:
    class Local:
        name = "local"

        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return args, kwargs

        def apply(self, args: Any, kwargs: Any, **options: Any) -> Any:
            return args, kwargs, options

    sig = Signature(Local(), (2,), {"a": 1}, queue="q")
    assert sig(1, b=2) == ((1, 2), {"a": 1, "b": 2})
    assert sig.apply((1,), {}, task_id="i", eta=None) == ((1, 2), {"a": 1}, {"queue": "q", "task_id": "i"})


class Apple(Signature):
    """A kind of signature of a user's."""

    @classmethod
    def from_dict(cls, d: Any, app: Any = None) -> Any:
        made = cls(d, app=app)
        made["subtask_type"] = "apple"
        return made

    def apply_async(self, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        options["headers"] = {"apple": True}
        return super().apply_async(args, kwargs, **options)


@pytest.fixture
def apple() -> Iterator[type]:
    Signature.register_type(name="apple")(Apple)
    yield Apple
    del Signature.TYPES["apple"]


def test_kinds_of_users(app: App, apple: type) -> None:
    sig = signature({"task": "wire.add", "args": (1,), "subtask_type": "apple"}, app=app)
    assert type(sig) is apple
    assert type(sig.clone()) is apple
    both = sig | app.tasks["wire.mul"].s(2)
    assert type(both.tasks[0]) is apple
    both.apply_async()
    (call,) = app.steps
    assert call.options["headers"] == {"apple": True}
    assert [step["task"] for step in call.options["chain"]] == ["wire.mul"]


def test_a_kind_of_a_user_in_a_group(app: App, apple: type) -> None:
    add = app.tasks["wire.add"]
    sig = signature({"task": "wire.echo", "args": (1,), "subtask_type": "apple"}, app=app)
    group([add.s(1), sig, add.s(2)]).apply_async()
    assert [(call.name, "headers" in call.options) for call in app.steps] == [
        ("wire.add", False), ("wire.echo", True), ("wire.add", False),
    ]  # fmt: skip


def test_a_patched_apply_async_sees_every_task(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    original = Signature.apply_async

    @wraps(original)
    def patched(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append(self["task"])
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Signature, "apply_async", patched)
    add, mul = app.tasks["wire.add"], app.tasks["wire.mul"]
    chord([add.s(1), mul.s(2)], add.s())()
    assert seen == ["wire.add", "wire.mul"]
    assert [step.name for step in app.steps if isinstance(step, Call)] == seen


@given(st.lists(st.integers(), max_size=3), st.dictionaries(st.text(max_size=3), st.integers(), max_size=3))
def test_json_forms_come_back(args: list[int], kwargs: dict[str, int]) -> None:
    sig = signature("t", args, kwargs, immutable=bool(args))
    for made in (sig, chain(sig, signature("u")), group([sig]), chord([sig], sig)):
        again = signature(json.loads(json.dumps(made)))
        assert json.dumps(again) == json.dumps(made)
        assert type(again) is type(made)


def test_a_repr_never_fails() -> None:
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    assert "Broken object" in repr(signature("t", (Broken(),)))


def test_an_election_is_held_by_the_app(app: App) -> None:
    held: list[Any] = []
    task = app.tasks["wire.add"]
    producer = type("Producer", (), {"connection": "line"})()

    class Lent:
        def __enter__(self) -> Any:
            return producer

        def __exit__(self, *_: object) -> None:
            pass

    app.producer_or_acquire = lambda _given: Lent()  # type: ignore[attr-defined]
    control = type("Control", (), {"election": staticmethod(lambda *a, **k: held.append((a, k)))})
    app.control = control()  # type: ignore[attr-defined]
    app.backend.on_task_call = lambda _producer, _id: {"extra": 1}  # type: ignore[attr-defined]
    result = task.s(1).set(task_id="i").election()
    assert result.id == "i"
    ((task_id, topic, sig), named) = held[0]
    assert (task_id, topic, named) == ("i", "task", {"connection": "line"})
    assert sig["options"] == {"task_id": "i", "extra": 1}
