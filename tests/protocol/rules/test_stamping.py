"""Stamping: what each part of a canvas gets, in which order a visitor is asked, how values come together."""

from __future__ import annotations

import json
from typing import Any

import pytest

from celeriac.protocol.rules.canvas import chord, group, raw_chain
from celeriac.protocol.rules.signature import Signature, signature
from celeriac.protocol.rules.stamping import Visitor, stamped


def s(name: str = "a", **options: Any) -> Signature:
    return signature(name, options=options)


def test_stamps_are_flattened_into_the_options() -> None:
    sig = s("a", link=s("cb"), link_error=[s("eb")])
    before = json.dumps(sig)
    options = stamped(sig, st="v", more=["a", "b"])["options"]
    assert options["link"]["options"] == {"st": "v", "more": ["a", "b"], "stamped_headers": ["st", "more"]}
    assert options["link_error"][0]["options"]["stamped_headers"] == ["st", "more"]
    assert (options["st"], options["stamped_headers"]) == ("v", ["st", "more"])
    assert json.dumps(sig) == before


def test_a_body_is_stamped_only_by_a_visitor() -> None:
    sig = chord([raw_chain([s(), group(s())])], s("body"))
    plain = stamped(sig, st=1)["kwargs"]
    assert plain["body"]["options"] == {}
    assert plain["header"][0]["kwargs"]["tasks"][1]["kwargs"]["tasks"][0]["options"]["st"] == 1
    visited = stamped(sig, Visitor(), st=1)["kwargs"]
    assert visited["body"]["options"]["st"] == 1
    assert visited["header"]["subtask_type"] == "group"
    again = stamped({**sig, "kwargs": visited}, Visitor(), st=2)["kwargs"]
    assert again["header"]["kwargs"]["tasks"][0]["kwargs"]["tasks"][0]["options"]["st"] == 2
    assert stamped(chord([s()]), Visitor(), st=1)["kwargs"]["body"] is None


class Recorder(Visitor):
    def __init__(self) -> None:
        self.asked: list[str] = []


def _recording(name: str) -> Any:
    def method(self: Recorder, sig: Signature, **headers: Any) -> Any:
        self.asked.append(name.removeprefix("on_"))
        answer = getattr(Visitor, name)(self, sig, **headers)
        return answer if name.endswith("_end") else {**answer, name: 1}

    return method


for _name in vars(Visitor):
    if _name.startswith("on_"):
        setattr(Recorder, _name, _recording(_name))


def test_a_visitor_is_asked_in_order() -> None:
    sig = raw_chain([s("a", link=s("cb"), link_error=s("eb")), chord(group(s("b")), s("c"))])
    recorder = Recorder()
    stamped(sig, recorder)
    assert recorder.asked == [
        *("chain_start", "callback", "signature", "errback", "signature", "signature"),
        *("chord_header_start", "group_start", "signature", "chord_header_end", "group_end"),
        *("chord_body", "signature", "chain_end"),
    ]


class Naming(Visitor):
    def on_signature(self, sig: Signature, **headers: Any) -> Any:
        return {"told": 1, "untold": 2, "stamped_headers": ["told"]}

    def on_callback(self, sig: Signature, **headers: Any) -> Any:
        return None if sig["task"] == "second" else {"cb": sig["task"]}


def test_a_visitor_may_say_which_of_its_values_are_stamps() -> None:
    options = stamped(s("a", link=[s("first"), s("second")]), Naming())["options"]
    assert options["stamped_headers"] == ["told"]
    assert options["untold"] == 2
    # What one link was given is handed to the next.
    assert [link["options"]["cb"] for link in options["link"]] == ["first", "first"]


@pytest.mark.parametrize(
    ("old", "new", "replaced", "appended"),
    [
        ("x", "y", "y", ["y", "x"]),
        (1, [2], 1 and 1, [1, 2]),
        ([1], [2], [2, 1], [2, 1]),
        ({"a": 1}, {"b": 2}, {"b": 2, "a": 1}, {"b": 2, "a": 1}),
        (None, "y", "y", ["y", None]),
        ("x", None, None, ["x"]),
        ("x", (1, 2), (1, 2), [1, 2, "x"]),
    ],
)
def test_stamping_twice(old: Any, new: Any, replaced: Any, appended: Any) -> None:
    first = stamped(s(), st=old)
    if (old, new) == (1, [2]):
        replaced, appended = [2], [2, 1]
    assert stamped(first, st=new)["options"]["st"] == replaced
    assert stamped(first, append=True, st=new)["options"]["st"] == appended


def test_a_list_meets_a_scalar() -> None:
    assert stamped(stamped(s(), st=[1]), append=True, st=2)["options"]["st"] == [2, 1]


def test_lazy_members_are_stamped_as_they_are_pulled() -> None:
    pulled = []

    def tasks() -> Any:
        for i in range(2):
            pulled.append(i)
            yield s()

    sig = stamped(group(tasks()), st=1)
    assert pulled == []
    assert [task["options"]["st"] for task in sig["kwargs"]["tasks"]] == [1, 1]
