"""Bootsteps: what is put together from steps, in which order they are made, started and stopped."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from celeriac.compat import bootsteps
from celeriac.compat.worker.components import Pool


class Parent:
    """What steps are applied to. `told` is what they did."""

    def __init__(self) -> None:
        self.steps: list[Any] = []
        self.told: list[str] = []


class Told(bootsteps.StartStopStep):
    def __init__(self, parent: Any, **kwargs: Any) -> None:
        parent.told.append(f"made {self.alias}{sorted(kwargs)}")

    def start(self, parent: Any) -> None:
        parent.told.append(f"start {self.alias}")

    def close(self, parent: Any) -> None:
        parent.told.append(f"close {self.alias}")

    def stop(self, parent: Any) -> None:
        parent.told.append(f"stop {self.alias}")

    def terminate(self, parent: Any) -> None:
        parent.told.append(f"terminate {self.alias}")


class First(Told):
    label = "First"


class Second(Told):
    label = "Second"
    requires = (First,)


class Left(Told):
    """Left out."""

    label = "Left"
    requires = (First,)

    def include_if(self, parent: Any) -> bool:
        return False


class Last(Told):
    label = "Last"
    last = True


def test_steps_are_made_started_and_stopped_in_their_order() -> None:
    parent = Parent()
    heard: list[str] = []
    blueprint = bootsteps.Blueprint(
        [Last, Left, Second],
        name="Test",
        on_start=lambda: heard.append("on start"),
        on_close=lambda: heard.append("on close"),
        on_stopped=lambda: heard.append("on stopped"),
    ).apply(parent, option=1)
    assert blueprint.human_state() == "initializing"
    made = [told.partition("[")[0] for told in parent.told]
    assert made[0] == "made First"
    assert sorted(made[1:3]) == ["made Left", "made Second"]
    assert made[3] == "made Last"
    assert parent.told[0].endswith("['option']")
    parent.told.clear()
    blueprint.start(parent)
    assert blueprint.human_state() == "running"
    blueprint.stop(parent)
    blueprint.stop(parent)
    blueprint.join(1)
    assert parent.told == [
        *("start First", "start Second", "start Last"),
        *("close First", "close Second", "close Last"),
        *("stop Last", "stop Second", "stop First"),
    ]
    assert heard == ["on start", "on close", "on stopped"]
    assert blueprint.human_state() == "terminating"


def test_terminating_tells_steps_so() -> None:
    parent = Parent()
    blueprint = bootsteps.Blueprint([First]).apply(parent)
    blueprint.start(parent)
    parent.told.clear()
    blueprint.stop(parent, terminate=True)
    assert parent.told == ["close First", "terminate First"]


def test_what_never_came_up_whole_is_not_stopped_step_by_step() -> None:
    class Broken(First):
        label = "Broken"

        def start(self, parent: Any) -> None:
            raise RuntimeError("no")

    parent = Parent()
    blueprint = bootsteps.Blueprint([Broken, Second]).apply(parent)
    with pytest.raises(RuntimeError, match="no"):
        blueprint.start(parent)
    while blueprint.started == len(parent.steps):  # it was the last in the order: then it counts as started
        blueprint.started = 0
    parent.told.clear()
    blueprint.stop(parent)
    assert parent.told == []
    assert blueprint.shutdown_complete.is_set()


def test_a_step_that_fails_while_it_is_stopped_costs_the_others_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Second):
        label = "Failing"

        def stop(self, parent: Any) -> None:
            raise RuntimeError("no")

    parent = Parent()
    blueprint = bootsteps.Blueprint([Failing]).apply(parent)
    blueprint.start(parent)
    blueprint.stop(parent)
    assert parent.told[-1] == "stop First"
    assert "Error on stopping Failing: RuntimeError('no')" in caplog.text


def test_steps_are_named_as_users_know_them() -> None:
    assert Pool.name == "celery.worker.components.Pool"
    assert str(Pool) == "celery.worker.components.Pool"
    assert First.name == f"{__name__}.First"
    assert repr(type("Fresh", (Told,), {"__module__": "here"})) == "step:here.Fresh{()}"
    assert bootsteps.Blueprint(["celery.worker.components:Pool"]).claim_steps() == {Pool.name: Pool}


def test_the_service_that_a_step_makes_is_started_and_stopped() -> None:
    told: list[str] = []

    class Service:
        def start(self) -> None:
            told.append("start")

        def stop(self) -> None:
            told.append("stop")

    class Serving(bootsteps.StartStopStep):
        def create(self, parent: Any) -> Any:
            return self.instantiate(Service)

        def info(self, obj: Any) -> Any:
            return {"serving": True}

    parent = Parent()
    blueprint = bootsteps.Blueprint([Serving]).apply(parent)
    blueprint.start(parent)
    assert blueprint.info(parent) == {"serving": True}
    blueprint.stop(parent, terminate=True)
    assert told == ["start", "stop"]
    assert blueprint[Serving.name].obj is not None


def test_a_circle_is_not_hung_in(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    class One(bootsteps.Step):
        pass

    class Two(bootsteps.Step):
        requires = (One,)

    One.requires = (Two,)
    blueprint = bootsteps.Blueprint([One, Two], name="Circle")
    blueprint.apply(Parent())
    assert blueprint.order
    assert "| Circle: New boot order: {" in caplog.text
