"""An app's configuration as Celery has it, and small things about apps: pickling, finding one by name.

Law: what is set is never changed here; old and new names lead to one value. Nothing here decides what a value means.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from itertools import count
from types import ModuleType

from ...protocol.hints import TYPE_CHECKING, Any
from ..exceptions import ImproperlyConfigured
from ..utils.collections import ConfigurationView, DictAttribute
from ..utils.imports import import_from_cwd, symbol_by_name
from .defaults import _OLD_DEFAULTS, _OLD_SETTING_KEYS, _TO_NEW_KEY, _TO_OLD_KEY, DEFAULTS, PROFILES, SETTING_KEYS, find

if TYPE_CHECKING:
    from .showing import HIDDEN_SETTINGS, bugreport, filter_hidden_settings, sanitize_url  # noqa: F401 - they are had from here

__all__ = ("Settings", "appstr", "bugreport", "filter_hidden_settings", "find_app", "sanitize_url")

E_MIX_OLD_INTO_NEW = """

Cannot mix new and old setting keys, please rename the
following settings to the new format:

{renames}

"""
E_MIX_NEW_INTO_OLD = """

Cannot mix new setting names with old setting names, please
rename the following settings to use the old format:

{renames}

Or change all of the settings to use the new format :)

"""
FMT_REPLACE_SETTING = "{replace:<36} -> {with_}"

_EDITIONS = count(1)
_SHOWING = frozenset({"BUGREPORT_INFO", "HIDDEN_SETTINGS", "bugreport", "filter_hidden_settings", "sanitize_url"})
_DICT_MEMBERS = frozenset(dir(dict))


def __getattr__(name: str) -> Any:
    if name not in _SHOWING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, getattr(_showing(), name))


def _showing() -> Any:
    from . import showing

    return showing


def appstr(app: Any) -> str:
    """How an app is called in representations."""
    return f"{app.main or '__main__'} at {id(app):#x}"


class Settings(ConfigurationView):
    """The configuration of an app: what was set, over what was given, over the defaults.

    `edition` is another number after each change made through this object: what was derived from it may be stale.
    """

    edition: int

    def __init__(self, *args: Any, deprecated_settings: Iterable[str] | None = None, **kwargs: Any) -> None:
        self._changed()
        self.__dict__["_spelled"] = {}
        super().__init__(*args, **kwargs)
        self.deprecated_settings = deprecated_settings  # an item, and so a change: as in Celery

    def _changed(self) -> None:
        self.__dict__["edition"] = next(_EDITIONS)

    def __getitem__(self, key: str) -> Any:
        """As in Celery, and quicker where the maps are dicts and modules, as most are: sending looks here often."""
        spelled = self.__dict__["_spelled"]
        names = spelled.get(key)
        if names is None:
            names = spelled[key] = self._to_keys(key)
        for mapping in self.maps:
            table = mapping if type(mapping) is dict else _module_table(mapping)
            if table is None:
                break
            for name in names:
                if name in table:
                    return table[name]
        return super().__getitem__(key)

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, value)
        self._changed()

    def __delitem__(self, key: str) -> None:
        super().__delitem__(key)
        self._changed()

    def update(self, *args: Any, **kwargs: Any) -> Any:
        result = super().update(*args, **kwargs)
        self._changed()
        return result

    def pop(self, key: str, *default: Any) -> Any:
        value = super().pop(key, *default)
        self._changed()
        return value

    def clear(self) -> None:
        super().clear()
        self._changed()

    def add_defaults(self, d: Any) -> None:
        super().add_defaults(d)
        self._changed()

    def swap_with(self, other: Any) -> None:
        super().swap_with(other)
        self.__dict__["_spelled"] = {}
        self._changed()

    def copy(self) -> Settings:
        self.finalize()
        copied: Settings = super().copy()
        if "deprecated_settings" in self.changes:
            copied.changes["deprecated_settings"] = self.changes["deprecated_settings"]
        else:
            copied.changes.pop("deprecated_settings", None)
        return copied

    __copy__ = copy

    # Each is set by the environment first, then as its name says, then as an older or a wider setting says.

    @property
    def broker_url(self) -> Any:
        return os.environ.get("CELERY_BROKER_URL") or self.first("broker_url", "broker_host")

    @property
    def broker_read_url(self) -> Any:
        return os.environ.get("CELERY_BROKER_READ_URL") or self.get("broker_read_url") or self.broker_url

    @property
    def broker_write_url(self) -> Any:
        return os.environ.get("CELERY_BROKER_WRITE_URL") or self.get("broker_write_url") or self.broker_url

    @property
    def result_backend(self) -> Any:
        return os.environ.get("CELERY_RESULT_BACKEND") or self.first("result_backend", "CELERY_RESULT_BACKEND")

    @property
    def task_default_exchange(self) -> Any:
        return self.first("task_default_exchange", "task_default_queue")

    @property
    def task_default_routing_key(self) -> Any:
        return self.first("task_default_routing_key", "task_default_queue")

    @property
    def timezone(self) -> Any:
        return self.first("timezone", "TIME_ZONE")  # the second is Django's

    def without_defaults(self) -> Settings:
        """The same without the defaults, which are the last map."""
        return Settings({}, self.maps[:-1])

    def value_set_for(self, key: str) -> bool:
        """Whether anybody has set it, under any of its names."""
        self.finalize()
        return key in Settings({}, self.maps[:-1], self._keys, self.prefix)

    def find_option(self, name: str, namespace: str = "") -> Any:
        """The setting of this name: its namespace, its name in there, its option."""
        return find(name, namespace)

    def find_value_for_key(self, name: str, namespace: str = "celery") -> Any:
        """The value of the setting of this name, wherever it is."""
        return self.get_by_parts(*self.find_option(name, namespace)[:-1])

    def get_by_parts(self, *parts: str | None) -> Any:
        """The value of a setting by the parts of its name: `get_by_parts("worker", "direct")`."""
        return self["_".join(part for part in parts if part)]

    def finalize(self) -> Settings:
        """Read the configuration if that has not been done: any look at it does."""
        self.get("__bogus__")
        return self

    def table(self, with_defaults: bool = False, censored: bool = True) -> dict[str, Any]:
        self.finalize()
        settings = self if with_defaults else self.without_defaults()
        shown = {key: value for key, value in settings.items() if not key.startswith("_") and key not in _DICT_MEMBERS}
        return _showing().filter_hidden_settings(shown) if censored else shown

    def humanize(self, with_defaults: bool = False, censored: bool = True) -> str:
        """What has been set, a line each."""
        from ..utils.text import pretty

        table = self.table(with_defaults, censored)
        return "\n".join(f"{key}: {pretty(value, width=50)}" for key, value in table.items())

    def maybe_warn_deprecated_settings(self) -> bool:
        """Warn of each setting that was given by a name of Celery 3, and say whether there was one."""
        for name in self.deprecated_settings or ():
            from ..utils import deprecated

            deprecated.warn(
                description=f"The {name!r} setting",
                removal="6.0.0",
                alternative=f"Use the {_TO_NEW_KEY[name]} instead",
            )
        return bool(self.deprecated_settings)


def _module_table(mapping: Any) -> dict[str, Any] | None:
    """The names of a module of settings, one that makes no names up when it is asked for them."""
    module = mapping.obj if type(mapping) is DictAttribute else None
    if type(module) is not ModuleType or "__getattr__" in module.__dict__:
        return None
    return module.__dict__


def _new_key_to_old(key: str, convert: Callable[[str, str], str] = _TO_OLD_KEY.get) -> str:
    return convert(key, key)


def _old_key_to_new(key: str, convert: Callable[[str, str], str] = _TO_NEW_KEY.get) -> str:
    return convert(key, key)


def detect_settings(
    conf: Any,
    preconf: Any = None,
    ignore_keys: Any = None,
    prefix: str | None = None,
    all_keys: Any = None,
    old_keys: Any = None,
) -> Settings:
    """The configuration that these sources make, whose names are all old or all new.

    `conf` was given by the user, `preconf` was set on the app before; `ignore_keys` were set there by the app itself
    and say nothing about the user's taste.
    """
    preconf = preconf or {}
    source, conf = (preconf, {}) if conf is None else (conf, conf)
    have = set(source.keys()) - set(ignore_keys or ())
    new, old = have & set(all_keys or SETTING_KEYS), have & set(old_keys or _OLD_SETTING_KEYS)

    is_old = len(old) > len(new) and not prefix
    convert, defaults = (_TO_OLD_KEY, _OLD_DEFAULTS) if is_old else (_TO_NEW_KEY, DEFAULTS)
    if not prefix:
        # One who gives a setting by both names knows what he does.
        misnamed = {key: convert[key] for key in (new if is_old else old) if convert[key] not in have}
        if misnamed:
            renames = [FMT_REPLACE_SETTING.format(replace=key, with_=misnamed[key]) for key in sorted(misnamed)]
            message = E_MIX_NEW_INTO_OLD if is_old else E_MIX_OLD_INTO_NEW
            raise ImproperlyConfigured(message.format(renames="\n".join(renames)))

    settings = Settings(
        {convert.get(key, key): value for key, value in preconf.items()},
        [conf, {key: _own_copy(value) for key, value in defaults.items()}],
        (_old_key_to_new, _new_key_to_old),
        deprecated_settings=old,
        prefix=prefix,
    )
    profile = settings["celeriac_profile"]
    for key, value in (PROFILES.get(profile, {}) if isinstance(profile, str) else {}).items():
        settings.defaults[-1][_new_key_to_old(key) if is_old else key] = value
    return settings


def _own_copy(default: Any) -> Any:
    """Defaults that can be changed are each app's own. They are flat."""
    return dict(default) if isinstance(default, dict) else default


