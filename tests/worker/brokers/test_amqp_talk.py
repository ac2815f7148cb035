"""What RabbitMQ may say at any time, and what the person on call then reads: against a server that says it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from kombu.exceptions import OperationalError

from celeriac.compat import Celery
from celeriac.protocol.errors import BadCall
from celeriac.protocol.wire.amqp.contents import write_message
from celeriac.protocol.wire.amqp.frames import (
    HEARTBEAT_FRAME,
    publish_call,
    write_ack,
    write_call,
    write_frame,
    write_nack,
    write_publish,
)
from celeriac.protocol.wire.amqp.methods import write_short_text
from celeriac.protocol.wire.message import Task
from celeriac.protocol.wire.reprs import Shown
from celeriac.protocol.wire.template import Particulars, Template
from celeriac.worker import brokers
from celeriac.worker.brokers import amqp_link, amqp_outbox
from celeriac.worker.brokers.amqp import AmqpBroker, connect
from celeriac.worker.brokers.base import Delivery, Parcel, Park, Queue, Verdict
from celeriac.worker.ids import new_id
from tests.conformance.brokers import message, numbered, to
from tests.worker.brokers.rabbit_double import RabbitDouble, closing, rabbit_double

Q = Queue("q")
QUORUM = Queue("big", arguments={"x-queue-type": "quorum"})


@pytest.fixture
def double() -> Iterator[RabbitDouble]:
    with rabbit_double() as double:
        yield double


def connected(double: RabbitDouble, **options: Any) -> AmqpBroker:
    broker = brokers.connect(double.url, {"timeout": 0.5, **options})
    assert isinstance(broker, AmqpBroker)
    double.clients.append(broker)
    return broker


def delivery(tag: int, body: bytes, consumer: str = "celeriac-1", properties: bytes = b"\0\0") -> bytes:
    where = write_short_text("") + write_short_text("q")
    call = b"\x00\x3c\x00\x3c" + write_short_text(consumer) + tag.to_bytes(8, "big") + b"\0" + where
    return write_publish(write_frame(1, 2, call), 2, properties, body)


def again_and_again(act: Callable[[], object]) -> None:
    """Until it raises; a few seconds at most."""
    end = time.monotonic() + 5
    while time.monotonic() < end:
        act()


# -- logging in --


def test_a_refused_login_names_no_password(double: RabbitDouble) -> None:
    refusal = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN."
    double.answers["connection.start-ok"] = lambda _c, _a: closing(0, 403, refusal)
    with pytest.raises(OperationalError, match=r"403 access-refused .*; wrong user or password") as caught:
        connected(double)
    assert "crt" not in str(caught.value)
    assert f"127.0.0.1:{double.port}, virtual host /" in str(caught.value)


def test_a_server_that_hangs_up_at_the_password_is_understood(double: RabbitDouble) -> None:
    double.answers["connection.start-ok"] = lambda _c, _a: double._client.shutdown(2) or b""
    with pytest.raises(OperationalError, match=r"before connection.tune; does the password of user guest hold\?"):
        connected(double)


def test_a_virtual_host_that_is_not_there_is_named(double: RabbitDouble) -> None:
    double.answers["connection.open"] = lambda _c, _a: closing(0, 530, "NOT_ALLOWED - vhost x not found", 10, 40)
    with pytest.raises(OperationalError, match=r"530 not-allowed .*connection.open; the virtual host does not exist"):
        connected(double)


def test_a_server_of_another_kind_is_understood(double: RabbitDouble) -> None:
    double.answers["start"] = lambda _c, _a: b"HTTP/1.1 400 Bad Request\r\n\r\n"
    with pytest.raises(OperationalError, match=r"what it sent cannot be read"):
        connected(double)


def test_a_server_without_our_login_method_is_named(double: RabbitDouble) -> None:
    with pytest.raises(OperationalError, match=r"the server offers PLAIN, we can EXTERNAL"):
        connected(double, login_method="EXTERNAL")


def test_a_silent_server_is_waited_for_no_longer_than_told(double: RabbitDouble) -> None:
    double.answers["start"] = lambda _c, _a: b""
    started = time.monotonic()
    with pytest.raises(OperationalError, match=r"logging in failed after 0\.\d s: no connection.start came"):
        brokers.connect(double.url, {}, 0.3)
    assert time.monotonic() - started < 3


def test_a_closed_port_and_the_url_after_it(double: RabbitDouble) -> None:
    with pytest.raises(OperationalError, match=r"127.0.0.1:1, virtual host /: connecting failed .*refused"):
        brokers.connect("amqp://u:p@127.0.0.1:1//")
    broker = brokers.connect(f"amqp://127.0.0.1:1//;{double.url}")
    broker.send([Parcel(message(), "q")])
    broker.close()


def test_who_we_are_is_told(double: RabbitDouble) -> None:
    connected(double, client_properties={"team": "blue"}).close()
    told = double.wait_for("connection.start-ok")["client_properties"]
    assert (told["product"], told["team"]) == ("celeriac", "blue")
    assert "@" in told["connection_name"]


# -- sending --


def test_a_refused_publish_is_an_error(double: RabbitDouble) -> None:
    double.answers["basic.publish"] = lambda channel, _a: write_nack(channel, 1, requeue=False)
    with pytest.raises(OperationalError, match=r"refused 1 messages \(basic.nack\): a full queue"):
        connected(double).send([Parcel(message(), "q")])


def test_a_confirm_that_does_not_come_is_an_error(double: RabbitDouble) -> None:
    double.confirming = False
    broker = connected(double, confirm_timeout=0.2)
    with pytest.raises(OperationalError, match=r"3 messages were not confirmed within 0.2 s; the broker is frozen"):
        broker.send(to(Q, numbered(3)))
    with pytest.raises(OperationalError, match=r"not confirmed"):
        broker.send([Parcel(message(), "q")])


def test_a_publish_may_have_a_deadline_of_its_own(double: RabbitDouble) -> None:
    app = Celery("own", broker=double.url, set_as_current=False, fixups=[])
    app.send_task("t", confirm_timeout=5)
    double.confirming = False
    for given in ({"confirm_timeout": 0.2}, {"timeout": 0.2}):
        started = time.monotonic()
        with pytest.raises(OperationalError, match=r"not confirmed within 0\.2 s"):
            app.send_task("t", retry=False, **given)
        assert time.monotonic() - started < 2
    app.close()


def filled(broker: AmqpBroker, *args: Any, framed: bool = True) -> None:
    """One message in the shortest way: in its frames already, or still to be put into them."""
    form = broker.form(Template.of(Task("t", "")), "q", "", "direct")
    piece: Any = form.kin(Shown())(new_id(), args, {}, None) if framed else form.fill(Particulars("i", args))
    assert isinstance(piece, bytes) is framed
    broker.send_filled(form, [piece])


@pytest.mark.parametrize(
    ("particulars", "at_once"),
    [
        ({"args": (1, "ü"), "argsrepr": "mine", "kwargsrepr": "{'k': 1}", "kwargs": {"k": 1}}, True),
        ({"group_index": 3}, True),
        ({"root_id": "r"}, False),
        ({"parent_id": "p"}, False),
        ({"group": "g"}, False),
        ({"eta": "2020-01-01T00:00:00"}, False),
    ],
)
def test_a_form_fills_frames_or_properties_and_body(
    double: RabbitDouble, particulars: dict[str, Any], at_once: bool
) -> None:
    template, given = Template.of(Task("t", "")), Particulars(new_id(), **particulars)
    piece = connected(double).form(template, "q", "", "direct").fill(given)
    assert isinstance(piece, bytes) is at_once
    call = publish_call(1, "", "q", mandatory=True)
    message = template.message(given)
    expected = write_publish(call, 1, write_message(message), message.body)
    assert (piece if isinstance(piece, bytes) else write_publish(call, 1, *piece)) == expected


@pytest.mark.parametrize("answer", ["alone", "after a heartbeat", "in two pieces", "for all", "refused", "nothing"])
def test_one_message_waits_for_its_own_confirm(double: RabbitDouble, answer: str) -> None:
    broker = connected(double, confirm_timeout=0.4)
    filled(broker, framed=False)
    ack = write_ack(1, 2)
    if answer != "alone":
        double.answers["basic.publish"] = lambda _c, _a: {
            "after a heartbeat": HEARTBEAT_FRAME + ack,
            "in two pieces": ack[:9],
            "for all": write_ack(1, 0, multiple=True),
            "refused": write_nack(1, 2, requeue=False),
            "nothing": b"",
        }[answer]
    started = time.monotonic()
    if answer == "in two pieces":
        threading.Timer(0.1, double.say, [ack[9:]]).start()
    if answer in ("refused", "nothing"):
        with pytest.raises(
            OperationalError, match=r"refused 1" if answer == "refused" else r"not confirmed within 0\.4 s"
        ):
            filled(broker)
    else:
        filled(broker)
    assert time.monotonic() - started < 2.5
    assert double.names().count("basic.publish") == 2


class SlowWire:
    """A socket that takes few bytes at a time; its clock says how long that took."""

    def __init__(self, made: Any, now: float) -> None:
        self._made = made
        self.now = now

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    def clock(self) -> float:
        return self.now

    def send(self, data: Any) -> int:
        sent: int = self._made.send(memoryview(data)[:50_000])
        self.now += 0.4
        return sent


@pytest.fixture
def slow(double: RabbitDouble, monkeypatch: pytest.MonkeyPatch) -> AmqpBroker:
    """A broker behind such a wire, with a channel for publishing. It may wait half a second of the wire's clock."""
    broker = connected(double, confirm_timeout=0.5)
    wire = SlowWire(broker._link._socket, time.monotonic())
    monkeypatch.setattr(broker._link, "_socket", wire)
    for module in (amqp_link, amqp_outbox):
        monkeypatch.setattr(module, "monotonic", wire.clock)
    filled(broker)
    return broker


