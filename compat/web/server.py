"""The sockets of the page: an asyncio server that waits for nobody long and keeps little for anybody.

Law: it decides nothing; `http` reads, `site` answers. A client has `_READS` seconds for a request and as many to take
the answer. When there are too many, the one goes that has kept us waiting for its request the longest.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from .http import Reader, Refused, Request, Response, refusal
from .site import Site

_MOST = 128
_READS = 10.0
_IDLE = 60.0
_CHANGES = 20.0
_WAITING = 48  # of them may wait for changes


class Server:
    """`open` it, and `close` it."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._pool = ThreadPoolExecutor(4, thread_name_prefix="web-answer")
        self._asking: OrderedDict[asyncio.StreamWriter, None] = OrderedDict()
        """Who is connected and has no complete request before us, the longest first."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = asyncio.Event()
        self._waiting = 0
        self._closing = False
        self._server: asyncio.Server | None = None

    async def open(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Begin to listen; gives the port. Raises OSError."""
        self._server = await asyncio.start_server(self._connected, host, port, ssl=tls, limit=4096, backlog=64)
        return int(self._server.sockets[0].getsockname()[1])

    def changed(self) -> None:
        """Whoever waits for changes is answered."""
        self._news.set()
        self._news = asyncio.Event()

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        self._closing = True
        while self._tasks:  # until Python 3.12, wait_for forgets a cancellation that comes together with its result
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks, timeout=0.2)
        self._pool.shutdown(cancel_futures=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
        try:
            if len(self._tasks) > _MOST:
                longest = next(iter(self._asking), writer)
                longest.transport.abort()
                self._asking.pop(longest, None)
            await self._serve(reader, writer)
        except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
            pass  # whoever has gone, or is too slow, is owed nothing
        finally:
            self._asking.pop(writer, None)
            writer.transport.abort()
            with suppress(Exception, asyncio.CancelledError):
                await writer.wait_closed()
            if task is not None:
                self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername") or ("?",)
        parser = Reader()
        stays = True
        while stays and not self._closing:
            self._asking[writer] = None
            try:
                request = await self._request(reader, parser)
            except Refused as problem:
                await self._send(writer, refusal(problem).bytes(stays=False))
                return
            self._asking.pop(writer, None)
            if request is None:
                return
            stays = request.stays
            answer = await self._answer(request, str(peer[0]))
            await self._send(writer, answer.bytes(head_only=request.method == "HEAD", stays=stays))

    async def _request(self, reader: asyncio.StreamReader, parser: Reader) -> Request | None:
        """The next one; None when the client has gone. Raises TimeoutError when it dawdles."""
        loop = asyncio.get_running_loop()
        end = loop.time() + (_IDLE if parser.idle else _READS)
        while (request := parser.next()) is None:
            fresh = parser.idle
            data = await asyncio.wait_for(reader.read(4096), max(end - loop.time(), 0.01))
            if not data:
                return None
            if fresh:
                end = min(end, loop.time() + _READS)
            parser.feed(data)
        return request

    async def _answer(self, request: Request, who: str) -> Response:
        since = self._site.waits_for(request)
        loop = asyncio.get_running_loop()
        if since is not None and self._waiting < _WAITING:
            self._waiting += 1
            try:
                await self._until_over(since)
            finally:
                self._waiting -= 1
        return await loop.run_in_executor(self._pool, self._site.answer, request, who)

    async def _until_over(self, since: int) -> None:
        news = self._news
        if self._site.version <= since:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(news.wait(), _CHANGES)

    @staticmethod
    async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await asyncio.wait_for(writer.drain(), _READS)


def told(loop: asyncio.AbstractEventLoop, server: Server) -> Callable[[], None]:
    """What another thread calls when there is something new."""

    def tell() -> None:
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(server.changed)

    return tell
