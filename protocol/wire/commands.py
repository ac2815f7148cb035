"""The remote-control commands of a stock worker: their names, their arguments, and the exact texts of their replies.

Law: `COMMANDS` is the list; a reply text is a function here and nowhere else, so that scripts which compare it
with a stock worker's see no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from ..errors import BadMessage, shown
from ..values import dataclass

Shape = Literal["ok", "object", "list", "text", "null", "none"]


@dataclass(frozen=True, slots=True)
class Command:
    """One command.

    `needs` must be given and `takes` may be; `open` ones swallow arguments that they do not know. `line` are the
    arguments of the command line with their types, `rest` the one that takes what follows them. `reply` is the
    shape of a success: `ok` is `{"ok": text}`, `none` no reply at all.
    """

    name: str
    kind: Literal["control", "inspect"]
    reply: Shape = "ok"
    alias: str | None = None
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    open: bool = True
    line: tuple[tuple[str, str], ...] = ()
    rest: str | None = None
    signature: str | None = None
    timeout: float = 1.0
    visible: bool = True

    def complaint(self, arguments: Mapping[str, Any]) -> TypeError | None:
        """What is wrong with these arguments, in the words that Python has for a function called so."""
        known = {*self.needs, *self.takes}
        extra = [name for name in arguments if name not in known]
        if extra and not self.open:
            return TypeError(f"{self.name}() got an unexpected keyword argument '{extra[0]}'")
        missing = [f"'{name}'" for name in self.needs if name not in arguments]
        if not missing:
            return None
        plural = "s" if len(missing) > 1 else ""
        return TypeError(f"{self.name}() missing {len(missing)} required positional argument{plural}: {_and(missing)}")


def _and(names: Sequence[str]) -> str:
    *first, last = names
    comma = "," if len(first) > 1 else ""
    return f"{', '.join(first)}{comma} and {last}" if first else last


_ALL: Final = (
    # inspect
    Command("active", "inspect", "list", "dump_active", takes=("safe",)),
    Command("active_queues", "inspect", "list", open=False),
    Command("clock", "inspect", "object"),
    Command(
        "conf",
        "inspect",
        "object",
        "dump_conf",
        takes=("with_defaults",),
        line=(("with_defaults", "strtobool"),),
        signature="[include_defaults=False]",
    ),
    Command("hello", "inspect", "object", needs=("from_node",), takes=("revoked",), visible=False),
    Command(
        "memdump",
        "inspect",
        "text",
        takes=("samples",),
        line=(("samples", "int"),),
        signature="[n_samples=10]",
    ),
    Command("memsample", "inspect", "text"),
    Command(
        "objgraph",
        "inspect",
        "object",
        takes=("num", "max_depth", "type"),
        open=False,
        line=(("type", "str"), ("num", "int"), ("max_depth", "int")),
        signature="[object_type=Request] [num=200 [max_depth=10]]",
        timeout=60.0,
    ),
    Command("ping", "inspect", timeout=0.2),
    Command(
        "query_task",
        "inspect",
        "object",
        needs=("ids",),
        rest="ids",
        signature="[id1 [id2 [... [idN]]]]",
    ),
    Command(
        "registered",
        "inspect",
        "list",
        "dump_tasks",
        takes=("taskinfoitems", "builtins"),
        rest="taskinfoitems",
        signature="[attr1 [attr2 [... [attrN]]]]",
    ),
    Command("report", "inspect", open=False),
    Command("reserved", "inspect", "list", "dump_reserved"),
    Command("revoked", "inspect", "list", "dump_revoked"),
    Command("scheduled", "inspect", "list", "dump_schedule"),
    Command("stats", "inspect", "object"),
    # control
    Command(
        "add_consumer",
        "control",
        needs=("queue",),
        takes=("exchange", "exchange_type", "routing_key"),
        line=(("queue", "str"), ("exchange", "str"), ("exchange_type", "str"), ("routing_key", "str")),
        signature="<queue> [exchange [type [routing_key]]]",
    ),
    Command(
        "autoscale",
        "control",
        takes=("max", "min"),
        open=False,
        line=(("max", "int"), ("min", "int")),
        signature="[max [min]]",
    ),
    Command("cancel_consumer", "control", needs=("queue",), line=(("queue", "str"),), signature="<queue>"),
    Command("disable_events", "control", open=False),
    Command("election", "control", "null", needs=("id", "topic"), takes=("action",)),
    Command("enable_events", "control", open=False),
    Command("heartbeat", "control", "null", open=False),
    Command("pool_grow", "control", takes=("n",), line=(("n", "int"),), signature="[N=1]"),
    Command("pool_restart", "control", takes=("modules", "reload", "reloader")),
    Command("pool_shrink", "control", takes=("n",), line=(("n", "int"),), signature="[N=1]"),
    Command(
        "rate_limit",
        "control",
        needs=("task_name", "rate_limit"),
        line=(("task_name", "str"), ("rate_limit", "str")),
        signature="<task_name> <rate_limit (e.g., 5/s | 5/m | 5/h)>",
    ),
    Command(
        "revoke",
        "control",
        needs=("task_id",),
        takes=("terminate", "signal"),
        rest="task_id",
        signature="[id1 [id2 [... [idN]]]]",
    ),
    Command(
        "revoke_by_stamped_headers",
        "control",
        needs=("headers",),
        takes=("terminate", "signal"),
        rest="headers",
        signature="[key1=value1 [key2=value2 [... [keyN=valueN]]]]",
    ),
    Command("shutdown", "control", "none", takes=("msg",)),
    Command(
        "terminate",
        "control",
        needs=("signal", "task_id"),
        line=(("signal", "str"),),
        rest="task_id",
        signature="<signal> [id1 [id2 [... [idN]]]]",
    ),
    Command(
        "time_limit",
        "control",
        takes=("task_name", "hard", "soft"),
        line=(("task_name", "str"), ("soft", "float"), ("hard", "float")),
        signature="<task_name> <soft_secs> [hard_secs]",
    ),
)

COMMANDS: Final[Mapping[str, Command]] = {command.name: command for command in _ALL}

BY_NAME: Final[Mapping[str, Command]] = {
    **COMMANDS,
    **{command.alias: command for command in _ALL if command.alias is not None},
}
"""By every name that a request may use, aliases included."""

REQUEST_KEYS: Final = (
    "id",
    "name",
    "args",
    "kwargs",
    "type",
    "hostname",
    "time_start",
    "acknowledged",
    "delivery_info",
    "worker_pid",
)
"""A task in `active`, `reserved`, `scheduled` and `query_task`, its keys in order."""

DELIVERY_KEYS: Final = ("exchange", "routing_key", "priority", "redelivered")


_STAMPS: Final = "headers of revoke_by_stamped_headers"

# --- replies


def ok(value: Any) -> dict[str, Any]:
    return {"ok": value}


def error(text: str) -> dict[str, str]:
    return {"error": text}


def raised(exc: BaseException) -> dict[str, str]:
    """A command that raised; so are wrong arguments answered."""
    return {"error": repr(exc)}


def unknown(method: str) -> dict[str, str]:
    return raised(KeyError(method))


PONG: Final = ok("pong")
UNKNOWN_TASK: Final = error("unknown task")
RATE_LIMIT_SET: Final = ok("new rate limit set successfully")
RATE_LIMIT_OFF: Final = ok("rate limit disabled successfully")  # for null, 0 and ""; the text "0" counts as a limit
TIME_LIMITS_SET: Final = ok("time limits set successfully")
EVENTS_ENABLED: Final = ok("task events enabled")
EVENTS_ENABLED_BEFORE: Final = ok("task events already enabled")
EVENTS_DISABLED: Final = ok("task events disabled")
EVENTS_DISABLED_BEFORE: Final = ok("task events already disabled")
NO_EVENTS: Final = error("event dispatcher unavailable")
POOL_GROWS: Final = ok("pool will grow")
POOL_SHRINKS: Final = ok("pool will shrink")
POOL_RESTARTS: Final = ok("reload started")
NO_POOL_RESTARTS: Final = raised(ValueError("Pool restarts not enabled"))
NO_AUTOSCALE: Final = raised(ValueError("Autoscale not enabled"))
NO_OBJGRAPH: Final = raised(ImportError("Requires the objgraph library"))
NONE_TERMINATED: Final = ok("terminate: tasks unknown")


def revoked(ids: Iterable[str]) -> dict[str, str]:
    """The text of a Python set. Stock's order is random, ours the given one."""
    names = list(dict.fromkeys(ids))
    text = f"{{{', '.join(map(repr, names))}}}" if names else "set()"
    return ok(f"tasks {text} flagged as revoked")


