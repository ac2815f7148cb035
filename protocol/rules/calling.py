"""From one call to the one message that it sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One `apply_async`: what to run, with what, and every option of the caller, `task_id` among them."""

    name: str
    args: Any = ()
    kwargs: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
