"""One side of the comparison of `State`: random events by their seed, and a digest of what becomes of each sequence.

Law: runs alike on stock Celery and on celeriac, which stands in for `celery` there: `python state_side.py FROM TO`.
Prints one line a sequence. With a third argument it prints the whole picture of the first one instead.
"""

import gc
import hashlib
import json
import logging
import pickle
import random
import sys

try:
    import celery  # noqa: F401 - stock, where it is installed
except ModuleNotFoundError:
    import celeriac

    celeriac.install()

from celery.events.state import State

logging.disable(logging.CRITICAL)

SUBJECTS = ("sent", "received", "started", "succeeded", "failed", "retried", "revoked", "rejected", "odd")
HOSTS = ("a@x", "b@x", "c@y")
NAMES = ("t.add", "t.mul", None)
T0 = 1_700_000_000.0


def random_event(rng):
    """One event. The clocks and times are as wrong as those of real clusters, and worse."""
    hostname = rng.choice(HOSTS)
    timestamp = T0 + rng.randrange(400) / 4
    event = {
        "hostname": hostname,
        "utcoffset": 0,
        "pid": rng.randrange(3),
        "clock": rng.choice((0, None, *range(1, 30))),
    }
    event["timestamp"] = timestamp
    event["local_received"] = rng.choice((timestamp, timestamp + 0.5, timestamp + 30, T0 + rng.randrange(100), None))
    roll = rng.random()
    if roll < 0.2:
        event["type"] = "worker-" + rng.choice(("online", "heartbeat", "heartbeat", "offline", "elect"))
        if rng.random() < 0.8:
            event.update(freq=rng.choice((2, 2.0, 60)), active=rng.randrange(4), processed=rng.randrange(99))
        if rng.random() < 0.1:
            event.pop(rng.choice(("hostname", "timestamp", "local_received")))
        return event
    if roll < 0.25:
        event["type"] = rng.choice(("other-thing", "custom", "plugged-in"))
        return event
    subject = rng.choice(SUBJECTS)
    event["type"] = "task-" + subject
    event["uuid"] = f"id{rng.randrange(9)}"
    if event["timestamp"] and rng.random() < 0.3:
        event["parent_id"] = rng.choice((None, f"id{rng.randrange(9)}"))
        event["root_id"] = f"id{rng.randrange(9)}"
    if subject in ("sent", "received") or rng.random() < 0.2:
        name = rng.choice(NAMES)
        if name:
            event["name"] = name
        event.update(args="(1,)", kwargs="{}", retries=rng.randrange(3), eta=None, expires=None)
    if subject == "succeeded":
        event.update(result=str(rng.randrange(9)), runtime=rng.random())
    if subject == "failed":
        event.update(exception="E()", traceback="T")
    if subject == "sent":
        event.update(queue="q", exchange="", routing_key="q")
    event["extra"] = rng.randrange(5)
    return event


def shown(value):
    if hasattr(value, "hostname") and hasattr(value, "heartbeats"):
        return f"worker {value.hostname}"
    if hasattr(value, "uuid"):
        return f"task {value.uuid}"
    return value


def picture_of_task(task):
    fields = {name: shown(value) for name, value in task.as_dict().items()}
    fields["children"] = sorted(fields["children"])
    own = {k: shown(v) for k, v in vars(task).items() if k not in ("cluster_state", "_serializer_handlers", "children")}
    return [
        fields,
        sorted(own.items(), key=str),
        repr(task),
        task.ready,
        shown(task.origin),
        shown(task.parent),
        task.info(),
    ]


def picture_of_worker(worker):
    fields = {name: getattr(worker, name) for name in worker._fields}
    own = {name: value for name, value in vars(worker).items() if name != "event"}
    return [fields, sorted(own.items(), key=str), repr(worker), worker.id, worker.alive]


def picture(state):
    """All that can be seen of it."""
    gc.collect()
    return [
        repr(state),
        [[uuid, picture_of_task(task)] for uuid, task in state.tasks.items()],
        [[name, picture_of_worker(worker)] for name, worker in state.workers.items()],
        [uuid for uuid, _ in state.tasks_by_time()],
        [uuid for uuid, _ in state.tasks_by_timestamp(limit=5, reverse=False)],
        [list(map(shown, row)) for row in ((row[0], row[1], row[2]) for row in state._taskheap)],
        {name: sorted(task.uuid for task in tasks) for name, tasks in sorted(state.tasks_by_type.items())},
        {name: sorted(task.uuid for task in tasks) for name, tasks in sorted(state.tasks_by_worker.items())},
        [uuid for uuid, _ in state.tasks_by_type("t.add", limit=3)],
        [uuid for uuid, _ in state.itertasks(limit=2)],
        state.task_types(),
        [worker.hostname for worker in state.alive_workers()],
        [state.event_count, state.task_count],
    ]


def answer(came):
    if came is None:
        return None
    what, subject = came
    if isinstance(what, tuple):
        return [shown(what[0]), what[1], subject]
    return [what, subject]


def sequence(seed):
    """What becomes of the events of this seed."""
    rng = random.Random(seed)
    seen = []
    wants = {"max_tasks_in_memory": rng.choice((2, 5, 100)), "max_workers_in_memory": rng.choice((1, 100))}
    if rng.random() < 0.3:
        wants["callback"] = lambda state, event: seen.append(["called", event["type"]])
    if rng.random() < 0.4:
        wants["on_node_join"] = lambda worker: seen.append(["join", worker.hostname])
        wants["on_node_leave"] = lambda worker: seen.append(["leave", worker.hostname])
    state = State(**wants)
    if rng.random() < 0.3:
        state.handlers["plugged"] = lambda subject, event: f"handled {subject}"
    for _ in range(rng.randrange(4, 22)):
        event = random_event(rng)
        try:
            seen.append(answer(state.event(event)))
        except (KeyError, TypeError) as problem:
            seen.append(type(problem).__name__)
        seen.append(sorted(event.items(), key=str))  # it is told its state
        roll = rng.random()
        if wants["max_tasks_in_memory"] < 100:
            gc.collect()  # stock's tasks refer to themselves, and one that is forgotten stands in the way of its next
        if roll < 0.02:
            state.clear_tasks(ready=rng.random() < 0.5)
        elif roll < 0.03:
            state.clear(ready=rng.random() < 0.5)
        elif roll < 0.05:
            seen.append(shown(state.get_or_create_task(f"id{rng.randrange(9)}")[0]))
        elif roll < 0.07:
            seen.append(shown(state.get_or_create_worker(rng.choice(HOSTS), active=7)[0]))
        elif roll < 0.10:
            rebuild(state)
        if roll < 0.03:
            gc.collect()
    seen.append(picture(state))
    if not wants.keys() & {"callback", "on_node_join"} and all_timed(state):
        again = pickle.loads(pickle.dumps(state))
        again._taskheap.sort()
        seen.append(picture(again))
    return seen


def all_timed(state):
    """A task that was made and never told of has no time, and stock cannot order it."""
    return all(task.timestamp for task in state.tasks.values())


def rebuild(state):
    """Stock means to sort and sorts a copy; ours is sorted already."""
    if all_timed(state):
        state.rebuild_taskheap()
        state._taskheap.sort()


if __name__ == "__main__":
    gc.freeze()
    gc.disable()
    for seed in range(int(sys.argv[1]), int(sys.argv[2])):
        text = json.dumps(sequence(seed), default=repr)
        print(text if len(sys.argv) > 3 else hashlib.sha256(text.encode()).hexdigest()[:16])
