"""`poll` where a library of greenlets has taken the system's away."""

from __future__ import annotations

import select
import socket
from contextlib import closing

import pytest

from celeriac.worker import polling


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("poll", "epoll", "kqueue"):
        monkeypatch.delattr(select, name, raising=False)


@pytest.mark.usefixtures("bare")
def test_it_polls_by_select() -> None:
    one, other = socket.socketpair()
    with closing(one), closing(other):
        poll = polling.poll()
        assert type(poll) is polling._Selecting
        poll.register(one, select.POLLIN)
        assert list(poll.poll(-1)) == []
        other.send(b"!")
        assert list(poll.poll(5000)) == [(one.fileno(), select.POLLIN)]
        poll.register(one.fileno(), select.POLLIN | select.POLLOUT)
        assert list(poll.poll(5000)) == [(one.fileno(), select.POLLIN | select.POLLOUT)]
        poll.register(one, select.POLLOUT)
        assert list(poll.poll(5000)) == [(one.fileno(), select.POLLOUT)]
        poll.unregister(one)
        assert list(poll.poll(0)) == []


@pytest.mark.usefixtures("bare")
def test_the_system_has_what_was_taken_away() -> None:
    assert not hasattr(select, "epoll")
    whole = polling.unpatched()
    assert hasattr(whole, "epoll") or hasattr(whole, "kqueue")


def test_nothing_is_made_up_where_nothing_is_missing() -> None:
    assert polling.unpatched() is select
    assert type(polling.poll()) is type(select.poll())
