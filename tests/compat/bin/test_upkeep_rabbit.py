"""Queues, dead letters, litter and the doctor on a real RabbitMQ."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kombu import Queue as DeclaredQueue

from celeriac import Celery
from celeriac.compat.bin.celery import celery
from celeriac.protocol.wire.message import Message
from celeriac.worker import brokers
from celeriac.worker.brokers.base import Delivery, Queue
from celeriac.worker.dead_letters import HEADER, DeadLetters
from tests.servers import RabbitServer, free_port
from tests.worker.running import APP, Project, wait_until

pytestmark = pytest.mark.real
HOME = Queue("upkept", "upkept", routing_key="upkept")


@pytest.fixture
def app(rabbitmq_server: RabbitServer) -> Iterator[Celery]:
    made = Celery("upkeep", broker=rabbitmq_server.url, set_as_current=False)
    made.conf.task_default_queue = "upkept"
    yield made
    with made.connection_for_write() as connection, connection.channel() as channel:
        for name in ("upkept", "upkept.dead", "elsewhere"):
            channel.queue_delete(name)
    made.close()


def run(app: Celery, *words: str, text: str | None = None) -> Result:
    return CliRunner().invoke(celery, [*words], default_map={"app": app}, input=text)


def told(app: Celery, *words: str) -> Any:
    done = run(app, *words, "--json")
    assert done.stdout, done.output
    return json.loads(done.stdout)


def bury(url: str, name: str, count: int = 1) -> None:
    """Messages that a worker could not run."""
    with closing(brokers.connect(url)) as broker:
        broker.declare([HOME])
        for number in range(count):
            headers = {"id": f"{name}-{number}", "task": name, "lang": "py"}
            message = Message(
                b"[[], {}, {}]", "application/json", "utf-8", headers, {"correlation_id": f"{name}-{number}"}
            )
            delivery = Delivery(None, message, "upkept", "upkept", "upkept")
            DeadLetters(".dead").bury(broker, [HOME], delivery, "it has no such task", time.time() - 90)


def size(url: str, queue: str) -> int:
    with closing(brokers.connect(url)) as broker:
        return broker.size(queue)


def test_queues_are_told(app: Celery, rabbitmq_server: RabbitServer) -> None:
    for _ in range(3):
        app.send_task("upkeep.add")
    wait_until(lambda: size(rabbitmq_server.url, "upkept") == 3)
    app.conf.broker_management_url = f"http://127.0.0.1:{free_port()}"
    row = {
        "queue": "upkept", "ready": 3, "oldest": None, "oldest_is": "unknown",
        "consumers": 0, "unacked": None, "parked": 0, "dead": False,
    }  # fmt: skip
    found = told(app, "queues", "-t", "0.1")
    assert row in found["queues"]
    assert (found["parked"], found["unacked"]) == (0, None)
    assert found["unknown"].keys() == {"oldest", "unacked", "litter"}
    assert all("its management plugin does not answer at http://127.0.0.1:" in why for why in found["unknown"].values())
    text = run(app, "queues", "-t", "0.1").output
    assert "nobody takes from upkept: start a worker with -Q upkept" in text
    assert "? unacked: its management plugin does not answer" in text.replace("\n  ", " ")
    app.conf.broker_management_url = ""
    assert "is not asked" in told(app, "queues", "-t", "0.1")["unknown"]["litter"]
    with closing(brokers.connect(rabbitmq_server.url)) as broker:
        broker.listen([HOME], credit=1)
        assert len(broker.take(1, 5)) == 1
        (found,) = (each for each in told(app, "queues", "-t", "0.1")["queues"] if each["queue"] == "upkept")
        assert (found["ready"], found["consumers"]) == (2, 1)


def test_what_workers_hold_and_how_their_clocks_go_is_asked_of_them(
    app: Celery, rabbitmq_server: RabbitServer, stock_python: Path, tmp_path: Path
) -> None:
    app.conf.broker_management_url = ""
    project = Project(tmp_path, rabbitmq_server.url, "disabled://", stock_python)
    (tmp_path / "proj.py").write_text(f"import time\nreal = time.time\ntime.time = lambda: real() + 20\n{APP}")
    paths = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}

    def held() -> dict[str, Any]:
        return {row["queue"]: row["unacked"] for row in told(app, "queues", "-t", "0.5")["queues"]}

    with project.worker("-Q", "upkept,elsewhere", "-c", "1", pool="threads", **paths):
        app.send_task("proj.late", [60, "x"], queue="upkept")  # runs, and is not acknowledged
        app.send_task("proj.nap", [60], queue="upkept")  # reserved
        app.send_task("proj.add", [1, 2], queue="elsewhere", countdown=60)  # waits for its time
        wait_until(lambda: held() == {"upkept": 2, "elsewhere": 1}, 20, lambda: f"{held()}")
        (late,) = (each for each in told(app, "doctor", "--live")["findings"] if each["kind"] == "clock")
        assert (late["subject"], late["level"]) == ("w1@here", "risk")
        assert abs(float(late["text"].split()[3]) - 20) < 5, late
        assert "s ahead of this machine's" in late["text"]
        with closing(brokers.connect(rabbitmq_server.url)) as broker:
            broker.listen([HOME], credit=1)  # somebody who says nothing of what it holds
            wait_until(lambda: held()["upkept"] is None, 20)


def test_dead_letters_are_listed_shown_replayed_and_dropped(app: Celery, rabbitmq_server: RabbitServer) -> None:
    url = rabbitmq_server.url
    bury(url, "upkeep.lost", 3)
    bury(url, "upkeep.other")
    wait_until(lambda: size(url, "upkept.dead") == 4)
    rows = told(app, "dead", "list")
    assert {row["id"] for row in rows} == {"upkeep.lost-0", "upkeep.lost-1", "upkeep.lost-2", "upkeep.other-0"}
    assert {row["reason"] for row in rows} == {"it has no such task"}
    wait_until(lambda: size(url, "upkept.dead") == 4)  # looking changes nothing
    shown = told(app, "dead", "show", "upkeep.lost-1")
    assert shown["body"] == "[[], {}, {}]"
    assert shown["headers"][HEADER]["queue"] == "upkept"
    wait_until(lambda: size(url, "upkept.dead") == 4)
    assert run(app, "dead", "replay", "upkeep.lost-1").output == "1 sent again.\n"
    wait_until(lambda: size(url, "upkept") == 1)
    wait_until(lambda: size(url, "upkept.dead") == 3)
    with closing(brokers.connect(url)) as broker:
        broker.listen([HOME], credit=1)
        (back,) = broker.take(1, 5)
        assert back.message.headers == {"id": "upkeep.lost-1", "task": "upkeep.lost", "lang": "py"}
    assert run(app, "dead", "drop", "--task", "upkeep.lost", "-f").output == "2 dropped.\n"
    wait_until(lambda: size(url, "upkept.dead") == 1)
    refused = run(app, "dead", "replay", "--all", "-f", "--to", "elsewhere")  # there is no such queue yet
    assert "elsewhere" in refused.output, refused.output
    assert refused.exit_code == 69
    wait_until(lambda: size(url, "upkept.dead") == 1)  # it stays
    with closing(brokers.connect(url)) as broker:
        broker.declare([Queue("elsewhere")])
    assert run(app, "dead", "replay", "--all", "-f", "--to", "elsewhere").exit_code == 0
    wait_until(lambda: size(url, "elsewhere") == 1)
    assert run(app, "dead", "list").output == "No dead letters.\n"


def test_the_janitor_has_nothing_to_do(app: Celery) -> None:
    """RabbitMQ deletes queues of processes that are gone by itself, and does not list what it has without a plugin."""
    app.conf.broker_management_url = ""
    said = run(app, "janitor").output
    assert "removes such queues itself" in said
    assert "is not known: broker_management_url is empty" in said
    found = told(app, "janitor", "--yes")
    assert (found["found"], found["removed"], found["unknown"]) == ([], 0, said.strip())


def test_the_doctor_finds_a_queue_that_was_declared_otherwise(app: Celery, rabbitmq_server: RabbitServer) -> None:
    with app.connection_for_write() as connection, connection.channel() as channel:
        DeclaredQueue("upkept", durable=False)(channel).declare()
    app.send_task("upkeep.add", queue="elsewhere")
    report = told(app, "doctor", "--live", "-t", "0.2")
    (fault,) = (each for each in report["findings"] if (each["kind"], each["subject"]) == ("queue", "upkept"))
    assert fault["level"] == "fault"
    assert "durable" in fault["text"]
    assert "delete the queue" in fault["advice"]


def test_the_doctor_finds_what_nobody_takes(app: Celery, rabbitmq_server: RabbitServer) -> None:
    app.send_task("upkeep.add")
    wait_until(lambda: size(rabbitmq_server.url, "upkept") == 1)
    found = {
        (each["kind"], each["subject"], each["text"]) for each in told(app, "doctor", "--live", "-t", "0.2")["findings"]
    }
    assert ("fleet", "workers", "none answers") in found
    assert ("queue", "upkept", "1 messages wait, and nobody takes from it") in found
