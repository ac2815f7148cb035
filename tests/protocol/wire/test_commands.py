"""The table of commands, complaints in Python's words, and the texts of replies."""

from __future__ import annotations

import inspect

import pytest

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import commands
from celeriac.protocol.wire.commands import BY_NAME, COMMANDS


def test_table():
    assert len(COMMANDS) == 32
    assert {command.alias for command in COMMANDS.values()} - {None} == {
        *("dump_active", "dump_conf", "dump_reserved", "dump_revoked", "dump_schedule", "dump_tasks")
    }
    assert BY_NAME["dump_tasks"] is COMMANDS["registered"]
    for command in COMMANDS.values():
        given = {name for name, _ in command.line} | ({command.rest} if command.rest else set())
        assert given <= {*command.needs, *command.takes}
    assert not COMMANDS["hello"].visible
    assert COMMANDS["ping"].timeout == 0.2


def _python(name, needs, takes, is_open):
    """A function as stock would define the command, to compare the words of Python's own complaint."""
    text = ", ".join(["state", *needs, *(f"{take}=None" for take in takes), *(["**kwargs"] if is_open else [])])
    space: dict = {}
    exec(f"def {name}({text}): pass", space)
    return space[name]


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
@pytest.mark.parametrize("arguments", [{}, {"x": 1}, {"id": "a"}, {"from_node": "a", "queue": "q", "task_id": "t"}])
def test_complaints_are_pythons(command, arguments):
    function = _python(command.name, command.needs, command.takes, command.open)
    try:
        inspect.signature(function)
        function(None, **arguments)
        expected = None
    except TypeError as exc:
        expected = repr(exc)
    complaint = command.complaint(arguments)
    assert (None if complaint is None else repr(complaint)) == expected


def test_complaint_about_three():
    command = commands.Command("many", "control", needs=("a", "b", "c"))
    with pytest.raises(TypeError) as caught:
        _python("many", command.needs, (), True)(None)
    assert str(command.complaint({})) == str(caught.value)


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (commands.PONG, {"ok": "pong"}),
        (commands.unknown("nope"), {"error": "KeyError('nope')"}),
        (commands.revoked(["r1", "r2", "r1"]), {"ok": "tasks {'r1', 'r2'} flagged as revoked"}),
        (commands.revoked([]), {"ok": f"tasks {set()} flagged as revoked"}),
        (commands.terminated(["a", "b"]), {"ok": "terminate: a, b"}),
        (commands.NONE_TERMINATED, {"ok": "terminate: tasks unknown"}),
        (
            commands.stamps_revoked({"st": ["v1", "v2"]}),
            {"ok": "headers {'st': ['v1', 'v2']} flagged as revoked, but not terminated"},
        ),
        (commands.stamps_not_terminated({"st": "v1"}), {"ok": "headers {'st': 'v1'} were not terminated"}),
        (
            commands.stamps_terminated({"st": {"v"}}),
            {"ok": "headers defaultdict(<class 'set'>, {'st': {'v'}}) revoked"},
        ),
        (
            commands.bad_rate_limit(ValueError("could not convert string to float: 'abc'")),
            {"error": "Invalid rate limit string: ValueError(\"could not convert string to float: 'abc'\")"},
        ),
        (
            commands.no_resize("pool_grow"),
            {"error": "pool_grow is not supported with autoscale. Adjust autoscale range instead."},
        ),
        (commands.autoscaled(4, 2), {"ok": "autoscale now max=4 min=2"}),
        (commands.consumer_added("extra"), {"ok": "add consumer extra"}),
        (commands.consumer_cancelled("extra"), {"ok": "no longer consuming from extra"}),
        (commands.NO_AUTOSCALE, {"error": "ValueError('Autoscale not enabled')"}),
    ],
)
def test_replies(reply, expected):
    assert reply == expected


def test_registered_lines():
    assert commands.registered("t", {"rate_limit": None}) == "t"
    assert commands.registered("t", {"rate_limit": "10/m", "acks_late": False}) == "t [rate_limit=10/m acks_late=False]"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"a": 1}, {"a": 1}),
        (["a=1", "b=x=y"], {"a": "1", "b": "x=y"}),
        ([], {}),
    ],
)
def test_stamp_headers(headers, expected):
    assert commands.stamp_headers(headers) == expected


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (None, "got None"),
        ("a=1", "an object, or a list"),
        (5, "got 5"),
        (["a=1", "c"], "key=value"),
        ([["a", "b"]], "key=value"),
    ],
)
def test_what_names_no_stamps_is_refused(headers, why):
    with pytest.raises(BadMessage, match=why):
        commands.stamp_headers(headers)