@pytest.mark.parametrize("usual", [True, False], ids=["plain", "as over TLS"])
def test_a_confirm_is_awaited_from_the_end_of_a_long_write(double: RabbitDouble, slow: AmqpBroker, usual: bool) -> None:
    began = amqp_link.monotonic()
    slow._link._usual = usual
    filled(slow, "x" * 500_000, framed=False)
    assert amqp_link.monotonic() - began > 3
    assert double.names().count("basic.publish") == 2


def test_a_post_is_overdue_some_time_after_the_end_of_a_long_write(double: RabbitDouble, slow: AmqpBroker) -> None:
    double.confirming = False
    slow._outbox.post("", "q", b"\0\0", b"x" * 500_000, pytest.fail)
    slow._outbox.check()
    cast("SlowWire", slow._link._socket).now += 0.6
    with pytest.raises(OperationalError, match=r"1 messages were not confirmed within 0\.5 s"):
        slow._outbox.check()


def test_one_message_and_a_connection_that_ends(double: RabbitDouble) -> None:
    broker = connected(double)
    filled(broker)
    double.answers["basic.publish"] = lambda channel, _a: closing(channel, 404, "NOT_FOUND - no exchange", 60, 40)
    with pytest.raises(OperationalError, match="refused publishing"):
        filled(broker)


