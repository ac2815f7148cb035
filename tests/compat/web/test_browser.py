"""The page in a real Chromium, with real workers behind it: it is opened, read, searched, and workers are steered by it.

Law: a browser of its own, for all of them; `make web-test` runs these alone. Whatever a page complains of in its console is a fault.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from celeriac import Celery
from celeriac.compat.web.store import Store
from celeriac.compat.web.watch import Watch
from tests.compat.web.browser import Browser, Page, chromium
from tests.compat.web.serving import TOKEN, Client, served
from tests.servers import RedisServer
from tests.worker.running import Project, wait_until

pytestmark = [pytest.mark.browser, pytest.mark.real]

ROOT = Path(__file__).resolve().parents[3]
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
SHOP = """\
from celery import Celery, chain, chord, group
import os, time

app = Celery("shop", broker=os.environ["PROJ_BROKER"], backend=os.environ["PROJ_BACKEND"])
app.conf.update(worker_send_task_events=True, task_send_sent_event=True, result_extended=True)

@app.task
def fetch(page):
    time.sleep(0.05)
    return page

@app.task
def total(parts):
    return sum(parts)

@app.task
def mail(amount, to="all@example.org"):
    return f"told {to} of {amount}"

@app.task
def refuse(why):
    raise ValueError(why)

@app.task(bind=True, max_retries=2)
def stumble(self):
    if self.request.retries < 2:
        raise self.retry(exc=ConnectionError("the shop is closed"), countdown=0)
    return "at last"

@app.task
def nap(seconds):
    time.sleep(seconds)

@app.task
def tour():
    return (chord([fetch.s(1), fetch.s(2), fetch.s(3)], total.s()) | mail.s())().id
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def project(
    tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer, stock_python: Path
) -> Iterator[Project]:
    redis_server.call("FLUSHALL")
    url = redis_server.url
    project = Project(tmp_path_factory.mktemp("shop"), url, url.replace("/0", "/1"), stock_python)
    (project.folder / "proj.py").write_text(SHOP)
    yield project
    redis_server.call("FLUSHALL")


@pytest.fixture(scope="module")
def app(project: Project) -> Iterator[Celery]:
    made = Celery(
        "shop",
        broker=project.environment["PROJ_BROKER"],
        backend=project.environment["PROJ_BACKEND"],
        set_as_current=False,
    )
    made.conf.task_send_sent_event = True
    yield made
    made.close()


