"""The laws of the house as functions: each takes the project's root and yields what breaks it.

Law: a rule reads files and judges; it imports nothing of the house, so that a broken house can still be judged.
An exception to a rule is one line of EXCEPTIONS with its reason; one that is no longer needed is itself a fault.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest brings it on 3.10
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("protocol", "worker", "compat")
OTHERS = ("tests", "examples", "scripts", "interop", "benchmarks")

# (rule, file, what) -> why this file may. Anything else that breaks a rule is mended, not listed.
EXCEPTIONS: dict[tuple[str, str, str], str] = {
    ("protocol_imports_what_computes", "protocol/wire/compression.py", "importlib.import_module"): (
        "the optional libraries stand as names in a table, and each is loaded by the call that needs it"
    ),
    ("protocol_imports_what_computes", "protocol/wire/signing.py", "importlib.import_module"): (
        "the parts of cryptography are loaded by name, so that its absence is told in one place"
    ),
    ("protocol_calls_what_computes", "protocol/values.py", "exec"): (
        "what is compiled are the names of a class's own fields, as the standard library does it"
    ),
    ("protocol_calls_what_computes", "protocol/moments.py", "sys.modules"): (
        "classes in the place of datetime's are there only if the program itself loaded datetime"
    ),
    ("protocol_calls_what_computes", "protocol/wire/json.py", "sys.modules"): (
        "a lazy text of Django is known by its class, which is there only if the program itself loaded Django"
    ),
}

# Who may import whom: the longest folder that holds the file decides; a target is allowed by its beginning.
MAY_IMPORT = {
    "protocol": ("protocol",),
    "protocol/errors.py": (),
    "protocol/hints.py": (),
    "protocol/moments.py": ("protocol/hints",),
    "protocol/values.py": ("protocol/hints",),
    "protocol/wire": ("protocol/wire", "protocol/errors", "protocol/hints", "protocol/moments", "protocol/values"),
    "protocol/rules": ("protocol",),
    "worker": ("worker", "protocol"),
    # One connection to Redis serves brokers and stores, which know nothing of each other; it knows protocol/ alone.
    "worker/redis_link.py": (
        *("worker/redis_place", "worker/redis_advice", "worker/forks", "worker/sockets", "worker/veil", "protocol"),
    ),
    "worker/sockets.py": ("protocol/hints",),
    "worker/redis_advice.py": ("worker/redis_place", "protocol"),
    "worker/veil.py": (),
    "worker/redis_place.py": ("worker/urls", "protocol"),
    "worker/urls.py": ("protocol",),
    "worker/brokers": (
        *("worker/brokers", "worker/redis_link", "worker/redis_place", "worker/forks", "worker/ids", "worker/veil"),
        *("worker/late", "worker/polling", "worker/sockets", "worker/urls", "worker/redis_advice", "protocol"),
    ),
    "worker/polling.py": ("protocol/hints",),
    "worker/backends": ("worker/backends", "worker/redis_link", "worker/redis_place", "worker/polling", "protocol"),
    # Results that are messages go through a broker.
    # Results beside the broker, in the server that it starts.
    "worker/backends/embedded.py": ("worker/backends", "worker/brokers", "protocol"),
    "worker/backends/rpc.py": ("worker/backends", "worker/brokers", "protocol"),
    "compat": ("compat", "worker", "protocol"),
}

# What protocol/ may import of the standard library: what computes. What waits, reads, asks or guesses is not here.
PURE = frozenset(
    [
        "__future__",
        "abc",
        "array",
        "ast",
        "base64",
        "_datetime",
        "_json",
        "binascii",
        "bisect",
        "bz2",
        "calendar",
        "collections",
        "contextlib",
        "copy",
        "dataclasses",
        "datetime",
        "decimal",
        "encodings",
        "enum",
        "fnmatch",
        "fractions",
        "functools",
        "gzip",
        "hashlib",
        "heapq",
        "hmac",
        "inspect.getattr_static",
        "io",
        "itertools",
        "json",
        "keyword",
        "lzma",
        "math",
        "numbers",
        "operator",
        "pickle",
        "re",
        "reprlib",
        "string",
        "struct",
        "sys",
        "textwrap",
        "types",
        "typing",
        "unicodedata",
        "urllib.parse",
        "uuid",
        "zlib",
        "zoneinfo",
        "msgpack",
    ]
)
# What of sys is a constant of the interpreter; the rest is its state.
SYS = frozenset(["byteorder", "float_info", "hash_info", "int_info", "maxsize", "maxunicode", "version_info"])
# Extras: only inside the function that needs them, so that without them the rest works.
LAZY = frozenset(["backports", "brotli", "compression", "cryptography", "yaml"])

# Calls that look harmless and read the clock, the machine's time zone, its randomness or a file.
IMPURE_CALLS = {
    "now": "the clock",
    "utcnow": "the clock",
    "today": "the clock",
    "uuid1": "the clock and the machine",
    "uuid4": "randomness",
    "urandom": "randomness",
    "getnode": "the machine",
    "open": "a file",
    "print": "the terminal",
    "input": "the terminal",
    "breakpoint": "the terminal",
    "__import__": "a hidden import",
    "eval": "code that came from elsewhere",
    "exec": "code that came from elsewhere",
}
# Calls that are pure only when this argument is given: by name, or as the nth by place.
NEEDS_ARGUMENT = {
    "fromtimestamp": ("tz", 2, "the machine's time zone"),
    "astimezone": ("tz", 1, "the machine's time zone"),
    "GzipFile": ("mtime", 5, "the clock"),
    "gzip.compress": ("mtime", 3, "the clock"),
}

FORBIDDEN_WORDS = frozenset(["util", "utils", "common", "helper", "helpers", "manager", "managers", "mixin", "mixins"])
WANTS_TO_BE_TWO = 400

SILENCER = re.compile(r"#\s*(noqa\b|type:\s*ignore\b|pragma:\s*no\b)")
SILENCER_WITH_REASON = re.compile(
    r"#\s*(noqa:[A-Z0-9, ]+[A-Z0-9]|type:\s*ignore\[[a-z, -]+\]|pragma:\s*no (cover|branch))\s*[#(:;,–-]+\s*\S*\w"
)


@dataclass(frozen=True)
class Fault:
    rule: str
    path: str
    line: int
    why: str
    what: str = ""

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.why} ({self.rule})"


@dataclass(frozen=True)
class Import:
    """One name that a file imports: `target` is a path inside the house, or the module's dotted name outside it."""

    target: str
    inside: bool
    relative: bool
    lazy: bool
    line: int


