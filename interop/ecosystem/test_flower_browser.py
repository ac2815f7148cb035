"""Flower's pages in a real Chromium, on celeriac's workers alone and on a fleet of both kinds: seen, filtered, steered.

Law: as `test_flower`, which asks its API; here its buttons are pressed, and workers must do what they were told.
Needs Debian's chromium; `make ecosystem`.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from interop.ecosystem.test_flower import STOCK, Flower, flower_program, run, until
from tests.compat.web.browser import Browser, Page, chromium
from tests.servers import free_port, redis_server
from tests.worker.running import Project, wait_until

__all__ = ("flower_program",)  # a fixture

pytestmark = [pytest.mark.ecosystem, pytest.mark.browser]
FLEETS = {"alone": ("w1@here", "w2@here"), "mixed": ("w1@here", "stock@here")}


@dataclass
class Scene:
    flower: Flower
    project: Project
    nodes: tuple[str, ...]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module", params=FLEETS)
def scene(
    request: pytest.FixtureRequest,
    flower_program: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """The first worker takes `celery` and runs children, the second one takes `elsewhere`."""
    nodes = FLEETS[request.param]
    with ExitStack() as stack:
        url = stack.enter_context(redis_server()).url
        project = Project(tmp_path_factory.mktemp(request.param), url, url.replace("/0", "/1"), STOCK)
        stack.enter_context(project.worker("-E", "-c", "2", pool="prefork", name=nodes[0]))
        second = project.stock_worker if nodes[1].startswith("stock") else project.worker
        stack.enter_context(second("-E", "-Q", "elsewhere", name=nodes[1]))
        port = free_port()
        log = stack.enter_context((project.folder / "flower.log").open("wb"))
        process = subprocess.Popen(
            [str(flower_program), "-A", "proj", "flower", f"--port={port}", "--address=127.0.0.1"],
            cwd=project.folder,
            env={**project.environment, "FLOWER_UNAUTHENTICATED_API": "1"},
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            flower = Flower(f"http://127.0.0.1:{port}")
            until(lambda: {"ok": flower.get("/healthcheck")}, {"ok": "OK"}, (OSError,))
            until(lambda: {"nodes": len(flower.get("/api/workers", refresh=1))}, {"nodes": 2}, (OSError,))
            yield Scene(flower, project, nodes)
        finally:
            process.terminate()
            assert process.wait(20) is not None
    text = (project.folder / "flower.log").read_text()
    assert "Traceback" not in text, text


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    page = browser.page()
    page.size(1400, 1000)
    yield page
    assert [each for each in page.complaints if "favicon" not in each] == []


def visit(page: Page, scene: Scene, path: str) -> None:
    """There, and its buttons do something."""
    page.open(f"{scene.flower.url}{path}")
    page.until(f"location.href.endsWith('{path}') && document.readyState === 'complete'")


def says(page: Page, words: str) -> None:
    """In one of the notes that its buttons leave."""
    page.until(f"[...document.querySelectorAll('.toast-body')].some(each => each.textContent.includes('{words}'))")


def test_the_dashboard_counts(page: Page, scene: Scene) -> None:
    for queue in ("celery", "elsewhere"):
        scene.flower.task(run(scene.flower, "add", 1, 2, queue=queue), state="SUCCESS")
    scene.flower.task(run(scene.flower, "boom"), state="FAILURE")
    visit(page, scene, "/workers")
    for node in scene.nodes:
        page.sees(node)
    page.until("document.getElementById('workers-online').innerText.trim() === '2'")
    page.until("+document.getElementById('workers-succeeded').innerText.replace(/\\D/g, '') >= 2")
    page.until("+document.getElementById('workers-failed').innerText.replace(/\\D/g, '') >= 1")


def test_the_table_of_tasks_is_filtered(page: Page, scene: Scene) -> None:
    good = run(scene.flower, "add", 20, 3)
    bad = run(scene.flower, "boom")
    scene.flower.task(good, state="SUCCESS")
    scene.flower.task(bad, state="FAILURE")
    visit(page, scene, "/tasks")
    rows = "document.querySelector('#tasks-table tbody').innerHTML"
    page.until(f"{rows}.includes('{good}') && {rows}.includes('{bad}')")
    page.click("[data-task-state=FAILURE]")
    page.until(f"!{rows}.includes('{good}') && {rows}.includes('{bad}')")


@pytest.mark.parametrize("queue", ["celery", "elsewhere"])
def test_a_tasks_page(page: Page, scene: Scene, queue: str) -> None:
    uuid = run(scene.flower, "boom", queue=queue)
    scene.flower.task(uuid, state="FAILURE")
    visit(page, scene, f"/task/{uuid}")
    for words in ("proj.boom", uuid, "FAILURE", "ValueError", "in boom", scene.nodes[queue != "celery"]):
        page.sees(words)


def test_a_running_task_is_ended_by_its_button(page: Page, scene: Scene) -> None:
    uuid = run(scene.flower, "nap", 60)
    scene.flower.task(uuid, state="STARTED")
    visit(page, scene, f"/task/{uuid}")
    page.click("#task-terminate")
    says(page, "evoked")
    scene.flower.task(uuid, state="REVOKED")


def test_a_pool_grows_by_its_button(page: Page, scene: Scene) -> None:
    def size() -> int:
        stats = scene.flower.get("/api/workers", refresh=1, workername="w1@here")["w1@here"]["stats"]
        return int(stats["pool"]["max-concurrency"])

    visit(page, scene, "/worker/w1@here")
    page.sees("Worker pool options")
    page.click("#worker-pool-grow")
    page.until("document.querySelector('.text-bg-success .toast-body') !== null")
    wait_until(lambda: size() == 3, 20)
    page.click("#worker-pool-shrink")
    wait_until(lambda: size() == 2, 20)


@pytest.mark.parametrize("number", [0, 1])
def test_queues_and_limits_by_their_buttons(page: Page, scene: Scene, number: int) -> None:
    node = scene.nodes[number]

    def queues() -> set[str]:
        rows = scene.flower.get("/api/workers", refresh=1, workername=node)[node]["active_queues"]
        return {row["name"] for row in rows}

    visit(page, scene, f"/worker/{node}")
    page.click("#worker-tab-queues")
    page.type("#add-consumer-name", "extra")
    page.click("#worker-add-consumer")
    wait_until(lambda: "extra" in queues(), 20)
    visit(page, scene, f"/worker/{node}?refreshed")
    page.click("#worker-tab-queues")
    page.click("#worker-cancel-consumer-extra")
    wait_until(lambda: "extra" not in queues(), 20)
    page.click("#worker-tab-limits")
    limit = "[id='task-rate-limit-proj.nap']"
    page.until(
        f'document.querySelector("{limit}") && (document.querySelector("{limit}").previousElementSibling.value = 200)'
    )
    page.click(limit)
    says(page, "new rate limit set successfully")


def test_the_brokers_page(page: Page, scene: Scene) -> None:
    visit(page, scene, "/broker")
    page.sees("celery")
    page.sees("elsewhere")


def test_a_worker_is_shut_down_by_its_button(page: Page, scene: Scene) -> None:
    """The last one here: there is one worker less after it."""
    node = scene.nodes[1]
    visit(page, scene, f"/worker/{node}")
    page.click("#worker-group")
    page.click("#worker-shutdown")
    until(lambda: scene.flower.get("/api/workers", status=1), {node: False, "w1@here": True})
