"""Signed messages: who signed, whom we believe, and what is refused."""

from __future__ import annotations

import sys
from base64 import b64decode, b64encode
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadCall, BadMessage, Refused
from celeriac.protocol.wire.serializers import BUILTIN, DATA, EVERYTHING, JSON_ONLY, accepted, decode, encode
from celeriac.protocol.wire.signing import (
    Verifier,
    auth_serializer,
    load_certificate,
    load_signer,
    load_verifier,
)

NOW = datetime(2026, 11, 21, tzinfo=timezone.utc)
ENDS = datetime(2030, 1, 1, tzinfo=timezone.utc)


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how)


def certified(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, serial: int = 7) -> bytes:
    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Zoë & Co"), x509.NameAttribute(NameOID.COMMON_NAME, "w1")]
    )
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(serial).not_valid_before(ENDS - timedelta(days=3650)).not_valid_after(ENDS)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


KEY = rsa.generate_private_key(65537, 1024)  # small, to be quick
OTHER = rsa.generate_private_key(65537, 1024)
CURVE = ec.generate_private_key(ec.SECP256R1())
CERTIFICATE = certified(KEY)
SIGNER = load_signer(pem(KEY), CERTIFICATE)
VERIFIER = load_verifier([CERTIFICATE, certified(OTHER, 8)])
MESSAGE = SIGNER.sign(b"[1]", "application/json", "utf-8")


@given(st.binary(), st.sampled_from(["application/json", "x/y"]), st.sampled_from(["utf-8", "binary"]))
def test_what_is_signed_verifies(body: bytes, kind: str, encoding: str) -> None:
    signed = VERIFIER.verify(SIGNER.sign(body, kind, encoding), NOW)
    assert (signed.signer, signed.content_type, signed.content_encoding) == ("Zoë & Co w1 7", kind, encoding)
    assert signed.body == body


@given(st.binary() | st.binary().map(b64encode))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(Refused, match="not signed"):
        VERIFIER.verify(data, NOW)


@given(st.integers(0, len(b64decode(MESSAGE)) - 1), st.integers(1, 255))
def test_no_byte_of_signer_signature_or_body_can_be_changed(at: int, flip: int) -> None:
    raw = bytearray(b64decode(MESSAGE))
    raw[at] ^= flip
    try:
        signed = VERIFIER.verify(b64encode(bytes(raw)), NOW)
    except Refused:
        return
    assert (signed.signer, signed.body) == ("Zoë & Co w1 7", b"[1]")


def test_the_form() -> None:
    signer, signature, kind, encoding, body = b64decode(MESSAGE).split(b"\0\1", 4)
    assert b64decode(signer).decode() == "Zoë & Co w1 7"
    assert len(b64decode(signature)) == 128
    assert (kind, encoding, body) == (b"application/json", b"utf-8", b"[1]")


def test_a_body_may_hold_the_separator() -> None:
    assert VERIFIER.verify(SIGNER.sign(b"\0\1\0\1", "a/b", "binary"), NOW).body == b"\0\1\0\1"
    with pytest.raises(BadCall, match="cannot hold the bytes 00 01"):
        SIGNER.sign(b"", "a\0\1b", "binary")


def test_the_unsigned_unknown_and_tampered_are_refused() -> None:
    with pytest.raises(Refused, match="signed message: not signed"):
        VERIFIER.verify(b'[[1], {}, {"chain": null}]', NOW)
    with pytest.raises(Refused, match="unknown signer 'Zoë & Co w1 7'"):
        Verifier({}).verify(MESSAGE, NOW)
    fields = b64decode(MESSAGE).split(b"\0\1", 4)
    with pytest.raises(Refused, match="bad signature: InvalidSignature"):
        VERIFIER.verify(b64encode(b"\0\1".join([*fields[:4], b"[2]"])), NOW)
    with pytest.raises(Refused, match="bad signature"):
        load_verifier([certified(OTHER)]).verify(MESSAGE, NOW)
    with pytest.raises(Refused, match="bad signature"):
        load_verifier([CERTIFICATE], digest="sha512").verify(MESSAGE, NOW)


