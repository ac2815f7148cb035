"""Between the protocols: nothing is lost in silence."""

from __future__ import annotations

import json

from hypothesis import given

from celeriac.protocol.wire.message import Task, build
from celeriac.protocol.wire.message_reading import read_task
from celeriac.protocol.wire.message_v1 import to_v1, to_v2
from tests.protocol.wire.test_message_reading import SIG, tasks


def step(name: str, **options: object) -> dict[str, object]:
    return {**SIG, "task": name, "options": options}


def test_to_v2_shows_the_arguments_as_a_stock_worker_does() -> None:
    old = Task("add", "1", ["x" * 2000, "y"], {"a": b"1"}, group="g", protocol=1)
    new = to_v2(old)
    assert new.protocol == 2
    assert new.argsrepr == f"['{'x' * 2000}', 'y']"
    assert new.kwargsrepr == "{'a': b'1'}"
    assert (new.group, build(new).headers["root_id"]) == ("g", "1")
    assert to_v2(new) is new


def test_a_chain_becomes_callbacks_within_callbacks() -> None:
    chain = [step("last"), step("middle", link=SIG), step("next", link=[SIG], task_id="n")]
    task, lost = to_v1(Task("first", "1", callbacks=[SIG], chain=chain))
    assert lost == []
    assert task.chain is None
    assert task.callbacks == [
        SIG,
        step("next", link=[SIG, step("middle", link=[SIG, step("last")])], task_id="n"),
    ]
    assert chain == [step("last"), step("middle", link=SIG), step("next", link=[SIG], task_id="n")]
    body = json.loads(build(task).body)
    assert body["callbacks"] == task.callbacks


def test_steps_without_options_are_linked_too() -> None:
    task, _ = to_v1(Task("first", "1", chain=[{"task": "b"}, {"task": "a"}]))
    assert task.callbacks == [{"task": "a", "options": {"link": [{"task": "b"}]}}]


def test_what_does_not_fit_is_named() -> None:
    full = Task(
        *("add", "1"),
        shadow="s",
        parent_id="p",
        root_id="r",
        ignore_result=False,
        replaced_task_nesting=1,
        stamped_headers=["a"],
        stamps={"a": 1},
    )
    task, lost = to_v1(full)
    assert set(lost) == {
        *("shadow", "parent_id", "root_id", "ignore_result", "replaced_task_nesting", "stamped_headers", "stamps")
    }
    assert task.protocol == 1
    assert to_v1(Task("add", "1", root_id="1"))[1] == []
    assert to_v1(task) == (task, [])


@given(tasks)
def test_what_is_not_named_arrives(task: Task) -> None:
    old, lost = to_v1(task)
    back = to_v2(read_task(build(old)))
    for field in ("name", "id", "args", "kwargs", "errbacks", "chord", "eta", "expires", "group", "group_index"):
        assert getattr(back, field) == getattr(task, field)
    for field in ("shadow", "parent_id", "ignore_result", "replaced_task_nesting"):
        assert (getattr(back, field) != getattr(task, field)) == (field in lost)
