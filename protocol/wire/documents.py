"""Results as documents of MongoDB, in `celery_taskmeta` and `celery_groupmeta`.

Law: `_id` is the task's; `result` holds the configured serializer's text, or its bytes, and everything else is a plain
value of the database. `bson` is no serializer: with it `result` is a plain value too. Celery saves of a group the ids
of its members alone; we leave its whole tree beside them, where Celery does not look.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

from ..errors import BadMessage, shown
from . import children, result
from .result import Result
from .stored import JSON, Codec

TASKS: Final = "celery_taskmeta"
GROUPS: Final = "celery_groupmeta"
BSON: Final = "bson"


def build(res: Result, done: datetime | None, codec: Codec = JSON) -> dict[str, Any]:
    """The document. `done` is aware, or None for a state that is not ready."""
    doc = result.document(res)
    del doc["task_id"]
    doc["result"] = write(doc["result"], codec)
    doc["date_done"] = done
    doc["_id"] = res.task_id
    return doc


def parse(doc: Mapping[str, Any], codec: Codec = JSON) -> Result:
    """The result in a document. MongoDB's dates are in UTC and do not say so."""
    ident = doc.get("_id")
    if not isinstance(ident, str) or not ident:
        raise BadMessage("result document", f"expected a text, got {shown(ident)}", field="_id")
    plain = {key: value for key, value in doc.items() if key != "_id"}
    plain["result"] = read(plain.get("result"), codec)
    date = plain.get("date_done")
    if isinstance(date, datetime) and date.tzinfo is None:
        plain["date_done"] = date.replace(tzinfo=timezone.utc)
    return result.read(plain, ident)


def build_group(group: children.Node, now: datetime, codec: Codec = JSON) -> dict[str, Any]:
    members = [member.id for member in group.members or ()]
    tree = write(children.build(group), codec)
    return {"_id": group.id, "result": write(members, codec), "date_done": now, "tree": tree}


def parse_group(doc: Mapping[str, Any], codec: Codec = JSON) -> children.Node:
    tree = doc.get("tree")
    if tree is not None:
        return children.parse(read(tree, codec))
    members = read(doc.get("result"), codec)
    if not isinstance(members, list):
        raise BadMessage("group document", f"expected a list of ids, got {shown(members)}", field="result")
    return children.parse([[doc.get("_id"), None], [[[member, None], None] for member in members]])


def write(value: Any, codec: Codec) -> Any:
    """A text where the serializer gives one, and it is not compressed."""
    if codec.serializer == BSON:
        return value
    data = codec.encode(value)
    binary = codec.compress is not None or codec.table[codec.serializer].content_encoding == "binary"
    return data if binary else data.decode()


def read(value: Any, codec: Codec) -> Any:
    if value is None or codec.serializer == BSON:
        return value
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogatepass")
    if not isinstance(value, (bytes, bytearray, memoryview)):
        raise BadMessage("result document", f"expected bytes or a text, got {shown(value)}", field="result")
    return codec.decode(bytes(value))