def test_a_certificate_ends() -> None:
    last = ENDS - timedelta(seconds=1)
    assert VERIFIER.verify(MESSAGE, last).body == b"[1]"
    assert not load_certificate(CERTIFICATE).expired(last)
    with pytest.raises(Refused, match="the certificate of 'Zoë & Co w1 7' expired on 2030-01-01"):
        VERIFIER.verify(MESSAGE, ENDS)


def test_keys() -> None:
    locked = load_signer(pem(KEY, b"secret"), CERTIFICATE, password=b"secret", digest="sha512")
    assert load_verifier([CERTIFICATE], digest="sha512").verify(locked.sign(b"x", "a/b", "c"), NOW).body == b"x"


@pytest.mark.parametrize(
    ("key", "certificate", "password", "digest", "words"),
    [
        (b"nonsense", CERTIFICATE, None, "sha256", "invalid private key"),
        (pem(KEY, b"secret"), CERTIFICATE, None, "sha256", "invalid private key"),
        (pem(KEY, b"secret"), CERTIFICATE, b"wrong", "sha256", "invalid private key"),
        (pem(CURVE), CERTIFICATE, None, "sha256", "invalid private key: only RSA keys sign messages"),
        (pem(KEY), b"nonsense", None, "sha256", "invalid certificate"),
        (pem(KEY), certified(CURVE), None, "sha256", "invalid certificate: only RSA keys sign messages"),
        (pem(KEY), CERTIFICATE, None, "sha1024", "no such digest: 'sha1024'"),
        (pem(KEY), CERTIFICATE, None, "blake2b", "no such digest: 'blake2b'"),
    ],
    ids=range(8),
)
def test_a_set_up_that_cannot_sign(
    key: bytes, certificate: bytes, password: bytes | None, digest: str, words: str
) -> None:
    with pytest.raises(BadCall, match=words):
        load_signer(key, certificate, password=password, digest=digest)


def test_a_set_up_that_cannot_verify() -> None:
    with pytest.raises(BadCall, match="duplicate certificate: 'Zoë & Co w1 7'"):
        load_verifier([CERTIFICATE, CERTIFICATE])
    with pytest.raises(BadCall, match="no such digest"):
        load_verifier([CERTIFICATE], digest="nope")


def test_the_library_is_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.x509", None)
    with pytest.raises(BadCall, match=r"install celeriac\[auth\]"):
        load_certificate(CERTIFICATE)


class TestSerializer:
    def test_a_round_trip(self) -> None:
        table = BUILTIN.with_(auth_serializer(SIGNER, VERIFIER, lambda: NOW, accept=JSON_ONLY))
        written = encode({"a": b"x"}, "auth", table)
        assert written[:2] == (DATA, "utf-8")
        assert decode(written.body, DATA, "utf-8", frozenset(), table) == {"a": b"x"}

    def test_a_signature_does_not_make_a_type_acceptable(self) -> None:
        writing = BUILTIN.with_(auth_serializer(SIGNER, None, lambda: NOW, accept=JSON_ONLY, serializer="pickle"))
        body = encode([1], "auth", writing).body
        row = auth_serializer(None, VERIFIER, lambda: NOW, accept=JSON_ONLY)
        with pytest.raises(Refused, match="untrusted content of type pickle"):
            decode(body, DATA, "utf-8", JSON_ONLY, BUILTIN.with_(row))
        row = auth_serializer(None, VERIFIER, lambda: NOW, accept=accepted(["pickle"]))
        assert decode(body, DATA, "utf-8", JSON_ONLY, BUILTIN.with_(row)) == [1]

    def test_what_it_was_not_given_it_cannot_do(self) -> None:
        table = BUILTIN.with_(auth_serializer(None, None, lambda: NOW, accept=EVERYTHING))
        with pytest.raises(BadCall, match="signing needs a private key"):
            encode([1], "auth", table)
        with pytest.raises(BadMessage, match="no certificates to verify it with"):
            decode(MESSAGE, DATA, "utf-8", JSON_ONLY, table)

    def test_the_clock_is_asked_at_each_message(self) -> None:
        times = [NOW, ENDS]
        table = BUILTIN.with_(auth_serializer(SIGNER, VERIFIER, lambda: times.pop(0), accept=JSON_ONLY))
        assert decode(MESSAGE, DATA, "utf-8", JSON_ONLY, table) == [1]
        with pytest.raises(Refused, match="expired"):
            decode(MESSAGE, DATA, "utf-8", JSON_ONLY, table)
