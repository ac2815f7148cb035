"""Signatures: merging, copying, linking, and reading what others wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage
from celeriac.protocol.rules import signature as sigs
from celeriac.protocol.rules.canvas import chord, group, raw_chain
from celeriac.protocol.rules.signature import Signature, signature


def s(name: str = "t.add", *args: Any, **options: Any) -> Signature:
    return signature(name, args, options=options)


def test_the_six_keys_stand_in_order() -> None:
    assert json.dumps(s("wire.mul", 10)) == (
        '{"task": "wire.mul", "args": [10], "kwargs": {}, "options": {}, "subtask_type": null, "immutable": false}'
    )


def test_maps_keep_their_items() -> None:
    assert sigs.xmap(s(), (i for i in range(2)), queue="q")["kwargs"]["it"] == [0, 1]
    assert sigs.starmap(s(), [(1, 2)])["task"] == "celery.starmap"
    assert sigs.chunks(s(), [(1, 2)], 3)["kwargs"]["n"] == 3


def test_new_arguments_come_first_unless_it_is_immutable() -> None:
    sig = signature("t", (2,), {"a": 1}, {"queue": "q"})
    assert sigs.merged(sig, (1,), {"a": 2, "b": 3}, {"queue": "r"}) == ((1, 2), {"a": 2, "b": 3}, {"queue": "r"})
    assert sigs.merged(sigs.immutable(sig), (1,), {"b": 3}, {"x": 1}) == ((2,), {"a": 1}, {"queue": "q", "x": 1})
    assert sigs.merged(sig) == ((2,), {"a": 1}, {"queue": "q"})


def test_group_and_stamps_are_kept_against_the_caller() -> None:
    sig = s("t", group_id="g", stamped_headers=["st"], st=1)
    *_, options = sigs.merged(sig, options={"group_id": "other", "stamped_headers": [], "st": 2, "x": 3})
    assert options == {"group_id": "g", "stamped_headers": ["st"], "st": 1, "x": 3}
    *_, options = sigs.merged(s("t", stamped_headers=None), options={"st": 2})
    assert options == {"stamped_headers": None, "st": 2}


def test_a_copy_can_be_written_to() -> None:
    body = s("body")
    sig = s("t", link=[s("cb", link=[s("deep")])], headers={"a": [1]}, chord=body)
    before = json.dumps(sig)
    copy = sigs.cloned(sig)
    assert copy["options"]["chord"] is body
    copy["options"]["headers"]["a"].append(2)
    copy["options"]["link"][0]["options"]["link"][0]["options"]["x"] = 1
    assert json.dumps(sig) == before


def test_owning_reaches_every_signature() -> None:
    sig = chord([group(s(link=s("cb")), s())], raw_chain([s("a"), s("b")]), link=(s("t"), 3), extra=(1, 2))
    before = json.dumps(sig)
    copy = sigs.owned(sig)
    copy["kwargs"]["header"][0]["kwargs"]["tasks"][0]["options"]["link"]["options"]["x"] = 1
    copy["kwargs"]["body"]["kwargs"]["tasks"][0]["options"]["x"] = 1
    copy["options"]["link"][0]["options"]["x"] = 1
    assert json.dumps(sig) == before
    assert copy["options"]["extra"] == (1, 2)


def test_copies_of_canvases() -> None:
    lazy = iter([s()])
    assert sigs.cloned(group(lazy))["kwargs"]["tasks"] is lazy
    framed = chord([s("a")], None)
    framed["kwargs"]["header"] = group(s("a"), s("b"))
    del framed["kwargs"]["kwargs"]
    assert [task["task"] for task in sigs.cloned(framed)["kwargs"]["header"]] == ["a", "b"]
    assert sigs.cloned(framed)["kwargs"]["kwargs"] == {}
    marked = raw_chain([s()])
    marked.update(args=(1,), immutable=True)
    assert (sigs.cloned(marked)["args"], sigs.cloned(marked)["immutable"]) == ((), False)


def test_links_are_kept_once() -> None:
    sig = sigs.linked(sigs.linked(s(), s("cb")), s("cb"))
    assert sig["options"]["link"] == [s("cb")]
    assert sigs.linked(s("t", link=s("one")), s("two"))["options"]["link"] == [s("one"), s("two")]


def test_a_groups_callback_hangs_on_its_first_task() -> None:
    sig = sigs.linked(group(s("a"), s("b")), s("cb"))
    first, second = sig["kwargs"]["tasks"]
    assert first["options"]["link"] == [sigs.immutable(s("cb"))]
    assert second["options"] == {}
    with pytest.raises(BadCall, match="empty group"):
        sigs.linked(group([]), s())


def test_immutable_reaches_members_and_headers() -> None:
    sig = sigs.immutable(chord([group(s("a"))], s("b")))
    assert sig["kwargs"]["header"][0]["kwargs"]["tasks"][0]["immutable"]
    assert not sig["kwargs"]["body"]["immutable"]


def test_a_chords_links_hang_on_its_body() -> None:
    inner = chord([s("a")], s("b"))
    sig = sigs.linked_error(sigs.linked(chord([inner, s("c")], group(s("d"))), s("cb")), s("eb"))
    assert sig["kwargs"]["body"]["kwargs"]["tasks"][0]["options"] == {
        "link": [sigs.immutable(s("cb"))],
        "link_error": [s("eb")],
    }
    assert sig["kwargs"]["header"][0]["kwargs"]["body"]["options"] == {"link_error": [s("eb")]}
    assert sig["kwargs"]["header"][1]["options"] == {}
    framed = chord([s("a")], s("b"))
    framed["kwargs"]["header"] = group(s("a"))
    assert "link_error" not in sigs.linked_error(framed, s("eb"))["kwargs"]["header"]["kwargs"]["tasks"][0]["options"]


def test_errbacks_on_the_header_when_the_app_wants_them() -> None:
    sig = sigs.linked_error(chord([s("a")], s("b")), s("eb"), on_header=True)
    assert sig["kwargs"]["header"][0]["options"]["link_error"] == [s("eb", immutable=True)]


@pytest.mark.parametrize("body", [None, "text"])
def test_a_chord_needs_a_body(body: Any) -> None:
    with pytest.raises(BadCall):
        sigs.linked(chord([s()], body), s())


def test_links_flatten_depth_first() -> None:
    sig = s("a", link=[s("b", link=s("c")), s("d")])
    assert [each["task"] for each in sigs.flatten_links(sig)] == ["a", "b", "c", "d"]


# --- reading ------------------------------------------------------------------------------------------------

CANVAS = chord(
    [group(s("a", link=s("x")), s("b")), raw_chain([s("c")])],
    s("d", link_error=[s("e")], chord=s("f"), chain=[s("g")]),
)


def test_what_was_written_reads_as_it_was() -> None:
    read = sigs.checked(json.loads(json.dumps(CANVAS)))
    assert json.dumps(read) == json.dumps(CANVAS)
    framed = json.loads(json.dumps(CANVAS))
    framed["kwargs"]["header"] = json.loads(json.dumps(group(s("a"))))
    assert sigs.checked(framed) == framed


def test_what_is_missing_is_made_up() -> None:
    assert json.dumps(sigs.checked({"task": "t", "args": None})) == json.dumps(s("t"))
    assert sigs.checked({"task": "celery.chord", "subtask_type": "chord", "kwargs": {"header": []}})["kwargs"] == {
        "header": [],
        "kwargs": {},
        "body": None,
    }


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (5, "expected a mapping, got 5"),
        ({}, "task: expected str, got None"),
        ({"task": 5}, "task: expected str, got 5"),
        ({"task": "t", "args": "x"}, "args: expected list, got 'x'"),
        ({"task": "t", "options": []}, "options: expected dict"),
        ({"task": "t", "subtask_type": 5}, "subtask_type: expected str, got 5"),
        ({"task": "t", "immutable": 3}, "immutable: expected bool, got 3"),
        ({"task": "t", "options": {"link": 5}}, "options.link: expected a mapping, got 5"),
        ({"task": "t", "options": {"link": [{}]}}, "options.link[0].task: expected str"),
        ({"task": "t", "options": {"link_error": [[]]}}, "options.link_error[0]: expected a mapping"),
        ({"task": "t", "options": {"chord": 5}}, "options.chord: expected a mapping"),
        ({"task": "t", "options": {"chain": 5}}, "options.chain: expected list, got 5"),
        ({"task": "t", "subtask_type": "chain"}, "kwargs.tasks: expected list, got None"),
        ({"task": "t", "subtask_type": "group", "kwargs": {"tasks": [1]}}, "kwargs.tasks[0]: expected a mapping"),
        ({"task": "t", "subtask_type": "chord"}, "kwargs.header: expected list"),
        (
            {"task": "t", "subtask_type": "chord", "kwargs": {"header": [], "body": 1}},
            "kwargs.body: expected a mapping",
        ),
        ({"task": "t", "subtask_type": "chord", "kwargs": {"header": [], "kwargs": 1}}, "kwargs.kwargs: expected dict"),
    ],
)
def test_what_cannot_be_a_signature_says_why(change: Any, words: str) -> None:
    with pytest.raises(BadMessage) as caught:
        sigs.checked(change, "callback")
    assert words in str(caught.value)
    assert str(caught.value).startswith("callback")


def nested(depth: int, key: str) -> Signature:
    sig = s()
    for _ in range(depth):
        sig = s("t", link=sig) if key == "link" else group(sig, s())
    return sig


def test_nesting_is_bounded() -> None:
    assert sigs.checked(nested(sigs.DEEPEST_LINKS, "link"))
    assert sigs.checked(nested(sigs.DEEPEST_CANVAS, "group"))
    for depth, key in ((sigs.DEEPEST_LINKS + 1, "link"), (sigs.DEEPEST_CANVAS + 1, "group")):
        with pytest.raises(BadMessage, match="nested too deeply"):
            sigs.checked(nested(depth, key))


def test_deep_links_are_copied_and_walked_without_recursion() -> None:
    sig = nested(sigs.DEEPEST_LINKS, "link")
    assert len(list(sigs.flatten_links(sigs.owned(sigs.cloned(sig))))) == sigs.DEEPEST_LINKS + 1


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*sigs._TYPES, "link", "tasks", "header", "body", "chord", "chain"]), inner, max_size=6
        )
        | st.fixed_dictionaries(
            {
                "task": st.text(max_size=3),
                "subtask_type": st.sampled_from([None, "chain", "group", "chord", "xmap", "odd", 5]),
                "kwargs": inner,
                "options": inner,
            }
        )
    ),
    max_leaves=25,
)


@given(JUNK)
@settings(max_examples=300, deadline=None)
def test_anything_is_a_signature_or_bad_message(value: Any) -> None:
    before = repr(value)
    try:
        read = sigs.checked(value)
    except BadMessage:
        read = None
    assert read is None or list(read) == list(sigs._TYPES)
    assert repr(value) == before
