"""Stores that need somebody else's library: the seam, what they say when it is missing, and those without a server here.

For these a dict stands in for the server and answers the calls that the store makes: it proves what the store does with
the answers, and nothing about the library.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire import states
from celeriac.protocol.wire.result import Result
from celeriac.protocol.wire.serializers import accepted
from celeriac.protocol.wire.stored import Codec
from celeriac.worker import backends
from celeriac.worker.backends import seam
from celeriac.worker.backends.base import Settings, Store
from celeriac.worker.backends.seam import Seam
from tests.conformance.backends import done, failed, new_id

# --- the seam


def test_what_a_library_raises_is_told_without_the_password() -> None:
    class Broken(Exception):
        pass

    def make() -> Any:
        raise Broken("no way to\n  user:s3cret@host")

    held: Seam[Any] = Seam("the place", make, lambda: (Broken,), secrets=(None, "s3cret"))
    with pytest.raises(OperationalError) as told, held.client("store a result"):
        pass
    said = str(told.value)
    assert "the place: could not store a result, after 0.0 s: Broken: no way to user:***@host" in said
    assert isinstance(told.value.__cause__, Broken)


def test_what_the_caller_did_wrong_passes() -> None:
    held: Seam[int] = Seam("the place", lambda: 1)
    for error in (BadCall("x"), TypeError("x")):
        with pytest.raises(type(error)), held.client("try"):
            raise error
    with pytest.raises(OperationalError, match="ConnectionResetError"), held.client("try"):
        raise ConnectionResetError


def test_a_forked_child_has_its_own_client() -> None:
    left: list[int] = []
    held: Seam[int] = Seam("the place", os.getpid, leave=left.append)
    with held.client("look") as mine:
        assert mine == os.getpid()
    pid = os.fork()
    if not pid:
        with held.client("look") as mine:
            os._exit(0 if mine == os.getpid() else 1)
    assert os.waitpid(pid, 0)[1] == 0
    held.close()
    held.close()
    assert left == [os.getpid()]


def test_a_group_of_settings_names_what_it_does_not_know(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        assert seam.section({"table_names": {"tsk": "x"}}, "table_names", ("task", "group")) == {"tsk": "x"}
    assert [each.getMessage() for each in caplog.records] == [
        "table_names has 'tsk', which this result store does not know; did you mean task?"
    ]


def test_urls() -> None:
    place = seam.server("couchdb://us%40er:p%2Fw@host:5/some/where?x=1")
    assert (place.user, place.password, place.host, place.port) == ("us@er", "p/w", "host", 5)
    assert (place.path, place.query) == ("some/where", {"x": "1"})
    assert str(place) == "couchdb://host:5/some/where"
    assert str(seam.server("s3")) == "s3:"
    with pytest.raises(BadCall):
        seam.server("x://host:port/")
    with pytest.raises(BadCall, match="mapping"):
        seam.section({"a": 5}, "a")


# --- every store of the table

PLACES = {
    "arangodb": ("arangodb://u:p@host/db/coll", "pyArango", {}),
    "azureblockblob": ("azureblockblob://AccountKey=secret;x", "azure", {}),
    "cassandra": (
        "cassandra://",
        "cassandra",
        {"cassandra_servers": ["host"], "cassandra_keyspace": "k", "cassandra_table": "t"},
    ),
    "consul": ("consul://host/path", "consul", {}),
    "cosmosdbsql": ("cosmosdbsql://:key@host", "pydocumentdb", {}),
    "couchbase": ("couchbase://u:p@host/bucket", "couchbase", {}),
    "couchdb": ("couchdb://u:p@host/box", "pycouchdb", {}),
    "elasticsearch": ("elasticsearch://u:p@host/index", "elasticsearch", {}),
    "gs": ("gs://bucket/base?gcs_project=p", "google.cloud.storage", {}),
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_library_that_is_missing_is_named(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url, library, options = PLACES[kind]
    monkeypatch.setitem(sys.modules, library, None)
    store = backends.connect(url, Settings(options=options))
    with pytest.raises(BadCall, match="pip install 'celeriac"):
        store.fetch("t")
    store.close()


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("azureblockblob://", {}),
        ("cassandra://", {"cassandra_servers": ["h"]}),
        ("cosmosdbsql://host", {}),
        ("gs://bucket", {}),
        ("elasticsearch://h", {"elasticsearch_save_meta_as_text": False}),
        ("cache+redis://h/", {}),
        ("cache+memcached://", {}),
        ("cache", {}),
        ("database", {}),
        ("db+::", {}),
    ],
)
def test_what_is_no_place(url: str, options: dict[str, Any]) -> None:
    with pytest.raises(BadCall):
        backends.connect(url, Settings(options=options))


class NotThere(Exception):
    status_code = 404


def stand_in(name: str, **members: Any) -> ModuleType:
    module = ModuleType(name)
    module.__dict__.update(members)
    return module


class Kept(dict[str, Any]):
    """What the server keeps; asked for what is not there, it says so as the library does."""

    def need(self, key: str) -> Any:
        if key not in self:
            raise NotThere(key)
        return self[key]


def elasticsearch(kept: Kept) -> dict[str, ModuleType]:
    class Elasticsearch:
        def __init__(self, url: str, **options: Any) -> None:
            assert url == "http://host:9200"

        def get(self, index: str, id: str) -> Any:  # noqa: A002 - the name that the library gives it
            return {"_source": kept.need(id)}

        def index(self, index: str, id: str, document: Any, refresh: bool) -> None:  # noqa: A002 - the name that the library gives it
            kept[id] = json.loads(json.dumps(document))

        def delete(self, index: str, id: str) -> None:  # noqa: A002 - the name that the library gives it
            kept.need(id)
            del kept[id]

        def close(self) -> None: ...

    return {
        "elasticsearch": stand_in(
            "elasticsearch",
            Elasticsearch=Elasticsearch,
            NotFoundError=NotThere,
            ApiError=NotThere,
            TransportError=OSError,
        )
    }


def couchdb(kept: Kept) -> dict[str, ModuleType]:
    class Database:
        def get(self, key: str) -> Any:
            return dict(kept.need(key))

        def save(self, document: Any) -> None:
            assert document.get("_rev") == (kept.get(document["_id"]) or {}).get("_rev")
            kept[document["_id"]] = {**document, "_rev": new_id()}

        def delete(self, key: str) -> None:
            del kept[key]

    class Server:
        def __init__(self, url: str, authmethod: str) -> None:
            assert url == "http://u:p@host:5984/"

        def database(self, name: str) -> Any:
            raise NotThere

        def create(self, name: str) -> Any:
            return Database()

    exceptions = stand_in("pycouchdb.exceptions", NotFound=NotThere, Error=NotThere)
    return {"pycouchdb": stand_in("pycouchdb", Server=Server), "pycouchdb.exceptions": exceptions}


def consul(kept: Kept) -> dict[str, ModuleType]:
    class Consul:
        def __init__(self, **options: Any) -> None:
            self.kv, self.session = self, SimpleNamespace(create=lambda **given: new_id(), renew=lambda session: None)

        def get(self, key: str) -> Any:
            return 0, kept.get(key)

        def put(self, key: str, value: bytes, acquire: str | None = None) -> bool:
            before = (kept.get(key) or {}).get("Session")
            assert not (acquire and before), "it is acquired already"
            kept[key] = {"Value": value, "Session": acquire or before}
            return True

        def delete(self, key: str) -> None:
            kept.pop(key, None)

    return {
        "consul": stand_in("consul", Consul=Consul),
        "consul.base": stand_in("consul.base", ConsulException=NotThere),
    }


def couchbase(kept: Kept) -> dict[str, ModuleType]:
    class Collection:
        def get(self, key: str) -> Any:
            return SimpleNamespace(content_as={str: kept.need(key)})

        def upsert(self, key: str, value: str, options: Any) -> None:
            kept[key] = value

        def remove(self, key: str) -> None:
            kept.need(key)
            del kept[key]

    class Cluster:
        def __init__(self, url: str, options: Any) -> None:
            assert url == "couchbase://host"

        def wait_until_ready(self, timeout: Any) -> None: ...

        def bucket(self, name: str) -> Any:
            return SimpleNamespace(default_collection=Collection)

    take = lambda *args, **options: (args, options)  # noqa: E731
    return {
        "couchbase.auth": stand_in("couchbase.auth", PasswordAuthenticator=take),
        "couchbase.options": stand_in("couchbase.options", ClusterOptions=take, UpsertOptions=take),
        "couchbase.cluster": stand_in("couchbase.cluster", Cluster=Cluster),
        "couchbase.exceptions": stand_in(
            "couchbase.exceptions", DocumentNotFoundException=NotThere, CouchbaseException=NotThere
        ),
    }


def arangodb(kept: Kept) -> dict[str, ModuleType]:
    class Database:
        def AQLQuery(self, query: str, rawResults: bool, bindVars: Any) -> Any:
            assert bindVars["@collection"] == "coll"
            key = bindVars["key"]
            if query.startswith("UPSERT"):
                kept[key] = bindVars["value"]
            elif query.startswith("REMOVE"):
                kept.pop(key, None)
            return [kept.get(key)]

    return {
        "pyArango.connection": stand_in("pyArango.connection", Connection=lambda **given: {"db": Database()}),
        "pyArango.theExceptions": stand_in("pyArango.theExceptions", pyArangoException=NotThere),
    }


def azureblockblob(kept: Kept) -> dict[str, ModuleType]:
    class Container:
        def exists(self) -> bool:
            return False

        def create_container(self) -> None: ...

        def download_blob(self, name: str) -> Any:
            value = kept.need(name)
            return SimpleNamespace(readall=lambda: value)

        def upload_blob(self, name: str, value: bytes, overwrite: bool) -> None:
            kept[name] = value

        def delete_blob(self, name: str) -> None:
            kept.need(name)
            del kept[name]

    client = SimpleNamespace(get_container_client=lambda name: Container())
    service = SimpleNamespace(from_connection_string=lambda text, **options: client)
    return {
        "azure.storage.blob": stand_in("azure.storage.blob", BlobServiceClient=service),
        "azure.core.exceptions": stand_in("azure.core.exceptions", ResourceNotFoundError=NotThere, AzureError=NotThere),
    }


def gs(kept: Kept) -> dict[str, ModuleType]:
    class Blob:
        custom_time: Any = None

        def __init__(self, name: str) -> None:
            self.name = name

        def download_as_bytes(self, timeout: Any) -> Any:
            return kept.need(self.name)

        def upload_from_string(self, value: bytes, timeout: Any) -> None:
            kept[self.name] = value

        def delete(self, timeout: Any) -> None:
            kept.need(self.name)
            del kept[self.name]

    bucket = SimpleNamespace(blob=Blob)
    client = SimpleNamespace(bucket=lambda name: bucket)
    return {
        "google.cloud.storage": stand_in("google.cloud.storage", Client=lambda project: client),
        "google.api_core.exceptions": stand_in(
            "google.api_core.exceptions", NotFound=NotThere, GoogleAPIError=NotThere
        ),
        "google.auth.exceptions": stand_in("google.auth.exceptions", GoogleAuthError=NotThere),
    }


def cosmosdbsql(kept: Kept) -> dict[str, ModuleType]:
    class Conflict(NotThere):
        status_code = 409

    class Client:
        def __init__(self, url: str, login: Any, **options: Any) -> None:
            assert (url, login) == ("https://host:443", {"masterKey": "key"})

        def CreateDatabase(self, database: Any) -> None:
            raise Conflict

        def CreateCollection(self, link: str, collection: Any) -> None: ...

        def ReadDocument(self, link: str, options: Any) -> Any:
            return kept.need(link.rpartition("/docs/")[2])

        def UpsertDocument(self, link: str, document: Any, options: Any) -> None:
            kept[document["id"]] = document

        def DeleteDocument(self, link: str, options: Any) -> None:
            kept.need(options["partitionKey"])
            del kept[options["partitionKey"]]

    kinds = SimpleNamespace(Hash="Hash")
    documents = stand_in("pydocumentdb.documents", ConnectionPolicy=SimpleNamespace, PartitionKind=kinds)
    return {
        "pydocumentdb.documents": documents,
        "pydocumentdb.retry_options": stand_in("pydocumentdb.retry_options", RetryOptions=SimpleNamespace),
        "pydocumentdb.document_client": stand_in("pydocumentdb.document_client", DocumentClient=Client),
        "pydocumentdb.errors": stand_in("pydocumentdb.errors", HTTPFailure=NotThere),
    }


def cassandra(kept: Kept) -> dict[str, ModuleType]:
    class Session:
        def execute(self, query: Any, values: Any = None) -> Any:
            text = str(getattr(query, "text", query)).strip()
            if text.startswith("INSERT"):
                assert "USING TTL 86400" in text
                kept[values[0]] = values[1:]
            elif text.startswith("DELETE"):
                kept.pop(values[0], None)
            row = kept.get(values[0]) if values else None
            return SimpleNamespace(one=lambda: row)

    class Cluster:
        def __init__(self, **options: Any) -> None:
            assert options == {"contact_points": ["host"], "port": 9042}

        def connect(self, keyspace: str) -> Any:
            return Session()

        def shutdown(self) -> None: ...

    statement = lambda text, consistency_level: SimpleNamespace(text=text)  # noqa: E731
    levels = SimpleNamespace(LOCAL_QUORUM=6)
    return {
        "cassandra": stand_in("cassandra", ConsistencyLevel=levels, DriverException=NotThere),
        "cassandra.cluster": stand_in("cassandra.cluster", Cluster=Cluster, NoHostAvailable=NotThere),
        "cassandra.query": stand_in("cassandra.query", SimpleStatement=statement),
    }


LIBRARIES: dict[str, Callable[[Kept], dict[str, ModuleType]]] = {
    function.__name__: function
    for function in (
        arangodb,
        azureblockblob,
        cassandra,
        consul,
        cosmosdbsql,
        couchbase,
        couchdb,
        elasticsearch,
        gs,
    )
}


@pytest.fixture(params=LIBRARIES)
def store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    requests = stand_in("requests", RequestException=NotThere)
    for name, module in {"requests": requests, **LIBRARIES[request.param](Kept())}.items():
        monkeypatch.setitem(sys.modules, name, module)
    url, _, options = PLACES[request.param]
    store = backends.connect(url, Settings(options=options))
    yield store
    store.close()


def test_the_life_of_a_result(store: Store) -> None:
    task_id = new_id()
    assert store.fetch(task_id) is None
    store.forget(task_id)
    assert store.store(Result(task_id, states.STARTED, {"pid": 1}))
    assert store.store(failed(task_id))
    assert store.store(done(task_id, {"a": "\u2603"}))
    assert not store.store(failed(task_id))
    found = store.fetch(task_id)
    assert found is not None
    assert (found.status, found.result) == (states.SUCCESS, {"a": "\u2603"})
    assert set(store.fetch_many([task_id, new_id()])) == {task_id}
    store.forget(task_id)
    assert store.fetch(task_id) is None
    with pytest.raises(BadCall):
        store.store(done(""))


@pytest.mark.parametrize("kind", ["arangodb", "cosmosdbsql", "couchbase", "couchdb", "elasticsearch"])
def test_what_is_no_text_is_refused_where_texts_are_kept(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, module in {"requests": stand_in("requests"), **LIBRARIES[kind](Kept())}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(sys.modules["requests"], "RequestException", NotThere, raising=False)
    store = backends.connect(PLACES[kind][0], Settings(Codec("pickle", accepted(["pickle"]))))
    with pytest.raises(BadCall, match="keeps results as text"):
        store.store(done(new_id()))