Rule = Callable[[Path], Iterator[Fault]]
RULES: dict[str, Rule] = {}


def rule(function: Rule) -> Rule:
    RULES[function.__name__] = function
    return function


@rule
def imports_go_down(root: Path) -> Iterator[Fault]:
    for path in modules(root, *ROOMS):
        allowed = MAY_IMPORT[_longest(path, MAY_IMPORT)]
        for found in imports_of(root, path):
            if found.inside and not any(_under(found.target, place) for place in allowed):
                yield Fault("imports_go_down", path, found.line, f"may not import {found.target}", found.target)


@rule
def imports_are_relative_inside(root: Path) -> Iterator[Fault]:
    for path in modules(root, *ROOMS):
        for found in imports_of(root, path):
            if found.inside and not found.relative:
                why = f"imports {found.target} by its full name; inside the package, imports are relative"
                yield Fault("imports_are_relative_inside", path, found.line, why, found.target)
    for path in modules(root, *OTHERS):
        for node in ast.walk(tree(root, path)):
            if isinstance(node, ast.ImportFrom) and node.level:
                why = "a relative import; outside the package, imports are absolute"
                yield Fault("imports_are_relative_inside", path, node.lineno, why)


@rule
def protocol_imports_what_computes(root: Path) -> Iterator[Fault]:
    for path in modules(root, "protocol"):
        for found in imports_of(root, path):
            if found.inside or _listed(found.target, PURE):
                continue
            if not _listed(found.target, LAZY):
                why = f"imports {found.target}, which is not on the list of what protocol/ may import"
            elif not found.lazy:
                why = f"imports the extra {found.target} at the top; it belongs in the function that needs it"
            else:
                continue
            yield Fault("protocol_imports_what_computes", path, found.line, why, found.target)


