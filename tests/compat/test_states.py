"""States, and which of two says more."""

from __future__ import annotations

import itertools
from pathlib import Path

from celeriac.compat import states
from tests.compat.stock import ask

NAMES = [*sorted(states.ALL_STATES), "REJECTED", "IGNORED", "PROGRESS"]


def test_states_are_stock_celerys(stock_python: Path) -> None:
    program = (
        "from celery import states as s\n"
        "pairs = [(s.state(a), s.state(b)) for a, b in question]\n"
        "sets = ('READY_STATES', 'UNREADY_STATES', 'EXCEPTION_STATES', 'PROPAGATE_STATES', 'ALL_STATES')\n"
        "answer = [[[a < b, a <= b, a > b, a >= b, s.precedence(a)] for a, b in pairs],"
        " {n: sorted(getattr(s, n)) for n in sets}]"
    )
    pairs = list(itertools.product(NAMES, NAMES))
    compared, sets = ask(stock_python, program, pairs)
    mine = [
        [a < b, a <= b, a > b, a >= b, states.precedence(a)]
        for a, b in ((states.state(a), states.state(b)) for a, b in pairs)
    ]
    assert mine == compared
    assert {name: sorted(getattr(states, name)) for name in sets} == sets
