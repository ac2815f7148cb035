"""The app of a stock Celery worker that records each message it works off, for the mixed fleet.

BROKER=... LEDGER=redis://... celery -A mixed_app worker -P solo
"""

from __future__ import annotations

import json
import os
import time

import redis
from celery import Celery

app = Celery("mixed", broker=os.environ["BROKER"])
app.conf.update(
    task_default_queue="mixed",
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    broker_transport_options=json.loads(os.environ["OPTIONS"]),
)
ledger = redis.Redis.from_url(os.environ["LEDGER"])


@app.task(name="record", bind=True)
def record(self, number):
    time.sleep(0.003)
    again = int(bool(self.request.delivery_info["redelivered"]))
    ledger.rpush("ledger", f"stock:{number}:{again}")
