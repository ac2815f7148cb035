"""A filled template is, byte for byte, the message that is made anew."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.amqp.contents import write_message
from celeriac.protocol.wire.amqp.frames import publish_call, write_publish
from celeriac.protocol.wire.amqp.template import ContentTemplate
from celeriac.protocol.wire.message import Posting, Task
from celeriac.protocol.wire.template import Particulars, Template

TEXT = st.text(st.characters(codec="utf-8"), max_size=30)
NAMES = st.none() | TEXT
POSTINGS = st.builds(
    Posting,
    reply_to=TEXT,
    delivery_mode=st.sampled_from([1, 2]),
    priority=st.none() | st.integers(0, 9),
    expiration=st.none() | st.just("1000"),
    extra=st.sampled_from([{}, {"app_id": "me", "timestamp": 7}, {"correlation_id": "mine"}, {"correlation_id": None}]),
    compression=st.none() | st.just("zlib"),
)
TASKS = st.builds(
    Task,
    name=TEXT,
    id=st.just(""),
    shadow=NAMES,
    timelimit=st.sampled_from([(None, None), (5, 2.5)]),
    ignore_result=st.none() | st.booleans(),
    stamped_headers=st.none() | st.just(["a"]),
    stamps=st.sampled_from([{}, {"a": 1}]),
    headers=st.sampled_from([{}, {"mine": [1, "x"]}, {"id": "other"}, {"group": None}]),
)
PARTICULARS = st.builds(
    Particulars,
    id=TEXT.filter(bool) | st.just("e1bd1b8e-8a5e-4d0e-9a0e-3c4d8a9b2f10"),
    args=st.tuples(st.integers(0, 9)),
    kwargs=st.just({}),
    argsrepr=TEXT,
    kwargsrepr=TEXT,
    root_id=NAMES,
    parent_id=NAMES,
    eta=NAMES,
    group=NAMES,
    group_index=st.none() | st.integers(0, 2**40),
)


ID = "e1bd1b8e-8a5e-4d0e-9a0e-3c4d8a9b2f10"
CALL = publish_call(7, "", "q")


def whole(piece: bytes | tuple[bytes, bytes]) -> bytes:
    return piece if isinstance(piece, bytes) else write_publish(CALL, 7, *piece)


@pytest.mark.parametrize(
    ("task_id", "argument", "argsrepr", "at_once"),
    [
        (ID, 1, "(1,)", True),
        (ID, "a" * 4082, "", True),  # the body takes 4088 bytes, which is what any frame holds
        (ID, "a" * 4083, "", False),
        ("i" * 256, 1, "(1,)", False),  # no short text: the writer of properties says so
        ("i", 1, "(1,)", False),
        (ID, 1, "x" * 255, True),
        (ID, 1, "x" * 256, False),
        (ID, 1, "\ud800", False),
        (7, 1, "(1,)", False),
    ],
)
@pytest.mark.parametrize("root_id", [None, "r"])
def test_what_fits_into_any_frame_is_written_at_once(
    task_id: Any, argument: Any, argsrepr: str, at_once: bool, root_id: str | None
) -> None:
    template = Template.of(Task("t", ""))
    kin = ContentTemplate(template).kin(root_id)
    body = b"[%b]" % json.dumps([argument]).encode()
    publish = kin.publisher(CALL, 7, lambda *_: (body, argsrepr, "{}"))
    try:
        expected = write_publish(CALL, 7, kin.fill(task_id, argsrepr, "{}", 3), body)
    except BadCall:
        with pytest.raises(BadCall):
            publish(task_id, [argument], {}, 3)
        return
    piece = publish(task_id, [argument], {}, 3)
    assert isinstance(piece, bytes) is at_once
    assert whole(piece) == expected


def test_headers_that_fill_a_frame_and_a_body_of_nothing() -> None:
    for header in ("h" * 3900, "h" * 3500):
        template = Template.of(Task("t", "", headers={"long": header}))
        kin = ContentTemplate(template).kin()
        for body in (b"", b"[]"):
            piece = kin.publisher(CALL, 7, lambda *_, body=body: (body, "()", "{}"))(ID, (), {}, None)
            assert isinstance(piece, bytes) is (body == b"[]" and header == "h" * 3500)
            assert whole(piece) == write_publish(CALL, 7, kin.fill(ID, "()", "{}", None), body)


def test_texts_that_utf8_cannot_hold_and_no_texts() -> None:
    template = Template.of(Task("t", ""))
    for odd in (Particulars("i", argsrepr="\ud800"), Particulars("i", group=7)):  # type: ignore[arg-type]  # a number
        assert ContentTemplate(template).fill(odd) == write_message(template.message(odd))


@given(TASKS, POSTINGS, st.lists(PARTICULARS, min_size=1, max_size=3))
def test_filled_is_as_made_anew(task: Task, posting: Posting, many: list[Particulars]) -> None:
    template = Template.of(task, posting)
    content = ContentTemplate(template)
    for particulars in many:
        assert content.fill(particulars) == write_message(template.message(particulars))
        task_id, _, _, *texts, root_id, parent_id, _, group, index = particulars
        filled = content.kin(root_id, parent_id, group).fill(task_id, *texts, index)
        assert filled == content.fill(particulars._replace(eta=None))
        body = template.body((1,), {})
        publish = content.kin(root_id, parent_id, group).publisher(
            CALL, 7, lambda *_, texts=texts, body=body: (body, *texts)
        )
        assert whole(publish(task_id, (1,), {}, index)) == write_publish(CALL, 7, filled, body)


def test_kin_of_a_message_whose_headers_are_all_its_own() -> None:
    own = dict.fromkeys(("id", "argsrepr", "kwargsrepr", "group_index"), "mine")
    template = Template.of(Task("t", "", headers=own))
    filled = ContentTemplate(template).kin().fill("i", "()", "{}", None)
    assert filled == write_message(template.message(Particulars("i")))
