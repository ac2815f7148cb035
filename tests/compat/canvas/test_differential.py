"""The same expressions through stock Celery 5.7.0 and through compat/canvas: forms, reprs, messages and trees agree."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat import alias
from celeriac.protocol.rules.calling import Call
from tests.compat.canvas import stand
from tests.differential.canvases import Canvases
from tests.differential.test_calls import comparable, same_ids, sizes_first, theirs, tidied
from tests.protocol.shell import App as Rules

# A chord's errbacks go to its body alone, of which both Celerys warn.
pytestmark = pytest.mark.filterwarnings("ignore:.*task_allow_error_cb_on_chord_header")

STOCK_SIDE = Path(__file__).with_name("stock_forms.py")
BRACKETS = str.maketrans("()", "[]")
ADDRESS = re.compile("0x[0-9a-f]+")
Job = dict[str, Any]
Found = dict[str, Any]


def run_stock(python: Path, jobs: list[Job]) -> list[Found]:
    done = subprocess.run(
        [str(python), str(STOCK_SIDE)], input=json.dumps(jobs), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: list[Found] = json.loads(done.stdout)
    return found


def run_ours(job: Job, monkeypatch: pytest.MonkeyPatch) -> Found:
    app = stand.App(job["conf"], job["chords"])
    names = app.names()
    before, _, last = job["call"].rpartition("\n")
    found: Found = {}
    with stand.sending(app, monkeypatch):
        exec(before, names)
        s = names["s"]
        found["repr"] = repr(s)
        found["form"] = json.loads(json.dumps(s))
        found["kind"] = type(s).__name__.lstrip("_")
        found["links"] = len(s.flatten_links())
        exec(f"result = {last}", names)
    rules = Rules(job["conf"])
    found["stream"] = [_sent(rules, step) for step in app.steps]
    found["tree"] = names["result"] and names["result"].as_tuple()
    return found


def _sent(rules: Rules, step: Any) -> Any:
    if not isinstance(step, Call):
        return step
    sent = rules.message(step)
    return comparable(sent.message.headers, sent.message.body, sent.exchange, sent.routing_key)


def job(call: str, chords: str = "native", **conf: Any) -> Job:
    return {"call": call, "chords": chords, "conf": conf}


def compare(python: Path, jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> int:
    """Every job agrees; how many stock refused or died of."""
    refused = 0
    for each, stock in zip(jobs, run_stock(python, jobs), strict=True):
        if "error" in stock:
            refused += 1
            continue
        ours = run_ours(each, monkeypatch)
        stock["stream"] = theirs(stock["stream"])
        if "s.freeze()" in each["call"]:  # such a chord may run again
            ours["stream"], stock["stream"] = sizes_first(ours["stream"]), sizes_first(stock["stream"])
        for found in (ours, stock):
            found["form"] = tidied(found["form"])
            # Copies of a group of several arguments hold a list here, where stock's hold a tuple.
            if "map(" in each["call"]:
                # A clone of a map is shown as the call that it is; stock clones at other times than we.
                found["repr"] = ""
            found["repr"] = ADDRESS.sub("AT", found["repr"]).translate(BRACKETS)
        assert same_ids(in_order(ours)) == same_ids(in_order(stock)), each["call"]
    return refused


def in_order(found: Found) -> list[Any]:
    return [found[key] for key in ("kind", "repr", "form", "links", "stream", "tree")]


@pytest.fixture(autouse=True)
def celery_name() -> Iterator[None]:
    """The expressions import from `celery`."""
    was = alias.installed()
    alias.install()
    yield
    if not was:
        alias.uninstall()


@pytest.fixture
def canvases(request: pytest.FixtureRequest) -> int:
    return int(request.config.getoption("--canvases"))


def test_random_canvases(stock_python: Path, monkeypatch: pytest.MonkeyPatch, canvases: int) -> None:
    jobs = [job(Canvases(seed).call()) for seed in range(10_000, 10_000 + canvases)]
    assert compare(stock_python, jobs, monkeypatch) <= canvases // 25


def test_random_canvases_without_native_chords(
    stock_python: Path, monkeypatch: pytest.MonkeyPatch, canvases: int
) -> None:
    jobs = [job(Canvases(seed).call(), "polled") for seed in range(30_000, 30_000 + canvases // 4)]
    assert compare(stock_python, jobs, monkeypatch) <= canvases // 25


def test_random_canvases_of_protocol_1(stock_python: Path, monkeypatch: pytest.MonkeyPatch, canvases: int) -> None:
    # Stock drops a `chain=` option without a word; here it becomes callbacks.
    calls = [Canvases(seed).call(2) for seed in range(50_000, 50_000 + canvases // 4)]
    jobs = [job(call, task_protocol=1) for call in calls if "chain=[" not in call]
    assert compare(stock_python, jobs, monkeypatch) <= canvases // 25
