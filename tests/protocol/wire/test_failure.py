"""Exceptions taken apart and put together again, and what must never be called on the way."""

from __future__ import annotations

import builtins
import json
import sys
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.protocol.errors import BadMessage
from celeriac.protocol.wire import failure
from celeriac.protocol.wire.failure import Failure

encode = json.dumps


class Plain(Exception):
    pass


class Outer:
    class Inner(ValueError):
        pass


class NeedsTwo(Exception):
    def __init__(self, one, two):
        super().__init__(one)
        self.two = two


class Child(KeyError):
    """Cannot be built from its args, while KeyError can."""

    def __init__(self, one, two):
        super().__init__(one)


class BadRepr:
    def __repr__(self):
        raise RuntimeError("no repr")


class NoPickle:
    def __reduce__(self):
        raise RuntimeError("no pickle")

    def __repr__(self):
        return "NoPickle()"


# --- from a live exception


def test_plain_exception():
    assert failure.of(ValueError("boom", 42), encode) == Failure("ValueError", ("boom", 42), "builtins")
    assert failure.of(Outer.Inner("x"), encode) == Failure("Outer.Inner", ("x",), __name__)


def test_arguments_that_cannot_be_written_become_reprs():
    assert failure.of(ValueError({1, 2}, 3), encode).args == ("{1, 2}", 3)


def test_exception_that_cannot_be_rebuilt_gives_way_to_its_nearest_class():
    assert failure.of(Child("a", "b"), encode) == Failure("KeyError", ("a",), "builtins")


def test_exception_without_such_a_class_is_recorded():
    found = failure.of(NeedsTwo("a", "b"), encode)
    assert found.exc_type == "UnpickleableExceptionWrapper"
    assert found.exc_module == "celery.utils.serialization"
    assert found.args == (__name__, "NeedsTwo", ["a"], "NeedsTwo('a')")


def test_arguments_of_a_recorded_exception_are_safe_each():
    found = failure.of(NeedsTwo(NoPickle(), 1), encode)
    assert found.args[2] == ["NoPickle()"]


def test_repr_that_raises_does_no_harm():
    found = failure.of(Plain(BadRepr()), encode)
    assert found.args == ("<Unrepresentable BadRepr>",)
    assert str(Failure("X", (BadRepr(),))) == "X(<Unrepresentable BadRepr>)"


class Shapeshifter(OSError):
    """A constructor that gives something else for its class, and no pickle of itself."""

    def __new__(cls, *args):
        return OSError.__new__(cls, *args)

    def __reduce__(self):
        raise RuntimeError("no")


class Impostor(Exception):
    real = True

    def __new__(cls, *args):
        return Exception.__new__(cls, *args) if cls.real else 5

    def __reduce__(self):
        raise RuntimeError("no")


def test_class_that_builds_something_else_is_passed_over(monkeypatch):
    exc = Impostor("x")
    monkeypatch.setattr(Impostor, "real", False)
    assert failure.of(exc, encode).exc_type == "UnpickleableExceptionWrapper"


def test_class_whose_instances_never_pickle_gives_way():
    assert failure.of(Shapeshifter("x"), encode).exc_type == "OSError"


def test_args_that_are_none_read_as_none_at_all():
    class Odd(Exception):
        args = 5

    assert failure.of(Odd(), encode).args[2] == []


# --- from a stored value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"exc_type": "V", "exc_message": ["a", 1], "exc_module": "m"}, Failure("V", ("a", 1), "m")),
        ({"exc_type": "V", "exc_message": "('boom', 42)"}, Failure("V", ("('boom', 42)",), None)),
        ({"exc_type": "V", "exc_message": None, "exc_module": 5}, Failure("V", (None,), None)),
        ({"exc_type": "V"}, Failure("V", (), None)),
        ({"exc_message": ["boom"]}, Failure("Exception", ("boom",))),
        ({"exc_type": 5, "exc_message": "x", "exc_module": "os"}, Failure("Exception", ("x",))),
        ({"exc_type": "", "code": 7}, Failure("Exception", ({"exc_type": "", "code": 7},))),
        ("boom", Failure("Exception", ("boom",))),
        ([1, 2], Failure("Exception", ([1, 2],))),
        (Failure("A"), Failure("A")),
        (KeyError("k"), Failure("KeyError", ("k",), "builtins")),
    ],
)
def test_parse(value, expected):
    assert failure.parse(value) == expected


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["exc_type", "exc_message"]), inner)
        ),
        max_leaves=8,
    )
)
def test_parse_is_total(value):
    found = failure.parse(value)
    assert isinstance(failure.rebuild(found, {}), Exception)


@given(st.text(min_size=1), st.lists(st.integers() | st.text()), st.text())
def test_round_trip(name, args, module):
    one = Failure(name, tuple(args), module)
    assert failure.parse(json.loads(json.dumps(one.build()))) == one


