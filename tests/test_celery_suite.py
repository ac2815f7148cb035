"""`make celery-suite`: how it counts, what it lets pass, and the core of the suite. All of it takes half an hour."""

import subprocess

import pytest

from interop.celery_suite import known, table
from interop.celery_suite.places import HERE, prepare
from interop.celery_suite.runs import How, Test, Told, outcomes, run

PASSED, FAILED = Test(How.passed), Test(How.failed, "why")


def report(test, outcome, when="call", why=""):
    return {"test": f"t/integration/{test}", "when": when, "outcome": outcome, "why": why, "seconds": 0.5}


def test_worst_part_of_a_test_counts():
    found = outcomes([report("a", "passed", "setup"), report("a", "passed"), report("a", "failed", "teardown", "gone")])
    assert found == {"a": Test(How.failed, "gone", 1.5)}


def test_skipped_setup_is_a_skipped_test():
    assert (
        outcomes([report("a", "skipped", "setup", "no Azure"), report("a", "passed", "teardown")])["a"].how
        is How.skipped
    )


def test_last_run_of_a_test_that_is_run_again_counts():
    found = outcomes([report("a", "rerun"), report("a", "passed", "setup"), report("a", "passed")])
    assert found["a"].how is How.passed


def test_a_test_that_did_not_run_on_ours_is_worse():
    assert table.worse({"a": PASSED, "b": PASSED, "c": FAILED, "d": PASSED}, {"b": FAILED, "d": PASSED}) == ["a", "b"]


def test_listed_difference_is_let_pass_in_its_setups_alone():
    listed = known.differences("# words\nrabbitmq+* | f.py::test[a-*] | it loses the message\n")
    runs = {setup: ({"f.py::test[a-b]": PASSED}, {}) for setup in ("redis+redis", "rabbitmq+rpc")}
    assert table.unlisted(runs, listed) == [("redis+redis", "f.py::test[a-b]")]
    assert any("it loses the message" in line for line in table.lines(runs, listed))


def test_a_difference_without_a_reason_is_refused():
    with pytest.raises(ValueError, match="reason"):
        known.differences("* | f.py::test |")


def test_list_can_be_read():
    assert all(difference.reason for difference in known.differences())


@pytest.mark.real
def test_core_of_the_suite_passes():
    try:
        prepare((HERE,))
    except subprocess.CalledProcessError as problem:
        pytest.skip(f"Celery's sdist cannot be had from PyPI: {problem}")
    how = Told(("--once",), seconds=40, whole=150)
    found = run(HERE, "redis+redis", how, known.core(), "core")
    failed = {name: found.get(name) for name in known.core() if name not in found or found[name].how is not How.passed}
    if failed and len(failed) < len(known.core()) // 2:
        # The suite counts seconds that a busy machine does not have: what fails twice is broken.
        again = run(HERE, "redis+redis", how, tuple(failed), "again")
        failed = {name: again.get(name) for name in failed if name not in again or again[name].how is not How.passed}
    assert failed == {}
