"""Events as workers and clients send them, for tests of who hears them."""

from __future__ import annotations

from typing import Any

NOW = 1_800_000_000.0
KINDS = {"sent": 0.0, "received": 0.1, "started": 0.2, "succeeded": 1.2, "failed": 1.2, "retried": 1.2, "revoked": 1.2}


def event(kind: str, uuid: str = "id-1", at: float | None = None, **fields: Any) -> dict[str, Any]:
    """An event of a task, at its usual time."""
    when = NOW + KINDS.get(kind, 0.5) if at is None else at
    common = {"type": f"task-{kind}", "uuid": uuid, "hostname": "w1@here", "timestamp": when, "clock": 1, "pid": 7}
    return {**common, **fields}


def life(
    uuid: str, name: str = "shop.pay", at: float = NOW, end: str = "succeeded", **fields: Any
) -> list[dict[str, Any]]:
    """Everything that is told of a task that ends well, or otherwise."""
    told = {"args": "(1,)", "kwargs": "{}", "name": name, **fields}
    last = (
        {"runtime": 1.0, "result": "'fine'"}
        if end == "succeeded"
        else {"exception": "ValueError('no')", "traceback": "Traceback: no"}
    )
    return [
        event("sent", uuid, at, **told, queue="celery", hostname="client@here"),
        event("received", uuid, at + 0.1, **told),
        event("started", uuid, at + 0.2),
        event(end, uuid, at + 1.2, **last),
    ]


def worker(kind: str = "heartbeat", name: str = "w1@here", **fields: Any) -> dict[str, Any]:
    software = {"sw_ident": "py-celery", "sw_ver": "5.7.0", "sw_sys": "Linux"}
    return {
        "type": f"worker-{kind}",
        "hostname": name,
        "freq": 2.0,
        "active": 1,
        "processed": 5,
        "loadavg": [0.5, 0.2, 0.1],
        "pid": 7,
        **software,
        **fields,
    }
