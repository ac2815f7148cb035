"""`make celery-suite`: how it counts, and what it lets pass. The runs themselves take an hour and are not here."""

import pytest

from interop.celery_suite import known, table
from interop.celery_suite.runs import How, Test, outcomes

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