# --- back to an exception


def module(**names):
    made = types.ModuleType("there")
    vars(made).update(names)
    return {"there": made, "builtins": builtins}


def test_rebuild_known_class():
    exc = failure.rebuild(Failure("ValueError", ("boom", 42), "builtins"), sys.modules)
    assert type(exc) is ValueError
    assert exc.args == ("boom", 42)


def test_rebuild_nested_class():
    exc = failure.rebuild(Failure("Outer.Inner", ("x",), "there"), module(Outer=Outer))
    assert type(exc) is Outer.Inner


@pytest.mark.parametrize(
    "name", ["Outer.Missing", "nowhere", "number.real", "Outer.Inner.args.x", "a." * 30 + "b", "x" * 300]
)
def test_name_that_is_not_there_gets_a_class(name):
    found = failure.resolve(Failure(name, (), "there"), module(Outer=Outer, number=5))
    assert issubclass(found, Exception)
    assert found.__name__ == name[:200]
    assert found.__module__ == "celery.exceptions"


def test_made_classes_are_the_same_each_time():
    first = failure.resolve(Failure("MyErr", (), "not.there"), {})
    assert failure.resolve(Failure("MyErr", (1,), "neither"), {}) is first
    unnamed = failure.resolve(Failure("MyErr", (), None), {})
    assert unnamed is not first
    assert unnamed.__module__ == "celery.backends.base"


def test_odd_names_make_tame_classes():
    assert failure.resolve(Failure("a\0b\ud800 c", (), None), {}).__name__ == "a_b__c"


@pytest.mark.parametrize("thing", [print, 5, "text", int, builtins])
def test_what_is_no_exception_class_is_refused_and_not_called(thing):
    with pytest.raises(
        failure.NotAnException, match=r"expected the name of an exception class, got 'there\.thing'"
    ) as caught:
        failure.rebuild(Failure("thing", ("id",), "there"), module(thing=thing))
    assert isinstance(caught.value, BadMessage)


def test_nothing_is_imported_and_no_hook_runs():
    called = []
    mods = module(__getattr__=called.append)
    assert failure.resolve(Failure("Lazy", (), "there"), mods).__module__ == "celery.exceptions"
    assert called == []


def test_constructor_that_refuses_gets_a_fallback():
    exc = failure.rebuild(Failure("NeedsTwo", ("one",), "there"), module(NeedsTwo=NeedsTwo))
    assert type(exc) is Exception
    assert str(exc) == f"{NeedsTwo}(['one'])"


def test_constructor_that_gives_no_exception_gets_a_fallback(monkeypatch):
    monkeypatch.setattr(Impostor, "real", False)
    exc = failure.rebuild(Failure("Impostor", (), "there"), module(Impostor=Impostor))
    assert type(exc) is Exception


# --- Celery's own


@pytest.mark.parametrize(
    ("kind", "args", "expected"),
    [
        ("revoked", ("expired",), ["TaskRevokedError", ["expired"], "celery.exceptions"]),
        ("rejected", ("why", False), ["Reject", ["why", False], "celery.exceptions"]),
        ("not registered", ("no.such",), ["NotRegistered", ["no.such"], "celery.exceptions"]),
        (
            "max retries",
            ("t", "id", "()", "{}"),
            ["MaxRetriesExceededError", ["Can't retry t[id] args:() kwargs:{}"], "celery.exceptions"],
        ),
        ("unencodable", (TypeError("no"),), ["EncodeError", ["TypeError('no')"], "kombu.exceptions"]),
        ("time limit", (1,), ["TimeLimitExceeded", [1], "billiard.exceptions"]),
        ("soft time limit", (), ["SoftTimeLimitExceeded", [], "billiard.exceptions"]),
        (
            "worker lost",
            ("signal 9 (SIGKILL)", 0),
            ["WorkerLostError", ["Worker exited prematurely: signal 9 (SIGKILL) Job: 0."], "billiard.exceptions"],
        ),
        (
            "worker lost",
            ("exitcode 3", 0),
            ["WorkerLostError", ["Worker exited prematurely: exitcode 3."], "billiard.exceptions"],
        ),
        ("dependency failed", ("i", "E('x')"), ["ChordError", ["Dependency i raised E('x')"], "celery.exceptions"]),
        ("callback failed", ("E()",), ["ChordError", ["Callback error: E()"], "celery.exceptions"]),
        ("join failed", ("E()",), ["ChordError", ["Join error: E()"], "celery.exceptions"]),
        ("group lost", ("g",), ["ChordError", ["GroupResult g no longer exists"], "celery.exceptions"]),
    ],
)
def test_known(kind, args, expected):
    assert list(failure.KNOWN[kind](*args).build().values()) == expected
