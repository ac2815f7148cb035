"""`python -m interop.celery_suite`: both sides, every set-up; the table, and 1 where stock does better than we."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from interop.celery_suite import known, table
from interop.celery_suite.places import OURS, STOCK, Side, parts, prepare
from interop.celery_suite.runs import SETUPS, How, Test, Tests, Told, recorded, run


def main() -> int:
    told = parsed()
    if told.last:
        names = (*parts(), "again", "told")
        last = {setup: (recorded(STOCK, setup, names), recorded(OURS, setup, names)) for setup in told.setup or SETUPS}
        return verdict(last, known.differences())
    prepare()
    setups = told.setup or SETUPS
    sides = [side for side in (STOCK, OURS) if not told.side or side.name == told.side]
    how = Told((*(("-k", told.k) if told.k else ()), *(("--once",) if told.once else ())), told.seconds, told.whole)

    shares = {"told": tuple(told.tests)} if told.tests else parts()

    def one(job: tuple[str, Side, str]) -> Tests:
        setup, side, share = job
        began = time.monotonic()
        found = run(side, setup, how, shares[share], share)
        passed = sum(test.how is How.passed for test in found.values())
        spent = time.monotonic() - began
        print(f"{setup} on {side.name}, {share}: {passed} of {len(found)} passed ({spent:.0f} s)", flush=True)
        return found

    jobs = [(setup, side, share) for share in shares for setup in setups for side in sides]
    found: dict[tuple[str, str], dict[str, Test]] = {(setup, side.name): {} for setup in setups for side in sides}
    with ThreadPoolExecutor(told.jobs) as at_once:
        for (setup, side, _), tests in zip(jobs, at_once.map(one, jobs), strict=True):
            found[setup, side.name].update(tests)
    if told.side:
        return alone(found)
    runs = {setup: (found[setup, STOCK.name], found[setup, OURS.name]) for setup in setups}
    listed = known.differences()
    # A busy machine makes a test fail that is sound: what seems worse than stock is run once more, on its own.
    worse = table.unlisted(runs, listed)
    for setup in runs:
        names = tuple(name for of, name in worse if of == setup and name in runs[setup][1] and "::" in name)
        if names:
            runs[setup][1].update(run(OURS, setup, how, names, "again"))
    return verdict(runs, listed)


def verdict(runs: table.Runs, listed: Sequence[known.Difference]) -> int:
    print("\n".join(table.lines(runs, listed)))
    missing = table.unlisted(runs, listed)
    print(f"\npass on stock, not on celeriac, and not listed: {len(missing)}")
    ran = all(any(test.how is How.passed for test in tests.values()) for both in runs.values() for tests in both)
    return 1 if missing or not ran else 0


def alone(found: dict[tuple[str, str], dict[str, Test]]) -> int:
    failed = 0
    for (setup, side), tests in found.items():
        for name, test in tests.items():
            if test.how is How.failed:
                failed += 1
                print(f"{setup} on {side}: {name}: {(test.why.splitlines() or [''])[0][:200]}")
    return 1 if failed else 0


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m interop.celery_suite", description=__doc__)
    parser.add_argument("tests", nargs="*", help="files or tests, as test_canvas.py::test_chain; all without")
    parser.add_argument("--setup", action="append", choices=SETUPS, help="this set-up alone")
    parser.add_argument("--side", choices=(STOCK.name, OURS.name), help="this side alone: its failures, no table")
    parser.add_argument("-k", help="pytest's -k")
    parser.add_argument("--once", action="store_true", help="do not run again what the suite marks as flaky")
    parser.add_argument("--seconds", type=float, default=240, help="what one test may take")
    parser.add_argument("--whole", type=float, default=3600, help="what one run may take")
    parser.add_argument("--last", action="store_true", help="run nothing: the table of what was run last")
    parser.add_argument("--jobs", type=int, default=4, help="runs at the same time, each with servers of its own")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
