"""Everything that Celery 5.7 documents is here, and everything that packages on PyPI import of it.

The lists are facts about Celery 5.7.0, read from it and from 89 packages (tests/reference). What is left out is left
out on purpose and stands in `MISSING` with its reason; `NOT_YET` names the modules that are still to be built.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import importlib
import inspect
import json
import operator
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from celeriac.compat import signals

REFERENCE = Path(__file__).resolve().parents[1] / "reference"
API: dict[str, Any] = json.loads((REFERENCE / "api.json").read_text())
DOCUMENTED = [name for name, module in API.items() if module["public"]]
SIGNALS: dict[str, list[str]] = json.loads((REFERENCE / "signals.json").read_text())

# Modules, and names in modules, that are still to be built. What has come is taken off.
NOT_YET: frozenset[str] = frozenset()

# Modules that extend another program, which may not be installed here.
EXTENDS = {"celery.contrib.sphinx": "sphinx"}

# What is missing on purpose: a name, or all that begins with one that ends in a dot or a star.
MISSING: dict[str, str] = {}
_NOT_MISSED = 0.03


def ours(name: str) -> str:
    """Our module of this Celery name."""
    return "celeriac.compat" + name[len("celery") :]


def reason(name: str) -> str | None:
    """Why it is missing, if that is on purpose."""
    for known, why in MISSING.items():
        if name == known or (known.endswith("*") and name.startswith(known[:-1])):
            return why
    return None


def is_not_yet(module: str) -> bool:
    return any(module == known or module.startswith(f"{known}.") for known in NOT_YET)


def parameters(text: str) -> list[tuple[str, str, Any]] | None:
    """The parameters of a signature as text: kind, name, default (None: none; a source text else)."""
    text = text.rpartition(" -> ")[0] or text if " -> " in text else text
    text = re.sub(r"ForwardRef\('(\w+)'\)", r"\1", text)
    while "<" in text:
        shorter = re.sub(r"<[^<>]*>", "_", text)
        if shorter == text:
            return None
        text = shorter
    try:
        function: Any = ast.parse(f"def f{text}: pass").body[0]
    except SyntaxError:
        return None
    found, args = [], function.args
    plain = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(plain) - len(args.defaults)) + [ast.unparse(value) for value in args.defaults]
    found += [("plain", arg.arg, default) for arg, default in zip(plain, defaults, strict=True)]
    if args.vararg:
        found.append(("*", args.vararg.arg, None))
    for arg, default in zip(args.kwonlyargs, args.kw_defaults, strict=True):
        found.append(("keyword", arg.arg, None if default is None else ast.unparse(default)))
    if args.kwarg:
        found.append(("**", args.kwarg.arg, None))
    return found


KINDS = {
    inspect.Parameter.POSITIONAL_ONLY: "plain",
    inspect.Parameter.POSITIONAL_OR_KEYWORD: "plain",
    inspect.Parameter.VAR_POSITIONAL: "*",
    inspect.Parameter.KEYWORD_ONLY: "keyword",
    inspect.Parameter.VAR_KEYWORD: "**",
}


def own_parameters(value: Any) -> list[tuple[str, str, Any]] | None:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return None
    return [
        (KINDS[found.kind], found.name, None if found.default is found.empty else repr(found.default))
        for found in signature.parameters.values()
    ]


def literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return ...


def differences(theirs: list[tuple[str, str, Any]], mine: list[tuple[str, str, Any]]) -> Iterator[str]:
    """Calls that Celery takes and we would not, or take otherwise."""
    skipped = ("self", "cls")
    theirs = [found for found in theirs if found[1] not in skipped]
    mine = [found for found in mine if found[1] not in skipped]
    any_args = any(kind == "*" for kind, _, _ in mine)
    any_kwargs = any(kind == "**" for kind, _, _ in mine)
    plain = [found for found in mine if found[0] == "plain"]
    named = {name: (kind, default) for kind, name, default in mine}
    for place, (kind, name, default) in enumerate(theirs):
        if kind == "*":
            if not any_args:
                yield f"takes no *{name}"
        elif kind == "**":
            if not any_kwargs:
                yield f"takes no **{name}"
        elif name not in named:
            if not any_kwargs or (kind == "plain" and not any_args):
                yield f"has no parameter {name}"
        else:
            own_kind, own_default = named[name]
            if kind == "plain" and own_kind == "plain" and plain.index((own_kind, name, own_default)) != place:
                yield f"has {name} at another place"
            if kind == "plain" and own_kind == "keyword" and not any_args:
                yield f"takes {name} by keyword alone"
            if default is not None and own_default is None:
                yield f"has no default for {name}"
            elif default is not None and ... not in (literal(default), literal(own_default)) and default != own_default:
                yield f"has {own_default} for {name}, not {default}"
    known = {name for _, name, _ in theirs}
    takes_all = {kind for kind, _, _ in theirs} >= {"*", "**"}
    for kind, name, default in mine:
        if kind in ("plain", "keyword") and default is None and name not in known and not takes_all:
            yield f"asks for {name}"


def signature_faults(path: str, text: str | None, value: Any) -> Iterator[str]:
    # «*a, **kw» is what a proxy shows, and «self, /» what a class without __init__ does
    if not text or text.startswith(("(*a, **kw)", "(self, /")) or not callable(value):
        return
    theirs = parameters(text)
    mine = own_parameters(value)
    if theirs is not None and mine is not None:
        for difference in differences(theirs, mine):
            yield f"{path}: {difference}"


def faults_of(module: str) -> Iterator[str]:
    """What our module lacks of the one that is documented."""
    loaded = importlib.import_module(ours(module))
    for name, entry in API[module]["names"].items():
        path = f"{module}.{name}"
        # what a module happens to have imported is not its documented surface
        if reason(path) or entry.get("type") == "module" or name in ("__path__", "__file__", "__package__"):
            continue
        try:
            value = getattr(loaded, name)
        except AttributeError:
            yield f"{path}: missing"
            continue
        if entry["kind"] == "class" and not inspect.isclass(value):
            yield f"{path}: is no class"
            continue
        yield from signature_faults(path, entry.get("sig"), value)
        for member, about in entry.get("members", {}).items():
            if reason(f"{path}.{member}"):
                continue
            try:
                found = inspect.getattr_static(value, member)
                found = getattr(value, member, found)
            except AttributeError:
                yield f"{path}.{member}: missing"
                continue
            if about["kind"] == "method":
                yield from signature_faults(f"{path}.{member}", about.get("sig"), found)


@pytest.mark.parametrize("module", DOCUMENTED)
def test_every_documented_name_is_there_and_can_be_called_alike(module: str) -> None:
    if module in EXTENDS:
        pytest.importorskip(EXTENDS[module])
    if not is_not_yet(module):
        assert list(faults_of(module)) == []
        return
    with contextlib.suppress(ImportError, AttributeError):
        assert list(faults_of(module)), f"{module} has come: take it off NOT_YET"
    pytest.skip(f"{module} is still to be built")


def test_what_is_missing_is_little() -> None:
    entries = [
        path
        for module in DOCUMENTED
        for name, entry in API[module]["names"].items()
        for path in (f"{module}.{name}", *(f"{module}.{name}.{member}" for member in entry.get("members", {})))
    ]
    missing = [path for path in entries if reason(path)]
    assert len(missing) <= _NOT_MISSED * len(entries)


def test_every_reason_for_missing_is_about_something() -> None:
    known = {
        path
        for module, about in API.items()
        for name, entry in about["names"].items()
        for path in (module, f"{module}.{name}", *(f"{module}.{name}.{member}" for member in entry.get("members", {})))
    }
    for name in MISSING:
        assert any(path == name or (name.endswith("*") and path.startswith(name[:-1])) for path in known), name


_RANKED = re.compile(r"\| \d+ \| `([^`]+)` \| [^|]+ \| yes \|")
_MEMBER = re.compile(r"\| `(celery[^`]*)` \| \d+ \| yes \|")


def paths() -> list[str]:
    """Every dotted path of Celery 5.7 that a package imports, subclasses, overrides, reads or names in a text."""
    text = (REFERENCE / "IMPORT_SURFACE.md").read_text()
    return sorted({*_RANKED.findall(text), *_MEMBER.findall(text)})


@functools.cache
def load(path: str) -> Any:
    """The module or object at a dotted path."""
    parts = path.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(ours(".".join(parts[:end])))
        except ModuleNotFoundError as error:
            if not str(error.name).startswith("celeriac.compat"):
                raise
            continue
        return operator.attrgetter(".".join(parts[end:]))(found) if parts[end:] else found
    raise LookupError(path)


def test_every_path_that_packages_use_resolves() -> None:
    missing = []
    for path in paths():
        if path.startswith("celery.") and not is_not_yet(path) and not reason(path):
            try:
                load(path.removesuffix(".*"))
            except AttributeError as error:
                missing.append(f"{path}: {error}")
    assert missing == []


@pytest.mark.parametrize("name", SIGNALS)
def test_every_signal_is_there_with_its_arguments(name: str) -> None:
    signal = getattr(signals, name)
    assert signal.name == name
    assert signal.providing_args == set(SIGNALS[name])


@pytest.mark.parametrize(
    ("theirs", "mine", "expected"),
    [
        ("(a, b=1)", "(a, b=1)", []),
        ("(a, b=1)", "(a)", ["has no parameter b"]),
        ("(a, b=1)", "(a, *args, **kwargs)", []),
        ("(a, b=1)", "(b=1, a=None)", ["has a at another place", "has b at another place"]),
        ("(a, b=1)", "(a, b)", ["has no default for b"]),
        ("(a, b=1)", "(a, b=2)", ["has 2 for b, not 1"]),
        ("(a, *args, **kw)", "(a)", ["takes no *args", "takes no **kw"]),
        ("(a)", "(a, c)", ["asks for c"]),
        ("(a, b)", "(a, *, b)", ["takes b by keyword alone"]),
        ("(a, b=<class 'int'>)", "(a, b=int)", []),  # what a default stands for cannot be compared as a text
    ],
)
def test_a_signature_that_takes_fewer_calls_is_found_out(theirs: str, mine: str, expected: list[str]) -> None:
    stock, own = parameters(theirs), parameters(mine)
    assert stock is not None
    assert own is not None
    assert list(differences(stock, own)) == expected