def test_a_blocked_broker_gets_nothing_until_it_is_unblocked(double: RabbitDouble) -> None:
    broker = connected(double, confirm_timeout=0.3)
    broker.send([Parcel(message(), "q")])
    double.say(write_call(0, "connection.blocked", {"reason": "low on memory"}))
    while broker._link.blocked is None:
        broker.take(1, 0.01)
    with pytest.raises(OperationalError, match=r"blocked publishers for 0.3 s \(low on memory\): .*nothing was sent"):
        broker.send([Parcel(message(), "q")])
    assert double.names().count("basic.publish") == 1


def test_an_unblocked_broker_gets_what_waited(double: RabbitDouble) -> None:
    broker = connected(double)
    double.say(write_call(0, "connection.blocked", {"reason": "low on disk"}))
    while broker._link.blocked is None:
        broker.take(1, 0.01)
    double.say(write_call(0, "connection.unblocked", {}))
    broker.send([Parcel(message(), "q")])
    assert double.names().count("basic.publish") == 1
    broker.close()


def test_blocked_meanwhile_is_said(double: RabbitDouble) -> None:
    double.answers["basic.publish"] = lambda _c, _a: write_call(0, "connection.blocked", {"reason": "low on disk"})
    with pytest.raises(OperationalError, match=r"not confirmed within 0.2 s; it has blocked publishers meanwhile: low"):
        connected(double, confirm_timeout=0.2).send([Parcel(message(), "q")])


