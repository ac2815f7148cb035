"""The doctor finds each planted fault, and nothing where there is none."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat.bin.doctor_patches import HEARD
from tests.compat.bin.projects import FAULTY, INNOCENT, START, TASK

SOURCES = {**{name: source for name, (source, _) in FAULTY.items()}, **INNOCENT}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("projects")


def run(env: Any, place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    done: subprocess.CompletedProcess[str] = env.run("-m", "celeriac", *words, cwd=place)
    return done


@pytest.fixture(scope="module")
def reports(folder: Path, celeriac_env: Any) -> dict[str, tuple[int, dict[str, Any], str]]:
    """Each project examined in a process of its own, forked from one that has loaded everything."""
    questions = []
    for name, source in SOURCES.items():
        place = folder / name.replace(" ", "_")
        place.mkdir()
        (place / "proj.py").write_text(source)
        questions.append(["--workdir", str(place), "-A", "proj", "doctor", "--json"])
    program = str(Path(__file__).with_name("many_commands.py"))
    done = subprocess.run(
        [str(celeriac_env.python), "-W", "ignore", program, "celeriac.compat.bin.celery"],
        cwd=folder,
        env=celeriac_env.variables,
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    answers = json.loads(done.stdout)
    assert all(out for _, out, _ in answers), answers
    return {name: (code, json.loads(out), err) for name, (code, out, err) in zip(SOURCES, answers, strict=True)}


def to_mend(report: dict[str, Any]) -> set[tuple[str, str]]:
    return {(each["kind"], each["subject"]) for each in report["findings"] if each["level"] != "note"}


def test_there_are_a_dozen() -> None:
    assert len(FAULTY) >= 12


@pytest.mark.parametrize("name", FAULTY)
def test_a_planted_fault_is_found(name: str, reports: dict[str, Any]) -> None:
    code, report, _ = reports[name]
    assert to_mend(report) == FAULTY[name][1]
    assert code == 1
    assert not report["ok"]
    assert all(each["text"] and each["advice"] for each in report["findings"])


@pytest.mark.parametrize("name", INNOCENT)
def test_no_innocent_is_named(name: str, reports: dict[str, Any]) -> None:
    code, report, _ = reports[name]
    assert to_mend(report) == set()
    assert code == 0
    assert report["ok"]


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        ("app.conf.update(CELERY_TASK_SERIALIZER='json', task_acks_late=True)", "settings", "-> task_serializer"),
        ("app.conf.include = ['no_such_tasks']", "import", "include names the module 'no_such_tasks'"),
        ("app.conf.include = ['broken']", "import", "KeyError: 'NO_SUCH_VARIABLE'"),
    ],
)
def test_an_app_that_cannot_be_read_is_a_finding(
    source: str, kind: str, said: str, tmp_path: Path, celeriac_env: Any
) -> None:
    (tmp_path / "broken.py").write_text("import os\nos.environ['NO_SUCH_VARIABLE']\n")
    (tmp_path / "proj.py").write_text(f"{START}{source}\n")
    done = run(celeriac_env, tmp_path, "-A", "proj", "doctor", "--json")
    assert done.returncode == 1, done.stderr
    report = json.loads(done.stdout)
    ((found),) = report["findings"]
    assert (found["level"], found["kind"], report["ok"]) == ("fault", kind, False)
    assert said in found["text"]
    assert found["advice"]
    assert "functools" not in done.stdout
    text = run(celeriac_env, tmp_path, "-A", "proj", "doctor")
    assert (text.returncode, said in text.stdout, text.stdout.endswith("1 to mend.\n")) == (1, True, True)


def test_hooks_and_patched_names_are_told(reports: dict[str, Any]) -> None:
    found = {(each["kind"], each["subject"], each["level"]) for each in reports["hooks and patches"][1]["findings"]}
    assert {("patched", "celery.app.task.Task.apply_async", "note"), ("hooks", "signals", "note")} <= found


def test_patches_that_are_not_honoured_are_told_with_what_to_do_instead(reports: dict[str, Any]) -> None:
    _, report, _ = reports["patches that nobody calls"]
    found = {each["subject"]: each for each in report["findings"] if each["kind"] == "patched"}
    assert {name for name, each in found.items() if each["level"] == "risk"} == {
        "celery.app.trace.trace_task_ret", "celery.backends.redis.RedisBackend.ensure",
        "celery.worker.request.Request.on_failure", "kombu.transport.redis.Channel.drain_events",
        "kombu.transport.redis.Channel.socket_timeout",
    }  # fmt: skip
    assert all(
        each["text"].endswith("and celeriac does not call it") for each in found.values() if each["level"] == "risk"
    )
    assert "around build_tracer" in found["celery.app.trace.trace_task_ret"]["advice"]
    assert "proj.py" in found["celery.app.trace.trace_task_ret"]["text"]
    assert found["celery.worker.worker.WorkController.on_start"]["advice"].endswith("nobody has tried")
    watched = found["kombu.messaging.Consumer._receive_callback"]
    assert (watched["level"], watched["text"].endswith("and celeriac does not call it")) == ("note", True)
    of_kombu = [
        each for each in reports["patches of kombu, on a broker of kombu"][1]["findings"] if each["kind"] == "patched"
    ]
    assert of_kombu == [], "there kombu's own code runs"


def test_patches_are_found_without_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    from celeriac.compat.backends.redis import RedisBackend
    from celeriac.compat.bin import doctor_patches

    assert doctor_patches._tree("/no/such/file").body == []
    monkeypatch.setattr(doctor_patches, "_tree", lambda _: doctor_patches.ast.Module([], []))
    monkeypatch.setattr(RedisBackend, "ensure", lambda *_: None)
    found = {patch.name for patch in doctor_patches.patches(is_own_broker=True)}
    assert "celery.backends.redis.RedisBackend.ensure" in found


def test_what_the_doctor_says_of_patches_is_so(redis_server: Any, tmp_path: Path, celeriac_env: Any) -> None:
    """Code is put around all names of its tables, and a program does what programs do."""
    redis_server.call("FLUSHALL")
    program = str(Path(__file__).with_name("patch_probe.py"))
    done = celeriac_env.run(program, redis_server.url, cwd=tmp_path, timeout=120)
    assert done.returncode == 0, done.stderr
    called = set(json.loads(done.stdout.splitlines()[-1]))
    heard = {f"{place.replace(':', '.')}.{name}" for place, names in HEARD.items() for name in names}
    assert called <= heard, "said not to be called"
    assert heard - called <= {
        "celery.app.base.Celery.Task",  # a property
        "celery.app.task.Task.__call__", "celery.app.task.Task.run",  # of a class of one's own
        "celery.beat.Scheduler.apply_async", "celery.beat.Scheduler.apply_entry",  # beat does not run there
    }  # fmt: skip
    redis_server.call("FLUSHALL")


def test_text_says_what_to_do(folder: Path, celeriac_env: Any) -> None:
    done = run(celeriac_env, folder / "pickle", "-A", "proj", "doctor")
    assert done.returncode == 1
    assert "accept_content: takes pickle" in done.stdout
    assert "-> use json" in done.stdout
    assert done.stdout.endswith("1 to mend.\n")
    assert "\x1b" not in done.stdout, "colours where there is no terminal"


def test_every_setting_is_told_by_its_class(folder: Path, celeriac_env: Any, tmp_path: Path) -> None:
    settings = "task_track_started=True, worker_lost_wait=5, worker_agent='a:b', task_ack_late=True, task_protocol=3"
    (tmp_path / "proj.py").write_text(f"{START}app.conf.update({settings})\n{TASK}")
    told = json.loads(run(celeriac_env, tmp_path, "-A", "proj", "doctor", "--json").stdout)["settings"]
    assert {each["setting"]: each["is"] for each in told} == {
        "broker_url": "honoured", "result_backend": "honoured", "task_track_started": "honoured",
        "worker_lost_wait": "different", "worker_agent": "unsupported",
        "task_ack_late": "unknown", "task_protocol": "wrong",
    }  # fmt: skip
    assert all(each["text"] for each in told if each["is"] != "honoured")
    text = run(celeriac_env, tmp_path, "-A", "proj", "doctor").stdout
    assert "3 honoured: broker_url, result_backend, task_track_started" in text
    assert "1 different: worker_lost_wait" in text
    assert "redis://" not in text, "values may be secrets"


def test_without_an_app_it_says_what_it_needs(celeriac_env: Any, tmp_path: Path) -> None:
    done = run(celeriac_env, tmp_path, "doctor")
    assert done.returncode == 2
    assert "Name the app that is to be examined: celeriac -A proj doctor" in done.stderr
    assert "Nothing to mend" not in done.stdout
    (tmp_path / "celeryconfig.py").write_text("timezone = 'Nowhere'\n")
    done = run(celeriac_env, tmp_path, "doctor", "--json")
    assert [each["subject"] for each in json.loads(done.stdout)["findings"] if each["level"] == "fault"] == ["timezone"]


@pytest.mark.real
def test_live_asks_the_broker(redis_server: Any, tmp_path: Path, celeriac_env: Any) -> None:
    source = START.replace("redis://127.0.0.1:1/0", redis_server.url.replace("/0", "/9"))
    (tmp_path / "proj.py").write_text(source + "app.conf.task_default_queue = 'doctored'\n" + TASK)
    celeriac_env.run("-m", "celeriac", "-A", "proj", "call", "proj.add", "-a", "[1, 2]", cwd=tmp_path)
    done = run(celeriac_env, tmp_path, "-A", "proj", "doctor", "--live", "--json", "-t", "0.3")
    found = {(each["kind"], each["subject"], each["text"]) for each in json.loads(done.stdout)["findings"]}
    assert ("fleet", "workers", "none answers") in found
    assert ("queue", "doctored", "1 messages wait, and nobody takes from it") in found
    assert done.returncode == 1


def test_live_without_a_broker_says_so(folder: Path, celeriac_env: Any, tmp_path: Path) -> None:
    (tmp_path / "proj.py").write_text(START + TASK)
    done = run(celeriac_env, tmp_path, "-A", "proj", "doctor", "--live", "--json", "-t", "0.3")
    (only,) = json.loads(done.stdout)["findings"]
    assert (only["kind"], only["level"], done.returncode) == ("broker", "fault", 1)
