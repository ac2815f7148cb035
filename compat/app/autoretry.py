"""`autoretry_for`: a task's `run` that retries by itself what the task says may be tried again."""

from __future__ import annotations

from functools import wraps

from ...protocol.errors import BadCall
from ...protocol.hints import Any
from ...protocol.rules.calling import WrongType
from ..exceptions import Ignore, Retry

_EXCEPTIONS = "a tuple of exceptions, as in (OSError,)"

__all__ = ("add_autoretry_behaviour",)


def add_autoretry_behaviour(task: Any, **options: Any) -> None:
    """Wrap the task's `run`, once, if it retries any exception. The options win over the task's attributes."""

    def of(name: str, default: Any) -> Any:
        return options[name] if name in options else getattr(task, name, default)

    def read(name: str, default: Any, kind: type, takes: str) -> Any:
        value = of(name, default)
        try:
            return kind(value)
        except (TypeError, ValueError) as problem:
            wrong = BadCall if isinstance(problem, ValueError) else WrongType
            raise wrong(f"{task.name}: {name} takes {takes}, not {value!r}") from None

    autoretry_for = read("autoretry_for", (), tuple, _EXCEPTIONS)
    dont_autoretry_for = read("dont_autoretry_for", (), tuple, _EXCEPTIONS)
    retry_kwargs = of("retry_kwargs", {})
    retry_backoff = read("retry_backoff", False, float, "True, False or seconds")
    retry_backoff_max = read("retry_backoff_max", 600, int, "seconds")
    retry_jitter = of("retry_jitter", True)
    if not autoretry_for or hasattr(task, "_orig_run"):
        return

    def wishes() -> dict[str, Any]:
        """The arguments of this attempt's `retry`; a limit that the body asked for in this run wins."""
        kwargs = dict(retry_kwargs)
        if retry_backoff:
            import random

            from ...protocol.rules.retry import backoff

            chance = random.random() if retry_jitter else None  # noqa: S311  # spreads load, guards nothing
            factor = int(max(1.0, retry_backoff))
            kwargs["countdown"] = backoff(factor, task.request.retries, retry_backoff_max, chance)
        if hasattr(task, "override_max_retries"):
            kwargs["max_retries"] = task.override_max_retries
        return kwargs

    def retry(problem: BaseException) -> Any:
        again = task.retry(exc=problem, **wishes())
        if hasattr(task, "override_max_retries"):
            del task.override_max_retries
        return again

    body = task.run
    if _is_async(body):

        @wraps(body)
        async def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return await task._orig_run(*args, **kwargs)  # the name that Celery gives the body
            except (Ignore, Retry, *dont_autoretry_for):
                raise
            except autoretry_for as problem:
                raise retry(problem)  # noqa: B904  # its context is told by Python, its cause is the task's own affair

    else:

        @wraps(body)
        def run(*args: Any, **kwargs: Any) -> Any:
            try:
                return task._orig_run(*args, **kwargs)  # the name that Celery gives the body
            except (Ignore, Retry, *dont_autoretry_for):
                raise
            except autoretry_for as problem:
                raise retry(problem)  # noqa: B904  # its context is told by Python, its cause is the task's own affair

    task._orig_run, task.run = body, run  # the name that Celery gives the body


def _is_async(function: Any) -> bool:
    """Whether calling it gives a coroutine, told by its flags: `inspect` is too heavy for each start."""
    function = getattr(function, "__func__", function)
    code = getattr(function, "__code__", None)
    return bool(code and code.co_flags & 0x80)
