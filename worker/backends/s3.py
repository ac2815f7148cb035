"""Results as objects in S3, by boto3: `s3://`, with `s3_bucket`, `s3_base_path` and the other `s3_...` settings.

Law: an object is a key under the base path. S3 forgets by lifecycle rules of the bucket; without one, `expire` deletes
what is older than it should be.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from ...protocol.errors import BadCall
from ...protocol.wire.stores import GROUP, TASK
from .base import KeyValueStore, Settings
from .seam import Seam, load

_MISSING = frozenset({"404", "NoSuchKey"})
_TIMEOUTS = {"connect_timeout": 10, "read_timeout": 30}


class S3Store(KeyValueStore):
    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        options = settings.options
        self._bucket = options.get("s3_bucket")
        if not self._bucket:
            raise BadCall("the S3 store needs the setting s3_bucket")
        self._base = options.get("s3_base_path") or ""
        secrets = (options.get("s3_secret_access_key"),)
        self._seam: Seam[Any] = Seam(f"S3, bucket {self._bucket}", self._client, aws_errors, secrets=secrets)

    def _client(self) -> Any:
        options = self.settings.options
        load("boto3", "s3")
        session = load("boto3", "s3").Session(
            aws_access_key_id=options.get("s3_access_key_id"),
            aws_secret_access_key=options.get("s3_secret_access_key"),
            region_name=options.get("s3_region"),
        )
        config = load("botocore.config", "s3").Config(**_TIMEOUTS)
        return session.client("s3", endpoint_url=options.get("s3_endpoint_url"), config=config)

    def get(self, key: str) -> bytes | None:
        with self._seam.client("read") as client:
            try:
                found: bytes = client.get_object(Bucket=self._bucket, Key=self._base + key)["Body"].read()
            except load("botocore.exceptions", "s3").ClientError as problem:
                if problem.response["Error"]["Code"] in _MISSING:
                    return None
                raise
            return found

    def put(self, key: str, value: bytes, expires: int) -> None:
        with self._seam.client("store") as client:
            client.put_object(Bucket=self._bucket, Key=self._base + key, Body=value)

    def delete(self, key: str) -> None:
        with self._seam.client("delete") as client:
            client.delete_object(Bucket=self._bucket, Key=self._base + key)

    def expire(self, now: float) -> int:
        if not self.settings.expires:
            return 0
        before = datetime.fromtimestamp(now - self.settings.expires, timezone.utc)
        gone = 0
        with self._seam.client("delete what is old") as client:
            for kind in (TASK, GROUP):
                prefix = self._base + self.settings.keys.prefix + kind
                for page in client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix):
                    old = [{"Key": each["Key"]} for each in page.get("Contents", ()) if each["LastModified"] < before]
                    if old:
                        client.delete_objects(Bucket=self._bucket, Delete={"Objects": old, "Quiet": True})
                    gone += len(old)
        return gone

    def close(self) -> None:
        self._seam.close()


def aws_errors() -> tuple[type[BaseException], ...]:
    library = load("botocore.exceptions", "s3")
    return library.BotoCoreError, library.ClientError


def connect(_url: str, settings: Settings) -> S3Store:
    return S3Store(settings)
