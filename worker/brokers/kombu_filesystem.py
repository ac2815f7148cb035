"""kombu's filesystem transport, mended: the same files, of which none is seen half written, and in their order.

Law: stock kombu reads what this writes and the reverse. kombu's own takes a file while its writer still has it open
(the message is gone), orders messages sent within a millisecond by chance, moves files across file systems without a
lock, and thinks that a binding made in one folder is made in all.
"""

from __future__ import annotations

import fcntl
import itertools
import os
import time
import uuid
from pathlib import Path
from queue import Empty
from typing import IO, Any

from kombu.transport import filesystem, virtual
from kombu.utils.json import dumps, loads

from ...protocol.errors import BadCall

_WRITER_GONE = 5.0  # seconds: an empty file that old is not about to be written


class Channel(filesystem.Channel):
    """Taking is one rename within the folder; putting is one too."""

    _numbers = itertools.count()

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)  # type: ignore[no-untyped-call]  # kombu's
        for folder in (self.data_folder_in, self.data_folder_out, self.control_folder):
            Path(folder).mkdir(parents=True, exist_ok=True)

    def _put(self, queue: str, payload: Any, **_: Any) -> None:  # type: ignore[override]  # kombu names it either way
        if "/" in queue or "\0" in queue:
            raise BadCall(f"a queue in files cannot be named {queue!r}")
        folder = Path(self.data_folder_out)
        number = next(self._numbers) % 10**9
        name = f"{round(time.monotonic() * 1000)}_{number:09}-{uuid.uuid4()}.{queue}.msg"
        unseen = folder / f".{name}.new"
        unseen.write_bytes(dumps(payload).encode())
        unseen.replace(folder / name)

    def _get(self, queue: str, timeout: float | None = None) -> Any:  # noqa: ARG002  # kombu's signature
        folder = Path(self.data_folder_in)
        for name in sorted(os.listdir(folder)):  # noqa: PTH208  # names are all that is looked at
            if name.partition(".")[2] == f"{queue}.msg":
                data = self._claim(folder, name)
                if data is not None:
                    return loads(data.decode())
        raise Empty

    def _claim(self, folder: Path, name: str) -> bytes | None:
        """The file's bytes, if it is ours now: whoever renames it has it."""
        path = folder / name
        try:
            with path.open("rb") as file:
                if not _is_written(file):
                    return None
                taken = path.rename(self._taken(folder, name))
                data = file.read()
        except FileNotFoundError:
            return None
        if not self.store_processed:
            taken.unlink()
        return data

    def _taken(self, folder: Path, name: str) -> Path:
        if self.store_processed:
            Path(self.processed_folder).mkdir(parents=True, exist_ok=True)
            return Path(self.processed_folder) / name
        return folder / f".{name}.taken"


def _is_written(file: IO[bytes]) -> bool:
    """kombu's writer opens the file, then locks it, then writes it."""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    state = os.fstat(file.fileno())
    return state.st_size > 0 or time.time() - state.st_mtime > _WRITER_GONE


class Transport(filesystem.Transport):
    Channel = Channel

    def __init__(self, client: Any, **kwargs: Any) -> None:
        super().__init__(client, **kwargs)  # type: ignore[no-untyped-call]  # kombu's
        self.state = virtual.BrokerState()
