"""How configurations and URLs are shown: in reports, banners and logs, without their secrets.

Law: whoever asks finds it in `celery.app.utils`, as in Celery. It is loaded when something is shown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..utils.imports import qualname

BUGREPORT_INFO = """
software -> celery:{celery_v} celeriac:{celeriac_v} kombu:{kombu_v} py:{py_v}
            {driver_v}
platform -> system:{system} arch:{arch}
            kernel version:{kernel_version} imp:{py_i}
loader   -> {loader}
settings -> transport:{transport} results:{results}

{human_settings}
"""

HIDDEN_SETTINGS = re.compile("API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|BEAT_DBURI", re.IGNORECASE)

_URL_IN_LIST = r";[^;]*://"
_AUTHORITY_END = r"[/?#]|$"
_AZURE_SECRETS = {"accountkey", "sharedaccesssignature"}
_AZURE_SIGNATURE = r"(?i)([?&]sig=)[^&;#]*"


def sanitize_url(url: Any, mask: str = "*" * 8) -> Any:
    """The URL of a broker or a result store without its passwords; of one host, of several, or several of them.

    Only the passwords of `azureblockblob://` connection strings are told by their names.
    """
    if not isinstance(url, str) or "://" not in url:
        return url
    if re.search(_URL_IN_LIST, url):
        return ";".join(sanitize_url(part.strip(), mask) for part in url.split(";"))
    scheme, _, rest = url.partition("://")
    if scheme == "azureblockblob":
        return f"{scheme}://{_sanitize_azure(rest, mask)}"
    end = re.search(_AUTHORITY_END, rest).start()  # type: ignore[union-attr]  # every text has an end
    return f"{scheme}://{_sanitize_authority(rest[:end], mask)}{rest[end:]}"


def _sanitize_authority(authority: str, mask: str) -> str:
    separator = ";" if ";" in authority else ","
    servers = [server.strip() for server in authority.split(separator) if server.strip()]
    if "@" not in authority:
        return separator.join(servers) if separator in authority else authority
    if len(servers) > 1 and not any(map(_torn, servers)):
        return separator.join(_sanitize_server(server, mask) for server in servers)
    user, _, host = authority.rpartition("@")
    if "@" in user and ":" not in user:
        return f"{mask}@{host}"
    return _sanitize_server(authority, mask)


def _torn(server: str) -> bool:
    """It is no server: the separator that it begins or ends at stands in a password."""
    user, at, _ = server.rpartition("@")
    return ":" not in user if at else server.startswith(":")


def _sanitize_server(server: str, mask: str) -> str:
    user, at, host = server.rpartition("@")
    name, colon, _ = user.partition(":")
    return f"{name}{colon}{mask if colon else ''}{at}{host}"


def _sanitize_azure(connection_string: str, mask: str) -> str:
    parts = []
    for part in connection_string.split(";"):
        key, equals, value = part.partition("=")
        if equals and key.strip().lower() in _AZURE_SECRETS:
            parts.append(f"{key}={mask}")
        elif value:
            parts.append(f"{key}=" + re.sub(_AZURE_SIGNATURE, lambda found: found[1] + mask, value))
        else:
            parts.append(part)
    return ";".join(parts)


_PLAIN_URL = re.compile(
    r"([a-z][a-z+]*://)(?:([A-Za-z0-9_.-]*)(:[A-Za-z0-9_.~!$*+-]+)?@)?([a-z0-9.-]*[a-z0-9](?::(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}))?)(/[A-Za-z0-9_./-]*)?"
)


def shown_url(url: Any) -> Any:
    """What `kombu.utils.url.maybe_sanitize_url` makes of it, and a worker's banner shows. kombu itself is asked, and
    loaded, for what is not as plain as nearly all are."""
    found = _PLAIN_URL.fullmatch(url) if isinstance(url, str) else None
    if found is None:
        from kombu.utils.url import maybe_sanitize_url

        return maybe_sanitize_url(url)
    scheme, user, password, host, path = found.groups(default="")
    who = f"{user}{':**' if password else ''}@" if user or password else ""
    return f"{scheme}{who}{host}{path or '/'}"


def filter_hidden_settings(conf: Mapping[Any, Any]) -> dict[Any, Any]:
    """The same settings, with a mask for everything that is secret by its name, and for passwords in URLs."""
    return {key: _censored(key, value) for key, value in conf.items()}


def _censored(key: Any, value: Any, mask: str = "*" * 8) -> Any:
    if isinstance(value, Mapping):
        return filter_hidden_settings(value)
    if not isinstance(key, str):
        return value
    if HIDDEN_SETTINGS.search(key):
        return mask
    if key.lower() in {"broker_url", "broker_read_url", "broker_write_url"}:
        return _broker_shown(value, mask)
    return sanitize_url(value, mask) if "backend" in key.lower() else value


def _broker_shown(value: Any, mask: str) -> Any:
    from kombu.connection import Connection

    try:
        return Connection(value).as_uri(mask=mask)
    except Exception:  # noqa: BLE001  # what is no URL is shown all the same: it is what one looks for
        return [sanitize_url(each, mask) for each in value] if isinstance(value, (list, tuple)) else sanitize_url(value)


def bugreport(app: Any) -> str:
    """What to tell who looks into a bug: versions, platform, settings without secrets."""
    import platform

    import kombu

    from ... import __version__
    from ..platforms import pyimplementation

    try:
        connection = app.connection()
        driver = f"{connection.transport.driver_name}:{connection.transport.driver_version()}"
        transport = connection.transport_cls
    except Exception:  # noqa: BLE001  # a report is made of what can be had
        transport = driver = ""
    return BUGREPORT_INFO.format(
        system=platform.system(),
        arch=", ".join(part for part in platform.architecture() if part),
        kernel_version=platform.release(),
        py_i=pyimplementation(),
        celery_v=_celery_version(),
        celeriac_v=__version__,
        kombu_v=kombu.__version__,
        py_v=platform.python_version(),
        driver_v=driver,
        transport=transport,
        results=sanitize_url(app.conf.result_backend or "disabled"),
        human_settings=app.conf.humanize(),
        loader=qualname(app.loader.__class__),
    )


def _celery_version() -> str:
    import sys

    return getattr(sys.modules.get("celery"), "VERSION_BANNER", "5.7.0")
