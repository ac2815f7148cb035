"""Results as blobs in Azure Storage, by its own library: `azureblockblob://<connection string>`.

The connection string may be `DefaultAzureCredential@<account URL>` or `ManagedIdentityCredential@<account URL>`.
Law: a blob is a key under `azureblockblob_base_path`. Azure forgets by the rules of the account. Untested against it.
"""

from __future__ import annotations

import re
from typing import Any

from ...protocol.errors import BadCall
from .base import KeyValueStore, Settings
from .seam import Seam, load

_EXTRA = "azureblockblob"
_CREDENTIALS = frozenset({"DefaultAzureCredential", "ManagedIdentityCredential"})


class AzureBlobStore(KeyValueStore):
    def __init__(self, address: str, settings: Settings) -> None:
        super().__init__(settings)
        if not address:
            raise BadCall("the URL of Azure is azureblockblob:// and the connection string of the account")
        options = settings.options
        self._address = address
        self._container = options.get("azureblockblob_container_name") or "celery"
        self._base = options.get("azureblockblob_base_path") or ""
        secrets = tuple(re.findall(r"(?:AccountKey|SharedAccessSignature)=([^;]+)", address))
        self._seam: Seam[Any] = Seam(f"Azure, container {self._container}", self._client, _errors, secrets=secrets)

    def _client(self) -> Any:
        options = self.settings.options
        service = load("azure.storage.blob", _EXTRA).BlobServiceClient
        timeouts = {
            "connection_timeout": options.get("azureblockblob_connection_timeout") or 20,
            "read_timeout": options.get("azureblockblob_read_timeout") or 120,
        }
        kind, _, account = self._address.partition("@")
        if kind in _CREDENTIALS:
            credential = getattr(load("azure.identity", _EXTRA), kind)()
            client = service(account_url=account, credential=credential, **timeouts)
        else:
            client = service.from_connection_string(self._address, **timeouts)
        container = client.get_container_client(self._container)
        if not container.exists():
            container.create_container()
        return container

    def get(self, key: str) -> bytes | None:
        with self._seam.client("read") as container:
            try:
                found: bytes = container.download_blob(self._base + key).readall()
            except load("azure.core.exceptions", _EXTRA).ResourceNotFoundError:
                return None
        return found

    def put(self, key: str, value: bytes, expires: int) -> None:
        with self._seam.client("store") as container:
            container.upload_blob(self._base + key, value, overwrite=True)

    def delete(self, key: str) -> None:
        with self._seam.client("delete") as container:
            try:
                container.delete_blob(self._base + key)
            except load("azure.core.exceptions", _EXTRA).ResourceNotFoundError:
                return

    def close(self) -> None:
        self._seam.close()


def _errors() -> tuple[type[BaseException], ...]:
    error: type[BaseException] = load("azure.core.exceptions", _EXTRA).AzureError
    return (error,)


def connect(url: str, settings: Settings) -> AzureBlobStore:
    return AzureBlobStore(url.partition("://")[2], settings)
