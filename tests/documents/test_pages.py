"""Every code block of README and docs/ runs, in the order of its page, against real servers; or says why it does not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.documents import blocks
from tests.house import ROOT
from tests.servers import RedisServer, free_port

PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROJECT = """
from celery import Celery
app = Celery("proj", broker="redis://localhost", backend="redis://localhost")
@app.task
def add(x, y):
    return x + y
"""
"""What pages call proj is the reader's; it is there before their first block."""
RUN = [page for page in PAGES if any(block.runs for block in blocks.blocks(page))]


def identifier(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=identifier)
def test_each_block_says_what_it_is(page: Path) -> None:
    assert blocks.unfenced(page) == [], "indented blocks name no language: fence them"
    assert blocks.escaped(page) == [], "nothing would run these: begin them with three backticks and a language alone"
    for block in blocks.blocks(page):
        assert block.language in {*blocks.PROGRAMS, *blocks.PROSE}, f"line {block.line}: which language is this?"
        if block.language == "json":
            json.loads(block.text)
        if block.language in blocks.PROSE and block.said != "output":
            command = re.search(
                r"^(?:\$ )?(?:celeriac|celery|pip|make|python\d?|docker) \S.*$", block.text, re.MULTILINE
            )
            assert command is None, f"line {block.line}: a command that nothing runs: {command[0]}"
        if block.said == "not run":
            assert len(block.told.split()) >= 3, f"line {block.line}: why is it not run?"


def test_a_page_that_does_not_work_is_found(tmp_path: Path) -> None:
    """The runner itself: what fails, fails; what is not printed, is missed."""
    page = tmp_path / "page.md"
    page.write_text(
        "```bash\nexport A=1\n```\n\n```bash\ntest $A = 1; echo so\n```\n<!-- output -->\n```text\ns...\n```\n"
    )
    found = blocks.blocks(page)
    assert [block.said for block in found] == ["", "", "output"]
    assert perform(found, tmp_path, {}) == ""
    page.write_text(page.read_text().replace("s...", "other"))
    assert "does not print: other" in perform(blocks.blocks(page), tmp_path, {})
    page.write_text("```bash\nexit 1\n```\n")
    assert "line 1" in perform(blocks.blocks(page), tmp_path, {})
    page.write_text("text\n\n    indented\n")
    assert blocks.unfenced(page) == ["indented"]
    for fence in ("~~~bash", "```bash title=x", "> ```bash"):
        page.write_text(f"{fence}\ntrue\n{fence.rstrip('abcdefghijklmnopqrstuvwxyz= ')}\n")
        assert blocks.escaped(page) != []


@pytest.mark.real
@pytest.mark.parametrize("page", RUN, ids=identifier)
def test_each_block_runs(
    page: Path, tmp_path: Path, stock_python: Path, redis_server: RedisServer, request: pytest.FixtureRequest
) -> None:
    redis_server.call("FLUSHALL")
    programs = tmp_path / "programs"
    programs.mkdir()
    ours = f"exec {sys.executable} -W ignore"
    for name, command in {
        "celeriac": f"{ours} -m celeriac",
        "python": ours,
        # Stock Celery has an environment of its own, where ours is not to be seen.
        "celery": f"exec env -u PYTHONPATH {stock_python} -W ignore -m celery",
    }.items():
        (programs / name).write_text(f'#!/bin/sh\n{command} "$@"\n')
        (programs / name).chmod(0o755)
    place = tmp_path / "place"
    place.mkdir()
    servers = {r"redis://localhost(?=[\"'\s/,])": redis_server.url.rsplit("/", 1)[0], r"\b9808\b": str(free_port())}
    if "amqp://localhost" in page.read_text():
        servers[r"amqp://localhost(?=[\"'\s,])"] = request.getfixturevalue("rabbitmq_server").url
    found = [blocks.Block(page.name, 0, "python", PROJECT, "file", "proj.py"), *blocks.blocks(page)]
    for pattern, url in servers.items():
        found = [replace(block, text=re.sub(pattern, url, block.text)) for block in found]
    problem = perform(found, place, {"PATH": f"{programs}:{os.environ['PATH']}"})
    redis_server.call("FLUSHALL")
    assert not problem, problem


def perform(page: list[blocks.Block], place: Path, variables: dict[str, str]) -> str:
    """Does what the page says; what is wrong with it, or nothing."""
    kept = {key: text for key, text in os.environ.items() if not key.startswith(("CELERY", "CELERIAC", "COV_"))}
    done = subprocess.run(
        ["bash", "-c", blocks.script(page)],
        env={**kept, **variables}, cwd=place, timeout=180, capture_output=True, text=True, check=False,
    )  # fmt: skip
    printed = blocks.printed(done.stdout)
    if done.returncode:
        last = page[max(printed)]
        told = "".join(f"\n{log}: {log.read_text()[-1500:]}" for log in place.glob("*.log"))
        return (
            f"{last.page}, line {last.line} failed:\n{last.text}\n{printed[max(printed)]}\n{done.stderr[-3000:]}{told}"
        )
    for number, block in enumerate(page):
        if block.said == "output":
            for line in filter(None, map(str.strip, block.text.splitlines())):
                pattern = ".*".join(map(re.escape, line.split("...")))
                if not re.search(pattern, printed[number - 1]):
                    return f"{block.page}, line {block.line}: the block before it does not print: {line}\n{printed[number - 1]}"
    return ""
