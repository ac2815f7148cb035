"""Results as documents of MongoDB: what Celery writes is read, and what is written Celery reads."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from typing import Any

import pytest

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import documents, states
from celeriac.protocol.wire.children import Node
from celeriac.protocol.wire.failure import Failure
from celeriac.protocol.wire.result import About, Result
from celeriac.protocol.wire.serializers import accepted
from celeriac.protocol.wire.stored import Codec

DONE = datetime(2026, 11, 21, 6, 30, 0, 123000, timezone.utc)
RESULT = Result("t", states.SUCCESS, {"a": [1]}, children=[], date_done=DONE.isoformat(), group_id="g", parent_id="p")
CODECS = [
    *(
        Codec(name, accepted([name]), compress)
        for name in ("json", "pickle", "msgpack", "yaml")
        for compress in (None, "gzip")
    ),
    Codec(documents.BSON),
]


def test_a_document_is_as_celery_writes_it() -> None:
    assert documents.build(RESULT, DONE) == {
        "_id": "t",
        "status": "SUCCESS",
        "result": '{"a": [1]}',
        "traceback": None,
        "children": [],
        "date_done": DONE,
        "group_id": "g",
        "parent_id": "p",
    }


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("about", [None, About("n", [1], {"k": 2}, "w", 0, "q")])
def test_a_result_comes_back(codec: Codec, about: About | None) -> None:
    sent = replace(RESULT, about=about)
    document = documents.build(sent, DONE, codec)
    assert documents.parse({**document, "date_done": DONE.replace(tzinfo=None)}, codec) == sent
    assert documents.parse(document, codec) == sent


def test_a_failure_comes_back() -> None:
    sent = Result("t", states.FAILURE, Failure("ValueError", ("x",)), date_done=DONE.isoformat())
    assert documents.parse(documents.build(sent, DONE)) == sent
    assert documents.parse(documents.build(sent, DONE, Codec("bson")), Codec("bson")) == sent


@pytest.mark.parametrize(("compress", "kind"), [(None, str), ("gzip", bytes)])
def test_a_text_is_a_text_until_it_is_compressed(compress: str | None, kind: type) -> None:
    assert type(documents.write([1], Codec(compress=compress))) is kind
    assert documents.read(documents.write([1], Codec(compress=compress)), Codec(compress=compress)) == [1]
    assert documents.read(None, Codec()) is None


@pytest.mark.parametrize("codec", CODECS)
def test_a_group_comes_back(codec: Codec) -> None:
    group = Node("g", Node("p"), (Node("a"), Node("h", None, (Node("b"),))))
    document = documents.build_group(group, DONE, codec)
    assert (document["_id"], document["date_done"]) == ("g", DONE)
    assert documents.read(document["result"], codec) == ["a", "h"]
    assert documents.parse_group(document, codec) == group


def test_a_group_of_celerys_is_its_members() -> None:
    document = {"_id": "g", "result": '["a", "b"]', "date_done": DONE}
    assert documents.parse_group(document) == Node("g", None, (Node("a"), Node("b")))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"_id": 5, "status": "SUCCESS"},
        {"_id": "", "status": "SUCCESS"},
        {"_id": "t"},
        {"_id": "t", "status": "SUCCESS", "result": "}"},
        {"_id": "t", "status": "SUCCESS", "result": "\udc80"},
        {"_id": "t", "status": "SUCCESS", "result": 5},
    ],
)
def test_what_is_no_result(document: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        documents.parse(document)


@pytest.mark.parametrize(
    "document", [{}, {"_id": "g", "result": "5"}, {"_id": "g", "result": "[5]"}, {"_id": "g", "tree": "[]"}]
)
def test_what_is_no_group(document: dict[str, Any]) -> None:
    with pytest.raises(BadMessage):
        documents.parse_group(document)
