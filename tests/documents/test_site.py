"""The site of docs/: its links lead somewhere, its list of pages is right, its reference says all that the code has."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from celeriac.compat import signals
from celeriac.compat.app.defaults import NAMESPACES, flatten
from celeriac.protocol.wire import event
from tests.conftest import Environment
from tests.house import ROOT

PAGES = sorted([ROOT / "README.md", ROOT / "SECURITY.md", *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]*))?\)")
MADE = ("settings", "commands", "signals", "events", "metrics")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in _LINK.findall(page.read_text(encoding="utf-8")):
        place = (page.parent / target).resolve() if target else page
        if place.parent == ROOT / "docs" / "reference" and place.stem in MADE:
            continue  # made when the site is
        assert place.exists(), f"{target} is not there"
        if anchor and place.suffix == ".md":
            heads = re.findall(r"^#+ (.*)$", place.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in [re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads], anchor


def test_pages_in_the_list_of_the_site_are_there() -> None:
    named = re.findall(r": ([\w/.-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    made = {f"reference/{name}.md" for name in MADE}
    assert made <= set(named)
    assert [name for name in named if name not in made and not (ROOT / "docs" / name).exists()] == []


def test_the_reference_says_all_that_the_code_has(celeriac_env: Environment, tmp_path: Path) -> None:
    done = celeriac_env.run(str(ROOT / "scripts" / "reference"), str(tmp_path))
    assert done.returncode == 0, done.stderr
    pages = {name: (tmp_path / f"{name}.md").read_text() for name in MADE}
    for page, names in {
        "settings": [name for name, _ in flatten(NAMESPACES)],
        "commands": ["celeriac worker", "celeriac beat", "celeriac inspect", "--concurrency", "celeriac dead replay"],
        "signals": signals.__all__,
        "events": list(event.FIELDS),
        "metrics": ["celery_task_failed_total", "celeriac_worker_connected", "process_cpu_seconds_total"],
    }.items():
        assert [name for name in names if name not in pages[page]] == []


_FIELDS = {"task_id", "task_name", "worker_id"}
"""Fields of messages and log lines that look like settings."""


WRITTEN = [page for page in PAGES if page.parent.name != "reference"]
"""The others are made from the code, and only where the site is built."""


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    """Settings, doors of the Makefile, files and folders of this tree, by their names in backticks."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`([^`\n]+)`", text)
    known = {name for name, _ in flatten(NAMESPACES)} | {*signals.__all__} | _FIELDS
    looks = re.compile(r"(?:broker|worker|task|result|beat|event|control|security|celeriac)_[a-z_]+[a-z]")
    settings = {name.split(" = ")[0] for name in named if looks.fullmatch(name.split(" = ")[0])}
    metrics = {name for name in settings if name.endswith(("_total", "_bytes", "_connected", "_frozen", "_losses"))}
    assert settings - metrics <= known, settings - metrics - known
    doors = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= doors
    rooms = ("protocol", "worker", "compat", "tests", "interop", "benchmarks", "scripts", "examples")
    paths = {name for name in named if re.fullmatch(rf"(?:{'|'.join(rooms)})/[\w./-]+", name) and "/x/" not in name}
    assert sorted(path for path in paths if not (ROOT / path).exists()) == []
