"""docs/chaos.md: what became of each fleet under the same seed, side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from interop.chaos_ledger import NOBODY, Account
from interop.peers import OURS, STOCK

TITLES = {"mixed": "celeriac and stock", "stock": "stock alone", "celeriac": "celeriac alone"}
BROKERS = {"redis": "Redis", "rabbitmq": "RabbitMQ"}
ROWS: dict[str, Callable[[Account], object]] = {
    "calls that were accepted": lambda each: each.sent,
    "calls whose producer was not told so": lambda each: each.unknown,
    "faults": lambda each: sum(each.faults.values()),
    "lost by celeriac": lambda each: _ours(each, each.missing),
    "lost by stock": lambda each: each.by(each.missing)[STOCK],
    "wrongly run twice by celeriac": lambda each: _ours(each, each.doubled),
    "wrongly run twice by stock": lambda each: each.by(each.doubled)[STOCK],
    "run again with a reason": lambda each: each.excused,
    "cut short, and the caller told so": lambda each: each.told,
    "chains, groups and chords complete": lambda each: f"{each.complete} of {each.canvases}",
    "of these, with each step and body run once": lambda each: each.once,
    "done only later than 30 s after the faults, in celeriac's hands": lambda each: _ours(each, each.late),
    "done only later than 30 s after the faults, in stock's hands": lambda each: each.by(each.late)[STOCK],
    "seconds from the last fault until the last was done": lambda each: f"{each.seconds:.0f}",
}
ABOUT = """# Chaos

`make chaos` puts a fleet under random faults for ten minutes: parents and children killed, told to leave and frozen;
connections cut, stalled, half-opened, split byte from byte and refused; broker and result store frozen, killed and
started again; messages that are no tasks put between the others. Three workers with two children each and two producers
share one broker: two workers and a producer are celeriac, the others stock Celery 5.7.0. A seed decides what happens to
whom and when; stock Celery alone goes through the same beside it. This page is written by it.

"""
READING = """
Calls are single tasks acknowledged early and late, with an ETA, with a retry, and chains, groups and chords of three
tasks acknowledged late; a step or a body ends only if it was given the results of those before it. Both Celerys have
publisher confirms, patience where they publish and store (`task_publish_retry_policy`, `result_backend_always_retry`),
a visibility timeout of 5 seconds and `worker_deduplicate_successful_tasks`. Without that patience a step of a chain
fails, and says so, when the broker is away for more than a second as the next is to be sent.

- **Lost**: 30 seconds after the last fault, and 60 later, one of its tasks has not ended, and its caller was not told
  that what ran it died. Whose loss it is: on Redis all that the server is told is written down, and says who had a
  message last. Stock kombu holds what it has taken in its own memory alone for a moment (celery#4354); and a message
  that should have followed and was never put is its sender's. On RabbitMQ it is whoever mentioned the call last in a
  log; what nobody mentioned is counted as celeriac's.
- **Done only later**: it was done in those 60 seconds. In whose hands it was at their beginning is told in the same
  way.
- **Wrongly run twice**: nothing explains the second run; it is counted as theirs who received it first. What explains
  it: the connection of who ran it first, the broker or its producer came to harm meanwhile; or the connection of who
  ran it last, since it was sent; or, where it is acknowledged late, what ran it was killed. A step of a canvas is sent
  by those that ran the steps before it: what harmed one of them or the broker since the call was made explains it too.
- **No tasks**: a name that no worker knows, a body that cannot be read or is refused, wrong arguments, no task at all.
  What ends stock's workers, as a body of two elements does, is put to ours alone ([faults](faults.md)).
"""


def written(accounts: Mapping[tuple[str, str], Account], seconds: float, seed: int) -> str:
    keys = list(accounts)
    head = ["", *(f"{TITLES[fleet]}, {BROKERS[kind]}" for fleet, kind in keys)]
    lines = [
        f"Seed {seed}, {seconds:.0f} seconds of faults for each column.",
        "",
        _row(head),
        _row(["---"] * len(head)),
    ]
    lines += [_row([title, *(str(cell(accounts[key])) for key in keys)]) for title, cell in ROWS.items()]
    kinds = sorted({kind for account in accounts.values() for kind in account.faults})
    lines += ["", "The faults:", "", _row(head), _row(["---"] * len(head))]
    lines += [_row([kind, *(str(accounts[key].faults[kind]) for key in keys)]) for kind in kinds]
    return ABOUT + "\n".join(lines) + "\n" + READING


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _ours(account: Account, names: Mapping[str, str]) -> int:
    """What nobody can be named for is counted as celeriac's."""
    return account.by(names)[OURS] + account.by(names)[NOBODY]
