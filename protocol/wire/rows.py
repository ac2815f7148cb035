"""Results as rows of the SQLAlchemy tables `celery_taskmeta` and `celery_tasksetmeta`.

Law: a blob holds the configured serializer's bytes. Rows of older releases hold pickles whatever was configured;
those are recognised and decoded only where pickle is accepted. Dates are naive and in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

from ..errors import BadMessage, shown
from . import children, result
from .result import ABOUT, About, Result
from .stored import JSON, Codec

TASKS: Final = "celery_taskmeta"
GROUPS: Final = "celery_tasksetmeta"

COLUMNS: Final = ("task_id", "status", "result", "date_done", "traceback", "children", *ABOUT, "stamps")
BLOBS: Final = frozenset({"result", "children", "args", "kwargs", "stamps"})

_PICKLE = b"\x80"


def build(res: Result, done: datetime | None, codec: Codec = JSON) -> dict[str, Any]:
    """The columns of a row. `done` is aware, or None for a state that is not ready."""
    doc = result.document(res)
    row = {column: doc.get(column) for column in COLUMNS}
    row["result"] = codec.encode(doc["result"])
    row["date_done"] = None if done is None else done.astimezone(timezone.utc).replace(tzinfo=None)
    row["children"] = codec.encode(res.children) if res.children else None
    if res.about is not None:
        row["args"] = codec.encode(res.about.args)
        row["kwargs"] = codec.encode(res.about.kwargs)
        row["stamps"] = _stamps(res.about, codec)
    return row


def _stamps(about: About, codec: Codec) -> bytes | None:
    if not about.stamped_headers:
        return None
    stamps = {name: about.stamps[name] for name in about.stamped_headers if name in about.stamps}
    return codec.encode({"stamped_headers": list(about.stamped_headers), "stamps": stamps})


def parse(row: Mapping[str, Any], codec: Codec = JSON) -> Result:
    """The result in a row, by column names. Columns that an older table lacks may be missing."""
    doc = {column: _open(row, column, codec) if column in BLOBS else row.get(column) for column in COLUMNS}
    date, stamps = doc["date_done"], doc.pop("stamps")
    if isinstance(date, datetime) and date.tzinfo is None:
        doc["date_done"] = date.replace(tzinfo=timezone.utc)
    if all(row.get(column) is None for column in ABOUT):
        for column in ABOUT:
            del doc[column]
    if isinstance(stamps, dict) and isinstance(stamps.get("stamps"), dict):
        doc = {**stamps["stamps"], "stamped_headers": stamps.get("stamped_headers"), **doc}
    return result.read(doc)


def build_group(group: children.Node, codec: Codec = JSON) -> bytes:
    """The `result` column of a saved group: its tree, without the wrapping of the key-value stores."""
    return codec.encode(children.build(group))


def parse_group(row: Mapping[str, Any], codec: Codec = JSON) -> children.Node:
    return children.parse(_open(row, "result", codec))


def _open(row: Mapping[str, Any], column: str, codec: Codec) -> Any:
    blob = row.get(column)
    if blob is None:
        return None
    if isinstance(blob, str):  # some drivers give text back for what was written as bytes
        blob = blob.encode("utf-8", "surrogatepass")
    if not isinstance(blob, (bytes, bytearray, memoryview)):
        raise BadMessage("result row", f"expected bytes, got {shown(blob)}", field=column)
    data = bytes(blob)
    return (codec.of_pickle() if _is_old(data) else codec).decode(data)


def _is_old(data: bytes) -> bool:
    """No text begins with this byte; in msgpack it is an empty map, which is one byte long."""
    return data.startswith(_PICKLE) and len(data) > 1
