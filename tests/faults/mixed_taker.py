"""A celeriac taker that records each message it works off, beside stock workers of the same queue.

BROKER=... LEDGER=redis://... python mixed_taker.py
"""

from __future__ import annotations

import json
import os
import time

from celeriac.worker import brokers
from celeriac.worker.brokers.base import Queue, Verdict
from celeriac.worker.redis_link import connect
from celeriac.worker.redis_place import parse

if __name__ == "__main__":
    broker = brokers.connect(os.environ["BROKER"], json.loads(os.environ["OPTIONS"]))
    ledger = connect(parse(os.environ["LEDGER"]))
    broker.listen([Queue("mixed", "mixed", routing_key="mixed")], credit=8)
    while True:
        for each in broker.take(4, 1):
            time.sleep(0.003)
            (number,) = json.loads(each.message.body)[0]
            ledger.call("RPUSH", "ledger", f"celeriac:{number}:{int(each.redelivered)}")
            broker.settle([(each, Verdict.ACK)])
        broker.tend(time.time())
