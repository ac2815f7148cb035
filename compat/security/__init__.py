"""Signed messages under Celery's names: `app.setup_security()` makes the serializer `auth` the only one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..exceptions import ImproperlyConfigured

__all__ = ("setup_security",)

CRYPTOGRAPHY_NOT_INSTALLED = (
    "The auth serializer needs the cryptography library: pip install celeriac[auth] (or cryptography)"
)
SECURITY_SETTING_MISSING = (
    "The auth serializer needs the settings security_key, security_certificate and security_cert_store: "
    "the paths of the private key, of its certificate, and of the certificates that are trusted."
)
SETTING_MISSING = (
    "Signing needs task_serializer = 'auth', and accept_content = ['auth']: "
    "there is no point in signing messages when unsigned ones are taken as well."
)


def setup_security(
    allowed_serializers: Any = None,
    key: str | None = None,
    key_password: Any = None,
    cert: str | None = None,
    store: str | None = None,
    digest: str | None = None,
    serializer: str = "json",
    app: Any = None,
) -> None:
    """Signs what this app sends, and takes nothing that is not signed by a trusted one."""
    if app is None:
        from .._state import get_current_app

        app = get_current_app()
    disable_untrusted_serializers(allowed_serializers)
    conf = app.conf
    if conf.task_serializer != "auth" or conf.accept_content != ["auth"]:
        raise ImproperlyConfigured(SETTING_MISSING)
    key = key or conf.security_key
    cert = cert or conf.security_certificate
    store = store or conf.security_cert_store
    if not (key and cert and store):
        raise ImproperlyConfigured(SECURITY_SETTING_MISSING)
    try:
        from .serialization import register_auth
    except ImportError:
        raise ImproperlyConfigured(CRYPTOGRAPHY_NOT_INSTALLED) from None
    from kombu.serialization import registry

    register_auth(
        Path(key).read_text(encoding="utf-8"),
        key_password or conf.security_key_password,
        Path(cert).read_text(encoding="utf-8"),
        store,
        digest or conf.security_digest,
        serializer,
    )
    registry._set_default_serializer("auth")


def disable_untrusted_serializers(whitelist: Any = None) -> None:
    """Takes nothing that is written by any serializer but these; without any given, not even plain JSON."""
    from kombu.serialization import disable_insecure_serializers

    disable_insecure_serializers(allowed=whitelist)
