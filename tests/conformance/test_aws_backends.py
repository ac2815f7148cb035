"""The stores in S3 and DynamoDB against the contract, on moto: Amazon's services as moto understands them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from celeriac.protocol.errors import BadCall
from celeriac.worker import backends
from celeriac.worker.backends.base import Settings, Store
from tests.conformance.backends import Connect, StoreContract, done, new_id

moto = pytest.importorskip("moto")
KEYS = {"s3_access_key_id": "testing", "s3_secret_access_key": "testing", "s3_region": "us-east-1"}


@pytest.fixture(autouse=True)
def amazon() -> Iterator[None]:
    with moto.mock_aws():
        yield


class TestS3(StoreContract):
    thousands = 100

    @pytest.fixture
    def connect(self) -> Connect:
        from dataclasses import replace

        import boto3

        boto3.client("s3", region_name="us-east-1", aws_access_key_id="t", aws_secret_access_key="t").create_bucket(
            Bucket="results"
        )
        options = {**KEYS, "s3_bucket": "results", "s3_base_path": "some/where/"}
        return lambda settings=None: backends.connect("s3://", replace(settings or Settings(), options=options))

    def test_fetching_many(self, store: Store) -> None:
        """One by one: not a thousand of them."""
        stored = [done(new_id(), number) for number in range(20)]
        for each in stored:
            store.store(each)
        ids = [*(each.task_id for each in stored), *(new_id() for _ in range(20))]
        assert store.fetch_many(ids) == {each.task_id: each for each in stored}

    def test_it_needs_a_bucket(self) -> None:
        with pytest.raises(BadCall, match="s3_bucket"):
            backends.connect("s3://", Settings())


class TestDynamo(StoreContract):
    thousands = 300

    @pytest.fixture
    def connect(self) -> Connect:
        return lambda settings=None: backends.connect("dynamodb://testing:testing@us-east-1/results", settings)

    def test_a_big_result(self, store: Store) -> None:
        """An item is at most 400 KB."""
        sent = done(new_id(), "x\u2603" * 40_000)
        store.store(sent)
        assert store.fetch(sent.task_id) == sent

    def test_ttl_seconds(self, connect: Connect) -> None:
        brief = backends.connect("dynamodb://testing:testing@us-east-1/brief?ttl_seconds=1&read=2&write=3")
        lasting = backends.connect("dynamodb://testing:testing@us-east-1/brief?ttl_seconds=-1")
        result, other = done(new_id()), done(new_id())
        brief.store(result)
        lasting.store(other)
        end = time.monotonic() + 10
        while brief.fetch(result.task_id) is not None:
            assert time.monotonic() < end
            time.sleep(0.1)
        assert brief.fetch(other.task_id) == other

    @pytest.mark.parametrize("url", ["dynamodb://key@us-east-1", "dynamodb://us-east-1/t?ttl_seconds=x"])
    def test_what_is_no_address(self, url: str) -> None:
        with pytest.raises(BadCall):
            backends.connect(url)