class AppPickler:
    """Pickles apps whose class defines `__reduce_args__`, as apps were pickled before Celery 3.1."""

    def __call__(self, cls: Any, *args: Any) -> Any:
        kwargs = self.build_kwargs(*args)
        app = self.construct(cls, **kwargs)
        self.prepare(app, **kwargs)
        return app

    def prepare(self, app: Any, **kwargs: Any) -> None:
        app.conf.update(kwargs["changes"])

    def build_kwargs(self, *args: Any) -> dict[str, Any]:
        return self.build_standard_kwargs(*args)

    def build_standard_kwargs(
        self,
        main: Any,
        changes: Any,
        loader: Any,
        backend: Any,
        amqp: Any,
        events: Any,
        log: Any,
        control: Any,
        accept_magic_kwargs: Any,
        config_source: Any = None,
        config_source_silent: bool = False,
    ) -> dict[str, Any]:
        return {
            "main": main,
            "loader": loader,
            "backend": backend,
            "amqp": amqp,
            "changes": changes,
            "events": events,
            "log": log,
            "control": control,
            "set_as_current": False,
            "config_source": config_source,
            "config_source_silent": config_source_silent,
        }

    def construct(self, cls: Any, **kwargs: Any) -> Any:
        return cls(**kwargs)


def _unpickle_app(cls: Any, pickler: Any, *args: Any) -> Any:
    return pickler()(cls, *args)


def _unpickle_app_v2(cls: Any, kwargs: dict[str, Any]) -> Any:
    kwargs["set_as_current"] = False
    return cls(**kwargs)


def find_app(
    app: str,
    symbol_by_name: Callable[..., Any] = symbol_by_name,
    imp: Callable[..., Any] = import_from_cwd,
) -> Any:
    """The app that `-A` names: a module, a package with a module `celery`, or an attribute after a colon or a dot."""
    try:
        found = symbol_by_name(app, imp=imp)
    except AttributeError:  # the last part is no attribute, but a module
        found = imp(app)
    if not isinstance(found, ModuleType) or ":" in app:
        return found
    for name in ("app", "celery"):
        candidate = getattr(found, name, None)
        if candidate is not None and not isinstance(candidate, ModuleType):
            return candidate
    if getattr(found, "__path__", None):
        try:
            return find_app(f"{app}.celery", symbol_by_name=symbol_by_name, imp=imp)
        except ImportError:
            pass
    from .base import Celery

    for suspect in vars(found).values():
        if isinstance(suspect, Celery):
            return suspect
    raise AttributeError(f"module {found.__name__!r} has no app: no attribute 'app' or 'celery' that is one")
