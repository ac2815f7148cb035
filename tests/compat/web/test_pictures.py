"""The pictures of docs/web.md, taken in a real Chromium from an hour that is made up, and the page that shows them.

Law: `make web-pictures` takes them anew into docs/pictures; a test that is not asked for that takes them elsewhere.
"""

from __future__ import annotations

import random
import re
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac import Celery
from celeriac.compat.bin.queues import look
from celeriac.compat.bin.web import web
from celeriac.compat.web.store import Store
from celeriac.compat.web.watch import Watch
from celeriac.worker.brokers.redis_ages import Ages
from tests.compat.web.browser import Page, chromium
from tests.compat.web.serving import TOKEN, Client, served
from tests.compat.web.telling import event, life, worker
from tests.servers import RedisServer

DOCS = Path(__file__).resolve().parents[3] / "docs"
SIZES = {"overview": (1200, 1100), "tasks": (1200, 700), "task": (1200, 1300)}
THEMES = ("light", "dark")
SHOP = {"shop.orders.charge": 0.4, "shop.mail.confirm": 0.15, "shop.stock.reserve": 0.05, "shop.images.resize": 2.5}
# As a Redis is told of: an event says when the oldest in `celery` was sent; nobody has in `thumbnails`, whose oldest has
# been seen waiting for so long; in `mail` nothing waits.
_FIELDS = ("queue", "ready", "oldest", "oldest_is", "consumers", "unacked", "parked")
QUEUES: tuple[dict[str, Any], ...] = tuple(
    dict(zip(_FIELDS, row, strict=True))
    for row in (
        ("celery", 12, 0.4, "exact", 2, 6, 0),
        ("mail", 0, None, None, 1, 1, 38),
        ("thumbnails", 214, 95.0, "at least", 0, 0, 0),
    )
)
FAILED = """\
Traceback (most recent call last):
  File "/srv/shop/orders.py", line 41, in charge
    card.debit(amount)
  File "/srv/shop/bank.py", line 17, in debit
    raise Declined(f"the bank says {reply.reason}")
shop.bank.Declined: the bank says no
"""


def an_hour(watch: Watch, now: float) -> None:
    """Some thousand tasks of a shop, a bank that is away for some minutes, and a chord that ends just now."""
    chance = random.Random(6)
    records = watch.records
    for number in range(2600):
        at = now - 3590 + number * 1.37
        name = chance.choice([*SHOP, "shop.stock.reserve"])
        fails = name.endswith("charge") and (0.55 < number / 2600 < 0.62 or chance.random() < 0.01)
        wait, ran = chance.expovariate(8), SHOP[name] * chance.lognormvariate(0, 0.4)
        told = {"name": name, "args": f"({4000 + number},)", "kwargs": "{'currency': 'EUR'}", "root_id": f"{number}"}
        uuid = f"{chance.getrandbits(128):032x}"
        node = chance.choice(["w1@shop", "w2@shop"])
        last: dict[str, Any] = {"runtime": ran, "result": "'done'"}
        if fails:
            last = {"exception": "Declined('the bank says no')", "traceback": FAILED}
        for each in (
            event("sent", uuid, at, **told, queue="celery", hostname="web@shop"),
            event("received", uuid, at + wait, **told, hostname=node),
            event("started", uuid, at + wait + 0.01, hostname=node),
            event("failed" if fails else "succeeded", uuid, at + wait + ran, **last, hostname=node),
        ):
            records.hear(each, min(each["timestamp"], now))
    family = {"root_id": "tour"}
    members = [f"page-{number}" for number in range(3)]
    for each in life("tour", "shop.report.begin", now - 9, args="()", **family):
        records.hear(each, now)
    for number, uuid in enumerate(members):
        more = {**family, "parent_id": "tour", "group_id": "pages", "args": f"({number},)"}
        for each in life(uuid, "shop.report.page", now - 7 + number / 5, **more):
            records.hear(each, now)
    for each in life("sum", "shop.report.total", now - 4, parent_id="page-2", args="([7, 12, 4],)", **family):
        records.hear(each, now)
    for each in life("mail", "shop.mail.confirm", now - 2, parent_id="sum", args="(23,)", end="failed", **family):
        fault = {"exception": "Declined('the bank says no')", "traceback": FAILED}
        records.hear({**each, **fault} if each["type"] == "task-failed" else each, now)
    for name, load in (("w1@shop", 1.24), ("w2@shop", 0.81)):
        records.hear(worker(name=name, timestamp=now, active=3, processed=1304, loadavg=[load, 0.9, 0.8]), now)
    watch.taken = {"w1@shop": ["celery", "mail"], "w2@shop": ["celery"]}
    watch.stats = {
        name: {"pool": {"max-concurrency": 8, "implementation": "celeriac.worker.pools.prefork:PreforkPool"}}
        for name in watch.taken
    }
    watch.queues = list(QUEUES)
    watch._flush()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    app = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    store = Store(str(tmp_path_factory.mktemp("web") / "history.db"))
    watch = Watch(app, store)
    try:
        an_hour(watch, time.time())
        with served(watch, title="shop") as client:
            yield client
    finally:
        store.close()
        app.close()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    with chromium() as browser:
        page = browser.page()
        yield page
        assert page.complaints == []


