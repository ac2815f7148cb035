"""Every command and option of Celery 5.7.0 does what it does in stock: the same command lines in both, side by side.

An option's effect is what a line with it comes to and the line without it does not. An option that is accepted and
ignored has none, and fails; so does one that has no line in `option_cases.py`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.compat.bin.option_cases import BASES, COMMANDS, OPTIONS, Case
from tests.compat.bin.test_options import EVERY

pytestmark = pytest.mark.real

RECORDER = Path(__file__).with_name("option_recorder.py")
# An option's variable in the environment, and what stands for the value of a flag.
VARIABLES = [(param["name"], param["envvar"]) for path, node in EVERY for param in node["params"] if param["envvar"]]
# What stock has with two meanings, of which click takes the second; --camera has --detach.
TWICE = {
    ("events", "dump", "-d"): Case(reason="click takes it for --detach in stock", calls="evdump"),
    ("events", "detach", "-d"): None,
    ("beat", "remote_control", "--no-enable-remote-control"): Case(against="-A proj beat --enable-remote-control"),
}


def lines(path: str, param: dict[str, Any]) -> Iterator[tuple[str, str, str, Case]]:
    """For each of the option's names: its line, the one that stock is asked, the line without it, and the case."""
    case = OPTIONS[path][param["name"]]
    base = case.base or BASES.get(path, "")
    if case.line:
        yield case.line, case.line, base, case
        return
    stocks = ""
    for name in param["opts"]:
        found = TWICE.get((path, param["name"], name), case)
        if found is not None:
            words = [name] if case.value is None else [name, case.value]
            line = " ".join([*words, base] if path == "" else [base, *words])
            stocks = stocks or line if found is case else stocks  # names of one option are one to stock
            yield line, stocks if found is case else line, found.against or base, found


ALL = [
    pytest.param(line, stocks, base, case, id=line)
    for path, node in ((" ".join(path), node) for path, node in EVERY)
    for param in node["params"]
    if param["name"] in OPTIONS.get(path, {})
    for line, stocks, base, case in lines(path, param)
]
Told = dict[str, Any]


@pytest.fixture(scope="module")
def told(stock_python: Path, celeriac_env: Any) -> dict[tuple[str, str], Told]:
    """By whose it is and the line."""
    asked: dict[str, dict[str, dict[str, Any]]] = {"celery": {}, "celeriac": {}}

    def ask(whose: str, key: str, words: str, **env: str) -> None:
        asked[whose][key] = {"words": words.split(), "env": env}

    for each in ALL:
        line, stocks, base, case = each.values
        for words in (line, base):
            ask("celeriac", str(words), str(words))
        if not case.reason:  # type: ignore[union-attr] # pytest knows not what the values are
            for words in (stocks, base):
                ask("celery", str(words), str(words))
    for line, _ in COMMANDS.values():
        ask("celeriac", line, line)
    for whose in asked:
        for name, variable in VARIABLES:
            key, words, value = by_variable(name, variable)
            ask(whose, key, words, **{variable: value})
            ask(whose, words, words)
    running = {}
    for whose, python in (("celery", stock_python), ("celeriac", Path(sys.executable))):
        variables = dict(celeriac_env.variables)
        if whose == "celery":
            variables.pop("PYTHONPATH", None)
        command = [str(python), "-W", "ignore", str(RECORDER), whose]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running[whose] = process = subprocess.Popen(command, env=variables, text=True, **pipes)
        assert process.stdin is not None
        process.stdin.write(json.dumps(list(asked[whose].values())))
        process.stdin.close()
        process.stdin = None
    found = {}
    for whose, process in running.items():
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, err
        found.update({(whose, key): answer for key, answer in zip(asked[whose], json.loads(out), strict=True)})
    return found


def by_variable(name: str, variable: str) -> tuple[str, str, str]:
    """A name for it, the line, and the value of the variable."""
    case = OPTIONS[""][name]
    words = "probe" if name == "app" else case.base or "-A proj probe"
    value = "other" if case.line else case.value or "1"
    return f"{variable}={value} {words}", words, value


def flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict) and value:
        for name, each in value.items():
            yield from flat(each, f"{path}.{name}")
    elif isinstance(value, list) and value and isinstance(value[0], list):
        for name, each in value:  # a call and what it was told
            yield f"{path}:{name}", "called"
            yield from flat(each, f"{path}:{name}")
    elif value is not None:  # what was not told may be told as None
        yield path, json.dumps(value)


def effect(with_it: Told, without: Told, parts: tuple[str, ...]) -> set[tuple[str, str, str]]:
    """What is new with it, and what is gone."""
    new, old = (set(flat({part: each[part] for part in parts})) for each in (with_it, without))
    return {("new", *each) for each in new - old} | {("gone", *each) for each in old - new}


@pytest.mark.parametrize(("line", "stocks", "base", "case"), ALL)
def test_an_option_comes_to_what_it_does_in_stock(
    line: str, stocks: str, base: str, case: Case, told: dict[tuple[str, str], Told]
) -> None:
    ours, without = told["celeriac", line], told["celeriac", base]
    for each in (ours, without):
        assert each["code"] is not None, each["out"]
    parts = ("calls", "files", "code", *(("out",) if case.out else ()))
    if case.reason:
        assert ours["code"] == 0, ours["out"]
        seen = ours["out"] + json.dumps(ours["calls"])
        assert case.calls in seen, seen
        assert effect(ours, without, (*parts, "out")), "it has no effect"
    else:
        found = effect(ours, without, parts)
        assert found, f"it has no effect: {ours['out']}"
        assert found == effect(told["celery", stocks], told["celery", base], parts)
    for name, value in case.deep.items():
        assert ours["deep"][name] == value
        assert without["deep"][name] != value


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_runs(name: str, told: dict[tuple[str, str], Told]) -> None:
    line, said = COMMANDS[name]
    ours = told["celeriac", line]
    assert (ours["code"], said in ours["out"]) == (0, True), ours["out"]


def test_every_command_and_option_has_a_line() -> None:
    for words, node in EVERY:
        path = " ".join(words)
        names = {param["name"] for param in node["params"]}
        assert names == {*OPTIONS.get(path, {})}, path
        assert names or path in COMMANDS, path


@pytest.mark.parametrize(("name", "variable"), VARIABLES)
def test_a_variable_stands_for_its_option(name: str, variable: str, told: dict[tuple[str, str], Told]) -> None:
    key, words, _ = by_variable(name, variable)
    found, plain = (effect(told[whose, key], told[whose, words], ("calls",)) for whose in ("celeriac", "celery"))
    assert found == plain != set()
