"""Results as messages: what the `rpc://` backend publishes to the queue of the one who sent the task.

Law: every state is one message, to the default exchange under the task's `reply_to`; without a `reply_to` there is
none. The message says its own content type, so the reader's accept list judges it, not its serializer.
"""

from __future__ import annotations

from ..errors import BadMessage, shown
from . import result, serializers
from .message import Message
from .result import Result
from .stored import JSON, Codec

EXCHANGE = ""
TRANSIENT, PERSISTENT = 1, 2


def build(res: Result, correlation_id: str | None = None, codec: Codec = JSON, *, persistent: bool = False) -> Message:
    """The message; its routing key is the task message's `reply_to`. `persistent` is `result_persistent`."""
    body = serializers.encode(result.document(res), codec.serializer, codec.table)
    return Message(
        body=body.body,
        content_type=body.content_type,
        content_encoding=body.content_encoding,
        headers={},
        properties={
            "correlation_id": correlation_id or res.task_id,
            "delivery_mode": PERSISTENT if persistent else TRANSIENT,
            "priority": 0,
        },
    )


def parse(message: Message, codec: Codec = JSON) -> Result:
    """The result in a message. The document names its task; the correlation id does where it does not."""
    doc = serializers.decode(message.body, message.content_type, message.content_encoding, codec.accept, codec.table)
    if not isinstance(doc, dict):
        raise BadMessage("result message", f"expected an object, got {shown(doc)}")
    named = doc.get("task_id")
    other = message.properties.get("correlation_id")
    return result.read(doc, named if isinstance(named, str) and named else other if isinstance(other, str) else None)