def terminated(ids: Iterable[str]) -> dict[str, str]:
    return ok(f"terminate: {', '.join(ids)}")


def stamps_revoked(headers: Mapping[str, Any]) -> dict[str, str]:
    return ok(f"headers {dict(headers)!r} flagged as revoked, but not terminated")


def stamps_not_terminated(headers: Mapping[str, Any]) -> dict[str, str]:
    return ok(f"headers {dict(headers)!r} were not terminated")


def stamps_terminated(stamps: Mapping[str, set[Any]]) -> dict[str, str]:
    """Stamp name -> those of its values that some running task bore. The text is a defaultdict's."""
    return ok(f"headers defaultdict(<class 'set'>, {dict(stamps)!r}) revoked")


def bad_rate_limit(exc: ValueError) -> dict[str, str]:
    return error(f"Invalid rate limit string: {exc!r}")


def no_resize(command: Literal["pool_grow", "pool_shrink"]) -> dict[str, str]:
    return error(f"{command} is not supported with autoscale. Adjust autoscale range instead.")


def autoscaled(most: int, least: int) -> dict[str, str]:
    return ok(f"autoscale now max={most} min={least}")


def consumer_added(queue: str) -> dict[str, str]:
    return ok(f"add consumer {queue}")


def consumer_cancelled(queue: str) -> dict[str, str]:
    return ok(f"no longer consuming from {queue}")


def registered(name: str, items: Mapping[str, Any]) -> str:
    """One line of `registered`: the name, and the attributes asked for that the task has."""
    shown = " ".join(f"{key}={value}" for key, value in items.items() if value is not None)
    return f"{name} [{shown}]" if shown else name


def stamp_headers(headers: Any) -> dict[str, Any]:
    """The `headers` of revoke_by_stamped_headers as an object; the command line sends a list of `key=value`.

    What names no stamps is refused: whoever sent it must not believe that something was revoked.
    """
    if isinstance(headers, Mapping):
        return dict(headers)
    if not isinstance(headers, (list, tuple)):
        raise BadMessage(_STAMPS, f"expected an object, or a list of key=value, got {shown(headers)}")
    found = {}
    for text in headers:
        if not isinstance(text, str) or "=" not in text:
            raise BadMessage(_STAMPS, f"expected key=value, got {shown(text)}")
        key, _, value = text.partition("=")
        found[key] = value
    return found
