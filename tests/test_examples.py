"""The examples run as they stand, and say what they claim to say."""

from __future__ import annotations

from tests.conftest import Environment
from tests.house import ROOT


def test_first_message_shows_a_message_and_two_reasons(celeriac_env: Environment) -> None:
    done = celeriac_env.run(str(ROOT / "examples" / "first_message.py"))
    assert done.returncode == 0, done.stderr
    assert '"task": "proj.tasks.add"' in done.stdout
    assert "Read back: proj.tasks.add(2, 2), not before 2026-01-01T12:00:10+00:00" in done.stdout
    assert done.stdout.count("BadMessage: ") == 2


def test_demo_does_what_it_says(celeriac_env: Environment) -> None:
    done = celeriac_env.run(str(ROOT / "examples" / "demo" / "run.py"))
    assert done.returncode == 0, done.stderr
    for line in (
        "-> 4",
        "-> 16",
        "-> 6",
        "done at attempt 3",
        "rested",
        "ValueError('this one fails",
        "1 failed",
        "a group of 1000",
        "What `celeriac top` shows now",
        "1/1 workers",
        "ready.",
    ):
        assert line in done.stdout
