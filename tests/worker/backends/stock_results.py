"""Stock Celery's result backend, told what to do line by line. Run by Celery's own python, never imported.

Arguments: the backend's URL, and JSON of further settings. Each line in is a JSON list, a method below and its
arguments; each line out is what it returned.
"""

import json
import sys
import threading

from celery import Celery, signature
from celery.app.task import Context
from celery.result import AsyncResult, GroupResult

APP = Celery("peer", broker=sys.argv[1], backend=sys.argv[1], set_as_current=True)
APP.conf.update(json.loads(sys.argv[2]))


def store(task_id, state, value, traceback=None):
    value = ValueError(*value) if state in ("FAILURE", "RETRY", "REVOKED") else value
    APP.backend.store_result(task_id, value, state, traceback=traceback)


def meta(task_id):
    result = AsyncResult(task_id)
    value = result.result
    value = [type(value).__name__, list(value.args)] if isinstance(value, Exception) else value
    return [result.state, value, result.traceback, [child.id for child in result.children or ()]]


def get(task_id, timeout):
    return AsyncResult(task_id).get(timeout=timeout)


def save_group(group_id, ids):
    GroupResult(group_id, [AsyncResult(each) for each in ids]).save()


def restore_group(group_id):
    group = GroupResult.restore(group_id)
    return group and [each.id for each in group.results]


def chord_start(group_id, size):
    APP.backend.set_chord_size(group_id, size)


def chord_parts(group_id, queue, numbers, times):
    """Count these members, each so many times, each in a thread of its own; a complete chord goes to the queue."""
    body = signature("body", queue=queue)

    def part(number):
        for _ in range(times):
            request = Context(id=f"t{number}-{group_id}", group=group_id, group_index=number, chord=body)
            APP.backend.on_chord_part_return(request, "SUCCESS", number)

    threads = [threading.Thread(target=part, args=(number,)) for number in numbers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


for line in sys.stdin:
    name, *args = json.loads(line)
    print(json.dumps(globals()[name](*args)), flush=True)
