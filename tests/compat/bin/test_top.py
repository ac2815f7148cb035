"""`celeriac top`: what is known becomes lines, keys become actions, and what is typed is asked about first."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac import Celery
from celeriac.compat.bin import top
from celeriac.compat.bin.top_screen import PAGES, Action, Look, Row, View, age, lines, painted, pressed, shown, view
from celeriac.compat.events.state import State, Task

NOW = 1_800_000_000.0
QUEUES = (
    {
        "queue": "celery",
        "ready": 3,
        "oldest": 90.0,
        "oldest_is": "at least",
        "consumers": 1,
        "unacked": 2,
        "parked": None,
    },
    {
        "queue": "nobody",
        "ready": 1,
        "oldest": None,
        "oldest_is": "unknown",
        "consumers": 0,
        "unacked": 0,
        "parked": None,
    },
    {"queue": "sure", "ready": 2, "oldest": 7200.0, "oldest_is": "exact", "consumers": 1, "unacked": 0, "parked": None},
    {"queue": "busy", "ready": 2, "oldest": 1.0, "oldest_is": "exact", "consumers": 0, "unacked": 3, "parked": 0},
    {
        "queue": "jobs.dead",
        "ready": 4,
        "oldest": 3.0,
        "oldest_is": "exact",
        "consumers": 0,
        "unacked": 0,
        "parked": 0,
        "dead": True,
    },
)


def known() -> State:
    state = State()
    clock = iter(range(1, 100))

    def tell(kind: str, uuid: str, **fields: Any) -> None:
        common = {"hostname": "w@h", "clock": next(clock), "timestamp": NOW - 10, "local_received": NOW - 10, "pid": 1}
        state.event({"type": kind, "uuid": uuid, **common, **fields})

    state.event({"type": "worker-online", "hostname": "w@h", "timestamp": NOW, "local_received": NOW, "active": 1})
    tell("task-received", "id-1", name="shop.pay", args="(1,)", kwargs="{}")
    tell("task-started", "id-1")
    tell("task-received", "id-2", name="shop.mail", args="('a\x1b[31m',)", kwargs="{}")
    tell("task-failed", "id-2", exception="ValueError('no')")
    tell("task-received", "id-3", name="shop.pay", args="(2,)", kwargs="{}")
    tell("task-succeeded", "id-3", runtime=1.5, result="4")
    return state


@pytest.fixture
def given() -> View:
    return view(
        known(), QUEUES, {"w@h": [{"id": "id-9", "type": "shop.long", "time_start": NOW - 7200, "args": []}]}, NOW
    )


def text(page: list[tuple[str, str]]) -> str:
    return "\n".join(line for _, line in page)


def keys(look: Look, given: View, pressed_keys: str) -> tuple[Look, Action | None]:
    action = None
    for key in pressed_keys:
        look, action = pressed(look, key, given)
    return look, action


def test_running_tasks_come_first_the_longest_first(given: View) -> None:
    assert [row.key for row in given.pages["tasks"]] == ["id-9", "id-1", "id-3", "id-2"]
    assert given.pages["tasks"][0].cells[:3] == ("RUNNING", "2.0h", "shop.long")
    assert [row.key for row in given.pages["failures"]] == ["id-2"]
    assert given.summary == "1/1 workers  2 running  0 held  8 waiting  1 failed"
    later = view(known(), (), {}, NOW + 1000)
    assert later.summary.startswith("0/1 workers")
    assert later.pages["workers"][0].bad


def test_what_workers_hold_waits_in_no_queue_and_is_told_apart() -> None:
    """`id-1` runs, `id-3` has ended since the worker answered."""
    held = {"w@h": [{"id": each, "type": "shop.pay", "args": [1]} for each in ("id-1", "id-3", "id-7")], "odd@h": "?"}
    given = view(known(), QUEUES, {}, NOW, reserved=held)  # type: ignore[arg-type] # what a worker answers may be odd
    assert given.summary == "1/1 workers  1 running  1 held  8 waiting  1 failed"
    assert [(row.key, row.cells[0]) for row in given.pages["tasks"]] == [
        ("id-1", "RUNNING"), ("id-7", "HELD"), ("id-3", "SUCCESS"), ("id-2", "FAILURE"),
    ]  # fmt: skip


def test_a_task_that_has_ended_runs_no_more() -> None:
    rows = view(known(), (), {"w@h": [{"id": "id-3", "type": "shop.pay", "time_start": NOW}]}, NOW).pages["tasks"]
    assert next(row for row in rows if row.key == "id-3").cells[0] == "SUCCESS"


def test_queues_show_depth_and_age_and_who_is_missing(given: View) -> None:
    page = text(lines(given, Look(page="queues"), 120, 12))
    assert "celery" in page
    assert "1.5m" in page
    assert "nobody takes from it" in page
    unknown = view(known(), QUEUES, {}, NOW, unknown={"parked": "it is not told", "litter": "it is not shown here"})
    told = {row.key: row.cells[1:] for row in unknown.pages["queues"]}
    assert "? parked: it is not told" in text(lines(unknown, Look(page="queues"), 120, 12))
    assert "not told" not in text(lines(unknown, Look(page="tasks"), 120, 12))
    assert told == {
        "celery": ("3", ">1.5m", "1", "2", "?", ""),
        "nobody": ("1", "?", "0", "0", "?", "nobody takes from it"),
        "sure": ("2", "2.0h", "1", "0", "?", ""),
        "busy": ("2", "1s", "0", "3", "0", "who takes from it does not answer"),
        "jobs.dead": ("4", "3s", "0", "0", "0", "dead letters"),
    }
    paused = view(known(), QUEUES, {}, NOW, paused=["celery"])
    assert "paused" in text(lines(paused, Look(page="queues"), 120, 12))


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize(("width", "height"), [(200, 50), (80, 24), (20, 6), (1, 3)])
def test_the_screen_is_as_big_as_the_terminal(given: View, page: str, width: int, height: int) -> None:
    drawn = lines(given, Look(page=page, at=99), width, height)
    assert len(drawn) <= height
    assert all(len(line) <= width for _, line in drawn)
    assert len(painted(drawn).split("\r\n")) == len(drawn)


def test_nobodys_arguments_steer_the_terminal(given: View) -> None:
    assert "\x1b" not in text(lines(given, Look(), 200, 20))


def test_the_selected_row_is_always_on_the_screen() -> None:
    rows = [Row(str(number), ("SUCCESS", "1s", "t", "w", f"id-{number}", "")) for number in range(100)]
    many = View({"tasks": rows})
    look = Look()
    for _ in range(60):
        look, _ = pressed(look, "j", many)
    selected = [line for style, line in lines(many, look, 120, 20) if style == "selected"]
    assert ["id-60" in line for line in selected] == [True]


def test_a_search_finds_by_every_word(given: View) -> None:
    look, _ = keys(Look(), given, "/pay 2")
    assert [row.key for row in shown(given, look)] == ["id-3"]  # while it is typed
    look, _ = pressed(look, "\r", given)
    assert (look.search, look.typing) == ("pay 2", "")
    look, _ = keys(look, given, "/\x7f\x7f\x7f\x7f\x7f\r")
    assert len(shown(given, look)) == 4
    look, _ = pressed(pressed(look, "/", given)[0], "\x1b", given)
    assert look.typing == ""


@pytest.mark.parametrize(
    ("page", "typed", "wanted"),
    [
        ("tasks", "jcy", Action("revoke", "id-1", "shop.pay")),
        ("tasks", "cn", None),
        ("tasks", "c", None),
        ("failures", "ry", Action("retry", "id-2", "shop.mail")),
        ("tasks", "jl10/m\ry", Action("rate limit", "", "shop.pay", "10/m")),
        ("tasks", "jl\ry", None),
        ("queues", "py", Action("pause", "celery")),
        ("queues", "cy", None),
        ("workers", "pcrly", None),
    ],
)
def test_nothing_is_done_before_it_is_confirmed(given: View, page: str, typed: str, wanted: Action | None) -> None:
    assert keys(Look(page=page), given, typed)[1] == wanted


def test_a_paused_queue_is_resumed() -> None:
    paused = view(known(), QUEUES, {}, NOW, paused=["celery"])
    assert keys(Look(page="queues"), paused, "py")[1] == Action("resume", "celery")


def test_pages_are_changed_and_the_end_is_asked_for(given: View) -> None:
    assert pressed(Look(), "\t", given)[0].page == "failures"
    assert pressed(Look(page="workers"), "\t", given)[0].page == "tasks"
    assert pressed(Look(), "3", given)[0].page == "queues"
    assert pressed(Look(), "9", given)[0] == Look()
    assert pressed(Look(), "q", given)[0].over
    assert pressed(Look(), "\x03", given)[0].over
    assert pressed(Look(), "\x1b[B", given)[0].at == 1


def test_ages() -> None:
    assert [age(seconds) for seconds in (-1, 3, 90, 7200, 172800)] == ["0.0s", "3.0s", "1.5m", "2.0h", "2.0d"]


# --- a task once more


@pytest.mark.parametrize(
    ("shown_text", "value"),
    [("(1, 'a')", (1, "a")), ("{'a': [1.5, None]}", {"a": [1.5, None]}), ("", None), (None, None)],
)
def test_arguments_are_read_where_they_are_told_in_full(shown_text: Any, value: Any) -> None:
    assert top.read(shown_text, "arguments") == value


@pytest.mark.parametrize(
    "shown_text", ["(1, ...)", "('C:\\new',)", "<object at 0x1>", "(1,2)", "(" * 5000, "(1, 'aaa..."]
)
def test_arguments_that_may_mean_something_else_are_refused(shown_text: str) -> None:
    with pytest.raises(ValueError, match="result_extended"):
        top.read(shown_text, "arguments")


def test_a_call_is_known_from_its_result_or_its_events() -> None:
    app = Celery("top", broker="memory://", backend="cache+memory://", set_as_current=False)
    task = Task("u", name="t.add", args="(1, 2)", kwargs="{'k': 3}")
    assert top.call_of(app, task, "u") == ("t.add", (1, 2), {"k": 3})
    app.conf.result_extended = True

    class Request:
        task, args, kwargs, id, children, group, delivery_info = "t.kept", [9], {}, "u", [], None, {}
        retries, hostname, parent_id, root_id, worker, properties, stamped_headers = 0, "w", None, "u", "w", {}, None

    app.backend.store_result("u", 1, "SUCCESS", request=Request())
    assert top.call_of(app, task, "u")[:2] == ("t.kept", [9])
    with pytest.raises(ValueError, match="name"):
        top.call_of(app, None, "another")


def test_what_workers_say_is_a_line() -> None:
    assert top.said([{"a": {"ok": "fine"}}, {"b": {"error": "no"}}]) == "a: fine  b: no"
    assert top.said(None) == "no worker replied"


def test_a_sender_tells_since_when_a_task_waits() -> None:
    app = Celery("top", broker="memory://", set_as_current=False)
    watch = top.Watch(app, 1.0)
    common = {"uuid": "u", "name": "t", "clock": 1, "local_received": NOW, "pid": 1}
    assert watch._sent("u") is None
    watch._heard({"type": "task-sent", "hostname": "client@h", "timestamp": NOW - 9, **common})
    assert watch._sent("u") == NOW - 9
    watch._heard({"type": "task-received", "hostname": "w@h", "timestamp": NOW - 5, **common})
    assert watch._sent("u") is None, "one that waits again has been sent again, and nobody has told when"
