"""Settings by any of their names, apps by theirs."""

from __future__ import annotations

import sys
import types
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.utils.url import maybe_sanitize_url

from celeriac.compat.app.base import Celery
from celeriac.compat.app.defaults import _TO_NEW_KEY, _TO_OLD_KEY, SETTING_KEYS
from celeriac.compat.app.showing import shown_url
from celeriac.compat.app.utils import Settings, bugreport, detect_settings, find_app
from celeriac.compat.exceptions import ImproperlyConfigured
from celeriac.compat.utils.collections import DictAttribute

NEW = st.sampled_from(sorted(SETTING_KEYS - {"celeriac_profile"}))
SETS = st.sets(NEW, max_size=6)


@given(SETS, SETS, st.booleans())
def test_names_are_all_old_or_all_new(new: set[str], old: set[str], both: bool) -> None:
    olds = {_TO_OLD_KEY[name] for name in old}
    given_names = new | olds | ({_TO_NEW_KEY[name] for name in olds} if both else set())
    source = {name: number for number, name in enumerate(sorted(given_names))}
    news = {name for name in given_names if name in SETTING_KEYS}
    is_old = len(olds) > len(news)
    wrong = {
        name for name in (news if is_old else olds) if (_TO_OLD_KEY if is_old else _TO_NEW_KEY)[name] not in given_names
    }
    if wrong:
        with pytest.raises(ImproperlyConfigured) as caught:
            detect_settings(source)
        shown = {line.partition("->")[0].strip() for line in str(caught.value).splitlines() if "->" in line}
        assert shown == wrong
        return
    conf = detect_settings(source)
    for name in given_names:
        other = _TO_OLD_KEY.get(name) or _TO_NEW_KEY[name]
        if other not in given_names:
            assert conf[name] == conf[other] == source[name]
        assert conf[name] in {source[name], source.get(other)}


@given(st.dictionaries(NEW, st.integers()), st.sampled_from(["CELERY", "MINE", "mine"]))
def test_names_with_a_prefix_are_read_by_all_names(values: dict[str, int], prefix: str) -> None:
    spelled = {f"{prefix}_{name.upper() if prefix.isupper() else name}": value for name, value in values.items()}
    conf = detect_settings(spelled, prefix=prefix)
    for name, value in values.items():
        assert conf[name] == getattr(conf, name) or name in dir(Settings)
        assert conf[name] == value
        assert name in conf
        assert conf.value_set_for(name)


@given(st.lists(st.tuples(NEW, st.integers()), max_size=9))
def test_the_last_change_counts_and_gives_a_new_edition(changes: list[tuple[str, int]]) -> None:
    conf = detect_settings({})
    for name, value in changes:
        before = conf.edition
        conf[name] = value
        assert conf.edition != before
        assert conf[name] == value
    assert {name: conf.changes[name] for name, _ in changes} == dict(changes)


def test_every_change_gives_a_new_edition() -> None:
    conf = detect_settings({})
    conf["task_serializer"] = "yaml"
    seen = {conf.edition}
    for change in (
        lambda: conf.update(timezone="UTC"),
        lambda: conf.pop("timezone"),
        lambda: conf.__delitem__("task_serializer"),
        lambda: conf.add_defaults({"timezone": "x"}),
        conf.clear,
        lambda: conf.swap_with(detect_settings({})),
        lambda: setattr(conf, "timezone", "UTC"),
    ):
        change()
        assert conf.edition not in seen
        seen.add(conf.edition)
    _ = conf.task_serializer
    assert conf.edition in seen


def test_defaults_are_each_apps_own() -> None:
    one, other = detect_settings({}), detect_settings({})
    one.beat_schedule["a"] = 1
    assert other.beat_schedule == {}


@pytest.mark.parametrize("source", [{"celeriac_profile": "safe"}, {"CELERIAC_PROFILE": "safe"}])
def test_a_profile_sets_defaults_alone(source: dict[str, Any]) -> None:
    conf = detect_settings(source)
    assert conf.task_acks_late is True
    assert conf.worker_lasting_revokes is True
    assert "task_acks_late" not in conf.without_defaults()
    assert (
        detect_settings({**source, **({"task_acks_late": False} if "celeriac_profile" in source else {})}) is not None
    )
    conf.task_acks_late = False
    assert conf.task_acks_late is False


