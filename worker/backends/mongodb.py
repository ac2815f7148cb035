"""Results in MongoDB, by pymongo: `mongodb://...`, `mongodb+srv://...`, and `mongodb_backend_settings`.

Law: documents are Celery's; one command looks whether a SUCCESS is stored and writes. Tested on mongomock, which is no
MongoDB: on a real one untested.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from ...protocol.errors import BadCall, BadMessage
from ...protocol.wire import children, documents, states
from ...protocol.wire.result import Result
from .base import Address, Found, Settings, Store
from .seam import Seam, load, section, server

EXTRA: Final = "mongodb"
DEFAULTS: Final = {
    "maxPoolSize": 10,
    "serverSelectionTimeoutMS": 10_000,
    "connectTimeoutMS": 10_000,
    "socketTimeoutMS": 30_000,
}
_TRIES = 2  # another may insert the document right after we found none
_AT_ONCE = 1000


@dataclass(frozen=True)
class _Collections:
    client: Any
    tasks: Any
    groups: Any


class MongoStore(Store):
    """Results as documents."""

    can = frozenset({"group", "shared"})

    def __init__(self, url: str, settings: Settings | None = None) -> None:
        super().__init__(settings)
        self._url = url if url.startswith("mongodb") else f"mongodb+{url}"
        place = server(self._url.partition(",")[0])
        self._seam: Seam[_Collections] = Seam(
            f"MongoDB at {place.host or 'localhost'}",
            self._open,
            _errors,
            lambda collections: collections.client.close(),
            secrets=(place.password,),
        )

    # --- one result

    def store(self, result: Result, address: Address | None = None) -> bool:
        _check(result.task_id)
        document = documents.build(result, result.done_at(), self.settings.codec)
        wanted = {"_id": result.task_id, "status": {"$ne": states.SUCCESS}}
        for _ in range(_TRIES):
            with self._seam.client("store a result") as held:
                try:
                    held.tasks.replace_one(wanted, document, upsert=True)
                except load("pymongo.errors", EXTRA).DuplicateKeyError:
                    continue
                except (load("bson.errors", EXTRA).InvalidDocument, OverflowError) as problem:
                    raise BadCall(f"MongoDB cannot keep the result of {result.task_id}: {problem}") from problem
                return True
        return False

    def fetch(self, task_id: str) -> Result | None:
        _check(task_id)
        found = self.fetch_many([task_id]).get(task_id)
        if isinstance(found, BadMessage):
            raise found
        return found

    def forget(self, task_id: str) -> None:
        with self._seam.client("forget a result") as held:
            held.tasks.delete_one({"_id": task_id})

    def fetch_many(self, task_ids: Iterable[str]) -> dict[str, Found]:
        ids = list(dict.fromkeys(task_ids))
        found: dict[str, Found] = {}
        for start in range(0, len(ids), _AT_ONCE):
            with self._seam.client("read results") as held:
                documents_found = list(held.tasks.find({"_id": {"$in": ids[start : start + _AT_ONCE]}}))
            found |= {document["_id"]: self._result(document) for document in documents_found}
        return found

    def _result(self, document: dict[str, Any]) -> Found:
        try:
            return documents.parse(document, self.settings.codec)
        except BadMessage as bad:
            return bad

    # --- groups

    def store_group(self, group: children.Node) -> None:
        document = documents.build_group(group, datetime.now(timezone.utc), self.settings.codec)
        with self._seam.client("save a group") as held:
            held.groups.replace_one({"_id": group.id}, document, upsert=True)

    def fetch_group(self, group_id: str) -> children.Node | None:
        with self._seam.client("read a group") as held:
            document = held.groups.find_one({"_id": group_id})
        return documents.parse_group(document, self.settings.codec) if document else None

    def forget_group(self, group_id: str) -> None:
        with self._seam.client("forget a group") as held:
            held.groups.delete_one({"_id": group_id})

    # --- by the clock

    def expire(self, now: float) -> int:
        expires, of_failures = self.settings.expires, self.settings.failure_expires
        deleted = 0
        with self._seam.client("delete what is old") as held:
            if of_failures:
                deleted += held.tasks.delete_many(
                    {"status": states.FAILURE, **_before(now - of_failures)}
                ).deleted_count
            if expires:
                others = {} if of_failures is None else {"status": {"$ne": states.FAILURE}}
                deleted += held.tasks.delete_many({**others, **_before(now - expires)}).deleted_count
                deleted += held.groups.delete_many(_before(now - expires)).deleted_count
        return deleted

    # --- the connection

    def close(self) -> None:
        self._seam.close()

    def _open(self) -> _Collections:
        mongo = load("pymongo", EXTRA)
        given = section(self.settings.options, "mongodb_backend_settings")
        host, port, several = given.pop("host", None), given.pop("port", None), given.pop("mongo_host", None)
        user, password = given.pop("user", None), given.pop("password", None)
        names = {
            kind: given.pop(f"{kind}meta_collection", name)
            for kind, name in (("task", documents.TASKS), ("group", documents.GROUPS))
        }
        database = given.pop("database", None)
        options: dict[str, Any] = {**DEFAULTS, **given.pop("options", {}), **given}
        if user:
            options["username"] = user
        if password:
            options["password"] = password
        url = self._url if self._url.partition("://")[2] else f"{self._url}localhost"
        if host or port:
            url = host if host and "://" in host else f"mongodb://{host or 'localhost'}:{port or 27017}"
        try:
            client = mongo.MongoClient(several or url, **options)
            name = database or mongo.uri_parser.parse_uri(url)["database"] or "celery"
        except (mongo.errors.ConfigurationError, mongo.errors.InvalidURI, TypeError, ValueError) as problem:
            raise BadCall(f"the URL of MongoDB or mongodb_backend_settings: {problem}") from problem
        tasks, groups = client[name][names["task"]], client[name][names["group"]]
        for collection in (tasks, groups):
            collection.create_index("date_done")
        return _Collections(client, tasks, groups)


def _before(seconds: float) -> dict[str, Any]:
    return {"date_done": {"$lt": datetime.fromtimestamp(seconds, timezone.utc)}}


def _check(task_id: str) -> None:
    if not task_id:
        raise BadCall("a result needs an id that is not empty")


def _errors() -> tuple[type[BaseException], ...]:
    error: type[BaseException] = load("pymongo.errors", EXTRA).PyMongoError
    return (error,)


def connect(url: str, settings: Settings) -> MongoStore:
    """A URL as pymongo takes it, or `mongodb` and its settings."""
    return MongoStore(url if "://" in url else f"{url}://", settings)
