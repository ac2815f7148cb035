"""Loaders: configuration from anywhere, modules of tasks, settings from the command line."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac.compat import signals
from celeriac.compat.exceptions import NotConfigured
from celeriac.compat.loaders import base, get_loader_cls
from celeriac.compat.loaders.app import AppLoader
from celeriac.compat.loaders.default import Loader
from celeriac.compat.utils.imports import NotAPackage


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with packages whose names no other test has."""
    files = {
        "lo_conf.py": "task_serializer = 'yaml'\n",
        "lo_one/__init__.py": "",
        "lo_one/tasks.py": "",
        "lo_two/__init__.py": "",
        "lo_bad/__init__.py": "",
        "lo_bad/tasks.py": "import lo_missing_thing\n",
        "lo_one/apps.py": "class Config: ...\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def loader(**conf: Any) -> AppLoader:
    return AppLoader(SimpleNamespace(conf=SimpleNamespace(**{"imports": (), "include": (), **conf})))


@pytest.mark.parametrize(
    ("name", "cls"),
    [
        ("app", AppLoader),
        ("default", Loader),
        ("celery.loaders.default:Loader", Loader),
        ("celeriac.compat.loaders.app.AppLoader", AppLoader),
        (Loader, Loader),
    ],
)
def test_a_loader_by_its_name(name: Any, cls: type) -> None:
    assert get_loader_cls(name) is cls


def test_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CELERY_CONFIG_MODULE", raising=False)
    assert loader().conf is None


def test_the_configuration_is_read_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "lo_conf")
    one = loader()
    assert one.conf is one.conf
    assert one.conf["task_serializer"] == "yaml"


class TestDefaultLoader:
    def test_it_reads_celeryconfig(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CELERY_CONFIG_MODULE", "lo_conf")
        one = Loader(None)
        assert one.read_configuration()["task_serializer"] == "yaml"
        assert one.configured

    def test_there_is_none(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CELERY_CONFIG_MODULE", "lo_no_such")
        one = Loader(None)
        assert "task_serializer" not in one.read_configuration()
        assert not one.configured
        with pytest.raises(ImportError):
            one.read_configuration(fail_silently=False)

    def test_there_is_none_and_one_wants_to_know(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("CELERY_CONFIG_MODULE", "lo_no_such")
        monkeypatch.setenv("C_WNOCONF", "yes")
        with pytest.warns(NotConfigured, match="lo_no_such"):
            Loader(None).read_configuration()


def test_a_module_with_its_suffix(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "lo_conf.py")
    with pytest.raises(NotAPackage, match="Did you mean 'lo_conf'"):
        loader().read_configuration()


def test_a_name_in_a_module_that_is_no_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CELERY_CONFIG_MODULE", "lo_conf.inner")
    with pytest.raises(NotAPackage, match="Module 'lo_conf") as caught:
        loader().read_configuration()
    assert "Did you mean" not in str(caught.value)


class TestModules:
    def test_what_the_app_names(self, folder: Path) -> None:
        one = loader(imports=("lo_one",), include="lo_two")
        assert [module.__name__ for module in one.import_default_modules()] == ["lo_one", "lo_two"]
        assert one.task_modules == {"lo_one", "lo_two"}

    def test_a_worker_starts_once(self, folder: Path) -> None:
        calls: list[str] = []

        class Mine(AppLoader):
            def on_worker_init(self) -> None:
                calls.append("init")

            def on_worker_shutdown(self) -> None:
                calls.append("shutdown")

            def on_worker_process_init(self) -> None:
                calls.append("process")

        one = Mine(loader().app)
        one.init_worker()
        one.init_worker()
        one.init_worker_process()
        one.shutdown_worker()
        assert calls == ["init", "process", "shutdown"]

    def test_what_a_receiver_raises_is_raised(self) -> None:
        one = loader()

        def receiver(**_: Any) -> None:
            raise KeyError("in a task module")

        signals.import_modules.connect(receiver, sender=one.app)
        try:
            with pytest.raises(KeyError, match="in a task module"):
                one.import_default_modules()
        finally:
            signals.import_modules.disconnect(receiver, sender=one.app)

    def test_discovery(self, folder: Path) -> None:
        one = loader()
        one.autodiscover_tasks(["lo_one", "lo_two", "lo_one.apps.Config"])
        assert one.task_modules == {"lo_one.tasks"}

    def test_discovery_of_packages_themselves(self, folder: Path) -> None:
        one = loader()
        one.autodiscover_tasks(["lo_two"], related_name=None)
        assert one.task_modules == {"lo_two"}
        one.autodiscover_tasks(None)

    def test_a_module_that_cannot_be_imported_is_not_passed_over(self, folder: Path) -> None:
        with pytest.raises(ModuleNotFoundError, match="lo_missing_thing"):
            loader().autodiscover_tasks(["lo_bad"])
        assert base._discovering is False

    def test_a_package_that_is_not_there(self) -> None:
        with pytest.raises(ModuleNotFoundError):
            loader().autodiscover_tasks(["lo_nowhere"])

    def test_discovery_in_the_course_of_discovery(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(base, "_discovering", True)
        assert base.autodiscover_tasks(["lo_nowhere"]) == ()


class TestCommandLine:
    @pytest.mark.parametrize(
        ("arg", "found"),
        [
            ("worker.prefetch_multiplier=3", ("worker_prefetch_multiplier", 3)),
            ("WORKER_PREFETCH_MULTIPLIER=3", ("worker_prefetch_multiplier", 3)),
            ("task_acks_late=on", ("task_acks_late", True)),
            ("task_time_limit=2.5", ("task_time_limit", 2.5)),
            ("broker_url=redis://h/1?a=b", ("broker_url", "redis://h/1?a=b")),
            ('task_queues=(dict){"a": {}}', ("task_queues", {"a": {}})),
            ("imports=(list)[1, 2]", ("imports", [1, 2])),
            ("whatever_it_is=(int)3", ("whatever_it_is", 3)),
            (".foo=(int)3", ("celery_foo", 3)),
            ("timezone=UTC", ("timezone", "UTC")),
            ("worker_json_logs=yes", ("worker_json_logs", True)),
        ],
    )
    def test_a_setting(self, arg: str, found: tuple[str, Any]) -> None:
        assert loader().cmdline_config_parser([arg]) == dict([found])

    def test_a_namespace_of_ones_own(self) -> None:
        assert loader().cmdline_config_parser(["_pool=solo"], namespace="worker") == {"worker_pool": "solo"}
        assert loader().cmdline_config_parser(["_timezone=UTC"], namespace="") == {"timezone": "UTC"}

    @pytest.mark.parametrize(
        ("arg", "problem"),
        [
            ("worker_prefetch_multiplier=many", ValueError),
            ("task_acks_late=perhaps", TypeError),
            ("no_such_setting=3", KeyError),
            ("worker_pool", ValueError),
        ],
    )
    def test_what_cannot_be_read(self, arg: str, problem: type[Exception]) -> None:
        with pytest.raises(problem):
            loader().cmdline_config_parser([arg])


def test_now() -> None:
    assert loader().now().utcoffset() is not None
    assert loader().now(utc=False).tzinfo is None


def test_the_hooks_of_a_loader_do_nothing() -> None:
    one = loader()
    one.on_task_init("id", None)
    one.on_process_cleanup()
    one.on_worker_init()
    one.on_worker_shutdown()
    one.on_worker_process_init()
    assert os.environ.get("CELERY_LOADER") is None