@pytest.fixture(scope="module")
def client(project: Project, app: Celery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with ExitStack() as stack:
        store = Store(str(tmp_path_factory.mktemp("web") / "history.db"))
        stack.callback(store.close)
        watch = Watch(app, store, 0.5)
        watch.start()
        stack.callback(watch.stop)
        path = {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}
        stack.enter_context(project.worker("-E", "-c", "2", pool="prefork", name="shop@here", **path))
        stack.enter_context(project.stock_worker("-E", "-Q", "elsewhere", name="stock@here"))
        client = stack.enter_context(served(watch, title="shop"))
        wait_until(lambda: sum(row["alive"] for row in client.get("/api/overview")["workers"]) == 2, 30)
        yield client


@pytest.fixture
def page(browser: Browser, client: Client) -> Iterator[Page]:
    page = browser.page()
    page.size(1200, 900)
    page.open(f"{client.url}#token={TOKEN}")
    page.sees("live")
    yield page
    assert page.complaints == []
    assert page.run("document.title") != "owned"


def go(page: Page, path: str) -> None:
    page.run(f"location.hash = {path!r}")


def uuid_of(client: Client, query: str) -> str:
    found: list[str] = []

    def ended() -> bool:
        found[:] = [row["id"] for row in client.get(f"/api/tasks?q={query}")["tasks"]]
        return bool(found)

    wait_until(ended, 20, lambda: f"no {query}")
    return found[0]


def test_the_cluster_at_a_glance(page: Page, client: Client, app: Celery) -> None:
    for number in range(40):
        app.send_task("proj.mail", [number])
    app.send_task("proj.refuse", ["there is none left"])
    app.send_task("proj.mail", [1], queue="nobody")
    app.send_task("proj.mail", [1], queue="elsewhere")
    page.sees("shop@here")
    page.sees("stock@here")
    oldest = "(document.querySelector('[data-queue=nobody]') || document.body).children[2].innerText"
    page.until(f"/^[0-9.]+ (ms|s|m)$/.test({oldest})")  # its sender has told when it was sent
    page.sees("2 of 2")
    page.sees("succeeded")
    page.until("document.querySelectorAll('.bar-succeeded').length > 0")
    page.until("document.querySelectorAll('.bar-failed').length > 0")
    page.until("document.querySelectorAll('.line-a').length > 0")
    told = page.accessible()
    for role, name in (("heading", "shop"), ("navigation", "Pages"), ("main", ""), ("status", ""), ("link", "Tasks")):
        assert any(each == role and name in said for each, said in told), (role, name)
    assert any(role == "image" and "Throughput" in name and "1 failed" in name for role, name in told)
    assert all(name for role, name in told if role in ("button", "link", "textbox", "searchbox"))


def test_the_token_is_taken_out_of_the_address_and_asked_for(browser: Browser, client: Client) -> None:
    page = browser.page()
    page.open(client.url)
    page.until("document.getElementById('enter').open")
    page.complaints.clear()  # that it was refused is in its console
    page.type("#enter-token", TOKEN)
    page.press("Enter")
    page.sees("live")
    assert TOKEN not in page.run("location.href")
    assert page.run("document.cookie") == ""


def test_tasks_are_searched(page: Page, client: Client, app: Celery) -> None:
    uuid = app.send_task("proj.mail", [471100174], {"to": "Zoë"}).id
    uuid_of(client, f"id:{uuid}%20state:SUCCESS")
    go(page, "/tasks")
    for query in (uuid[:13], "arg:471100174", "471100174 state:success", "name:mail 471100174", "zoë"):
        page.type("#search", query)
        page.press("Enter")
        page.until(f"decodeURIComponent(location.hash) === '#/tasks?q={query}'")
        page.sees("Tasks found")
        page.until(
            f"[...document.querySelectorAll('tbody tr')].length === 1 && document.querySelector('tbody').innerText.includes('{uuid}')"
        )
    page.type("#search", "no such thing")
    page.press("Enter")
    page.sees("No task is like that.")


def test_a_search_that_is_typed_while_the_last_one_is_answered_is_not_lost(page: Page) -> None:
    go(page, "/tasks")
    page.until("document.getElementById('search') !== null")
    page.run(
        "window.answer = window.fetch; window.fetch = (...asked) => new Promise(d => setTimeout(d, 500)).then(() => answer(...asked))"
    )
    page.type("#search", "first")
    page.press("Enter")
    page.type("#search", "second one")
    page.until("document.querySelector('main').innerText.includes('No task is like that.')")  # the first answer is here
    assert page.run("[document.activeElement.id, document.activeElement.value]") == ["search", "second one"]
    page.press("Enter")
    page.until("decodeURIComponent(location.hash) === '#/tasks?q=second one'")


def test_what_an_event_says_is_text(page: Page, client: Client, app: Celery) -> None:
    uuid = app.send_task("proj.refuse", [HOSTILE]).id
    uuid_of(client, f"id:{uuid}%20state:FAILURE")
    go(page, f"/task/{uuid}")
    page.sees("onerror")
    assert page.run("document.querySelectorAll('main img, main script').length") == 0
    with app.events.default_dispatcher(hostname=HOSTILE) as events:
        events.send("task-received", uuid=HOSTILE, name=HOSTILE, args=HOSTILE)
        events.send("worker-heartbeat", freq=2, sw_ident=HOSTILE)
    go(page, "/workers")
    page.sees(HOSTILE)
    go(page, "/tasks")
    page.sees(HOSTILE)
    page.until(
        "[...document.querySelectorAll('td.id a')].find(each => each.innerText.includes('onerror')).click() || true"
    )
    page.sees("received on")
    assert page.run("document.querySelectorAll('main img, main script').length") == 0


def test_a_tasks_life_with_its_family(page: Page, client: Client, app: Celery) -> None:
    app.send_task("proj.tour")
    total = uuid_of(client, "name:total%20state:SUCCESS")
    uuid_of(client, "name:mail%20arg:6%20state:SUCCESS")
    go(page, f"/task/{total}")
    page.until("document.querySelectorAll('.box').length === 6")
    page.until("document.querySelectorAll('.edge-chord').length === 3")
    page.sees("chord: group of 3")
    assert page.run("document.querySelectorAll('.box.self').length") == 1
    failed = app.send_task("proj.refuse", ["there is none left"]).id
    uuid_of(client, f"id:{failed}%20state:FAILURE")
    go(page, f"/task/{failed}")
    page.sees("ValueError: there is none left")
    page.dark(True)
    page.until("getComputedStyle(document.body).backgroundColor === 'rgb(20, 24, 22)'")
    stumbled = app.send_task("proj.stumble").id
    uuid_of(client, f"id:{stumbled}%20state:SUCCESS")
    go(page, f"/task/{stumbled}")
    page.until("[...document.querySelectorAll('.steps b')].filter(each => each.innerText === 'retried').length === 2")
    page.sees("the shop is closed")


def test_a_task_is_ended_behind_a_confirm(page: Page, client: Client, app: Celery) -> None:
    uuid = app.send_task("proj.nap", [60]).id
    uuid_of(client, f"id:{uuid}%20state:STARTED")
    go(page, f"/task/{uuid}")
    page.click("[data-action=terminate]")
    page.until("document.getElementById('confirm').open")
    page.press("Escape")
    page.until("!document.getElementById('confirm').open")
    page.click("[data-action=terminate]")
    page.until("document.getElementById('confirm').open")
    page.sees("is ended")
    page.click("#confirm-yes")
    page.sees("REVOKED")


def test_a_worker_is_steered(page: Page, client: Client) -> None:
    def pool() -> int:
        return next(row["pool_size"] for row in client.get("/api/overview")["workers"] if row["name"] == "shop@here")

    go(page, "/worker/shop@here")
    page.click("[data-action=pool_grow]")
    page.type("#confirm-fields input", "1")
    page.click("#confirm-yes")
    page.sees("Grow pool: shop@here:")
    wait_until(lambda: pool() == 3, 20)
    go(page, "/")
    page.click("[data-queue=elsewhere] [data-action=pause]")
    page.click("#confirm-yes")
    page.sees("paused")
    page.click("[data-queue=elsewhere] [data-action=resume]")
    page.click("#confirm-yes")
    page.until("!document.querySelector('main').innerText.includes('paused')")
    page.until("document.querySelector('[data-queue=elsewhere] [data-action=pause]') !== null")


def test_keys_are_enough(page: Page) -> None:
    """From the address bar: skip link, search by a key, and every control can be reached."""
    page.press("/")
    page.until("document.activeElement.id === 'search'")
    page.type("#search", "state:FAILURE")
    page.press("Enter")
    page.sees("Tasks found")
    page.run("document.activeElement.blur()")
    page.press("Tab")
    unreachable = (
        "[...document.querySelectorAll('main a, main button, main input')].filter(each => each.tabIndex < 0).length"
    )
    assert page.run(unreachable) == 0


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_can_be_read(page: Page, dark: bool) -> None:
    """A contrast of 4.5 and more, as WCAG counts, light and dark; and a narrow screen needs no scrolling sideways."""
    page.dark(dark)
    faint = page.run(CONTRAST)
    assert faint == []
    page.size(360, 700)
    assert page.until("document.documentElement.scrollWidth <= innerWidth + 1")


def test_a_server_that_comes_back_is_found_again(browser: Browser, app: Celery, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "history.db"))
    watch = Watch(app, store, 0.5)
    page = browser.page()
    try:
        with served(watch) as first:
            page.open(f"{first.url}#token={TOKEN}")
            page.sees("live")
        page.sees("What is shown may be old")
    finally:
        store.close()


CONTRAST = """(() => {
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = node => { for (; node; node = node.parentElement) {
    const found = parse(getComputedStyle(node).backgroundColor); if (found.length === 3 || found[3] > 0) return found; }
    return [255, 255, 255]; };
  const faint = [];
  for (const node of document.querySelectorAll('body *')) {
    if (node.closest('dialog, svg, noscript, .skip') || ![...node.childNodes].some(each => each.nodeType === 3 && each.data.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) faint.push(node.outerHTML.slice(0, 120));
  }
  return faint;
})()"""
