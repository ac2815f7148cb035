"""From the configuration to what the result stores of `worker/` read: every setting by its new name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .defaults import SETTING_KEYS
from .settings_for_broker import broker_options


def by_new_names(conf: Any) -> Mapping[str, Any]:
    """The whole configuration as a plain mapping; what is no setting of Celery's stays as it was written.

    A store that sends its results is told the broker as senders are.
    """
    broker = broker_options(conf, write=True)
    return {
        **{name: value for name, value in conf.items() if isinstance(name, str)},
        **{name: conf[name] for name in SETTING_KEYS},
        "result_backend": conf.result_backend,
        "broker_url": ";".join(broker.urls),
        "broker_read_url": ";".join(broker_options(conf).urls),
        "broker_write_url": ";".join(broker.urls),
        "broker_transport_options": broker.options,
    }
