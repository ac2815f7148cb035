"""What stands at which path: the page, what is known as JSON, and the one door for actions.

Law: a request becomes a response, synchronously; the server runs this in a thread. Every request has passed the guard.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..utils.log import get_logger
from . import family, search
from .acts import ACTS, checked
from .guard import Guard
from .http import Refused, Request, Response, document, refusal
from .records import Record
from .series import SPANS
from .watch import Watch

logger = get_logger("celery.web")

_FILES = {
    "/": ("page.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}
_ROW = (
    "id",
    "name",
    "state",
    "worker",
    "queue",
    "args",
    "kwargs",
    "updated",
    "runtime",
    "retries",
    "exception",
    "result",
)
_PAGE = 50
_PEEK = 160  # characters of a text in a list


class Site:
    """Answers requests."""

    def __init__(self, watch: Watch, guard: Guard, title: str) -> None:
        self._watch = watch
        self._guard = guard
        self._title = title
        here = Path(__file__).parent
        self._files = {path: Response(200, (here / name).read_bytes(), kind) for path, (name, kind) in _FILES.items()}
        self._paths: Mapping[str, Callable[[Request], Response]] = {
            "/livez": lambda _: Response(200, b"ok\n"),
            "/api/overview": self._overview,
            "/api/charts": self._charts,
            "/api/tasks": self._tasks,
            "/api/task": self._task,
            "/api/changes": lambda _: document({"version": self._watch.version}),
        }

    @property
    def version(self) -> int:
        return self._watch.version

    def answer(self, request: Request, who: str) -> Response:
        """Never raises."""
        try:
            self._guard.check(request)
            if request.method == "POST":
                return self._act(request, who)
            found = self._files.get(request.path)
            if found is not None:
                return found
            return self._paths.get(request.path, _nothing)(request)
        except Refused as problem:
            return refusal(problem)
        except Exception as problem:  # one request fails, the others do not
            logger.exception("%s %s failed", request.method, request.path)
            return document({"error": f"{type(problem).__name__}: {problem}"[:500]}, 500)

    def waits_for(self, request: Request) -> int | None:
        """The version that a request is to wait to be over; None: it is answered at once."""
        since = request.query.get("since", "")
        if request.path != "/api/changes" or not (since.isascii() and since.isdigit() and len(since) < 16):
            return None
        try:
            self._guard.check(request)
        except Refused:
            return None
        return int(since)

    def _overview(self, _: Request) -> Response:
        acts = {name: act.grave for name, act in ACTS.items()} if self._guard.acts else {}
        return document({**self._watch.overview(time.time()), "title": self._title, "acts": acts})

    def _charts(self, request: Request) -> Response:
        span = request.query.get("span", "hour")
        if span not in SPANS:
            raise Refused(400, f"A span is one of {', '.join(SPANS)}.")
        return document({"span": span, "width": SPANS[span][0], "points": self._watch.points(span, time.time())})

    def _tasks(self, request: Request) -> Response:
        before = _place(request.query.get("before", ""))
        conditions = search.conditions(request.query.get("q", ""))
        found = self._watch.store.search(conditions, _PAGE + 1, before)
        rows = [_row(record) for record in found[:_PAGE]]
        more = f"{found[_PAGE - 1].updated!r},{found[_PAGE - 1].id}" if len(found) > _PAGE else ""
        return document({"tasks": rows, "more": more})

    def _task(self, request: Request) -> Response:
        record = self._watch.store.record(request.query.get("id", ""))
        if record is None:
            raise Refused(404, "No task of this id is remembered.")
        tree = family.drawing(self._watch.family(record))
        return document({"task": record.document(), "family": tree.document()})

    def _act(self, request: Request, who: str) -> Response:
        if request.path != "/api/act":
            return _nothing(request)
        act, fields = checked(self._guard.action(request))
        try:
            return document({"said": self._watch.perform(act, fields, who)})
        except (ValueError, LookupError) as problem:
            raise Refused(409, str(problem)) from None


def _row(record: Record) -> dict[str, Any]:
    whole = {name: getattr(record, name) for name in _ROW}
    return {name: value[:_PEEK] if isinstance(value, str) and name != "id" else value for name, value in whole.items()}


def _nothing(_: Request) -> Response:
    raise Refused(404, "There is nothing here.")


def _place(text: str) -> tuple[float, str] | None:
    """Where the page before ended."""
    updated, comma, uuid = text.partition(",")
    if not comma:
        return None
    try:
        return float(updated), uuid
    except ValueError:
        raise Refused(400, "`before` is none of ours.") from None