@rule
def protocol_calls_what_computes(root: Path) -> Iterator[Fault]:
    for path in modules(root, "protocol"):
        own = _defined_in(tree(root, path))
        for node in ast.walk(tree(root, path)):
            if isinstance(node, ast.Call) and (reads := _impurity(node, own)):
                what = _dotted(node.func)
            elif isinstance(node, ast.Attribute) and (what := _dotted(node)).startswith("sys."):
                reads = "" if node.attr in SYS or what.count(".") > 1 else "the interpreter's state"
            else:
                continue
            if reads:
                yield Fault("protocol_calls_what_computes", path, node.lineno, f"{what} reads {reads}", what)


@rule
def folders_with_code_are_packaged(root: Path) -> Iterator[Fault]:
    settings = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]
    homes = {package: folder.rstrip("/") for package, folder in settings["package-dir"].items()}
    listed = {_folder_of(package, homes): package for package in settings["packages"]}
    present = {str(PurePosixPath(path).parent) for path in modules(root, *ROOMS)}
    for folder in sorted(present - listed.keys()):
        why = f"{folder}/ holds code and no line of `packages` names it"
        yield Fault("folders_with_code_are_packaged", "pyproject.toml", 0, why)
    for folder in sorted(listed.keys() - present):
        why = f"`packages` names {listed[folder]}, and {folder}/ holds no code"
        yield Fault("folders_with_code_are_packaged", "pyproject.toml", 0, why)
    for path in sorted(present):
        if not (root / path / "__init__.py").exists():
            yield Fault("folders_with_code_are_packaged", path, 0, "a folder with code has an __init__.py")


@rule
def names_say_something(root: Path) -> Iterator[Fault]:
    for path in modules(root, "protocol", "worker"):
        for part in PurePosixPath(path).with_suffix("").parts:
            if bad := _words(part) & FORBIDDEN_WORDS:
                yield Fault("names_say_something", path, 0, f"the name {part} says «{bad.pop()}», which says nothing")
        for node in tree(root, path).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                # «common» is a fair word within a name (common_prefix), not as one.
                bad = {node.name.lower()} & {"common"} or (_words(node.name) & FORBIDDEN_WORDS) - {"common"}
                if bad:
                    why = f"the name {node.name} says «{bad.pop()}», which says nothing"
                    yield Fault("names_say_something", path, node.lineno, why)


@rule
def first_lines_say_what_for(root: Path) -> Iterator[Fault]:
    for path in modules(root, *ROOMS, *OTHERS):
        parsed = tree(root, path)
        if parsed.body and not ast.get_docstring(parsed):
            yield Fault("first_lines_say_what_for", path, 1, "the first lines of a file say what it is for")


@rule
def silenced_checks_say_why(root: Path) -> Iterator[Fault]:
    """`noqa`, `type: ignore` and `pragma: no cover` name one check each and go on to say why it does not apply."""
    for path in modules(root, *ROOMS):
        for number, line in enumerate((root / path).read_text().splitlines(), 1):
            if SILENCER.search(line) and not SILENCER_WITH_REASON.search(line):
                yield Fault("silenced_checks_say_why", path, number, "a check is silenced without a reason on the line")


@rule
def type_checkers_see_the_package(root: Path) -> Iterator[Fault]:
    """.dev/celeriac holds what the package holds, as six relative links that lead somewhere."""
    expected = {room: f"../../{room}" for room in ROOMS}
    expected |= {name: f"../../compat/door/{name}" for name in ("__init__.py", "__main__.py", "py.typed")}
    folder = root / ".dev" / "celeriac"
    present = {
        link.name: str(link.readlink()) if link.is_symlink() else "a file"
        for link in folder.iterdir()
        if link.name != "__pycache__"
    }
    for name in sorted(expected.keys() | present.keys()):
        where = f".dev/celeriac/{name}"
        if present.get(name) != expected.get(name):
            why = f"is {present.get(name, 'missing')}, should be {expected.get(name, 'absent')}"
            yield Fault("type_checkers_see_the_package", where, 0, why)
        elif not (folder / name).exists():
            yield Fault("type_checkers_see_the_package", where, 0, "leads nowhere")


def judge(root: Path, name: str, exceptions: dict[tuple[str, str, str], str]) -> list[Fault]:
    """The faults that no exception covers, and the exceptions of this rule that cover nothing or give no reason."""
    left = []
    needed = set()
    for fault in RULES[name](root):
        key = (fault.rule, fault.path, fault.what)
        needed.add(key)
        if not exceptions.get(key, "").strip():
            left.append(fault)
    for key, reason in exceptions.items():
        if key[0] == name and not reason.strip():
            left.append(Fault(name, key[1], 0, "its exception gives no reason", key[2]))
        elif key[0] == name and key not in needed:
            left.append(Fault(name, key[1], 0, "its exception is no longer needed; take the line out", key[2]))
    return left


