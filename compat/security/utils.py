"""What the signing modules share: hashes by name, and foreign errors as SecurityError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cryptography.exceptions
from cryptography.hazmat.primitives import hashes

from ..exceptions import SecurityError

__all__ = ("get_digest_algorithm", "reraise_errors")

_CRYPTOGRAPHY = tuple(
    found
    for found in vars(cryptography.exceptions).values()
    if isinstance(found, type) and issubclass(found, Exception)
)


def get_digest_algorithm(digest: str = "sha256") -> Any:
    """The hash of this name."""
    return getattr(hashes, digest.upper())()


@contextmanager
def reraise_errors(msg: str = "{0!r}", errors: tuple[type[Exception], ...] | None = None) -> Iterator[None]:
    """Within this context these errors (cryptography's, when none are given) become SecurityError."""
    caught = errors or _CRYPTOGRAPHY
    try:
        yield
    except caught as exc:
        raise SecurityError(msg.format(exc)) from exc
