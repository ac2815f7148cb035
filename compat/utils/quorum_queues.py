"""Whether an app uses RabbitMQ's quorum queues."""

from __future__ import annotations

from typing import Any


def detect_quorum_queues(app: Any, driver_type: str) -> tuple[bool, str]:
    """Whether one of the queues is a quorum queue, and the name of the first."""
    if driver_type == "amqp":
        for name, queue in app.amqp.queues.items():
            if (queue.queue_arguments or {}).get("x-queue-type") == "quorum":
                return True, name
    return False, ""