def shown(page: Page, client: Client, name: str) -> None:
    """The picture is what it is of."""
    page.open("about:blank")  # or the same page only goes elsewhere in itself
    page.until("location.href === 'about:blank'")
    page.open(f"{client.url}#token={TOKEN}")
    page.sees("w2@shop")
    if name == "overview":
        page.until("document.querySelectorAll('.bar-failed').length > 5")
        page.sees("thumbnails")
    elif name == "tasks":
        page.run("location.hash = '/tasks'")
        page.type("#search", "state:FAILURE name:charge")
        page.press("Enter")
        page.sees("Tasks found")
        page.sees("shop.orders.charge")
    else:
        page.run("location.hash = '/task/mail'")
        page.until("document.querySelectorAll('.box').length === 6")
        page.sees("chord: group of 3")
        page.sees("Declined")


@pytest.mark.browser
@pytest.mark.pictures
@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("name", SIZES)
def test_pictures_are_taken(
    page: Page, client: Client, name: str, theme: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = Path(request.config.getoption("--pictures") or tmp_path)
    folder.mkdir(exist_ok=True)
    page.size(*SIZES[name])
    page.dark(theme == "dark")
    shown(page, client, name)
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(20, 24, 22)" if theme == "dark" else "rgb(251, 251, 248)")
    page.picture(folder / f"web-{name}-{theme}.png")
    assert size(folder / f"web-{name}-{theme}.png") == SIZES[name]


@pytest.mark.real
def test_queues_in_the_pictures_are_as_a_look_finds_them(redis_server: RedisServer) -> None:
    redis_server.call("FLUSHALL")
    app = Celery("shop", broker=redis_server.url, set_as_current=False)
    try:
        for _ in range(12):
            app.send_task("shop.orders.charge")
        (row,) = look(app, 0.1, {}, Ages(), lambda _: time.time() - 0.4)["queues"]
        assert all(set(row) - {"dead"} == set(wanted) for wanted in QUEUES)
        assert row["oldest_is"] == QUEUES[0]["oldest_is"]
        redis_server.call("DEL", "celery")
        (row,) = look(app, 0.1, {}, Ages())["queues"]
        assert (row["oldest"], row["oldest_is"]) == (QUEUES[1]["oldest"], QUEUES[1]["oldest_is"])
    finally:
        app.close()
        redis_server.call("FLUSHALL")


def size(path: Path) -> tuple[int, ...]:
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", data[16:24])


def test_the_page_that_shows_them_tells_of_every_option() -> None:
    text = (DOCS / "web.md").read_text()
    pictures = set(re.findall(r"pictures/([\w-]+\.png)", text))
    assert pictures == {f"web-{name}-{theme}.png" for name in SIZES for theme in THEMES}
    for picture in pictures:
        assert size(DOCS / "pictures" / picture) == SIZES[picture.split("-")[1]]
    for param in web.params:
        names = [name for name in (*param.opts, *param.secondary_opts) if name.startswith("--")]
        assert param.name == "help" or any(f"`{name}" in text for name in names), names