def test_a_closed_channel_says_what_to_do(double: RabbitDouble) -> None:
    text = "NOT_FOUND - no exchange 'x' in vhost '/'"
    double.answers["basic.publish"] = lambda channel, _a: closing(channel, 404, text, 60, 40)
    with pytest.raises(OperationalError, match=r"refused publishing: 404 .*no exchange 'x'.*basic.publish; nobody has"):
        connected(double).send([Parcel(message(), "k", "x")])


def test_a_connection_that_went_away_while_idle_is_noticed_before_anything_is_sent(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.send([Parcel(message(), "q")])
    double.say(closing(0, 320, "CONNECTION_FORCED - broker forced connection closure with reason 'shutdown'"))

    def send_after_a_while() -> None:
        broker._link.heard -= 10
        broker.send([Parcel(message(), "q")])

    with pytest.raises(OperationalError, match=r"320 connection-forced .*; the broker is stopping"):
        again_and_again(send_after_a_while)


def test_without_confirms_the_connection_is_looked_at_by_the_clock(
    double: RabbitDouble, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.confirming = False
    broker = connected(double, confirm_publish=False)
    now, looks, read = [1000.0], [], broker._link.read
    monkeypatch.setattr(amqp_outbox, "monotonic", lambda: now[0])
    monkeypatch.setattr(broker._link, "read", lambda timeout=0: looks.append(timeout) or read(timeout))
    filled(broker)  # which opens the channel
    looks.clear()
    for _ in range(20):
        filled(broker)
    assert not looks
    for later in (0.02, 1.0):
        now[0] += later
        filled(broker)
        filled(broker, framed=False)
    assert looks == [0, 0]
    broker.close()  # heard when all before it was
    assert double.names().count("basic.publish") == 25


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (closing(0, 320, "CONNECTION_FORCED - shutdown"), "320 connection-forced"),
        (closing(1, 404, "NOT_FOUND - no exchange", 60, 40), "refused publishing: 404"),
        (write_call(0, "connection.blocked", {"reason": "low on disk"}), "blocked publishers for 0.2 s .low on disk"),
    ],
    ids=["closed", "channel closed", "blocked"],
)
def test_without_confirms_what_the_broker_says_is_heard_while_sending(
    double: RabbitDouble, said: bytes, error: str
) -> None:
    double.confirming = False
    broker = connected(double, confirm_publish=False, confirm_timeout=0.2)
    filled(broker)
    double.say(said)
    with pytest.raises(OperationalError, match=error):
        again_and_again(lambda: filled(broker))


def test_without_confirms_what_came_back_loses_no_later_batch(
    double: RabbitDouble, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    double.confirming = False
    broker = connected(double, confirm_publish=False)
    monkeypatch.setattr(amqp_outbox, "monotonic", lambda: 1000.0)  # no time to look before the batch
    filled(broker)
    fields = {"reply_code": 312, "reply_text": "NO_ROUTE", "exchange": "", "routing_key": "typo"}
    double.say(write_publish(write_call(1, "basic.return", fields), 1, b"\0\0", b"{}"))
    end = time.monotonic() + 20
    while not broker._outbox._returned and time.monotonic() < end:
        broker.take(1, 0.01)
    assert not caplog.messages
    broker.send(to(Q, [message(b"x" * 40_000)] * 4))
    assert ["there is no queue named typo: 1 messages had nowhere to go" in each for each in caplog.messages] == [True]
    filled(broker)
    broker.close()  # heard when all before it was
    assert double.names().count("basic.publish") == 6


# -- consuming --


def test_a_delivery_held_too_long_says_what_to_do(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q], credit=1)
    text = "PRECONDITION_FAILED - delivery acknowledgement on channel 2 timed out. Timeout value used: 1800000 ms."
    double.say(closing(2, 406, text))
    with pytest.raises(
        OperationalError, match=r"refused consuming: 406 .*timed out.*consumer_timeout: acknowledge bef"
    ):
        broker.take(1, 5)
    double.wait_for("channel.close-ok")


def test_a_deleted_queue_is_noticed(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q], credit=1)
    double.say(write_call(2, "basic.cancel", {"consumer_tag": "celeriac-1", "no_wait": True}))
    with pytest.raises(OperationalError, match=r"queue q was deleted, or its node failed"):
        broker.take(1, 5)


