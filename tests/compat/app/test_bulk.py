"""Many at once: what arrives is what calls of their own would have sent, in their order."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from kombu.exceptions import EncodeError

from celeriac.compat import Celery
from celeriac.compat.app import bulk
from celeriac.compat.canvas import chain, chord, group
from celeriac.compat.signals import before_task_publish
from celeriac.worker.brokers import memory

STORE = "bulk"


@pytest.fixture
def app() -> Iterator[Any]:
    made = Celery("bulk", broker=f"memory://{STORE}", set_as_current=False, fixups=[])

    @made.task(name="bulk.add", shared=False)
    def add(x: int, y: int = 0) -> int:
        return x + y

    @made.task(name="bulk.far", shared=False)
    def far(x: int) -> int:
        return x

    made.finalize()
    yield made
    made.close()


def taken() -> list[dict[str, Any]]:
    """What lies in the broker, which is empty then: headers, and the arguments beside them."""
    store = memory.store_named(STORE)
    found = []
    for name in list(store.lines):
        while (waiting := store.lines[name].next()) is not None:
            message = waiting.message
            args, kwargs, embed = json.loads(message.body)
            found.append({**message.headers, "queue": name, "args_": args, "kwargs_": kwargs, "embed": embed})
    return found


def test_a_group_is_sent_like_its_calls(app: Any) -> None:
    add = app.tasks["bulk.add"]
    result = group(add.s(number, y=number) for number in range(1200)).apply_async()
    found = taken()
    assert [each["args_"] for each in found] == [[number] for number in range(1200)]
    assert [each["id"] for each in found] == [each["root_id"] for each in found] == [each.id for each in result]
    assert [each["group_index"] for each in found] == [*range(1200)]
    assert {each["group"] for each in found} == {result.id}
    assert found[7]["argsrepr"] == "(7,)"
    assert found[7]["kwargsrepr"] == "{'y': 7}"


def test_what_is_not_plain_takes_its_place_among_the_others(app: Any) -> None:
    add, far = app.tasks["bulk.add"], app.tasks["bulk.far"]
    members = [
        add.s(0),
        far.s(1),
        chain(add.s(2), add.s(9)),
        add.s(3).set(countdown=5),
        group(add.s(4), add.s(5)),
        add.s(6),
    ]
    result = group(members).apply_async()
    found = taken()
    assert [(each["task"], each["args_"]) for each in found] == [
        ("bulk.add", [0]),
        ("bulk.far", [1]),
        *(("bulk.add", [number]) for number in (2, 3, 4, 5, 6)),
    ]
    assert found[2]["embed"]["chain"][0]["args"] == [9]
    assert found[3]["eta"]
    assert {each["group"] for each in found if each["args_"] != [2]} == {result.id}
    assert [each["group_index"] for each in found if each["args_"] in ([0], [1], [3], [6])] == [0, 1, 3, 5]
    assert len(result.results) == 7


@pytest.mark.parametrize("heard", [False, True])
def test_a_chord_s_members_are_sent_like_their_calls(heard: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """All at once, unless somebody hears of each: the same messages either way."""
    app = Celery("bulk", broker=f"memory://{STORE}", backend="memory://bulk", set_as_current=False, fixups=[])

    @app.task(name="bulk.add", shared=False)
    def add(x: int, y: int = 0) -> int:
        return x + y

    @app.task(name="bulk.far", shared=False)
    def far(x: int) -> int:
        return x

    app.finalize()
    short, fill = [], bulk.Batch._fill
    monkeypatch.setattr(bulk.Batch, "_fill", lambda batch, *args: short.append(1) or fill(batch, *args))

    def hear(**_: Any) -> None:
        """Nothing is short then."""

    if heard:
        before_task_publish.connect(hear)
    try:
        members = [*(add.s(number, y=1) for number in range(60)), far.s(60).set(countdown=9), add.s(61)]
        result = chord(members)(far.s().set(queue="bodies"))
        found = taken()
    finally:
        before_task_publish.disconnect(hear)
        app.close()
    assert len(short) == (0 if heard else 60), (
        "but for the first, whose body may be met once, and the last, after the store"
    )
    assert [each["args_"] for each in found] == [[number] for number in range(62)]
    assert [each["group_index"] for each in found] == [*range(62)]
    (group_id,) = {each["group"] for each in found}
    assert group_id == result.parent.id
    assert [each["id"] for each in found] == [each.id for each in result.parent]
    bodies = [each["embed"]["chord"] for each in found]
    assert all(body == bodies[0] for body in bodies)
    assert (bodies[0]["task"], bodies[0]["options"]["task_id"]) == ("bulk.far", result.id)
    assert bodies[0]["options"]["queue"] == "bodies"
    assert bool(found[60]["eta"]), "its own options hold"


@pytest.mark.parametrize("many", ["starmap", "send_many", "group"])
def test_what_came_before_a_mistake_is_sent(app: Any, many: str) -> None:
    add = app.tasks["bulk.add"]

    def send(*calls: tuple[Any, ...]) -> None:
        if many == "starmap":
            add.starmap_async(calls)
        elif many == "send_many":
            app.send_many((add, args) for args in calls)
        else:
            group(add.s(*args) for args in calls).apply_async()

    with pytest.raises(EncodeError):
        send((1,), (2,), (object(),), (3,))
    assert [each["args_"] for each in taken()] == [[1], [2]]
    with pytest.raises(TypeError):
        send((1,), (1, 2, 3))
    assert [each["args_"] for each in taken()] == [[1]]


def test_a_replaced_apply_async_sees_every_call(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add, seen = app.tasks["bulk.add"], []
    original = type(add).apply_async

    def tool(self: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        seen.append(tuple(args))
        return original(self, args, kwargs, **options)

    add.delay(0)
    monkeypatch.setattr("celeriac.compat.app.task.Task.apply_async", tool)
    group(add.s(number) for number in range(3)).apply_async()
    add.starmap_async([(3,), (4,)])
    app.send_many([add.s(5), (add, (6,))])
    assert seen == [(number,) for number in range(7)]
    assert len(taken()) == 8


def test_signatures_of_a_task_say_what_signature_says(app: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    add = app.tasks["bulk.add"]
    quick, usual = add.s(1, y=2), add.signature((1,), {"y": 2})
    assert (quick, quick.type, quick.app, list(quick)) == (usual, add, app, list(usual))
    monkeypatch.setattr(type(add), "signature", lambda self, args, kwargs: (args, kwargs))
    assert add.s(1, y=2) == ((1,), {"y": 2})


@pytest.mark.parametrize("canvas", ["group", "set", "chord"])
def test_what_a_slow_iterator_has_given_is_not_held_back(app: Any, canvas: str) -> None:
    """A member that is ready does not wait for those that are not."""
    add = app.tasks["bulk.add"]
    before: list[int] = []

    def members() -> Iterator[Any]:
        for number in range(5):
            time.sleep(2 * bulk.HELD)
            before.append(len(taken()))
            yield add.s(number)

    app.conf.result_backend = "memory://slow"
    if canvas == "chord":
        chord(members(), add.s()).apply_async()
    else:
        group(members()).apply_async(**({"countdown": 9} if canvas == "set" else {}))
    assert sum(before) >= 3  # one may be pulled ahead, to know which is the last
