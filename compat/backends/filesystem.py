"""The filesystem result backend, by Celery's names."""

from __future__ import annotations

import locale
import os
from typing import Any

from ..exceptions import ImproperlyConfigured
from .keyvalue import KeyValueStoreBackend
from .stored import StoredKeys

__all__ = ("FilesystemBackend",)

default_encoding = locale.getpreferredencoding(False)

E_NO_PATH_SET = "You need to configure a path for the file-system backend"
E_PATH_NON_CONFORMING_SCHEME = "A path for the file-system backend should conform to the file URI scheme"
E_PATH_INVALID = (
    "The configured path for the file-system backend does not\n"
    "work correctly, please make sure that it exists and has\n"
    "the correct permissions."
)


class FilesystemBackend(StoredKeys, KeyValueStoreBackend):
    """Results in files."""

    scheme = "file"

    def __init__(
        self,
        url: str | None = None,
        open: Any = open,
        unlink: Any = os.unlink,
        sep: str = os.sep,
        encoding: str = default_encoding,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, url=url, **kwargs)
        self.path = (url or "").partition("://")[2]
        if not url:
            raise ImproperlyConfigured(E_NO_PATH_SET)
        if not url.startswith("file:///") and not url.startswith("file://localhost/"):
            raise ImproperlyConfigured(E_PATH_NON_CONFORMING_SCHEME)
        self.open, self.unlink, self.sep = open, unlink, sep
