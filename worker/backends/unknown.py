"""Names what a group of settings has and its store does not know: a mistake, or of no meaning here.

Law: each once in a process, and nobody is stopped by it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable
from typing import Any

from ...protocol.errors import shown

_LOG = logging.getLogger("celeriac.backend")
_named: set[tuple[str, str]] = set()


def name(setting: str, given: Iterable[Any], known: Collection[str]) -> None:
    for each in sorted({str(each) for each in given}.difference(known)):
        if (setting, each) in _named:
            continue
        from difflib import get_close_matches

        _named.add((setting, each))
        near = get_close_matches(each, known, 1, 0.7)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known))}"
        _LOG.warning("%s has %s, which this result store does not know; %s", setting, shown(each), hint)
