"""examples/operations: units, image and manifests are what their readers take them for, and their commands run as they stand."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from celeriac import Celery
from celeriac.compat.bin.celery import celery
from tests.house import ROOT
from tests.servers import RedisServer, free_port
from tests.worker.running import Project, wait_until

PLACE = ROOT / "examples" / "operations"
UNITS = sorted((PLACE / "systemd").glob("*.service"))
PROGRAM = "/srv/proj/venv/bin/celeriac"


def settings(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def unit(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        name, sign, value = line.partition("=")
        if sign and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def started(path: Path) -> list[str]:
    """What systemd starts, its words filled in as it fills them in."""
    (line,) = unit(path)["ExecStart"]
    given = {**settings(PLACE / "systemd" / "celeriac.conf"), "CREDENTIALS_DIRECTORY": "/run/credentials"}
    line = re.sub(r"(?<!%)%i", "images", line).replace("%%", "%")
    line = re.sub(r"\$\{(\w+)\}", lambda match: given[match[1]], line)
    program, *words = shlex.split(re.sub(r"\$(\w+)", lambda match: given[match[1]], line))
    assert program == PROGRAM
    return words


def manifests(*names: str) -> list[dict[str, Any]]:
    paths = [PLACE / "kubernetes" / name for name in names] or sorted((PLACE / "kubernetes").glob("*.yaml"))
    return [each for path in paths for each in yaml.safe_load_all(path.read_text())]


def deployment(name: str) -> dict[str, Any]:
    (found,) = manifests(f"{name}.yaml")[:1]
    return found


def container(name: str) -> dict[str, Any]:
    (found,) = deployment(name)["spec"]["template"]["spec"]["containers"]
    return dict(found)


def instructions() -> list[tuple[str, str]]:
    text = (PLACE / "docker" / "Dockerfile").read_text().replace("\\\n", " ")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def image(word: str) -> str:
    """The last instruction of this kind."""
    return next(rest for each, rest in reversed(instructions()) if each == word)


COMMANDS = {
    **{path.stem: started(path) for path in UNITS},
    **{
        f"{path.stem}.conf": ["-A", "proj", "worker", *shlex.split(settings(path)["WORKER_OPTIONS"])]
        for path in (PLACE / "systemd").glob("*.conf")
    },
    **{name: ["-A", "proj", *container(name)["args"]] for name in ("worker", "beat", "web")},
    "image": ["-A", "proj", *json.loads(image("CMD"))],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_exists(name: str) -> None:
    app = Celery("proj", broker="memory://", set_as_current=False)
    words = COMMANDS[name]
    assert words[:2] == ["-A", "proj"]
    done = CliRunner().invoke(celery, [*words[2:], "--help"], default_map={"app": app})
    assert done.exit_code == 0, done.output
    refused = CliRunner().invoke(celery, [*words[2:], "--no-such-option", "--help"], default_map={"app": app})
    assert refused.exit_code == 2


# --- systemd


def test_units_are_understood_by_systemd(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd is not installed")
    program = tmp_path / "celeriac"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for path in UNITS:
        text = path.read_text().replace(PROGRAM, str(program)).replace("WorkingDirectory=/srv/proj", "")
        (tmp_path / path.name.replace("@", "@images")).write_text(text)
    paths = sorted(map(str, tmp_path.glob("*.service")))
    assert len(paths) == 3
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "celeriac" in line]
    assert (done.returncode, ours) == (0, [])


def test_a_worker_may_end_what_runs() -> None:
    found = unit(PLACE / "systemd" / "celeriac-worker@.service")
    assert found["KillMode"] == ["mixed"]  # children are ended by the worker
    assert found["OOMPolicy"] == ["continue"]
    assert int(found["TimeoutStopSec"][0]) >= 600
    for path in UNITS:
        for folder in re.findall(r"/(?:var/lib|run)/(celeriac-[\w%]+)", unit(path)["ExecStart"][0]):
            assert folder in {*unit(path).get("StateDirectory", []), *unit(path).get("RuntimeDirectory", [])}


# --- the image


def test_the_image_starts_a_worker_as_its_first_process() -> None:
    words = [word for word, _ in instructions()]
    assert set(words) <= {
        "FROM",
        "WORKDIR",
        "COPY",
        "RUN",
        "ENV",
        "USER",
        "STOPSIGNAL",
        "ENTRYPOINT",
        "CMD",
        "HEALTHCHECK",
    }
    assert json.loads(image("ENTRYPOINT")) == ["celeriac"]  # no shell that would keep SIGTERM to itself
    assert image("USER") != "root"
    assert image("STOPSIGNAL") == "SIGTERM"
    copied = [rest.split()[0] for word, rest in instructions() if word == "COPY" and not rest.startswith("--from")]
    head = (PLACE / "docker" / "Dockerfile").read_text().partition("\nFROM")[0]
    assert all(name in head for name in copied), "what must lie beside it is told"


# --- Kubernetes


def test_manifests_hang_together() -> None:
    kinds = {(each["kind"], each["metadata"]["name"]) for each in manifests() if "metadata" in each}
    for name in ("worker", "beat", "web"):
        made = deployment(name)
        assert ("Deployment", name) in kinds
        assert made["spec"]["selector"]["matchLabels"].items() <= made["spec"]["template"]["metadata"]["labels"].items()
        volumes = {each["name"] for each in made["spec"]["template"]["spec"].get("volumes", [])}
        assert {each["name"] for each in container(name).get("volumeMounts", [])} == volumes
        ports = {each["name"]: each["containerPort"] for each in container(name).get("ports", [])}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container(name).get(probe, {}).get("httpGet", {}).get("port", "health") in {*ports, "health"}
    worker = container("worker")
    assert worker["livenessProbe"]["httpGet"]["path"] == worker["startupProbe"]["httpGet"]["path"] == "/livez"
    assert worker["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert f"0.0.0.0:{worker['ports'][0]['containerPort']}" in worker["args"]
    assert "LeasedScheduler" in container("beat")["args"][-1]
    assert deployment("beat")["spec"]["replicas"] == 2
    listed = manifests("kustomization.yaml")[0]["resources"]
    assert {*listed, "kustomization.yaml"} == {path.name for path in (PLACE / "kubernetes").glob("*.yaml")}


def test_the_scaler_counts_what_the_worker_takes() -> None:
    authentication, scaler = manifests("keda.yaml")
    assert scaler["spec"]["scaleTargetRef"] == {"name": "worker"}
    assert "replicas" not in deployment("worker")["spec"]  # or each would undo what the other does
    args = container("worker")["args"]
    queues = args[args.index("--queues") + 1].split(",")
    assert [each["metadata"]["listName"] for each in scaler["spec"]["triggers"]] == queues
    for each in scaler["spec"]["triggers"]:
        assert all(isinstance(value, str) for value in each["metadata"].values()), "KEDA takes texts alone"
        assert each["authenticationRef"]["name"] == authentication["metadata"]["name"]
    assert scaler["spec"]["minReplicaCount"] >= 1


def test_kubectl_puts_them_together() -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    done = subprocess.run(
        ["kubectl", "kustomize", str(PLACE / "kubernetes")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    assert len(built) == len([each for each in manifests() if each["kind"] != "Kustomization"])


# --- as they stand


@pytest.fixture(scope="module")
def project(
    redis_server: RedisServer, stock_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Project]:
    redis_server.call("FLUSHALL")
    yield Project(tmp_path_factory.mktemp("operations"), redis_server.url, redis_server.url, stock_python)
    redis_server.call("FLUSHALL")


def run(project: Project, words: list[str], until: str) -> Any:
    return project._run([sys.executable, "-m", "celeriac", *words], until, {"CELERY_APP": "proj"})


@pytest.mark.real
def test_the_pods_worker_answers_its_probes_and_the_image_its_check(project: Project) -> None:
    port = free_port()
    args = [word.replace("0.0.0.0:9808", f"127.0.0.1:{port}") for word in container("worker")["args"]]
    with run(project, args, "ready.") as running:
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            path = container("worker")[probe]["httpGet"]["path"]
            wait_until(lambda path=path: status(port, path) == 200, 10)  # type: ignore[misc] # mypy sees no default
        assert (
            status(port, deployment("worker")["spec"]["template"]["metadata"]["annotations"]["prometheus.io/path"])
            == 200
        )
        check = json.loads(image("HEALTHCHECK").partition("CMD ")[2])
        _, _, url = next(rest for word, rest in instructions() if "HEALTH_URL" in rest and word == "ENV").partition("=")
        url = url.replace("9808", str(port))
        assert checked(check, url) == 0
        assert running.stop() == 0
    assert checked(check, url) == 1
    assert checked(check, "") == 0, "beat has nothing that could be asked"


def checked(check: list[str], url: str) -> int:
    """The image's own question, of a container with this variable."""
    command = [sys.executable, "-c", check[-1]]
    env = {**os.environ, "HEALTH_URL": url}
    return subprocess.run(command, check=False, stderr=subprocess.DEVNULL, env=env).returncode


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return int(reply.status)
    except OSError:
        return 0


@pytest.mark.real
def test_the_units_worker_answers_on_its_socket(project: Project) -> None:
    """Its folders stand elsewhere here; sockets have short names."""
    folder = Path("/tmp") / f"celeriac-units-{os.getpid()}"
    folder.mkdir()
    words = [re.sub(r"/(var/lib|run)/", f"{folder}/", word) for word in COMMANDS["celeriac-worker@"]]
    (folder / "celeriac-images").mkdir()
    try:
        with run(project, words, "images@") as running:
            running.wait_for("ready.")
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(5)
                wait_until(lambda: asked.connect_ex(str(folder / "celeriac-images" / "health.sock")) == 0)
                asked.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                assert asked.recv(1000).startswith(b"HTTP/1.1 200")
            assert running.stop() == 0
        assert list((folder / "celeriac-images").glob("state*"))
    finally:
        shutil.rmtree(folder)


@pytest.mark.real
def test_the_pods_beats_are_a_leader_and_a_spare(project: Project) -> None:
    with (
        run(project, container("beat")["args"], "Leading") as leader,
        run(project, container("beat")["args"], "beat: Starting") as spare,
    ):
        assert leader.stop() == 0
        spare.wait_for("Leading")
        assert spare.stop() == 0
