"""Names the options that a broker does not know: each is a mistake, or another transport's.

Law: each once in a process, and nobody is stopped by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ...protocol.errors import shown
from ...protocol.hints import Any
from ..late import logger

OF_WHO_SENDS = frozenset({"max_retries", "interval_start", "interval_step", "interval_max", "errback"})
"""The retry policy of whoever sends is no broker's, but found in the same dict."""

_LOG = logger("celeriac.broker")
_named: set[tuple[str, str, str]] = set()


def name(broker: str, kind: str, given: Iterable[Any], known: Collection[str]) -> None:
    for each in sorted({str(each) for each in given}.difference(known)):
        if (broker, kind, each) in _named or each.startswith("ssl_"):  # those of TLS are refused where they are read
            continue
        from difflib import get_close_matches

        _named.add((broker, kind, each))
        near = get_close_matches(each, known, 1, 0.7)
        hint = f"; did you mean {near[0]}?" if near else ""
        _LOG.warning("the %s broker knows no %s %s%s", broker, kind, shown(each), hint)