def test_what_cannot_be_read_is_handed_on_as_it_is(double: RabbitDouble, caplog: pytest.LogCaptureFixture) -> None:
    broker = connected(double)
    broker.listen([Q], credit=1)
    double.say(delivery(1, b"what", properties=b"\xff\xff\xff"))
    (taken,) = broker.take(1, 5)
    assert (taken.message.body, taken.message.headers) == (b"what", {})
    assert "queue q: a message's properties cannot be read" in caplog.text
    broker.settle([(taken, Verdict.REQUEUE)])
    broker.close()
    double.wait_for("basic.publish")


def test_a_message_too_large_is_rejected(double: RabbitDouble, caplog: pytest.LogCaptureFixture) -> None:
    broker = connected(double)
    broker._link._inbox.body_max = 5
    broker.listen([Q], credit=1)
    double.say(delivery(1, b"123456") + delivery(2, b"12345"))
    assert [each.message.body for each in broker.take(5, 5)] == [b"12345"]
    broker.close()
    assert double.wait_for("basic.reject") == {"delivery_tag": 1, "requeue": False}
    assert "too large for us" in caplog.text


def test_acknowledgements_speak_for_many_where_they_may(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q], credit=20)
    double.say(b"".join(delivery(tag, b"%d" % tag) for tag in range(1, 11)))
    taken: list[Delivery] = []
    while len(taken) < 10:
        taken += broker.take(10, 5)
    broker.settle([(taken[tag - 1], Verdict.ACK) for tag in (3, 1, 2, 6, 8)])
    broker.settle([(taken[3], Verdict.DROP)])
    broker.tend(time.time())
    broker.settle([(taken[4], Verdict.ACK)])
    broker.close()
    double.wait_for("connection.close")
    settled = [(name, args) for _, name, args in double.heard if name in {"basic.ack", "basic.reject"}]
    assert settled == [
        ("basic.ack", {"delivery_tag": 3, "multiple": True}),
        ("basic.ack", {"delivery_tag": 6, "multiple": False}),
        ("basic.ack", {"delivery_tag": 8, "multiple": False}),
        ("basic.reject", {"delivery_tag": 4, "requeue": False}),
        ("basic.ack", {"delivery_tag": 5, "multiple": False}),
    ]


def test_what_a_lost_connection_delivered_is_not_settled_but_counted(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q], credit=5)
    double.say(delivery(1, b"a"))
    (lost,) = broker.take(1, 5)
    double.say(closing(0, 320, "CONNECTION_FORCED"))
    with pytest.raises(OperationalError):
        again_and_again(lambda: broker.take(1, 0.1))
    broker.settle([(lost, Verdict.ACK)])
    assert broker.dropped == 1
    broker.close()
    again = connected(double)
    again.listen([Q], credit=5)
    double.say(delivery(1, b"a"))
    (back,) = again.take(1, 5)
    again.settle([(lost, Verdict.ACK)])
    assert again.dropped == 1
    again.settle([(back, Verdict.ACK)])
    again.close()
    double.wait_for("basic.ack")
    assert double.names().count("basic.ack") == 1


def test_a_parked_or_requeued_message_that_is_refused_goes_back(double: RabbitDouble) -> None:
    double.answers["basic.publish"] = lambda channel, _a: write_nack(channel, 1, requeue=False)
    broker = connected(double)
    broker.listen([Q], credit=5)
    double.say(delivery(1, b"a"))
    (taken,) = broker.take(1, 5)
    broker.settle([(taken, Verdict.REQUEUE)])
    broker.close()
    assert double.wait_for("basic.reject") == {"delivery_tag": 1, "requeue": True}


def test_a_settlement_that_is_never_confirmed_ends_the_connection(double: RabbitDouble) -> None:
    double.confirming = False
    broker = connected(double, confirm_timeout=0.1)
    broker.listen([Q], credit=5)
    double.say(delivery(1, b"a"))
    (taken,) = broker.take(1, 5)
    broker.settle([(taken, Verdict.REQUEUE)])

    def tend() -> None:
        assert broker.tend(time.time()) <= time.time() + 1
        broker.take(1, 0.02)

    with pytest.raises(OperationalError, match=r"1 messages were not confirmed within 0.1 s"):
        again_and_again(tend)


# -- what RabbitMQ's versions want --


