"""Celery's routers: the setting `task_routes`, and which options it adds to a call.

Law: what a table of routes answers is decided in `protocol/rules/routing`. Here queues are kombu's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...protocol.hints import Any
from ...protocol.rules.routing import RouteMap

__all__ = ("MapRoute", "Router", "expand_router_string", "prepare")


class MapRoute:
    """A router made of a mapping, or of pairs."""

    def __init__(self, map: Any) -> None:
        self._table = RouteMap(map)

    @property
    def map(self) -> Mapping[str, Any]:
        return self._table.names

    @property
    def patterns(self) -> Mapping[Any, Any]:
        return dict(self._table.patterns)

    def __call__(self, name: str, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        target = self._table(name)
        if target is None:
            return None
        return {"queue": target} if isinstance(target, str) else dict(target)


class Router:
    """What the routes of an app make of a call's options."""

    def __init__(self, routes: Any = None, queues: Any = None, create_missing: bool = False, app: Any = None) -> None:
        self.app = app
        self.queues = {} if queues is None else queues
        self.routes = [] if routes is None else routes
        self.create_missing = create_missing

    def route(
        self, options: dict[str, Any], name: str, args: Any = (), kwargs: Any = None, task_type: Any = None
    ) -> dict[str, Any]:
        """The options, below them those of the first route that knows the task, and a queue at any rate."""
        options = self.expand_destination(options)
        if self.routes:
            route = self.lookup_route(name, args, kwargs or {}, options, task_type)
            if route:
                return _over(self.expand_destination(route), options)
        if "queue" not in options:
            return _over(self.expand_destination(self.app.conf.task_default_queue), options)
        return options

    def expand_destination(self, route: Any) -> dict[str, Any]:
        """With the queue itself in the place of its name."""
        if isinstance(route, str):
            queue, route = route, {}
        else:
            queue = route.pop("queue", None)
        if queue:
            route["queue"] = self._queue(queue)
        expanded: dict[str, Any] = route
        return expanded

    def _queue(self, queue: Any) -> Any:
        if not isinstance(queue, str):
            return queue
        try:
            return self.queues[queue]
        except KeyError:
            from ..exceptions import QueueNotFound

            raise QueueNotFound(f"Queue {queue!r} missing from task_queues") from None

    def lookup_route(
        self, name: str, args: Any = None, kwargs: Any = None, options: Any = None, task_type: Any = None
    ) -> Any:
        for router in self.routes:
            route = self.query_router(router, name, args, kwargs, options, task_type)
            if route is not None:
                return route
        return None

    def query_router(self, router: Any, task: str, args: Any, kwargs: Any, options: Any, task_type: Any) -> Any:
        if not isinstance(router, MapRoute):  # one named by its path, perhaps
            from ..utils.functional import maybe_evaluate

            router = maybe_evaluate(router)
        if hasattr(router, "route_for_task"):
            return router.route_for_task(task, args, kwargs)
        return router(task, args, kwargs, options, task=task_type)


def expand_router_string(router: Any) -> Callable[..., Any]:
    """The router of this name; a class with `route_for_task` is made an object of."""
    from ..utils.imports import symbol_by_name

    found: Any = symbol_by_name(router)
    return found() if hasattr(found, "route_for_task") else found  # type: ignore[no-any-return]  # whatever it makes


def prepare(routes: Any) -> Any:
    """The setting as a list of routers."""
    if routes is None:
        return ()
    if not isinstance(routes, (list, tuple)):
        routes = (routes,)
    return [_prepared(route) for route in routes]


def _prepared(route: Any) -> Any:
    if isinstance(route, (Mapping, list, tuple)):
        return MapRoute(route)
    if not isinstance(route, str):
        return route
    from ..utils.functional import mlazy

    return mlazy(expand_router_string, route)


def _over(low: dict[str, Any], high: Mapping[str, Any]) -> dict[str, Any]:
    """What stands in `high` and says something wins; the result is `low`."""
    low.update((name, value) for name, value in high.items() if value is not None)
    return low
