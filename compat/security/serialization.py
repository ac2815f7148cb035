"""The serializer `auth`: what another serializer writes, signed.

Law: what the labels beside a signed body say is not signed. So a body of another type than ours is read only when
that type is enabled for unsigned messages too.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ...protocol.errors import ProtocolError
from ...protocol.wire import signing
from ..exceptions import SecurityError
from .certificate import Certificate, FSCertStore
from .key import PrivateKey
from .utils import get_digest_algorithm

__all__ = ("SecureSerializer", "register_auth")

DEFAULT_SEPARATOR = b"\x00\x01"


def _as_signing(cert: Certificate) -> signing.Certificate:
    return signing.Certificate(cert.get_id(), cert._cert.not_valid_after_utc, cert.get_pubkey())


class SecureSerializer:
    """Signs with a key and its certificate, and reads what a certificate of the store vouches for."""

    def __init__(
        self,
        key: Any = None,
        cert: Any = None,
        cert_store: Any = None,
        digest: str = "sha256",
        serializer: str = "json",
    ) -> None:
        self._key = key
        self._cert = cert
        self._cert_store = cert_store
        self._digest_name = digest
        self._digest = get_digest_algorithm(digest)
        self._serializer = serializer

    def serialize(self, data: Any) -> str:
        """The data, written and signed."""
        from kombu.serialization import dumps

        if self._key is None or self._cert is None:
            raise SecurityError("Signing needs a private key and its certificate")
        try:
            content_type, content_encoding, body = dumps(data, serializer=self._serializer)
            payload = body.encode() if isinstance(body, str) else body
            signer = signing.Signer(_as_signing(self._cert), self._key._key, self._digest_name)
            return signer.sign(payload, content_type, content_encoding).decode()
        except Exception as exc:
            raise SecurityError(f"Unable to serialize: {exc!r}") from exc

    def deserialize(self, data: Any) -> Any:
        """What was written, once it is sure who signed it."""
        from kombu.serialization import dumps, loads

        if self._cert_store is None:
            raise SecurityError("There are no certificates to verify it with")
        try:
            known = {cert.get_id(): _as_signing(cert) for cert in self._cert_store.itercerts()}
            verifier = signing.Verifier(known, self._digest_name)
            raw = data.encode() if isinstance(data, str) else bytes(data)
            signed = verifier.verify(raw, datetime.now(timezone.utc))
        except ProtocolError as exc:
            raise SecurityError(f"Unable to deserialize: {exc}") from exc
        ours = signed.content_type == dumps(None, serializer=self._serializer)[0]
        return loads(signed.body, signed.content_type, signed.content_encoding, force=ours)


def register_auth(
    key: Any = None,
    key_password: Any = None,
    cert: Any = None,
    store: str | None = None,
    digest: str = "sha256",
    serializer: str = "json",
) -> None:
    """Makes `auth` known to kombu."""
    from kombu.serialization import registry

    auth = SecureSerializer(
        PrivateKey(key, password=key_password) if key else None,
        Certificate(cert) if cert else None,
        FSCertStore(store) if store else None,
        digest,
        serializer=serializer,
    )
    registry.register(
        "auth", auth.serialize, auth.deserialize, content_type="application/data", content_encoding="utf-8"
    )
