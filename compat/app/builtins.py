"""The tasks that every app has, under the names by which stock clients and workers call them.

Law: they are made when an app is finalized, before all that others have declared, and what each needs is imported when
it runs.
"""

from __future__ import annotations

from ...protocol.hints import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .base import Celery

__all__ = ()


def add_backend_cleanup_task(app: Celery) -> Any:
    """Delete expired results. Beat sends it at four in the morning where the store does not do so itself."""

    @app.task(name="celery.backend_cleanup", shared=False, lazy=False)
    def backend_cleanup() -> None:
        app.backend.cleanup()

    return backend_cleanup


def add_accumulate_task(app: Celery) -> Any:
    """The body that collects a group, see `Task.replace`."""

    @app.task(bind=True, name="celery.accumulate", shared=False, lazy=False)
    def accumulate(self: Any, *args: Any, **kwargs: Any) -> Any:
        index = kwargs.get("index")
        return args if index is None else args[index]

    return accumulate


def add_unlock_chord_task(app: Celery) -> Any:
    """Wait for the header of a chord by looking again and again, where the store cannot count."""

    @app.task(
        name="celery.chord_unlock",
        max_retries=None,
        shared=False,
        default_retry_delay=app.conf.result_chord_retry_interval,
        ignore_result=True,
        lazy=False,
        bind=True,
    )
    def unlock_chord(
        self: Any,
        /,
        group_id: str,
        callback: Any,
        interval: Any = None,
        max_retries: Any = None,
        result: Any = None,
        Result: Any = None,
        GroupResult: Any = None,
        result_from_tuple: Any = None,
        **kwargs: Any,
    ) -> None:
        from .unlocking import unlock

        unlock(self, group_id, callback, interval, max_retries, result, kwargs.get("_chord_unlock_exchange_type"))

    return unlock_chord


def add_map_task(app: Celery) -> Any:
    @app.task(name="celery.map", shared=False, lazy=False)
    def xmap(task: Any, it: Any) -> list[Any]:
        task = app.signature(task).type
        return [task(item) for item in it]

    return xmap


def add_starmap_task(app: Celery) -> Any:
    @app.task(name="celery.starmap", shared=False, lazy=False)
    def xstarmap(task: Any, it: Any) -> list[Any]:
        task = app.signature(task).type
        return [task(*item) for item in it]

    return xstarmap


def add_chunk_task(app: Celery) -> Any:
    @app.task(name="celery.chunks", shared=False, lazy=False)
    def chunks(task: Any, it: Any, n: int) -> Any:
        from ..canvas import chunks as chunked

        return chunked.apply_chunks(task, it, n)

    return chunks


def add_group_task(app: Celery) -> Any:
    """For clients of the Celery 3 age, which sent groups as a task."""

    @app.task(name="celery.group", bind=True, shared=False, lazy=False)
    def group(self: Any, tasks: Any, result: Any, group_id: str, partial_args: Any, add_to_parent: bool = True) -> Any:
        from ..canvas import maybe_signature
        from ..result import result_from_tuple

        own = self.app
        promised = result_from_tuple(result, own)
        for task in tasks:
            sig = maybe_signature(task, app=own).clone(partial_args)
            sig.apply_async(group_id=group_id, add_to_parent=False)
        parent = own.current_worker_task
        if add_to_parent and parent:
            parent.add_trail(promised)
        return promised

    return group


def add_chain_task(app: Celery) -> Any:
    """A name that old clients look for. Nothing ever sent it."""

    @app.task(name="celery.chain", shared=False, lazy=False)
    def chain(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("chain is not a real task")

    return chain


def add_chord_task(app: Celery) -> Any:
    """For clients of the Celery 3 age, which sent chords as a task."""

    @app.task(name="celery.chord", bind=True, ignore_result=False, shared=False, lazy=False)
    def chord(
        self: Any,
        /,
        header: Any,
        body: Any,
        partial_args: Any = (),
        interval: Any = None,
        countdown: Any = 1,
        max_retries: Any = None,
        eager: bool = False,
        **kwargs: Any,
    ) -> Any:
        from ..canvas import chord as chord_of
        from ..canvas import group, maybe_signature

        own = self.app
        tasks = header.tasks if isinstance(header, group) else header
        header = group([maybe_signature(task, app=own) for task in tasks], app=own)
        body = maybe_signature(body, app=own)
        return chord_of(header, body).run(header, body, partial_args, own, interval, countdown, max_retries, **kwargs)

    return chord


EACH = (
    *(add_backend_cleanup_task, add_accumulate_task, add_unlock_chord_task, add_map_task, add_starmap_task),
    *(add_chunk_task, add_group_task, add_chain_task, add_chord_task),
)
