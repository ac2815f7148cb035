"""The private key that messages are signed with."""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from .utils import reraise_errors

__all__ = ("PrivateKey",)


def as_bytes(value: Any) -> Any:
    """The text as bytes; bytes and None as they are."""
    return value.encode() if isinstance(value, str) else value


class PrivateKey:
    """An RSA key from its PEM text."""

    def __init__(self, key: Any, password: Any = None) -> None:
        with reraise_errors("Invalid private key: {0!r}", errors=(ValueError, TypeError)):
            found = serialization.load_pem_private_key(as_bytes(key), password=as_bytes(password))
            if not isinstance(found, rsa.RSAPrivateKey):
                raise ValueError("Non-RSA keys are not supported.")  # noqa: TRY004 - becomes SecurityError
        self._key = found

    def sign(self, data: Any, digest: Any) -> bytes:
        """The signature of the data."""
        with reraise_errors("Unable to sign data: {0!r}"):
            scheme = padding.PSS(mgf=padding.MGF1(digest), salt_length=padding.PSS.MAX_LENGTH)
            return self._key.sign(as_bytes(data), scheme, digest)
