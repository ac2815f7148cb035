"""What a message costs at the brokers: celeriac against kombu, Celery, redis-py and py-amqp, side by side in one run.

    python benchmarks/broker.py [--messages 2000] [--turns 4] [--json FILE] [redis] [amqp]

CPU of the client process (user + system), and Redis' own. The servers are started here. After every publishing the
queue holds exactly what was sent, after every taking nothing waits and nothing is unacknowledged. Contenders with
`-unsure` ask RabbitMQ for no confirms; redis-py, py-amqp and the bare socket send ready-made bytes and mark
the floor of the library and of the machine; what redis-py takes, nobody holds. docs/performance.md quotes this.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from contenders import BULK, ONE, TAKE, UNSURE
from duel import Contender, Figures, contenders, measured, turns

from celeriac.worker import brokers
from tests import servers

REDIS = ("celeriac", "kombu", "celery", "celery-results", "redis-py", "socket")
AMQP = ("celeriac", "kombu", "kombu-unsure", "celery", "py-amqp")
GOALS = {
    "redis": {ONE: "15, never above 25", BULK: "6, never above 10"},
    "amqp": {ONE: "10, never above 20", UNSURE: "10, never above 20"},
}


def cpu_of(server: servers.RedisServer) -> float:
    found = dict(line.split(":", 1) for line in server.call("INFO", "cpu").decode().splitlines() if ":" in line)
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])


def compare(
    each: Contender,
    messages: int,
    figures: Figures,
    size: Callable[[str], int],
    empty: Callable[[str], object],
    server_cpu: Callable[[], float] | None,
) -> None:
    """Each way of publishing that the contender has, and a taking of what it published."""
    queue = f"q-{each.name}"

    def run(row: str, left: int) -> None:
        figures.add(row, each.name, *measured(each, row, messages, server_cpu))
        # Without confirms a message may still be on its way.
        end = time.monotonic() + 5
        while (found := size(queue)) != left and time.monotonic() < end:
            time.sleep(0.01)
        assert found == left, f"{each.name}, {row}: there are {found}, not {left}"

    for row in (ONE, BULK, UNSURE):
        if row in each.rows:
            run(row, messages)
            if TAKE in each.rows:
                run(TAKE, 0)
            else:
                empty(queue)


def all_turns(
    names: list[Contender], messages: int, count: int, run: Callable[[Contender, int, Figures], None]
) -> Figures:
    figures = Figures()
    for each in names:
        run(each, 100, Figures())  # to get warm
    for each in turns(count, names):
        run(each, messages, figures)
    return figures


def on_redis(messages: int, count: int) -> Figures:
    with servers.redis_server() as server, contenders(REDIS, server.url) as names:

        def size(queue: str) -> int:
            """What waits, and what is held by anybody."""
            waiting: int = server.call("LLEN", queue)
            held: int = server.call("HLEN", "unacked")
            return waiting + held

        def run(each: Contender, messages: int, figures: Figures) -> None:
            compare(each, messages, figures, size, lambda queue: server.call("DEL", queue), lambda: cpu_of(server))

        return all_turns(names, messages, count, run)


def on_amqp(messages: int, count: int) -> Figures:
    with servers.rabbitmq_server() as server:
        asked = brokers.connect(server.url, {}, 10)
        with contenders(AMQP, server.url) as names:

            def run(each: Contender, messages: int, figures: Figures) -> None:
                compare(each, messages, figures, asked.size, asked.purge, None)

            figures = all_turns(names, messages, count, run)
        # All have left: what was unacknowledged would be back in its queue.
        left = {name: asked.size(f"q-{name}") for name in AMQP}
        asked.close()
        assert not any(left.values()), f"these were not acknowledged: {left}"
        return figures


KINDS: dict[str, Callable[[int, int], Figures]] = {"redis": on_redis, "amqp": on_amqp}
TITLES = {"redis": "Redis", "amqp": "RabbitMQ"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    told: dict[str, Any] = {"messages": asked.messages, "turns": asked.turns}
    for kind in asked.kinds:
        figures = KINDS[kind](asked.messages, asked.turns)
        print("\n".join(figures.table(TITLES[kind], GOALS[kind])), flush=True)
        told[kind] = figures.data()
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