def qos(double: RabbitDouble) -> list[tuple[int, bool]]:
    return [(args["prefetch_count"], args["global"]) for _, name, args in double.heard if name == "basic.qos"]


def test_several_classic_queues_share_one_credit(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q, Queue("r")], credit=8)
    broker.listen([Q, Queue("r"), Queue("s")], credit=8)
    assert qos(double) == [(8, True)]
    assert double.names().count("basic.consume") == 3
    broker.listen([Q], credit=8)
    assert qos(double) == [(8, True), (0, True), (8, False)]
    broker.close()


def test_each_of_several_queues_has_its_part_of_a_shared_credit(double: RabbitDouble) -> None:
    """Of its own beside the common one, which holds whatever the parts come to."""
    broker = connected(double)
    queues = [Q, Queue("r")]
    broker.share(4)
    broker.listen(queues, credit=8)
    assert qos(double) == [(4, False), (8, True)]
    broker.listen(queues, credit=8)
    assert double.names().count("basic.consume") == 2
    broker.share(3)
    broker.listen([*queues, Queue("s")], credit=8)
    assert qos(double)[2:] == [(3, False)]
    assert double.names().count("basic.cancel") == 2, "their part is another now"
    broker.share(0)
    broker.listen(queues, credit=16)
    assert qos(double)[3:] == [(0, False), (16, True)]
    broker.listen(queues, credit=8)
    assert qos(double)[5:] == [(8, True)]
    assert double.names().count("basic.consume") == 2 + 3 + 2
    broker.close()


@pytest.mark.parametrize(("each", "queues"), [(8, 3), (3, 1)])
def test_a_part_that_is_all_is_none(double: RabbitDouble, each: int, queues: int) -> None:
    broker = connected(double)
    broker.share(each)
    broker.listen([Q, Queue("r"), Queue("s")][:queues], credit=8)
    assert qos(double) == [(8, queues > 1)]
    broker.close()


def test_a_credit_that_changes_is_shared_from_then_on(double: RabbitDouble) -> None:
    """A consumer's own cannot be changed, and one that took its place would not count what the first was given."""
    broker = connected(double)
    broker.listen([Q], credit=8)
    broker.listen([Q], credit=11)
    assert qos(double) == [(8, False), (0, False), (11, True)]
    assert double.names().count("basic.consume") == 2
    broker.listen([Q], credit=8)
    broker.listen([Q], credit=8)
    assert qos(double)[3:] == [(8, True)]
    assert double.names().count("basic.consume") == 2, "those who take stay the same"
    broker.close()


def test_quorum_queues_have_a_credit_each(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q, QUORUM], credit=8)
    assert qos(double) == [(8, False)]
    double.say(b"".join(delivery(tag, b"x", f"celeriac-{tag % 2 + 1}") for tag in range(1, 13)))
    assert len(broker.take(100, 5)) + len(broker.take(100, 0.2)) == 8
    broker.close()


def test_rabbitmq_4_has_no_shared_credit() -> None:
    with rabbit_double(version="4.1.0") as double:
        broker = connected(double)
        broker.listen([Q, Queue("r")], credit=8)
        assert qos(double) == [(8, False)]
        broker.close()


def test_more_credit_than_the_wire_has_a_number_for_is_kept_here(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q], credit=100_000)
    assert qos(double) == [(0, False)], "any number"
    broker.close()


def test_no_credit_is_no_consumer(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q], credit=3)
    broker.listen([Q], credit=0)
    assert double.names()[-1] == "basic.cancel"
    broker.close()


def test_a_new_credit_leaves_no_queue_without_a_consumer(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q], credit=3)
    double.say(delivery(1, b"early"))
    broker.size("q")
    broker.listen([Q], credit=5)
    assert [name for name in double.names() if name.startswith("basic.")][-2:] == ["basic.consume", "basic.cancel"]
    assert [each.message.body for each in broker.take(5, 5)] == [b"early"]
    broker.close()


def test_what_waits_for_a_queue_that_is_left_goes_back(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q], credit=3)
    double.say(delivery(1, b"early"))
    broker.size("q")
    broker.listen([Queue("r")], credit=3)
    assert double.wait_for("basic.reject") == {"delivery_tag": 1, "requeue": True}
    broker.close()


