"""What `rival_NAME.py` does as a program: send so many, one by one, and print the CPU seconds that this took."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable


def main(add: Callable[[int, int], object], mark: Callable[[str, int], object]) -> None:
    count, ledger = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    if ledger:
        for number in range(count):
            mark(ledger, number)
        print(0.0)
        return
    add(1, 1)
    before = time.process_time()
    for number in range(count):
        add(number, number)
    print(time.process_time() - before)


def note(path: str, number: int) -> None:
    """Leaves a line: for the run that proves that each task ran once."""
    with open(path, "ab", buffering=0) as ledger:  # noqa: PTH123 - one write, at the end of the file
        ledger.write(b"%d\n" % number)
