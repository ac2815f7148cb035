"""Signals: who is called, with what, and that no receiver stops the sender."""

from __future__ import annotations

import gc
import logging
import threading
from typing import Any

import pytest

from celeriac.compat.exceptions import CDeprecationWarning
from celeriac.compat.local import PromiseProxy
from celeriac.compat.utils.dispatch import Signal
from celeriac.compat.utils.dispatch import signal as module


@pytest.fixture
def signal() -> Signal:
    return Signal(name="told", providing_args={"what"})


def test_a_receiver_is_called_with_everything(signal: Signal) -> None:
    calls: list[dict[str, Any]] = []

    @signal.connect
    def told(**named: Any) -> str:
        calls.append(named)
        return "heard"

    assert signal.send("me", what=1) == [(told, "heard")]
    assert calls == [{"signal": signal, "sender": "me", "what": 1}]
    assert signal.send_robust("me", what=2) == [(told, "heard")]


def test_nobody_listens(signal: Signal) -> None:
    assert signal.receivers == []
    assert signal.send("me") == []
    assert not signal.has_listeners()


def test_a_receiver_of_one_sender_hears_no_other(signal: Signal) -> None:
    sender = object()

    @signal.connect(sender=sender)
    def told(**named: Any) -> None: ...

    assert signal.send(sender) == [(told, None)]
    assert signal.send(object()) == []
    assert signal.has_listeners(sender)
    assert not signal.has_listeners("another")


def test_equal_names_are_one_sender(signal: Signal) -> None:
    @signal.connect(sender=b"proj.add".decode())
    def told(**named: Any) -> None: ...

    assert len(signal.send(b"proj.add".decode())) == 1


def test_an_error_is_logged_and_returned(signal: Signal, caplog: pytest.LogCaptureFixture) -> None:
    @signal.connect
    def breaks(**named: Any) -> None:
        raise KeyError("broken")

    @signal.connect
    def works(**named: Any) -> str:
        return "fine"

    with caplog.at_level(logging.ERROR, logger="celery"):
        (_, error), (_, answer) = signal.send(None)
    assert isinstance(error, KeyError)
    assert error.__traceback__ is not None
    assert answer == "fine"
    record = caplog.records[-1]
    assert record.name == "celery.utils.dispatch.signal"
    assert record.getMessage() == f"Signal handler {breaks!r} raised: KeyError('broken')"


def test_receivers_are_held_weakly_unless_told_otherwise(signal: Signal) -> None:
    class Listener:
        def told(self, **named: Any) -> None: ...

    listener = Listener()
    signal.connect(listener.told)
    assert len(signal.send(None)) == 1
    del listener
    gc.collect()
    assert signal.send(None) == []
    assert signal.receivers == []
    signal.connect(lambda **_: "strong", weak=False)
    gc.collect()
    assert [answer for _, answer in signal.send(None)] == ["strong"]


def test_methods_of_two_objects_are_two_receivers(signal: Signal) -> None:
    class Listener:
        def told(self, **named: Any) -> None: ...

    one, other = Listener(), Listener()
    signal.connect(one.told)
    signal.connect(one.told)
    signal.connect(other.told)
    assert len(signal.send(None)) == 2


def test_a_uid_is_connected_once(signal: Signal) -> None:
    for _ in range(2):
        signal.connect(lambda **_: 1, weak=False, dispatch_uid="once")
    assert len(signal.send(None)) == 1
    assert signal.disconnect(dispatch_uid="once")
    assert not signal.disconnect(dispatch_uid="once")
    assert signal.send(None) == []


def test_disconnecting(signal: Signal) -> None:
    def told(**named: Any) -> None: ...

    signal.connect(told, sender="me")
    assert not signal.disconnect(told)
    assert signal.disconnect(told, sender="me")
    with pytest.warns(CDeprecationWarning, match="weak"):
        signal.disconnect(told, weak=True)


def test_a_receiver_must_take_keyword_arguments(signal: Signal) -> None:
    with pytest.raises(ValueError, match="must accept keyword arguments"):
        signal.connect(lambda sender: None)
    with pytest.raises(AssertionError, match="callable"):
        signal.connect()(3)


def test_a_receiver_with_retry_is_called_until_it_works(
    signal: Signal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(module.time, "sleep", slept.append)
    tries = iter(range(20))

    def told(**named: Any) -> int:
        number = next(tries)
        if number < 17:
            raise OSError("down")
        return number

    connected = signal.connect(told, retry=True)
    with caplog.at_level(logging.ERROR, logger="celery"):
        assert signal.send(None) == [(connected, 17)]
    assert slept == [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 30, 30]
    assert caplog.records[0].getMessage() == f"Could not process signal receiver {told}. Retrying in 2.00 seconds..."
    assert signal.disconnect(told)


def test_a_promised_sender_is_waited_for(signal: Signal) -> None:
    sender = object()
    promise = PromiseProxy(lambda: sender)

    @signal.connect(sender=promise)
    def told(**named: Any) -> None: ...

    assert signal.receivers == []
    promise._get_current_object()
    assert signal.send(sender) == [(told, None)]


def test_a_promise_may_be_kept_by_its_own_signal(signal: Signal) -> None:
    """What waited for it is connected in the midst of the sending, which holds nobody up."""
    promise = PromiseProxy(object)
    calls: list[str] = []
    signal.connect(lambda **_: calls.append("anybody's"), weak=False)
    signal.connect(lambda **_: calls.append("its"), sender=promise, weak=False)
    sending = threading.Thread(target=signal.send, args=(promise,), daemon=True)
    sending.start()
    sending.join(10)
    assert not sending.is_alive()
    assert calls == ["anybody's", "its"]


def test_a_cached_signal_calls_the_same_ones() -> None:
    signal = Signal(use_caching=True)

    class Sender: ...

    sender = Sender()
    assert not signal.has_listeners(sender)
    assert not signal.has_listeners(sender)

    @signal.connect
    def told(**named: Any) -> None: ...

    assert signal.send(sender) == signal.send(sender) == [(told, None)]


def test_how_it_is_shown(signal: Signal) -> None:
    assert repr(signal) == str(signal) == "<Signal: told providing_args={'what'}>"