def test_delays_follow_stock_where_a_queue_is_a_quorum_queue(double: RabbitDouble) -> None:
    broker = connected(double)
    topic = Queue("t", "work", "topic", "jobs.t")
    broker.listen([topic], credit=1)
    assert "exchange.bind" not in double.names()
    broker.listen([topic, QUORUM], credit=1)
    bound = [(args["source"], args["routing_key"]) for _, name, args in double.heard if name == "exchange.bind"]
    assert bound == [("celery_delayed_delivery", "#.jobs.t")]
    broker.close()


# -- parking --


@pytest.mark.parametrize("name", ["n" * 200, "a.*.b", "#"])
def test_a_queue_that_no_parked_message_could_come_back_to(double: RabbitDouble, name: str) -> None:
    broker = connected(double)
    broker.listen([Queue(name)], credit=1)
    double.say(delivery(1, b"a"))
    (taken,) = broker.take(1, 5)
    with pytest.raises(BadCall, match=r"cannot be parked"):
        broker.settle([(taken, Park(time.time() + 5))])
    broker.settle([(taken, Verdict.ACK)])
    broker.close()
    double.wait_for("basic.ack")


def test_parking_can_be_switched_off(double: RabbitDouble) -> None:
    broker = connected(double, delayed_delivery=None)
    assert "park" not in broker.can
    broker.listen([Q], credit=1)
    double.say(delivery(1, b"a"))
    (taken,) = broker.take(1, 5)
    with pytest.raises(BadCall, match=r"parks no messages"):
        broker.settle([(taken, Park(time.time() + 5))])
    broker.close()


# -- heartbeats and the end --


def test_heartbeats_are_sent_while_tended(double: RabbitDouble) -> None:
    double.heartbeat = 1
    broker = connected(double)
    spoke = broker._link.spoke
    end = time.monotonic() + 5
    while broker._link.spoke == spoke:
        assert time.monotonic() < end, "no heartbeat was sent"
        double.say(HEARTBEAT_FRAME)
        assert broker.tend(time.time()) < time.time() + 2.1
        time.sleep(0.02)
    assert broker._link.spoke - spoke < 1.5
    broker.close()


def test_a_silent_server_is_noticed_within_three_heartbeats(double: RabbitDouble) -> None:
    double.heartbeat = 1
    broker = connected(double)
    broker.listen([Q], credit=1)
    started = time.monotonic()
    with pytest.raises(OperationalError, match=r"nothing was heard for 2.\d s, with a heartbeat of 1 s"):
        broker.take(1, 30)
    assert 1.9 < time.monotonic() - started < 3


def test_without_heartbeats_nothing_is_agreed(double: RabbitDouble) -> None:
    broker = connected(double, heartbeat=0)
    assert double.wait_for("connection.tune-ok")["heartbeat"] == 0
    now = time.time()
    assert broker.tend(now) == now + 60
    broker.close()


def test_a_question_without_an_answer_has_a_deadline(double: RabbitDouble) -> None:
    double.answers["queue.declare"] = lambda _c, _a: b""
    with pytest.raises(OperationalError, match=r"no answer to queue.declare for 0.5 s"):
        connected(double).size("q")


def test_closing_a_server_that_no_longer_answers_takes_a_moment(double: RabbitDouble) -> None:
    double.answers["connection.close"] = lambda _c, _a: b""
    broker = connected(double)
    started = time.monotonic()
    broker.close()
    broker.close()
    assert time.monotonic() - started < 3
    with pytest.raises(OperationalError, match=r"this connection was closed"):
        broker.take(1, 0)


def test_a_forked_child_lets_go_without_a_word(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.fileno()
    broker.abandon()
    assert "connection.close" not in double.names()


def test_flow_is_agreed_to(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q], credit=1)
    double.say(write_call(2, "channel.flow", {"active": True}))
    broker.take(1, 0.2)
    assert double.wait_for("channel.flow-ok") == {"active": True}
    broker.close()


def test_a_broken_stream_ends_the_connection(double: RabbitDouble) -> None:
    broker = connected(double)
    broker.listen([Q], credit=1)
    double.say(b"\x63 not a frame at all")
    with pytest.raises(OperationalError, match=r"what it sent cannot be read: AMQP stream: unknown frame type 99"):
        broker.take(1, 5)


def test_connect_takes_options_or_none(double: RabbitDouble) -> None:
    connect(double.url).close()
