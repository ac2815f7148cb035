"""A message as kombu's virtual transports hand it on, with nothing decoded, and as it goes back.

Law: whatever a store holds makes a message here, or kombu would raise in the middle of its own bookkeeping. Whether it
can be read is judged afterwards, by `protocol`.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from functools import cache
from typing import Any

from ...protocol.wire.message import LOSSES

_ADDRESS = ("exchange", "routing_key", "priority")


@cache
def as_it_came(message_class: type) -> type:
    """The transport's message class without decoding, decompression and their failures."""

    class AsItCame(message_class):  # type: ignore[misc]  # each transport has its own
        def __init__(self, payload: Any, channel: Any = None, **_: Any) -> None:
            super().__init__(_bare(payload), channel=channel)
            self.payload_as_it_came = payload

        def serializable(self) -> Any:
            """What kombu itself puts back, when the process ends without `close`."""
            return again(self.payload_as_it_came)

    return AsItCame


def _bare(payload: Any) -> dict[str, Any]:
    """All that acknowledging needs. A message that names no tag that can serve gets one."""
    raw = _mapping(payload)
    properties = _mapping(raw.get("properties"))
    tag = properties.get("delivery_tag")
    bare = {
        **properties,
        "delivery_tag": tag if isinstance(tag, (str, int)) and tag else str(uuid.uuid4()),
        "delivery_info": _mapping(properties.get("delivery_info")),
        "body_encoding": None,
    }
    headers = {name: value for name, value in _mapping(raw.get("headers")).items() if name != "compression"}
    return {**raw, "body": None, "headers": headers, "properties": bare}


def again(payload: Any, losses: int = 0) -> Any:
    """The same once more, flagged, without what transports hang into `delivery_info` when they take it."""
    if not isinstance(payload, dict) or not isinstance(payload.get("properties"), dict):
        return payload
    info = _mapping(payload["properties"].get("delivery_info"))
    address = {name: info[name] for name in _ADDRESS if name in info}
    properties = {**payload["properties"], "delivery_info": {**address, "redelivered": True}}
    if not losses:
        return {**payload, "properties": properties}
    return {**payload, "properties": properties, "headers": {**_mapping(payload.get("headers")), LOSSES: losses}}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}