def test_a_profile_that_there_is_not_changes_nothing() -> None:
    assert detect_settings({"celeriac_profile": "quick"}).task_acks_late is False
    assert detect_settings({"celeriac_profile": ["safe"]}).task_acks_late is False


def test_a_module_of_settings_may_make_names_up() -> None:
    module = types.ModuleType("made_up_settings")
    module.timezone = "UTC"  # type: ignore[attr-defined]
    conf = detect_settings(DictAttribute(module))
    assert (conf.timezone, conf.task_serializer) == ("UTC", "json")
    module.task_serializer = "yaml"  # type: ignore[attr-defined]
    assert conf.task_serializer == "yaml"
    module.__getattr__ = lambda name: {"task_acks_late": 5}[name]  # type: ignore[method-assign]
    assert conf.task_acks_late == 5
    assert conf.task_routes is None


def test_a_report_has_no_secrets_in_it() -> None:
    app = Celery("x", broker="redis://:hush@h/1", backend="redis://:hush@h/2", set_as_current=False)
    text = bugreport(app)
    assert "hush" not in text
    assert "celeriac:" in text
    assert "task_serializer" not in text
    assert "results:redis://:********@h/2" in text


class TestFindApp:
    @pytest.fixture(autouse=True)
    def modules(self, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
        self.app = Celery("found", set_as_current=False)
        proj = types.ModuleType("proj_")
        inner = types.ModuleType("proj_.celery")
        monkeypatch.setitem(sys.modules, "proj_", proj)
        monkeypatch.setitem(sys.modules, "proj_.celery", inner)
        self.proj, self.inner = proj, inner
        return proj

    @pytest.mark.parametrize("name", ["app", "celery", "anything"])
    def test_in_a_module(self, name: str) -> None:
        setattr(self.proj, name, self.app)
        assert find_app("proj_") is self.app

    def test_by_a_colon_or_a_dot(self) -> None:
        self.proj.this = self.app  # type: ignore[attr-defined]
        assert find_app("proj_:this") is self.app
        assert find_app("proj_.this") is self.app

    def test_in_a_package(self) -> None:
        self.proj.__path__ = ["x"]  # type: ignore[attr-defined]
        self.proj.celery = self.inner  # type: ignore[attr-defined]
        self.inner.app = self.app  # type: ignore[attr-defined]
        assert find_app("proj_") is self.app

    def test_a_module_is_no_app(self) -> None:
        self.proj.app = types.ModuleType("app")  # type: ignore[attr-defined]
        self.proj.celery = types.ModuleType("celery")  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            find_app("proj_")

    def test_nothing_there(self) -> None:
        with pytest.raises(AttributeError, match="no app"):
            find_app("proj_")
        with pytest.raises(ImportError):
            find_app("no_such_module_")


_NAMES = st.text("aZ9_.-~!$*+%@ ", max_size=4)
_HOSTS = st.sampled_from(["localhost", "127.0.0.1", "A.example", "[::1]", "h-1.x", "", "h:1", "h:65535", "h:0", "h:09"])


@given(
    st.sampled_from(["redis", "amqps", "db+x", "Redis", ""]), _NAMES, _NAMES, _HOSTS, st.text("/a.%?=;1", max_size=4)
)
def test_a_url_is_shown_as_kombu_shows_it(scheme: str, user: str, password: str, host: str, path: str) -> None:
    for who in ("", f"{user}@", f"{user}:{password}@", f":{password}@"):
        url = f"{scheme}://{who}{host}{path}"
        try:
            expected = maybe_sanitize_url(url)  # type: ignore[no-untyped-call]  # kombu's
        except ValueError:
            with pytest.raises(ValueError, match=r"."):
                shown_url(url)
        else:
            assert shown_url(url) == expected
    assert shown_url(None) is None
