"""The laws of the house hold; and each of them bites when it is broken.

Law: no rule is trusted that has not been seen to fail. Each is shown a small house with one fault planted in it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import house
from tests.conftest import Environment


@pytest.mark.parametrize("name", house.RULES)
def test_the_house_keeps(name: str) -> None:
    faults = house.judge(house.ROOT, name, house.EXCEPTIONS)
    assert not faults, "\n" + "\n".join(map(str, faults))


def test_every_exception_names_a_rule() -> None:
    assert {rule for rule, _, _ in house.EXCEPTIONS} <= set(house.RULES)


def test_sizes_are_reported(house_report: list[str]) -> None:
    house_report[:] = [f"{length:>6}  {path}" for length, path in house.sizes(house.ROOT)] or ["none is over 400 lines"]


def test_importing_protocol_loads_nothing_that_does(celeriac_env: Environment) -> None:
    """Every module of protocol/, in a fresh interpreter: no other room, no extra, nothing that opens or waits."""
    names = [
        "celeriac." + path.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        for path in house.modules(house.ROOT, "protocol")
    ]
    program = (
        "import importlib, json, sys\n"
        # msgpack and dataclasses bring what they bring; what is judged is what our modules add to that.
        "import calendar, dataclasses, decimal, gzip, bz2, lzma, json, msgpack, pickle, typing, uuid, zoneinfo\n"
        "before = set(sys.modules)\n"
        f"[importlib.import_module(name) for name in {names!r}]\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))\n"
    )
    done = celeriac_env.run("-c", program)
    assert done.returncode == 0, done.stderr
    loaded = json.loads(done.stdout)
    assert set(names) <= set(loaded)
    unwanted = {"socket", "ssl", "select", "selectors", "asyncio", "subprocess", "logging", "multiprocessing"}
    unwanted |= {"threading", "random", "secrets", "tempfile", "kombu", "amqp", "redis", *house.LAZY}
    ours = ("celeriac.worker", "celeriac.compat")
    assert not [name for name in loaded if name.partition(".")[0] in unwanted or name.startswith(ours)]


@pytest.fixture
def small_house(tmp_path: Path) -> Path:
    """A house that keeps every law."""
    for folder in ("protocol/wire", "protocol/rules", "worker/brokers", "worker/backends", "compat/door", "tests"):
        (tmp_path / folder).mkdir(parents=True)
        for place in (folder, folder.partition("/")[0]):
            (tmp_path / place / "__init__.py").write_text('"""A room."""\n')
    (tmp_path / "compat/door/__main__.py").write_text('"""The command line."""\n')
    (tmp_path / "compat/door/py.typed").touch()
    (tmp_path / "pyproject.toml").write_text(
        "[tool.setuptools]\n"
        'packages = ["celeriac", "celeriac.protocol", "celeriac.protocol.wire", "celeriac.protocol.rules",'
        ' "celeriac.worker", "celeriac.worker.brokers", "celeriac.worker.backends", "celeriac.compat"]\n'
        "[tool.setuptools.package-dir]\n"
        '"celeriac" = "compat/door"\n"celeriac.protocol" = "protocol"\n'
        '"celeriac.worker" = "worker"\n"celeriac.compat" = "compat"\n'
    )
    links = tmp_path / ".dev" / "celeriac"
    links.mkdir(parents=True)
    for room in house.ROOMS:
        (links / room).symlink_to(f"../../{room}")
    for name in ("__init__.py", "__main__.py", "py.typed"):
        (links / name).symlink_to(f"../../compat/door/{name}")
    return tmp_path


@pytest.mark.parametrize("name", house.RULES)
def test_a_good_house_has_no_fault(small_house: Path, name: str) -> None:
    (small_house / "protocol/wire/good.py").write_text(
        '"""Good."""\nfrom typing import TYPE_CHECKING\nimport gzip, sys, uuid, urllib.parse\nfrom datetime import datetime\n'
        "import msgpack\nfrom ..errors import BadMessage\nfrom . import other\nfrom .other import common_prefix\n"
        "if TYPE_CHECKING:\n    from socket import socket\n"
        "def now(x): return x\n"
        "def f(tz):\n    import yaml\n    now(1); uuid.uuid5(tz, 'x'); gzip.compress(b'', mtime=0)\n    sys.version_info.major\n"
        "    datetime.fromtimestamp(1, tz).astimezone(tz)\n"
    )
    (small_house / "compat/good.py").write_text('"""Good."""\nfrom ..worker import x\nfrom .door import y\n')
    (small_house / "compat/door/good.py").write_text('"""Good."""\nfrom .compat import x\nfrom . import __main__\n')
    (small_house / "worker/brokers/good.py").write_text(
        '"""Good."""\nimport socket  # noqa: F401 - it is the point\nfrom ...protocol.wire import x\n'
        "y = x  # type: ignore[assignment]  # redis-py has no types for this\n"
        "z = x  # pragma: no cover - Windows alone\n"
    )
    (small_house / "tests/good.py").write_text('"""Good."""\nfrom celeriac.protocol import x\n')
    assert list(house.RULES[name](small_house)) == []


BROKEN = [
    ("imports_go_down", "protocol/wire/x.py", "from ..rules import routing"),
    ("imports_go_down", "protocol/wire/x.py", "from .. import rules"),
    ("imports_go_down", "protocol/wire/x.py", "def f():\n    from ..rules.routing import route"),
    ("imports_go_down", "protocol/rules/x.py", "from ...worker import loop"),
    ("imports_go_down", "protocol/rules/x.py", "import celeriac.compat"),
    ("imports_go_down", "protocol/x.py", "import celeriac"),
    ("imports_go_down", "protocol/errors.py", "from .wire import json"),
    ("imports_go_down", "worker/x.py", "from ..compat import app"),
    ("imports_go_down", "worker/brokers/x.py", "from .. import options"),
    ("imports_go_down", "worker/brokers/x.py", "from ..backends import redis"),
    ("imports_go_down", "worker/backends/x.py", "from ..brokers.redis import Broker"),
    ("imports_are_relative_inside", "protocol/wire/x.py", "from celeriac.protocol.errors import BadMessage"),
    ("imports_are_relative_inside", "compat/x.py", "import celeriac.worker"),
    ("imports_are_relative_inside", "tests/x.py", "from . import servers"),
    ("protocol_imports_what_computes", "protocol/x.py", "import os"),
    ("protocol_imports_what_computes", "protocol/x.py", "import time"),
    ("protocol_imports_what_computes", "protocol/x.py", "import urllib.request"),
    ("protocol_imports_what_computes", "protocol/x.py", "from random import random"),
    ("protocol_imports_what_computes", "protocol/x.py", "def f():\n    import socket"),
    ("protocol_imports_what_computes", "protocol/x.py", "import kombu"),
    ("protocol_imports_what_computes", "protocol/x.py", "import yaml"),
    (
        "protocol_imports_what_computes",
        "protocol/x.py",
        "try:\n    from backports import zstd\nexcept ImportError: ...",
    ),
    ("protocol_calls_what_computes", "protocol/x.py", "datetime.now(utc)"),
    ("protocol_calls_what_computes", "protocol/x.py", "datetime.datetime.utcnow()"),
    ("protocol_calls_what_computes", "protocol/x.py", "date.today()"),
    ("protocol_calls_what_computes", "protocol/x.py", "x = [uuid4() for _ in y]"),
    ("protocol_calls_what_computes", "protocol/x.py", "open('x')"),
    ("protocol_calls_what_computes", "protocol/x.py", "gzip.open('x')"),
    ("protocol_calls_what_computes", "protocol/x.py", "print(1)"),
    ("protocol_calls_what_computes", "protocol/x.py", "datetime.fromtimestamp(1)"),
    ("protocol_calls_what_computes", "protocol/x.py", "when.astimezone()"),
    ("protocol_calls_what_computes", "protocol/x.py", "gzip.compress(b'')"),
    ("protocol_calls_what_computes", "protocol/x.py", "sys.setrecursionlimit(10**6)"),
    ("protocol_calls_what_computes", "protocol/x.py", "x = sys.argv"),
    ("protocol_calls_what_computes", "protocol/x.py", "GzipFile(mode='wb', fileobj=x)"),
    ("folders_with_code_are_packaged", "protocol/new/__init__.py", ""),
    ("folders_with_code_are_packaged", "worker/pools/deep/x.py", ""),
    ("names_say_something", "worker/utils.py", ""),
    ("names_say_something", "worker/brokers/redis_helpers.py", ""),
    ("names_say_something", "protocol/common/x.py", ""),
    ("names_say_something", "protocol/x.py", "class PoolManager: ..."),
    ("names_say_something", "protocol/x.py", "class AMQPMixin: ..."),
    ("names_say_something", "protocol/x.py", "def json_utils(): ..."),
    ("names_say_something", "protocol/x.py", "def common(): ..."),
    ("silenced_checks_say_why", "protocol/x.py", "import os  # noqa"),
    ("silenced_checks_say_why", "protocol/x.py", "import os  # noqa: F401"),
    ("silenced_checks_say_why", "protocol/x.py", "import os  # noqa: F401 -"),
    ("silenced_checks_say_why", "worker/x.py", "x = y  # type: ignore"),
    ("silenced_checks_say_why", "worker/x.py", "x = y  # type: ignore[name-defined]"),
    ("silenced_checks_say_why", "compat/x.py", "x = y  # pragma: no cover"),
    ("first_lines_say_what_for", "worker/x.py", None),
    ("first_lines_say_what_for", "tests/x.py", None),
]


@pytest.mark.parametrize(("name", "path", "code"), BROKEN)
def test_a_broken_house_is_found_out(small_house: Path, name: str, path: str, code: str | None) -> None:
    target = small_house / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text("x = 1\n" if code is None else f'"""Broken."""\n{code}\n')
    faults = house.judge(small_house, name, {})
    assert faults
    assert {fault.rule for fault in faults} == {name}
    assert all(fault.path in (path, "pyproject.toml", str(Path(path).parent)) for fault in faults)


def test_a_listed_package_without_code_is_found_out(small_house: Path) -> None:
    (small_house / "worker/brokers/__init__.py").unlink()
    (fault,) = house.judge(small_house, "folders_with_code_are_packaged", {})
    assert "celeriac.worker.brokers" in fault.why


@pytest.mark.parametrize(
    "spoil",
    [
        lambda links: (links / "worker").unlink(),
        lambda links: (links / "extra").symlink_to("../../compat"),
        lambda links: [(links / "py.typed").unlink(), (links / "py.typed").touch()],
        lambda links: (links / "../../compat/door/py.typed").unlink(),
    ],
)
def test_a_wrong_link_is_found_out(small_house: Path, spoil: Callable[[Path], object]) -> None:
    spoil(small_house / ".dev" / "celeriac")
    assert len(house.judge(small_house, "type_checkers_see_the_package", {})) == 1


def test_an_exception_needs_a_fault_and_a_reason(small_house: Path) -> None:
    (small_house / "protocol/x.py").write_text('"""Broken."""\nimport os\nimport time\n')
    name, path = "protocol_imports_what_computes", "protocol/x.py"
    for_os, for_time = (name, path, "os"), (name, path, "time")
    assert house.judge(small_house, name, {for_os: "a reason", for_time: "another"}) == []
    assert [fault.what for fault in house.judge(small_house, name, {for_os: "a reason"})] == ["time"]
    no_reason = house.judge(small_house, name, {for_os: " ", for_time: "another"})
    assert any("no reason" in fault.why for fault in no_reason)
    unused = house.judge(small_house, name, {for_os: "a", for_time: "b", (name, path, "random"): "was needed once"})
    assert [(fault.what, "no longer" in fault.why) for fault in unused] == [("random", True)]


def test_long_files_are_listed_the_longest_first(small_house: Path) -> None:
    (small_house / "worker/long.py").write_text("x = 1\n\n" * 401)
    (small_house / "compat/longer.py").write_text("x = 1\n" * 402)
    (small_house / "compat/fine.py").write_text("x = 1\n" * 400)
    assert house.sizes(small_house) == [(402, "compat/longer.py"), (401, "worker/long.py")]
