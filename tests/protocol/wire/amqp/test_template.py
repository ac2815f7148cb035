"""A filled template is, byte for byte, the message that is made anew."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.wire.amqp.contents import write_message
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
    id=TEXT.filter(bool),
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
        task_id, _, _, argsrepr, kwargsrepr, root_id, parent_id, _, group, index = particulars
        filled = content.kin(root_id, parent_id, group).fill(task_id, argsrepr, kwargsrepr, index)
        assert filled == content.fill(particulars._replace(eta=None))


def test_kin_of_a_message_whose_headers_are_all_its_own() -> None:
    own = dict.fromkeys(("id", "argsrepr", "kwargsrepr", "group_index"), "mine")
    template = Template.of(Task("t", "", headers=own))
    filled = ContentTemplate(template).kin().fill("i", "()", "{}", None)
    assert filled == write_message(template.message(Particulars("i")))
