"""The table of settings: whole, told, and judged."""

from __future__ import annotations

import pytest

from celeriac.compat.app import defaults
from celeriac.compat.app.defaults import DEFAULTS, NAMESPACES, PROFILES, Option, find, flatten

OPTIONS = dict(flatten(NAMESPACES))


def test_every_setting_is_explained() -> None:
    for name, option in OPTIONS.items():
        assert option.help.endswith("."), name
        assert len(option.help) < 120, name


def test_every_setting_is_judged_and_what_has_no_effect_says_why() -> None:
    for name, option in OPTIONS.items():
        assert option.support in {"honoured", "ignored", "unsupported"}
        assert bool(option.advice) == (option.support != "honoured"), name
    assert OPTIONS["worker_agent"].support == "unsupported"
    assert OPTIONS["worker_pool_putlocks"].support == "ignored"


def test_what_a_profile_sets_are_settings_with_other_defaults() -> None:
    assert set(PROFILES) == set(OPTIONS["celeriac_profile"].choices)
    for settings in PROFILES.values():
        for name, value in settings.items():
            assert DEFAULTS[name] != value


def test_choices_hold_the_default() -> None:
    for name, option in OPTIONS.items():
        assert option.choices is None or option.default in option.choices, name


def test_our_own_settings_have_no_old_names() -> None:
    own = {name for name, option in OPTIONS.items() if option.own}
    assert {"celeriac_profile", "task_queue_protocols", "worker_json_logs"} <= own
    assert not any(OPTIONS[name].old for name in own)


def test_an_option_makes_values_of_texts() -> None:
    assert Option(type="int").to_python("3") == 3
    assert Option(type="float").to_python("3") == 3.0
    assert Option(type="bool").to_python("off") is False
    assert Option(type="any").to_python("off") == "off"
    assert Option().type == "string"
    assert repr(Option(3, type="int")) == "<Option: type->int default->3>"


@pytest.mark.parametrize(
    ("name", "namespace", "where"),
    [
        ("acks_late", "task", ("task", "acks_late")),
        ("ACKS_LATE", "TASK", ("task", "acks_late")),
        ("acks_late", "celery", ("task", "acks_late")),
        ("worker", "celery", (None, "worker")),
        ("timezone", "celery", (None, "timezone")),
        ("task_acks_late", "celery", (None, "task_acks_late")),
    ],
)
def test_find(name: str, namespace: str, where: tuple[str | None, str]) -> None:
    assert find(name, namespace)[:2] == where


def test_find_nothing() -> None:
    with pytest.raises(KeyError):
        find("no_such_setting")


def test_a_setting_that_will_be_gone_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    class Source:
        task_acks_on_failure_or_timeout = True

    with pytest.warns(PendingDeprecationWarning, match="task_acks_on_failure_or_timeout"):
        assert defaults.find_deprecated_settings(Source) is Source
    assert defaults.find_deprecated_settings(object) is object
