"""The `auth` format: a body signed by its sender, as Celery's security set-up writes and checks it.

Law: nothing of a signed message is decoded before the signature is found good (`Refused`). The signature covers the
body and not the two labels beside it, so what the labels say must be accepted like any other content type.

    base64( base64(signer) 00 01 base64(signature) 00 01 content-type 00 01 content-encoding 00 01 body )

The signer is the issuer's names and the serial number of his certificate; the signature is RSA-PSS. The salt is drawn
by the `cryptography` library, the one thing in this room that is not a function of its arguments.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Container, Iterable
from datetime import datetime
from importlib import import_module
from typing import Any

from ..errors import BadCall, Refused, shown
from ..values import dataclass
from .json import reason
from .serializers import BUILTIN, DATA, Serializer, Serializers, decode, encode

DIGEST = "sha256"
_SEPARATOR = b"\x00\x01"
_FIELDS = 5


@dataclass(frozen=True)
class Signed:
    """A body whose signer is known. The content type and encoding are the sender's word alone."""

    signer: str
    content_type: str
    content_encoding: str
    body: bytes


@dataclass(frozen=True)
class Certificate:
    """One certificate, loaded: who it says signs, and until when."""

    name: str
    expires: datetime
    public_key: Any

    def expired(self, now: datetime) -> bool:
        return now >= self.expires


@dataclass(frozen=True)
class Signer:
    """A private key and the certificate that goes with it."""

    certificate: Certificate
    key: Any
    digest: str = DIGEST

    def sign(self, body: bytes, content_type: str, content_encoding: str) -> bytes:
        """The signed message."""
        labels = (content_type.encode(), content_encoding.encode())
        if any(_SEPARATOR in label for label in labels):
            raise BadCall("a signed message's content type and encoding cannot hold the bytes 00 01")
        signature = self.key.sign(body, *_scheme(self.digest))
        fields = (b64encode(self.certificate.name.encode()), b64encode(signature), *labels, body)
        return b64encode(_SEPARATOR.join(fields))


@dataclass(frozen=True)
class Verifier:
    """The certificates of those who are believed."""

    certificates: dict[str, Certificate]
    digest: str = DIGEST

    def verify(self, data: bytes, now: datetime) -> Signed:
        """Who signed this message and what is in it, once it is sure that he did."""
        signed, signature = _parse(data)
        certificate = self.certificates.get(signed.signer)
        if certificate is None:
            raise Refused("signed message", f"unknown signer {shown(signed.signer)}")
        if certificate.expired(now):
            raise Refused("signed message", f"the certificate of {signed.signer!r} expired on {certificate.expires}")
        try:
            certificate.public_key.verify(signature, signed.body, *_scheme(self.digest))
        except Exception as problem:
            raise Refused("signed message", f"bad signature: {type(problem).__name__}") from problem
        return signed


def load_certificate(pem: bytes) -> Certificate:
    """A certificate from its PEM text."""
    x509 = _cryptography("x509")
    try:
        found = x509.load_pem_x509_certificate(pem)
        names = " ".join(str(part.value) for part in found.issuer)
        return Certificate(f"{names} {found.serial_number}", found.not_valid_after_utc, _rsa(found.public_key()))
    except Exception as problem:
        raise BadCall(f"invalid certificate: {reason(problem)}") from problem


def load_signer(key: bytes, certificate: bytes, *, password: bytes | None = None, digest: str = DIGEST) -> Signer:
    """Who signs, from the PEM texts of his private key and certificate."""
    serialization = _cryptography("hazmat.primitives.serialization")
    try:
        found = _rsa(serialization.load_pem_private_key(key, password))
    except Exception as problem:
        raise BadCall(f"invalid private key: {reason(problem)}") from problem
    _scheme(digest)
    return Signer(load_certificate(certificate), found, digest)


def load_verifier(certificates: Iterable[bytes], *, digest: str = DIGEST) -> Verifier:
    """Who is believed, from the PEM texts of their certificates."""
    store: dict[str, Certificate] = {}
    for certificate in map(load_certificate, certificates):
        if certificate.name in store:
            raise BadCall(f"duplicate certificate: {certificate.name!r}")
        store[certificate.name] = certificate
    _scheme(digest)
    return Verifier(store, digest)


def auth_serializer(
    signer: Signer | None,
    verifier: Verifier | None,
    clock: Callable[[], datetime],
    *,
    accept: Container[str],
    serializer: str = "json",
    table: Serializers = BUILTIN,
) -> Serializer:
    """The row named `auth`: what `serializer` writes, signed; read if it verifies and is of an accepted type."""

    def write(value: Any) -> bytes:
        if signer is None:
            raise BadCall("signing needs a private key and its certificate")
        content_type, content_encoding, body = encode(value, serializer, table)
        return signer.sign(body, content_type, content_encoding)

    def read(data: bytes) -> Any:
        if verifier is None:
            raise Refused("signed message", "there are no certificates to verify it with")
        signed = verifier.verify(data, clock())
        return decode(signed.body, signed.content_type, signed.content_encoding, accept, table)

    return Serializer("auth", DATA, "utf-8", write, read)


def _parse(data: bytes) -> tuple[Signed, bytes]:
    try:
        name, proof, content_type, content_encoding, body = b64decode(data).split(_SEPARATOR, _FIELDS - 1)
        signer = b64decode(name).decode()
        return Signed(signer, content_type.decode(), content_encoding.decode(), body), b64decode(proof)
    except ValueError as problem:  # too few fields, or not base64, or not text
        raise Refused("signed message", f"not signed: {reason(problem)}") from None


def _cryptography(module: str) -> Any:
    try:
        return import_module(f"cryptography.{module}")
    except ImportError:
        raise BadCall("signed messages need the cryptography library: install celeriac[auth]") from None


def _rsa(key: Any) -> Any:
    rsa = _cryptography("hazmat.primitives.asymmetric.rsa")
    if not isinstance(key, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
        raise TypeError("only RSA keys sign messages")
    return key


def _scheme(digest: str) -> tuple[Any, Any]:
    """RSA-PSS with MGF1 and the longest salt, and the hash."""
    padding = _cryptography("hazmat.primitives.asymmetric.padding")
    hashes = _cryptography("hazmat.primitives.hashes")
    try:
        found = getattr(hashes, digest.upper())()
        return padding.PSS(mgf=padding.MGF1(found), salt_length=padding.PSS.MAX_LENGTH), found
    except (AttributeError, TypeError):
        raise BadCall(f"no such digest: {digest!r}") from None
