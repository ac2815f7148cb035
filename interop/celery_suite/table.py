"""What the runs have shown: a table of passed, failed and skipped per file, and each test that stock alone passes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from interop.celery_suite.known import Difference
from interop.celery_suite.runs import How, Tests

Runs = Mapping[str, tuple[Tests, Tests]]  # by setup: stock's and ours
COLUMNS = (How.passed, How.failed, How.skipped)


def worse(stock: Tests, ours: Tests) -> list[str]:
    """What passes on stock and not on ours."""
    return [
        name
        for name, test in stock.items()
        if test.how is How.passed and (name not in ours or ours[name].how is not How.passed)
    ]


def lines(runs: Runs, known: Sequence[Difference]) -> Iterator[str]:
    for setup, (stock, ours) in runs.items():
        yield f"\n{setup:46}{'stock':^24}  {'celeriac':^24}"
        yield f"{'':46}" + "  ".join("".join(f"{how.value:>8}" for how in COLUMNS) for _ in (stock, ours))
        files = sorted({_file(name) for name in (*stock, *ours)})
        for file in files:
            yield f"{file:46}{_counts(stock, file)}  {_counts(ours, file)}"
        yield f"{'all':46}{_counts(stock)}  {_counts(ours)}"
        for name in worse(stock, ours):
            yield f"  {name}: {_verdict(setup, name, ours, known)}"


def unlisted(runs: Runs, known: Sequence[Difference]) -> list[tuple[str, str]]:
    return [
        (setup, name)
        for setup, (stock, ours) in runs.items()
        for name in worse(stock, ours)
        if not any(difference.covers(setup, name) for difference in known)
    ]


def _verdict(setup: str, name: str, ours: Tests, known: Sequence[Difference]) -> str:
    for difference in known:
        if difference.covers(setup, name):
            return f"listed: {difference.reason}"
    if name not in ours:
        return "NOT RUN on celeriac"
    why = ours[name].why.splitlines() or [""]
    return f"{ours[name].how.value.upper()}: {why[0][:160]}"


def _counts(tests: Tests, file: str | None = None) -> str:
    seen = Counter(test.how for name, test in tests.items() if file is None or _file(name) == file)
    return "".join(f"{seen[how]:8}" for how in COLUMNS)


def _file(name: str) -> str:
    return name.partition("::")[0]
