"""Certificates, and where the trusted ones are kept."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from glob import glob
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509 import load_pem_x509_certificate

from ..exceptions import SecurityError
from .key import as_bytes
from .utils import reraise_errors

__all__ = ("CertStore", "Certificate", "FSCertStore")


class Certificate:
    """An X.509 certificate of an RSA key, from its PEM text."""

    def __init__(self, cert: Any) -> None:
        with reraise_errors("Invalid certificate: {0!r}", errors=(ValueError, TypeError)):
            self._cert = load_pem_x509_certificate(as_bytes(cert))
            if not isinstance(self._cert.public_key(), rsa.RSAPublicKey):
                raise ValueError("Non-RSA certificates are not supported.")  # noqa: TRY004 - becomes SecurityError

    def has_expired(self) -> bool:
        """Whether its time is over."""
        return datetime.now(timezone.utc) >= self._cert.not_valid_after_utc

    def get_pubkey(self) -> Any:
        """The public key."""
        return self._cert.public_key()

    def get_serial_number(self) -> int:
        """The serial number."""
        return self._cert.serial_number

    def get_issuer(self) -> str:
        """The names of who issued it."""
        return " ".join(str(part.value) for part in self._cert.issuer)

    def get_id(self) -> str:
        """What it is known by: issuer and serial number."""
        return f"{self.get_issuer()} {self.get_serial_number()}"

    def verify(self, data: Any, signature: bytes, digest: Any) -> None:
        """SecurityError when this is not the signature of the data by this key."""
        if self.has_expired():
            raise SecurityError(f"Expired certificate: {self.get_id()!r}")
        with reraise_errors("Bad signature: {0!r}"):
            scheme = padding.PSS(mgf=padding.MGF1(digest), salt_length=padding.PSS.MAX_LENGTH)
            self.get_pubkey().verify(signature, as_bytes(data), scheme, digest)


class CertStore:
    """Trusted certificates by what they are known by."""

    def __init__(self) -> None:
        self._certs: dict[str, Certificate] = {}

    def itercerts(self) -> Iterator[Certificate]:
        """All of them."""
        yield from self._certs.values()

    def __getitem__(self, id: Any) -> Certificate:
        try:
            return self._certs[id.decode() if isinstance(id, bytes) else id]
        except KeyError:
            raise SecurityError(f"Unknown certificate: {id!r}") from None

    def add_cert(self, cert: Certificate) -> None:
        """Trusts this one as well."""
        known_by = cert.get_id()
        if known_by in self._certs:
            raise SecurityError(f"Duplicate certificate: {known_by!r}")
        self._certs[known_by] = cert


class FSCertStore(CertStore):
    """The certificates in a folder, or those that a pattern of paths names."""

    def __init__(self, path: str) -> None:
        super().__init__()
        pattern = str(Path(path) / "*") if Path(path).is_dir() else path
        for found in glob(pattern):  # noqa: PTH207 - the pattern may be absolute
            cert = Certificate(Path(found).read_text(encoding="utf-8"))
            if cert.has_expired():
                raise SecurityError(f"Expired certificate: {cert.get_id()!r}")
            self.add_cert(cert)
