"""What a result costs: storing, storing many, fetching. celeriac against Celery's Redis backend and redis-py.

    python benchmarks/store.py [--messages 2000] [--turns 4] [--json FILE]

CPU of the client process and Redis' own. redis-py does SETEX and PUBLISH of ready-made bytes in one pipeline, which
is a MULTI: no document is made and a stored SUCCESS is written over. Every result is there afterwards.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from broker import cpu_of
from contenders import FETCH, STORE, STORES
from duel import Figures, contenders, measured, turns

from tests import servers

NAMES = ("celeriac-store", "celery-store", "redis-py-store")


def compare(messages: int, count: int) -> Figures:
    figures = Figures()
    with servers.redis_server() as server, contenders(NAMES, server.url) as all_of_them:
        for each in all_of_them:
            each.do(STORE, 100)
        for each in turns(count, all_of_them):
            for row in (STORE, STORES, FETCH):
                if row not in each.rows:
                    continue
                if row != FETCH:
                    server.call("FLUSHALL")
                taken = measured(each, row, messages, lambda: cpu_of(server))
                figures.add(row, each.name.removesuffix("-store"), *taken)
                assert server.call("DBSIZE") == messages, f"{each.name}, {row}: not every result is there"
    return figures


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    found = compare(asked.messages, asked.turns)
    print("\n".join(found.table("Results in Redis", {})))
    if asked.json:
        told = {"messages": asked.messages, "turns": asked.turns, "store": found.data()}
        asked.json.write_text(json.dumps(told, indent=1) + "\n")
