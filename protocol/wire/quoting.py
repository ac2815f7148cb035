"""The C parts of Python's `json` that write, without `json` itself: with the `re` that it brings, it takes 3 ms of CPU.

Law: where this Python has no such parts, `json` has others.
"""

from __future__ import annotations

from ..hints import Any

make_encoder: Any
try:
    from _json import encode_basestring_ascii as quoted
    from _json import make_encoder
except ImportError:  # pragma: no cover - an interpreter without them
    from json.encoder import encode_basestring_ascii as quoted

    make_encoder = None

__all__ = ("make_encoder", "quoted")
