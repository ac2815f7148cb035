"""Results in a DynamoDB table, by boto3: `dynamodb://key:secret@region/table?ttl_seconds=...&read=1&write=1`.

Law: items and the table are Celery's: `id`, `result`, `timestamp`, `ttl`; counters of chords have `chord_count`. The
table is made when it is missing. An item is at most 400 KB. DynamoDB deletes what is over within days, so what is over
and still there counts as gone.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.wire.result import Result
from .base import Settings
from .counting import CountingStore
from .s3 import aws_errors
from .seam import Seam, Server, load, server

_TIMEOUTS = {"connect_timeout": 10, "read_timeout": 30}
_AT_ONCE = 100  # keys in one request
_LOCAL = 8000

Item = dict[str, Any]


class DynamoStore(CountingStore):
    can = CountingStore.can | {"expire"}

    def __init__(self, place: Server, settings: Settings) -> None:
        super().__init__(settings)
        if (place.user is None) != (place.password is None):
            raise BadCall("the URL of DynamoDB has both the access key and its secret, or neither")
        self._place = place
        self._table = place.path or "celery"
        try:
            ttl = place.query.get("ttl_seconds")
            self._ttl = None if ttl is None else int(ttl)
            self._capacity = [int(place.query.get(name, 1)) for name in ("read", "write")]
        except ValueError as problem:
            raise BadCall(f"the URL of DynamoDB: {problem}") from None
        where = f"DynamoDB in {place.host}, table {self._table}"
        self._seam: Seam[Any] = Seam(where, self._client, aws_errors, secrets=(place.password,))

    # --- values

    def get(self, key: str) -> bytes | None:
        with self._seam.client("read") as client:
            return _value(client.get_item(TableName=self._table, Key=_key(key), ConsistentRead=True).get("Item"))

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        found: dict[str, bytes | None] = {}
        names = list(dict.fromkeys(keys))
        with self._seam.client("read") as client:
            while names:
                some, names = names[:_AT_ONCE], names[_AT_ONCE:]
                wanted = {self._table: {"Keys": [_key(name) for name in some], "ConsistentRead": True}}
                answer = client.batch_get_item(RequestItems=wanted)
                found |= {item["id"]["S"]: _value(item) for item in answer["Responses"].get(self._table, ())}
                left = answer.get("UnprocessedKeys", {}).get(self._table, {}).get("Keys", ())
                names += [key["id"]["S"] for key in left]
        return [found.get(key) for key in keys]

    def put(self, key: str, value: bytes, expires: int) -> None:
        with self._seam.client("store") as client:
            client.put_item(TableName=self._table, Item=self._item(key, value, expires))

    def delete(self, key: str) -> None:
        with self._seam.client("delete") as client:
            client.delete_item(TableName=self._table, Key=_key(key))

    def _item(self, key: str, value: bytes, expires: int) -> Item:
        now = time.time()
        item: Item = {**_key(key), "result": {"B": value}, "timestamp": {"N": str(now)}}
        if expires:
            item["ttl"] = {"N": str(math.ceil(now + expires))}
        return item

    def lifetime(self, result: Result) -> int:
        return super().lifetime(result) if self._ttl is None else max(self._ttl, 0)

    # --- what chords need

    def add(self, key: str, value: bytes, expires: int) -> bool:
        item = self._item(key, value, expires)
        return self._put_if("attribute_not_exists(id) OR #ttl <= :now", item)

    def swap(self, key: str, old: bytes, new: bytes, expires: int) -> bool:
        item = self._item(key, new, expires)
        condition = "#result = :old AND (attribute_not_exists(#ttl) OR #ttl > :now)"
        return self._put_if(condition, item, {":old": {"B": old}})

    def count(self, key: str, by: int, expires: int) -> int:
        with self._seam.client("count") as client:
            answer = client.update_item(
                TableName=self._table,
                Key=_key(key),
                UpdateExpression="ADD chord_count :by",
                ExpressionAttributeValues={":by": {"N": str(by)}},
                ReturnValues="ALL_NEW",
            )
        return int(answer["Attributes"]["chord_count"]["N"])

    def counted(self, key: str) -> int | None:
        with self._seam.client("read a counter") as client:
            item = client.get_item(TableName=self._table, Key=_key(key), ConsistentRead=True).get("Item")
        return int(item["chord_count"]["N"]) if item and "chord_count" in item else None

    def _put_if(self, condition: str, item: Item, values: Item | None = None) -> bool:
        """Whether it was done: it is done only if."""
        names = {name: name[1:] for name in ("#ttl", "#result") if name in condition}
        known = {":now": {"N": str(time.time())}, **(values or {})}
        with self._seam.client("store") as client:
            only = {
                "TableName": self._table,
                "ConditionExpression": condition,
                "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": known,
            }
            try:
                client.put_item(Item=item, **only)
            except client.exceptions.ConditionalCheckFailedException:
                return False
            return True

    # --- the connection

    def close(self) -> None:
        self._seam.close()

    def _client(self) -> Any:
        options, place = self.settings.options, self._place
        region, endpoint = place.host, options.get("dynamodb_endpoint_url")
        if _is_here(place.host):
            region, endpoint = "us-east-1", endpoint or f"http://{place.host}:{place.port or _LOCAL}"
        client = load("boto3", "dynamodb").client(
            "dynamodb",
            region_name=region,
            endpoint_url=endpoint,
            aws_access_key_id=place.user,
            aws_secret_access_key=place.password,
            config=load("botocore.config", "dynamodb").Config(**_TIMEOUTS),
        )
        self._make_table(client)
        return client

    def _make_table(self, client: Any) -> None:
        try:
            client.describe_table(TableName=self._table)
        except client.exceptions.ResourceNotFoundException:
            read, write = self._capacity
            with suppress(client.exceptions.ResourceInUseException):  # somebody else is making it
                client.create_table(
                    TableName=self._table,
                    AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
                    KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
                    ProvisionedThroughput={"ReadCapacityUnits": read, "WriteCapacityUnits": write},
                )
            client.get_waiter("table_exists").wait(TableName=self._table, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
        if self._ttl is None:
            return
        said = client.describe_time_to_live(TableName=self._table)["TimeToLiveDescription"]
        if (said["TimeToLiveStatus"] in ("ENABLED", "ENABLING")) != (self._ttl >= 0):
            wanted = {"Enabled": self._ttl >= 0, "AttributeName": said.get("AttributeName", "ttl")}
            client.update_time_to_live(TableName=self._table, TimeToLiveSpecification=wanted)


def _key(key: str) -> Item:
    return {"id": {"S": key}}


def _value(item: Item | None) -> bytes | None:
    if not item or "result" not in item:
        return None
    ends = item.get("ttl")
    if ends is not None and float(ends["N"]) <= time.time():
        return None
    return bytes(item["result"]["B"])


def _is_here(host: str | None) -> bool:
    """DynamoDB as one runs it oneself: by an address, where else a region stands."""
    try:
        return host == "localhost" or bool(ip_address(host or ""))
    except ValueError:
        return False


def connect(url: str, settings: Settings) -> DynamoStore:
    return DynamoStore(server(url), settings)
