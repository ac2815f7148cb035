"""The one step gives the bytes of the two."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.wire.envelope import Frame
from celeriac.protocol.wire.envelope_template import EnvelopeTemplate
from celeriac.protocol.wire.message import Posting, Task
from celeriac.protocol.wire.reprs import Shown
from celeriac.protocol.wire.template import Particulars, Template

texts = st.text(max_size=12) | st.sampled_from(["%", "%s", "%%d", '"', "\\", "ü\x00"])
values = st.none() | st.booleans() | st.integers() | texts | st.lists(texts, max_size=2)
particulars = st.builds(
    Particulars,
    id=texts,
    args=st.lists(values, max_size=3).map(tuple),
    kwargs=st.dictionaries(texts, values, max_size=2),
    argsrepr=texts,
    kwargsrepr=texts,
    root_id=st.none() | texts,
    parent_id=st.none() | texts,
    eta=st.none() | texts,
    group=st.none() | texts,
    group_index=st.none() | st.integers(0, 9),
)


@given(
    particulars,
    texts,
    texts,
    st.integers(0, 9),
    st.sampled_from(["json", "pickle"]),
    st.sampled_from([None, "zlib"]),
    st.dictionaries(st.sampled_from(["id", "root_id", "group", "group_index", "argsrepr"]), texts, max_size=5),
    st.dictionaries(texts, values, max_size=2),
    st.builds(Shown, args=st.none() | st.integers(1, 30), levels=st.integers(0, 3)),
)
def test_one_step_is_as_good_as_two(
    given_ones: Particulars,
    routing_key: str,
    origin: str,
    priority: int,
    serializer: str,
    compression: str | None,
    headers: dict[str, Any],
    extra: dict[str, Any],
    shown: Shown,
) -> None:
    posting = Posting(priority=priority, serializer=serializer, compression=compression, extra=extra)
    template = Template.of(Task("add", "", origin=origin, headers=headers), posting)
    frame = Frame.of(template.content_type, template.content_encoding, "", routing_key, priority)
    pieces = template.pieces(given_ones)
    whole = EnvelopeTemplate(template, routing_key, priority)
    assert whole.fill(given_ones, "a-tag") == frame.fill(pieces.body, pieces.headers, pieces.properties, "a-tag")
    task_id, args, kwargs, _, _, root_id, parent_id, _, group, index = given_ones
    write = template.writer(shown)
    _, argsrepr, kwargsrepr = write(args, kwargs)
    given_ones = given_ones._replace(argsrepr=argsrepr, kwargsrepr=kwargsrepr)
    filled = whole.kin(root_id, parent_id, group).filler(write, lambda: "a-tag")(task_id, args, kwargs, index)
    assert filled == whole.fill(given_ones._replace(eta=None), "a-tag")