def sizes(root: Path) -> list[tuple[int, str]]:
    """Files whose non-blank lines number more than a file wants to have, the longest first."""
    lengths = ((_length(root / path), path) for path in modules(root, *ROOMS, *OTHERS))
    return sorted((pair for pair in lengths if pair[0] > WANTS_TO_BE_TWO), reverse=True)


def modules(root: Path, *folders: str) -> list[str]:
    """Every Python file below the folders, by its path from the root."""
    found = (path for folder in folders for path in (root / folder).rglob("*.py"))
    return sorted(path.relative_to(root).as_posix() for path in found if "__pycache__" not in path.parts)


@cache
def tree(root: Path, path: str) -> ast.Module:
    return ast.parse((root / path).read_text(), filename=path)


def imports_of(root: Path, path: str) -> Iterator[Import]:
    """What a file imports, save what only a type checker sees."""
    parsed = tree(root, path)
    unseen = {id(child) for node in ast.walk(parsed) if _is_type_checking(node) for child in ast.walk(node)}
    inner = {id(child) for node in ast.walk(parsed) if _is_function(node) for child in ast.walk(node)}
    for node in ast.walk(parsed):
        if id(node) in unseen:
            continue
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield _import(alias.name, relative=False, lazy=id(node) in inner, line=node.lineno)
        elif isinstance(node, ast.ImportFrom):
            base = _base(path, node)
            for alias in node.names:
                # The name may be a module or something in it; its path starts with the module's either way.
                yield _import(f"{base}.{alias.name}", relative=node.level > 0, lazy=id(node) in inner, line=node.lineno)


def _base(path: str, node: ast.ImportFrom) -> str:
    """The dotted name that a from-import starts from, as the package is called once installed."""
    if not node.level:
        return node.module or ""
    parts = PurePosixPath(path).parts
    package = ("celeriac", *parts[:-1]) if parts[:2] != ("compat", "door") else ("celeriac", *parts[2:-1])
    package = package[: len(package) - node.level + 1]
    return ".".join((*package, *([node.module] if node.module else [])))


def _import(name: str, *, relative: bool, lazy: bool, line: int) -> Import:
    inside = name == "celeriac" or name.startswith("celeriac.")
    return Import(_place(name) if inside else name, inside, relative, lazy, line)


def _place(name: str) -> str:
    """Where `celeriac.x.y` lives: in a room, or else behind the door."""
    parts = name.split(".")[1:]
    return "/".join(parts if parts and parts[0] in ROOMS else ["compat", "door", *parts])


def _is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _is_function(node: ast.AST) -> bool:
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def _impurity(call: ast.Call, own: set[str]) -> str:
    """What of the outside world this call reads; empty when it reads nothing."""
    name = _dotted(call.func)
    last = name.rpartition(".")[2]
    if isinstance(call.func, ast.Name) and name in own:
        return ""
    if last in IMPURE_CALLS:
        return IMPURE_CALLS[last]
    keyword, place, reads = NEEDS_ARGUMENT.get(name) or NEEDS_ARGUMENT.get(last) or ("", 0, "")
    given = len(call.args) >= place or any(word.arg in (keyword, None) for word in call.keywords)
    return "" if given else reads


def _defined_in(parsed: ast.Module) -> set[str]:
    return {node.name for node in ast.walk(parsed) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _listed(name: str, names: frozenset[str]) -> bool:
    """`urllib.parse.quote` is listed when `urllib.parse` is."""
    parts = name.split(".")
    return any(".".join(parts[:end]) in names for end in range(1, len(parts) + 1))


def _longest(path: str, table: dict[str, tuple[str, ...]]) -> str:
    return max((place for place in table if _under(path, place)), key=len)


def _under(path: str, place: str) -> bool:
    return path == place or path.startswith(f"{place}/")


def _folder_of(package: str, homes: dict[str, str]) -> str:
    home = max((name for name in homes if package == name or package.startswith(f"{name}.")), key=len)
    return homes[home] + package[len(home) :].replace(".", "/")


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def _length(path: Path) -> int:
    return sum(1 for line in path.read_text().splitlines() if line.strip())
