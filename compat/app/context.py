"""`task.request`: what a running task knows of its message, by Celery's names.

Law: whatever is not said has Celery's default, and every attribute is in `__dict__` only if somebody said it.
"""

from __future__ import annotations

from ...protocol.hints import Any

__all__ = ("Context",)

X_DEATH_HEADERS = frozenset(
    {
        "x-death",
        "x-first-death-exchange",
        "x-first-death-queue",
        "x-first-death-reason",
        "x-last-death-exchange",
        "x-last-death-queue",
        "x-last-death-reason",
    }
)
"""What RabbitMQ writes on messages that died once; sent again with a retry, it would think of a cycle."""

_UNSET = object()


class Context:
    """Task request variables (`Task.request`)."""

    _children: list[Any] | None = None
    _protected: int = 0
    args: Any = None
    callbacks: Any = None
    called_directly: bool = True
    chain: Any = None
    chord: Any = None
    correlation_id: Any = None
    delivery_info: Any = None
    errbacks: Any = None
    eta: Any = None
    expires: Any = None
    group: Any = None
    group_index: Any = None
    headers: Any = None
    hostname: Any = None
    id: Any = None
    ignore_result: Any = False
    is_eager: bool = False
    kwargs: Any = None
    logfile: Any = None
    loglevel: Any = None
    origin: Any = None
    parent_id: Any = None
    properties: Any = None
    retries: Any = 0
    reply_to: Any = None
    replaced_task_nesting: Any = 0
    root_id: Any = None
    shadow: Any = None
    taskset: Any = None
    timelimit: Any = None
    time_limit: Any = None
    soft_time_limit: Any = None
    utc: Any = None
    stamped_headers: Any = None
    stamps: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.update(*args, **kwargs)
        if self.headers is None:
            self.headers = self._get_custom_headers(*args, **kwargs)

    def _get_custom_headers(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        given: dict[str, Any] = dict(*args, **kwargs)
        if given.keys() <= KNOWN:
            return None
        return {key: value for key, value in given.items() if key not in KNOWN}

    def update(self, *args: Any, **kwargs: Any) -> None:
        own = self.__dict__
        before = own.get("timelimit", _UNSET)
        own.update(*args, **kwargs)
        limits = own.get("timelimit", _UNSET)
        if limits is before:
            return
        if isinstance(limits, (list, tuple)) and len(limits) >= 2:
            self.time_limit, self.soft_time_limit = limits[0], limits[1]
        else:
            self.time_limit = self.soft_time_limit = None

    @classmethod
    def adopt(cls, own: dict[str, Any]) -> Context:
        """The same as `Context(own)`, for a caller that has no further use for the mapping."""
        self = cls.__new__(cls)
        if own.get("headers") is None:
            own["headers"] = None if own.keys() <= KNOWN else self._get_custom_headers(own)
        limits = own.get("timelimit", _UNSET)
        if limits is not _UNSET:
            spelled = isinstance(limits, (list, tuple)) and len(limits) >= 2
            own["time_limit"], own["soft_time_limit"] = limits[:2] if spelled else (None, None)
        self.__dict__ = own
        return self

    @classmethod
    def adopted(cls, own: dict[str, Any]) -> Context:
        """The same of what `adopt` would leave as it is."""
        self = cls.__new__(cls)
        self.__dict__ = own
        return self

    def clear(self) -> None:
        self.__dict__.clear()

    def get(self, key: str, default: Any = None) -> Any:
        return getattr(self, key, default)

    def __repr__(self) -> str:
        return f"<Context: {vars(self)!r}>"

    def _filter_x_death_headers(self, headers: dict[str, Any] | None) -> dict[str, Any]:
        return {key: value for key, value in (headers or {}).items() if key not in X_DEATH_HEADERS}

    def as_execution_options(self) -> dict[str, Any]:
        hard, soft = self.timelimit or (None, None)
        options = {
            "task_id": self.id,
            "root_id": self.root_id,
            "parent_id": self.parent_id,
            "group_id": self.group,
            "group_index": self.group_index,
            "shadow": self.shadow,
            "chord": self.chord,
            "chain": self.chain,
            "link": self.callbacks,
            "link_error": self.errbacks,
            "expires": self.expires,
            "soft_time_limit": soft,
            "time_limit": hard,
            "headers": self._filter_x_death_headers(self.headers),
            "retries": self.retries,
            "reply_to": self.reply_to,
            "replaced_task_nesting": self.replaced_task_nesting,
            "origin": self.origin,
        }
        if self.stamps is not None and self.stamped_headers is not None:
            options["stamped_headers"] = self.stamped_headers
            options.update((key, value) for key, value in self.stamps.items() if key in self.stamped_headers)
        return options

    @property
    def children(self) -> list[Any]:
        if self._children is None:
            self._children = []
        return self._children


KNOWN = frozenset(vars(Context)) | {"lang", "task", "argsrepr", "kwargsrepr", "compression"}
"""What a message says that is no header of its sender's own."""


def get_actual_ignore_result(task: Any, req: Any) -> Any:
    """Whether the result is ignored: the request may say so, otherwise the task does."""
    if req is None:
        return task.ignore_result
    actual = getattr(req, "ignore_result", None)
    if isinstance(req, Context) and "ignore_result" not in req.__dict__:
        actual = None
    return task.ignore_result if actual is None else actual
