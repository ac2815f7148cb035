"""The loader of the app that is current where a program has made none: it reads `celeryconfig.py`."""

from __future__ import annotations

import os
import warnings
from typing import Any

from ..exceptions import NotConfigured
from ..utils.collections import DictAttribute
from .base import BaseLoader

__all__ = ("DEFAULT_CONFIG_MODULE", "Loader")

DEFAULT_CONFIG_MODULE = "celeryconfig"


class Loader(BaseLoader):
    """Reads the module that `CELERY_CONFIG_MODULE` names, `celeryconfig` if it names none."""

    def setup_settings(self, settingsdict: Any) -> Any:
        return DictAttribute(settingsdict)

    def read_configuration(self, fail_silently: bool = True) -> Any:  # type: ignore[override]  # as in Celery
        """The settings in the module; none if there is no such module, with a warning where `C_WNOCONF` is set."""
        name = os.environ.get("CELERY_CONFIG_MODULE", DEFAULT_CONFIG_MODULE)
        try:
            module = self._import_config_module(name)
        except ImportError:
            if not fail_silently:
                raise
            if _wants_warning():
                message = f"No {name} module found! Please make sure it exists and is available to Python."
                warnings.warn(NotConfigured(message), stacklevel=2)
            return self.setup_settings({})
        self.configured = True
        return self.setup_settings(module)


def _wants_warning() -> bool:
    from ..utils.serialization import strtobool

    return bool(strtobool(os.environ.get("C_WNOCONF", "0"))) and not os.environ.get("FORKED_BY_MULTIPROCESSING")
