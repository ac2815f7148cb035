"""The states of a task as results name them.

Law: a reader that meets a name it does not know, in whatever case, takes it for a task that is not ready.
"""

from __future__ import annotations

from typing import Final

PENDING: Final = "PENDING"
RECEIVED: Final = "RECEIVED"
STARTED: Final = "STARTED"
SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"
REVOKED: Final = "REVOKED"
REJECTED: Final = "REJECTED"
RETRY: Final = "RETRY"
IGNORED: Final = "IGNORED"

READY: Final = frozenset({SUCCESS, FAILURE, REVOKED})
"""Nothing comes after these; only they carry a date."""

EXCEPTIONS: Final = frozenset({RETRY, FAILURE, REVOKED})
"""Their result is an exception."""

PROPAGATE: Final = frozenset({FAILURE, REVOKED})
"""Their exception is raised where somebody asks for the value, and fails a chord."""

NEVER_STORED: Final = frozenset({PENDING, RECEIVED, REJECTED, IGNORED})
