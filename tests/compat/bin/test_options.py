"""Every command and option of Celery 5.7.0 (tests/reference/cli.json) is here: names, type, default, and a help line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from celeriac.compat.bin import multi
from celeriac.compat.bin.celery import celery
from celeriac.compat.bin.fitting import broken, fit

CLI: dict[str, Any] = json.loads((Path(__file__).resolve().parents[2] / "reference" / "cli.json").read_text())


def commands(node: dict[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], dict[str, Any]]]:
    yield path, node
    for name, each in node.get("commands", {}).items():
        yield from commands(each, (*path, name))


EVERY = list(commands(CLI))
OPTIONS = [
    pytest.param(path, param, id=" ".join((*path, param["opts"][-1])))
    for path, node in EVERY
    for param in node["params"]
]

# What is otherwise, each with its reason.
ALSO = {"pool": {"asyncio"}}  # choices that Celery lacks
NAMES = {("events",): {"detach": ["--detach"]}}  # Celery has -d twice there, and click warns of it
UNSET = {"Sentinel.UNSET", "None"}


def ours(path: tuple[str, ...]) -> click.Command:
    command: Any = celery
    context = click.Context(celery, info_name="celeriac")
    for name in path:
        command = command.get_command(context, name)
        assert command is not None, f"there is no command {name}"
    return command


def option(path: tuple[str, ...], name: str) -> click.Parameter:
    found = next((param for param in ours(path).params if param.name == name), None)
    assert found is not None, f"{' '.join(path)} has no {name}"
    return found


@pytest.mark.parametrize("path", [path for path, _ in EVERY], ids=lambda path: " ".join(path) or "celery")
def test_a_command_has_no_parameter_too_few_and_says_what_it_is(path: tuple[str, ...]) -> None:
    node = next(node for each, node in EVERY if each == path)
    command = ours(path)
    assert {param["name"] for param in node["params"]} <= {param.name for param in command.params}
    assert isinstance(command, click.Group) or not node.get("commands")
    assert command.get_short_help_str(200)


@pytest.mark.parametrize(("path", "wanted"), OPTIONS)
def test_an_option_is_celerys(path: tuple[str, ...], wanted: dict[str, Any]) -> None:
    found = option(path, wanted["name"])
    names = NAMES.get(path, {}).get(wanted["name"], wanted["opts"])
    assert {*names} <= {*found.opts, *found.secondary_opts}
    assert found.nargs == wanted["nargs"]
    assert found.multiple == wanted["multiple"]
    assert found.envvar == wanted["envvar"]
    assert bool(getattr(found, "is_flag", False)) == bool(wanted["is_flag"])
    if wanted["name"] != "hostname":  # it holds the name of the machine
        assert repr(found.default) == wanted["default"] or {str(found.default), wanted["default"]} <= UNSET
    assert kind(found.type) == kind(wanted["type"]), "another type"
    if isinstance(found.type, click.Choice):
        choices = wanted["type"].partition("[")[2].rpartition("]")[0].replace("'", "").split(", ")
        assert {*found.type.choices} == {*choices, *ALSO.get(wanted["name"], ())}
    if isinstance(found, click.Option):
        assert found.help, "nobody can tell what it is for"


def kind(type_: Any) -> str:
    """A type by what it is called; `<celery.bin.base.JsonArray object at ...>` is a JsonArray."""
    text = repr(type_) if not isinstance(type_, str) else type_
    if "Choice" in text or isinstance(type_, click.Choice):
        return "Choice"
    if text.startswith("<"):
        return text.split(" ")[0].rpartition(".")[2]
    return {"Hostname": "STRING"}.get(type(type_).__name__, text)


@pytest.mark.parametrize("width", [30, 40, 60, 80])
def test_help_fits_a_terminal(width: int) -> None:
    for path, _ in EVERY:
        command = fit(ours(path))
        context = command.context_class(command, info_name=" ".join(("celeriac", *path)), terminal_width=width)
        assert max(map(len, command.get_help(context).splitlines())) <= width, path


def test_help_of_multi_fits_a_terminal() -> None:
    assert max(map(len, multi.HELP.splitlines())) <= 80
    assert max(map(len, multi.USAGE.format(prog_name="celeriac multi").splitlines())) <= 80


def test_help_of_the_usual_width_is_click_s_own() -> None:
    for path, _ in EVERY:
        command, name = fit(ours(path)), " ".join(("celeriac", *path))
        assert command.get_help(command.context_class(command, info_name=name, terminal_width=80)) == command.get_help(
            click.Context(command, info_name=name, terminal_width=80)
        )


def test_the_terminal_is_asked_for_its_width(celeriac_env: Any) -> None:
    narrow = {**celeriac_env.variables, "COLUMNS": "40"}
    for words in (["--help"], ["worker", "--help"], ["report", "--help"], ["amqp", "queue.bind", "--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "celeriac", *words],
            env=narrow,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert max(map(len, done.stdout.splitlines())) <= 40, done.stdout
        assert "Show this message" in done.stdout, "and no broker is needed for it"


def test_what_is_too_long_is_broken_where_a_person_would() -> None:
    assert broken("  -P [one|two|three]", 12) == ["  -P [one|", "    two|", "    three]"]
    assert broken("    " + "x" * 25, 20) == ["    " + "x" * 14, "      " + "x" * 11]
    assert broken("short", 20) == ["short"]


def test_commands_are_loaded_when_they_are_called(celeriac_env: Any) -> None:
    """And what needs no command does not need much: no kombu, no Redis, no asyncio, no multiprocessing."""
    heavy = ("kombu", "redis", "amqp", "asyncio", "multiprocessing", "celeriac.worker", "celeriac.compat.app.base")
    code = (
        "import sys; from celeriac.compat.bin.celery import celery; celery(['--version'], standalone_mode=False);"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = celeriac_env.run("-c", code)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
