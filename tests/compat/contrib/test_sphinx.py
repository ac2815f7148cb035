"""Tasks in a program's documentation, as `celery.contrib.sphinx` has Sphinx show them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TASKS = '''
"""Work to be done."""

from celery import Celery

app = Celery("x", set_as_current=False)


@app.task(bind=True)
def send(self, address: str, times: int = 1) -> None:
    """Write to this address."""


@app.task
def tidy() -> None:
    """Tidy up."""
'''
BUILD = (
    "import sys, celeriac; celeriac.install(); from sphinx.cmd.build import main; "
    "sys.exit(main(['-q', '-b', 'text', '.', 'out']))"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "work.py").write_text(TASKS)
    (tmp_path / "conf.py").write_text(
        "import sys; sys.path.insert(0, '.')\nextensions = ['sphinx.ext.autodoc', 'celery.contrib.sphinx']\n"
        "autodoc_use_legacy_class_based = True\n"
    )
    return tmp_path


def _built(project: Path, text: str) -> str:
    (project / "index.rst").write_text(text)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", BUILD],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert not done.stderr, done.stderr
    return (project / "out" / "index.txt").read_text()


def test_tasks_are_found_among_the_members_of_a_module(project: Path) -> None:
    text = _built(project, "Tasks\n=====\n\n.. automodule:: work\n   :members:\n")
    assert "Work to be done." in text
    assert "(task)work.send(address: str, times: int = 1) -> None" in text, "without what the worker gives"
    assert "Write to this address." in text
    assert "(task)work.tidy() -> None" in text


def test_one_task_with_a_prefix_of_ones_own(project: Path) -> None:
    with (project / "conf.py").open("a") as file:
        file.write("celery_task_prefix = 'job: '\n")
    text = _built(project, "Tasks\n=====\n\n.. autotask:: work.tidy\n\nSee :task:`work.tidy`.\n")
    assert "job: work.tidy() -> None" in text
    assert "Tidy up." in text
    assert "Write to this address." not in text
