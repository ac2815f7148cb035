"""The README's pictures of terminals are there, and are what a program wrote."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree as ET

import pytest

from tests.house import ROOT

PROGRAM = """
print("plain & <sharp>")
print("\\x1b[1;31mbad\\x1b[0m \\x1b[7mchosen\\x1b[0m")
print({here!r} + "/tasks.py")
"""


@pytest.fixture(scope="module")
def taker() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("terminal_pictures", str(ROOT / "scripts" / "terminal-pictures"))
    spec = importlib.util.spec_from_loader("terminal_pictures", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def texts(picture: str) -> list[tuple[str, dict[str, str]]]:
    root = ET.fromstring(picture)
    return [(each.text or "", dict(each.attrib)) for each in root.iter() if each.tag.endswith("text")]


def test_a_picture_holds_what_the_program_wrote(taker: ModuleType, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("{here!r}", repr(str(ROOT))))
    screen = taker.seen([sys.executable, str(program)], (40, 10), 20, os.environ, tmp_path)
    seen = texts(taker.drawn(screen))
    assert [text for text, _ in seen] == ["plain & <sharp>", "bad", "chosen", "~/celeriac/tasks.py"]
    assert seen[1][1]["fill"] == taker.COLOURS["red"]
    assert seen[1][1]["font-weight"] == "bold"
    assert seen[2][1]["fill"] == taker.PAPER
    assert float(seen[2][1]["x"]) > float(seen[1][1]["x"])


@pytest.mark.parametrize(("name", "holds"), [("demo", "a failure arrives as what it was"), ("top", "celeriac top")])
def test_the_readme_shows_it(name: str, holds: str) -> None:
    assert f"docs/pictures/{name}.svg" in (ROOT / "README.md").read_text(encoding="utf-8")
    picture = (ROOT / "docs" / "pictures" / f"{name}.svg").read_text(encoding="utf-8")
    assert any(holds in text for text, _ in texts(picture))
