"""From the configuration to what the result stores of `worker/` read: every setting by its new name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...worker.backends.settings import OWN
from .defaults import SETTING_KEYS
from .settings_for_broker import broker_options


def by_new_names(conf: Any) -> Mapping[str, Any]:
    """All of Celery's settings as a plain mapping, and what else is named as those of a kind of store are.

    Nothing else is read: in Django's settings a `SECRET_KEY` that is not set would raise. A store that sends its
    results is told the broker as senders are.
    """
    broker = broker_options(conf, write=True)
    return {
        **{name: conf[name] for name in conf if isinstance(name, str) and name.startswith(OWN)},
        **{name: conf[name] for name in SETTING_KEYS},
        "result_backend": conf.result_backend,
        "broker_url": ";".join(broker.urls),
        "broker_read_url": ";".join(broker_options(conf).urls),
        "broker_write_url": ";".join(broker.urls),
        "broker_transport_options": broker.options,
    }
