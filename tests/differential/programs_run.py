"""Runs programs with a worker of either kind, and gathers what was to be seen of each task.

What a worker writes to Redis is read from MONITOR: every document that is stored, every event. What it tells inside
is what `programs_app` recorded. All is put together by task id, with dates and random ids taken out.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests import servers

HERE = Path(__file__).parent
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FUNCTION = re.compile(r"['\"]?<function .*? at 0x[0-9a-f]+>['\"]?")
_DATE = re.compile(r"20\d\d-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?([+]\d\d:\d\d)?")
_ARGUMENT = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|.)", re.DOTALL)
_PLAIN = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b"}
_META = b"celery-task-meta-"
_UNSHOWN = "RuntimeError: no repr"
_PASSING = frozenset({"timestamp", "clock", "pid", "local_received", "utcoffset", "hostname", "runtime"})
_PID = re.compile(r"""(["']pid["']: )\d+""")
_QUIET = 0.4

Seen = dict[str, dict[str, list[Any]]]
"""By task: what was stored, which events were sent, what the worker and the task told, which lines were logged."""


class Monitor:
    """All commands that a Redis is given, from now on."""

    def __init__(self, server: servers.RedisServer) -> None:
        self.lines: list[bytes] = []
        self._client = server.connect()
        self._client.call("MONITOR")
        self._client._socket.settimeout(None)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with suppress(Exception):  # closed
            while True:
                line = self._client.read()
                if _META in line or b"celeryev" in line:
                    self.lines.append(line)

    def close(self) -> None:
        self._client.close()


def arguments(line: bytes) -> list[bytes]:
    """The words of a command, as MONITOR shows it."""
    return [_ESCAPE.sub(_unescaped, word) for word in _ARGUMENT.findall(line.partition(b"] ")[2])]


def _unescaped(found: re.Match[bytes]) -> bytes:
    what = found[1]
    return bytes([int(what[1:], 16)]) if len(what) == 3 else _PLAIN.get(what, what)


def run(
    programs: Sequence[dict[str, Any]], command: Sequence[str], stock: Path, folder: Path, **more: str
) -> tuple[Seen, dict[str, Any]]:
    """What was seen of each task, and how each looks in the end. `command` starts the worker, but for its options."""
    folder.mkdir()
    with servers.redis_server() as server:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "CELERY", "COV"))}
        record = folder / "record"
        path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**kept, **more, "BROKER": server.url, "RECORD": str(record), "PYTHONPATH": path}

        def client(what: str, value: Any) -> Any:
            done = subprocess.run(
                [str(stock), str(HERE / "programs_client.py"), what],
                input=json.dumps(value),
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
            assert done.returncode == 0, done.stderr[-3000:]
            return json.loads(done.stdout)

        early = [program for program in programs if not program["control"]]
        late = [program for program in programs if program["control"]]
        refused = client("send", early)  # first all, then the worker: else the order of messages is left to chance
        monitor = Monitor(server)
        options = ["-l", "INFO", "-E", "-n", "w@here", "-c", "1", "--without-mingle"]
        with _worker([*command, *options], {**environment, "RECORDING": "1"}, folder / "log") as worker:
            _settle(server, monitor, worker)
            if late:
                client("revoke", [program["control"][1] for program in late])
                refused += client("send", late)
                _settle(server, monitor, worker)
        time.sleep(0.05)
        lines = [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []
        (folder / "monitor").write_bytes(b"\n".join(monitor.lines))
        seen = gather(monitor.lines, lines)
        # Tasks whose ids nobody chose are one heap, in no order.
        for told in seen.get("uuid", {}).values():
            told.sort(key=json.dumps)
        final = client("tell", sorted(each for each in seen if re.fullmatch(r"p\d+\.t\d+", each)))
        final = json.loads(_PID.sub(r"\g<1>0", tidied(json.dumps(final))))
        final["refused"] = refused
        monitor.close()
    return seen, final


@contextmanager
def _worker(command: Sequence[str], environment: dict[str, str], log: Path) -> Iterator[Any]:
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, cwd=HERE, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield process
        assert process.poll() is None, log.read_text("utf-8", "replace")[-3000:]
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _settle(server: servers.RedisServer, monitor: Monitor, process: Any, seconds: float = 120) -> None:
    """Until nothing waits or runs any more."""
    end, quiet_since, before = time.monotonic() + seconds, time.monotonic(), -1
    while time.monotonic() - quiet_since < _QUIET:
        assert process.poll() is None, "the worker has ended"
        assert time.monotonic() < end, "the worker does not come to rest"
        busy = server.call("LLEN", "celery") or server.call("HLEN", "unacked") or not monitor.lines
        if busy or len(monitor.lines) != before:
            before, quiet_since = len(monitor.lines), time.monotonic()
        time.sleep(0.05)


# --- putting together


def gather(monitored: Sequence[bytes], recorded: Sequence[list[Any]]) -> Seen:
    seen: Seen = {}

    def of(task_id: str | None, kind: str) -> list[Any]:
        return seen.setdefault(tidied(task_id or "nobody"), {}).setdefault(kind, [])

    for line in monitored:
        words = arguments(line)
        verb = words[0].upper()
        if verb in (b"SET", b"SETEX") and words[1].startswith(_META):
            documents = of(words[1][len(_META) :].decode(), "stored")
            document = stored(words)
            if documents[-1:] != [document]:  # one that is there already need not be written again
                documents.append(document)
        elif verb == b"PUBLISH" and b"celeryev" in words[1]:
            for event in events(words[2]):
                if "uuid" in event and not event["type"].startswith("worker"):
                    kept = {key: value for key, value in event.items() if key not in _PASSING}
                    kept["traceback"] = last_line(kept.get("traceback"))
                    # Stock shows an exception that cannot be pickled as it made it again: its arguments are texts.
                    kept["exception"] = _FUNCTION.sub("<function>", kept.get("exception") or "")
                    kind = "events"
                    if event["type"] == "task-retried":
                        # Who retries has sent the message before it tells of that: what becomes of the message may be
                        # told first. And stock's solo pool shows the Retry, its prefork pool the cause.
                        kind = "retries"
                        del kept["exception"]
                    elif event["type"] == "task-received" and event.get("retries"):
                        kind = "received again"  # perhaps before it is told that the former try has started
                    elif event["type"] == "task-failed" and kept["traceback"] == _UNSHOWN:
                        kind = (
                            "retries"  # so may be one whose cause cannot be shown: it fails after its message was sent
                        )
                    of(event["uuid"], kind).append(kept)
    for kind, task_id, *told in recorded:
        of(task_id, kind).append(told)
    tidy: Seen = json.loads(tidied(json.dumps(seen)))
    return tidy


def stored(words: Sequence[bytes]) -> dict[str, Any]:
    value = next(word for word in words[2:] if word.startswith(b"{"))
    found: dict[str, Any] = json.loads(value)
    found["date_done"] = bool(found["date_done"])
    found["traceback"] = last_line(found["traceback"])
    result = found["result"]
    if isinstance(result, dict) and "pid" in result:
        result["pid"] = "pid"
    if len(json.dumps(result)) > 5000:
        found["result"] = [len(json.dumps(result))]
    return found


def events(envelope: bytes) -> list[dict[str, Any]]:
    body = json.loads(b64decode(json.loads(envelope)["body"]))
    return body if isinstance(body, list) else [body]


def last_line(text: Any) -> Any:
    return text.strip().splitlines()[-1] if isinstance(text, str) and text.strip() else text


def tidied(text: str) -> str:
    return _DATE.sub("date", re.sub(r"0x[0-9a-f]+", "0x", _UUID.sub("uuid", text)))


def ours(pool: str) -> list[str]:
    return [sys.executable, "-m", "celeriac", "-A", "programs_app", "worker", "-P", pool]


def theirs(stock: Path, pool: str) -> list[str]:
    return [str(stock), "-m", "celery", "-A", "programs_app", "worker", "-P", pool]
