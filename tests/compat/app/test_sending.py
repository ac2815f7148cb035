"""What is sent is what stock Celery sends: each call through both, on a real Redis and a real RabbitMQ, byte for byte.

Ids are told apart by the order in which they appear; times and the sender's process are masked.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests import servers

SENDER = Path(__file__).with_name("sender.py")
Job = dict[str, Any]

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
MASKS = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d)?"), "TIME"),
    (re.compile(r"gen\d+@[\w.-]+"), "ORIGIN"),
    (re.compile(r'"(timestamp|pid|clock)\\*": [\d.]+'), r'"\1": 0'),
)
BODY = re.compile(r'\\"body\\": \\"([A-Za-z0-9+/=]+)\\"')

CALLS = """
T.add.delay(2, 2)
T.add.delay(2, y=3, z='ü')
T.add.delay()
T.add.apply_async()
T.add.apply_async((1,), {'y': 2})
T.add.apply_async([1], dict(y=[1, 2, {'a': None}]))
T.add.apply_async((1,), countdown=10)
T.add.apply_async((1,), countdown=0)
T.add.apply_async((1,), eta=datetime.datetime(2030, 1, 1, 12, tzinfo=datetime.timezone.utc))
T.add.apply_async((1,), eta=datetime.datetime(2030, 1, 1, 12))
T.add.apply_async((1,), eta='2030-01-01T12:00:00+00:00')
T.add.apply_async((1,), expires=60)
T.add.apply_async((1,), expires=1.5)
T.add.apply_async((1,), expires=-5)
T.add.apply_async((1,), task_id='my-own-id')
T.add.apply_async((1,), link=T.add.s(1))
T.add.apply_async((1,), link=[T.add.s(1), T.late.s(2)], link_error=T.quiet.s())
T.add.apply_async((1,), shadow='other')
T.add.apply_async((1,), retries=3)
T.add.apply_async((1,), headers={'x': 1, 'lang': 'xx'})
T.add.apply_async((1,), priority=7)
T.add.apply_async((1,), priority=0)
T.add.apply_async((1,), priority=None)
T.add.apply_async((1,), queue='made')
T.add.apply_async((1,), queue='made', priority=5)
T.add.apply_async((1,), routing_key='made')
T.add.apply_async((1,), exchange='', routing_key='celery')
T.add.apply_async((1,), serializer='json', compression='zlib')
T.add.apply_async((1,), compression='bzip2')
T.add.apply_async((1,), serializer='pickle')
T.add.apply_async((1,), serializer='yaml')
T.add.apply_async((1,), serializer='msgpack')
T.add.apply_async((1,), ignore_result=True)
T.add.apply_async((1,), ignore_result=False)
T.add.apply_async((1,), time_limit=5, soft_time_limit=3)
T.add.apply_async((1,), time_limit=None)
T.add.apply_async((1,), reply_to='somewhere')
T.add.apply_async((1,), root_id='r', parent_id='p')
T.add.apply_async((1,), group_id='g', group_index=3)
T.add.apply_async((1,), chord=T.add.s(1))
T.add.apply_async((1,), chain=[T.add.s(2), T.late.s(1)])
T.add.apply_async((1,), delivery_mode=1)
T.add.apply_async((1,), delivery_mode='transient')
T.add.apply_async((1,), delivery_mode='persistent')
T.add.apply_async((1,), retry=False)
T.add.apply_async((1,), retry=True, retry_policy={'max_retries': 1})
T.add.apply_async((1,), argsrepr='(***)', kwargsrepr='{***}')
T.add.apply_async((1,), origin='me@here')
T.add.apply_async((1,), stamped_headers=['color'], color='red')
T.add.apply_async((1,), stamped_headers=['a', 'b'], a=1, b=[2], headers={'h': 1})
T.add.apply_async((1,), replaced_task_nesting=2)
T.add.apply_async((1,), add_to_parent=False)
T.add.apply_async((1,), app_id='mine', message_id='m1')
T.add.apply_async((datetime.datetime(2020, 1, 1), b'bytes', 1.5, 10**20), {'d': datetime.date(2020, 1, 1)})
T.add.apply_async(('x' * 2000,), {'y': list(range(500))})
T.add.apply_async((float('nan'), float('inf')))
T.late.delay(1)
T.late.apply_async((1,), priority=9, queue='made')
T.late.apply_async((1,), time_limit=99)
T.quiet.delay(1)
T.quiet.apply_async((1,), serializer='json', compression=None)
T.short.delay(1)
T.short.apply_async((1,), expires=5, delivery_mode=2)
app.send_task('wire.add', (1, 2))
app.send_task('unknown.task', [1], {'a': 1})
app.send_task('wire.late', (1,))
app.send_task('wire.late', (1,), time_limit=None, queue='made')
app.send_task('wire.short', (1,))
app.send_task('wire.short', (1,), expires=None)
app.send_task('wire.quiet', (1,))
app.send_task('a.b', countdown=5, queue='made')
app.send_task('a.b', exchange='made', routing_key='made', queue='made')
app.send_task('a.b', task_id='one', root_id='two', parent_id='three', group_id='four', shadow='five')
app.send_task('a.b', route_name='other.name')
app.send_task('a.b', queue=Queue('q1', Exchange('q1'), routing_key='q1'))
app.send_task('a.b', producer=app.amqp.Producer(app.connection_for_write()))
app.send_task('a.b', connection=app.connection_for_write())
app.send_task('a.b', retry=False, queue='q1')
app.amqp.queues; T.add.delay(1)
app.amqp.queues.add('q1'); T.add.apply_async((1,), queue='q1')
app.conf.task_default_queue = 'q2'; T.add.delay(1)
T.add.s(1).apply_async()
T.add.signature((1,), countdown=3, queue='q3').apply_async()
T.add.apply_async(5)
T.add.apply_async((1,), 5)
T.add.apply_async((1,), countdown=-(2**31) - 1)
T.add.apply_async((object(),))
T.add.apply_async((1,), serializer='nope')
""".strip().splitlines()

ROUTED = "[Queue('q1', Exchange('q1'), routing_key='q1'), Queue('q2', Exchange('t', 'topic'), routing_key='a.#')]"
MANY = "{'q1': {'exchange': 'q1'}, 'q3': {'exchange': 'f', 'exchange_type': 'fanout', 'binding_key': 'x'}}"
BOUND = "[Queue('q1', [binding(Exchange('t2', 'topic'), 'a.*'), binding(Exchange('t2', 'topic'), 'b')])]"
PRIO = "[Queue('prio', Exchange('prio'), routing_key='prio', queue_arguments={'x-max-priority': 9})]"
CONFIGURED: list[tuple[str, dict[str, Any]]] = [
    ("T.add.delay(1)", {"task_protocol": 1}),
    ("T.add.apply_async((1,), {'y': 1}, countdown=3, expires=9, link=T.add.s(2), group_id='g')", {"task_protocol": 1}),
    ("T.add.delay(1)", {"task_default_queue": "q1"}),
    ("T.add.delay(1)", {"task_default_delivery_mode": 1}),
    ("T.add.delay(1)", {"task_default_priority": 4}),
    ("T.add.delay(1)", {"task_serializer": "pickle", "task_compression": "zlib"}),
    ("T.add.apply_async((1,), expires=60, countdown=5)", {"timezone": "Europe/Vienna"}),
    ("T.add.apply_async((1,), expires=60, countdown=5)", {"timezone": "Europe/Vienna", "enable_utc": False}),
    ("T.add.delay([[[[[1]]]]])", {"task_repr_maxlevels": 1}),
    ("T.add.delay(1)", {"task_routes": "{'wire.add': 'q1'}"}),
    ("T.add.delay(1)", {"task_routes": "{'wire.*': {'queue': 'q1', 'priority': 4}}"}),
    ("T.add.apply_async((1,), queue='q2')", {"task_routes": "{'wire.*': {'queue': 'q1', 'priority': 4}}"}),
    ("T.add.delay(1)", {"task_routes": "[lambda name, args, kwargs, options, task=None, **kw: {'queue': 'q2'}]"}),
    ("T.add.delay(1)", {"task_routes": "lambda name, args, kwargs, options, task=None, **kw: None"}),
    ("T.add.delay(1)", {"task_default_queue": "q1", "task_queues": ROUTED}),
    ("T.add.apply_async((1,), queue='q2', routing_key='a.b')", {"task_default_queue": "q1", "task_queues": ROUTED}),
    ("T.add.apply_async((1,), queue='q2')", {"task_default_queue": "q1", "task_queues": ROUTED}),
    ("T.add.apply_async((1,), exchange='t', routing_key='a.c')", {"task_default_queue": "q1", "task_queues": ROUTED}),
    ("T.add.apply_async((1,), queue='other')", {"task_queues": ROUTED, "task_create_missing_queues": False}),
    ("T.add.apply_async((1,), queue='q3')", {"task_queues": MANY, "task_default_queue": "q1"}),
    ("T.add.apply_async((1,), queue='q1')", {"task_queues": MANY, "task_default_queue": "q1"}),
    ("T.add.apply_async((1,), queue='prio', priority=8)", {"task_queues": PRIO}),
    ("T.add.apply_async((1,), queue='q1')", {"task_queue_max_priority": 5}),
    ("T.add.apply_async((1,), queue='q1')", {"task_create_missing_queue_exchange_type": "topic"}),
    ("T.add.apply_async((1,), queue='q1')", {"task_create_missing_queue_type": "quorum"}),
    ("T.add.apply_async((1,), queue='q1', routing_key='a.x', exchange='t2')", {"task_queues": BOUND}),
    ("T.add.delay(1)", {"task_default_exchange": "ex", "task_default_routing_key": "rk"}),
    ("T.add.delay(1)", {"task_default_exchange_type": "topic"}),
    ("T.add.delay(1)", {"task_send_sent_event": True}),
    ("T.add.delay(1)", {"task_send_sent_event": True, "task_protocol": 1}),
    ("T.add.apply_async((1,), queue='q1', countdown=4)", {"task_send_sent_event": True, "event_exchange": "celeryev"}),
    ("T.add.apply_async((1,), priority=3)", {"task_inherit_parent_priority": True}),
    ("T.add.delay(1)", {"task_ignore_result": True}),
]
WATCHED: list[tuple[str, dict[str, Any]]] = [
    ("T.add.delay(1)", {}),
    ("T.add.apply_async((1,), queue='q1', countdown=4, headers={'a': 1}, priority=2)", {}),
    ("T.add.delay(1)", {"task_protocol": 1}),
    ("T.late.apply_async((1,), retry_policy={'max_retries': 9})", {}),
    ("app.send_task('a.b', (1,), {'k': 2}, stamped_headers=['s'], s=1)", {}),
    ("T.add.apply_async((1,), queue='q2')", {"task_default_queue": "q1", "task_queues": ROUTED}),
    ("app.send_task('a.b', connection=app.connection_for_write(), shadow='x')", {}),
    ("T.add.delay(1)", {"task_send_sent_event": True}),
]

# What py-amqp raises as it comes is an OperationalError of ours, as the documentation says of sends.
_REFUSALS = {"NotFound": "OperationalError", "PreconditionFailed": "OperationalError"}


def jobs(*, watched: bool = True) -> list[Job]:
    made: list[Job] = [{"call": call} for call in CALLS]
    made += [{"call": call, "conf": conf} for call, conf in CONFIGURED]
    return made + [{"call": call, "conf": conf, "watch": True} for call, conf in WATCHED]


def run(command: Sequence[str], url: str, todo: list[Job]) -> list[Any]:
    done = subprocess.run(
        [*command[:1], str(SENDER), url, *command[1:]],
        input=json.dumps(todo),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: list[Any] = json.loads(done.stdout)
    return found


def masked(outcome: dict[str, Any]) -> str:
    """As text, with the bodies in the clear."""
    text = json.dumps(outcome, indent=0, sort_keys=True)
    text = BODY.sub(lambda found: "BODY " + repr(base64.b64decode(found[1])), text)
    for pattern, mask in MASKS:
        text = pattern.sub(mask, text)
    seen: dict[str, str] = {}
    return UUID.sub(lambda found: seen.setdefault(found[0], f"id{len(seen)}"), text)


def compare(stock: Path, url: str, todo: list[Job]) -> list[str]:
    """What differs."""
    theirs, ours = run([str(stock)], url, todo), run([sys.executable, "ours"], url, todo)
    different = []
    for job, their, our in zip(todo, theirs, ours, strict=True):
        if "error" in their:
            kind = their["error"] = _REFUSALS.get(their["error"][0], their["error"][0])
            our["error"] = kind if kind in our.get("error", ()) else our.get("error")  # ours may be a kind of theirs
        if masked(their) != masked(our):
            different.append(f"{job}\n--- stock\n{masked(their)}\n--- ours\n{masked(our)}")
    return different


def test_messages_on_redis(redis_server: servers.RedisServer, stock_python: Path) -> None:
    todo = jobs()
    assert len(todo) > 120
    different = compare(stock_python, redis_server.url, todo)
    assert not different, "\n\n".join(different[:3])


def test_messages_on_rabbitmq(rabbitmq_server: servers.RabbitServer, stock_python: Path) -> None:
    different = compare(stock_python, rabbitmq_server.url, jobs())
    assert not different, "\n\n".join(different[:3])
