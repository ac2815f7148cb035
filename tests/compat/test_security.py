"""Signed messages: what a trusted key signed is read, and nothing else."""

from __future__ import annotations

import base64
import datetime  # noqa: ICN001 - the module's own name
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from kombu.exceptions import ContentDisallowed
from kombu.serialization import registry

from celeriac.compat.exceptions import SecurityError
from celeriac.compat.security import disable_untrusted_serializers
from celeriac.compat.security.certificate import Certificate, FSCertStore
from celeriac.compat.security.key import PrivateKey
from celeriac.compat.security.serialization import SecureSerializer


def identity(folder: Path, name: str, days: int = 1) -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(key.public_key())
    made = made.serial_number(7).not_valid_before(now - datetime.timedelta(days=9))
    certificate = made.not_valid_after(now + datetime.timedelta(days=days)).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = certificate.public_bytes(serialization.Encoding.PEM).decode()
    (folder / f"{name}.pem").write_text(public)
    return private.decode(), public


def signer(folder: Path, name: str) -> SecureSerializer:
    key, certificate = identity(folder, name)
    return SecureSerializer(PrivateKey(key), Certificate(certificate), FSCertStore(str(folder)))


def test_what_is_signed_is_read(tmp_path: Path) -> None:
    auth = signer(tmp_path, "me")
    assert auth.deserialize(auth.serialize({"a": [1, 2]})) == {"a": [1, 2]}


def test_nobody_elses_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    mine, other = signer(tmp_path / "a", "me"), signer(tmp_path / "b", "other")
    with pytest.raises(SecurityError, match="unknown signer"):
        mine.deserialize(other.serialize(1))
    with pytest.raises(SecurityError, match="Unable to deserialize"):
        mine.deserialize("bm90IHNpZ25lZA==")
    with pytest.raises(SecurityError):
        SecureSerializer().serialize(1)


def test_another_label_on_what_was_signed_runs_nothing(tmp_path: Path) -> None:
    """The signature covers the body and not what it is said to be: a text that somebody had signed is no pickle for it."""
    auth = signer(tmp_path, "me")
    hostile = f"cos\nmkdir\n(S'{tmp_path / 'loot'}'\ntR."  # a pickle in letters
    name = base64.b64decode(auth.serialize(hostile)).split(b"\x00\x01")[0]
    proof = base64.b64encode(auth._key.sign(hostile.encode(), auth._digest))
    for label in (b"application/x-python-serialize", b"application/x-yaml"):
        relabelled = b"\x00\x01".join((name, proof, label, b"binary", hostile.encode()))
        with pytest.raises(ContentDisallowed):
            auth.deserialize(base64.b64encode(relabelled).decode())
    assert not (tmp_path / "loot").exists()


def test_certificates(tmp_path: Path) -> None:
    key, public = identity(tmp_path, "me")
    certificate = Certificate(public)
    assert (certificate.get_id(), certificate.get_issuer(), certificate.has_expired()) == ("me 7", "me", False)
    signature = PrivateKey(key).sign("data", hashes.SHA256())
    certificate.verify("data", signature, hashes.SHA256())
    with pytest.raises(SecurityError, match="Bad signature"):
        certificate.verify("other", signature, hashes.SHA256())
    store = FSCertStore(str(tmp_path))
    assert store["me 7"].get_serial_number() == 7
    with pytest.raises(SecurityError, match="Unknown"):
        store["you"]
    with pytest.raises(SecurityError, match="Duplicate"):
        store.add_cert(certificate)
    with pytest.raises(SecurityError, match="Invalid certificate"):
        Certificate("nonsense")
    identity(tmp_path, "late", days=-1)
    with pytest.raises(SecurityError, match="Expired"):
        FSCertStore(str(tmp_path / "late.pem"))


def test_nothing_unsigned_is_taken_unless_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_disabled_content_types", set())
    disable_untrusted_serializers()
    assert {"application/json", "application/x-python-serialize"} <= registry._disabled_content_types
    disable_untrusted_serializers(["json"])
    assert "application/json" not in registry._disabled_content_types
    assert "application/x-python-serialize" in registry._disabled_content_types
