"""Builds the wheel named `celery` that holds `celery.py`, the file beside this one, and asks for celeriac.

pip then counts `celery` as installed: what requires it installs beside it unchanged, and pip itself takes the real
Celery out before and puts it back after. The version is Celery's, with ours behind the plus: `celery>=5.2,<6` and
`celery==5.7.0` are satisfied, and `pip list` shows who it is. Never a distribution of another name that holds a
`celery`: it would overwrite Celery's files, and its removal would destroy them.

Law: standard library alone, nothing of celeriac imported: it is its own build backend (PEP 517), run where celeriac is
not installed. Built twice, the bytes are the same.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
COMPAT = HERE.parent
EXTRAS = (
    "arangodb", "auth", "azureblockblob", "brotli", "cassandra", "consul", "cosmosdbsql", "couchbase", "couchdb",
    "django", "dynamodb", "elasticsearch", "eventlet", "gcpubsub", "gcs", "gevent", "librabbitmq", "memcache",
    "mongodb", "msgpack", "pydantic", "pymemcache", "pyro", "pytest", "redis", "s3", "slmq", "solar", "sqlalchemy",
    "sqs", "tblib", "yaml", "zookeeper", "zstd",
)  # fmt: skip
"""Celery's own; celeriac has each under the same name."""
BROUGHT = ("billiard>=4.2", "python-dateutil>=2.8.2", "six>=1.16")
"""What packages import because Celery brings it; celeriac itself has no need of it."""
_BEGINNING = (1980, 1, 1, 0, 0, 0)


def build(folder: Path, celery: str = "") -> Path:
    """The wheel, written into this folder; under another version of Celery's for requirements with a ceiling."""
    version = f"{celery or _version(COMPAT / '__init__.py')}+celeriac.{_version(_door())}"
    info = f"celery-{version}.dist-info"
    files = {
        "celery.py": (HERE / "celery.py").read_bytes(),
        f"{info}/METADATA": "\n".join(_metadata(version)).encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: celeriac\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": b"[console_scripts]\ncelery = celery.__main__:main\n",
    }
    files.update({f"{info}/licenses/LICENSE": path.read_bytes() for path in _licence()})
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"celery-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name, _BEGINNING)
            entry.external_attr = 0o100644 << 16
            wheel.writestr(entry, data)
    return path


def _metadata(version: str) -> Iterator[str]:
    yield "Metadata-Version: 2.4"
    yield "Name: celery"
    yield f"Version: {version}"
    yield "Summary: celeriac under Celery's name: what requires celery gets celeriac. Not the Celery project's."
    yield "License-Expression: BSD-3-Clause"
    yield from ("License-File: LICENSE" for _ in _licence())
    yield "Requires-Python: >=3.10"
    yield f"Requires-Dist: celeriac>={_version(_door())}"
    yield from (f"Requires-Dist: {need}" for need in BROUGHT)
    for extra in EXTRAS:
        yield f"Provides-Extra: {extra}"
        yield f'Requires-Dist: celeriac[{extra}]; extra == "{extra}"'
    yield ""
    yield "`import celery` is celeriac wherever this is installed. The way back: uninstall it, install celery again.\n"


def _door() -> Path:
    """Where `celeriac.__version__` stands: in the tree, or where it is installed."""
    in_the_tree = COMPAT / "door" / "__init__.py"
    return in_the_tree if in_the_tree.exists() else COMPAT.parent / "__init__.py"


def _licence() -> list[Path]:
    return [*COMPAT.parent.glob("LICENSE"), *COMPAT.parents[1].glob("celeriac-*.dist-info/licenses/LICENSE")][:1]


def _version(path: Path) -> str:
    found = re.search(r'^__version__ = "([^"]+)"', path.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{path} holds no __version__ any more; the wheel named celery takes its version from there")
    return found[1]


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


# --- PEP 517: `pip install ./compat/shim`, and the same from git with `#subdirectory=compat/shim`


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None) -> str:  # noqa: ARG001, RUF100 - the standard's signature
    return build(Path(wheel_directory)).name


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:  # noqa: ARG001, RUF100 - the standard's signature
    """Refused: half of what the wheel says is read from the tree around it."""
    raise RuntimeError("the wheel named celery is built from celeriac's tree, or by `celeriac shim`; it has no sdist")
