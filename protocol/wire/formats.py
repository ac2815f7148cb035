"""The formats behind the table of serializers: msgpack, YAML and pickle, each with its bounds.

Law: bytes that are not of the format raise some exception, which `serializers` makes `Undecodable`; time and memory
are linear in the bytes. Pickle alone cannot keep that law: it runs what the sender wrote, so it is refused by default.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..hints import Any

PICKLE_PROTOCOL = 4
# Values that YAML aliases may add to those that are written out, each counted with the length of its text.
_ALIASED = 4 * 1024 * 1024
_DIGITS = 4300
# Longer integers as keys can be chosen to share one hash, and a map of n of them takes n * n steps.
_KEY_DIGITS = 20
_MERGE = "tag:yaml.org,2002:merge"
_INT = "tag:yaml.org,2002:int"
_NUMBERS = (_INT, "tag:yaml.org,2002:float")
_PLAIN_KEYS = (str, bytes, int, float, type(None))


class NotInstalled(RuntimeError):
    """The format needs a library that is not installed here."""


def msgpack_encode(value: Any) -> bytes:
    import msgpack

    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def msgpack_decode(data: bytes) -> Any:
    """Maps may have keys other than texts, which kombu writes and cannot read.

    msgpack takes its own bounds from the size of the data: no length in it is believed beyond that.
    """
    import msgpack

    try:
        return msgpack.unpackb(data)
    except ValueError as problem:
        if "not allowed for map key" not in str(problem):
            raise
        return msgpack.unpackb(data, strict_map_key=False, object_pairs_hook=_plain_map)


def _plain_map(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, Any]:
    """Keys are of types whose hashes a sender cannot make collide at will."""
    found = {}
    for key, value in pairs:
        if not isinstance(key, _PLAIN_KEYS):
            raise TypeError(f"{type(key).__name__} is not allowed for map key")
        found[key] = value
    return found


def pickle_encode(value: Any) -> bytes:
    import pickle

    return pickle.dumps(value, protocol=PICKLE_PROTOCOL)


def pickle_decode(data: bytes) -> Any:
    import pickle

    return pickle.loads(data)  # noqa: S301 - reached only where somebody wrote pickle into accept_content


def yaml_encode(value: Any) -> bytes:
    text: str = _yaml().safe_dump(value)
    return text.encode()


def yaml_decode(data: bytes) -> Any:
    """Aliases are read, as PyYAML writes them for what occurs twice, but neither bombs nor loops."""
    loader = _yaml().SafeLoader(data)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        written = _Written()
        if written.size(root) - written.total > _ALIASED:
            raise ValueError("its aliases stand for too much")
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _yaml() -> Any:
    try:
        import yaml
    except ImportError:
        raise NotInstalled("YAML needs the PyYAML library: install celeriac[yaml]") from None
    return yaml


class _Written:
    """Measures a graph of YAML nodes: what it stands for, aliases spelt out, and what is really there (`total`)."""

    def __init__(self) -> None:
        self.total = 0
        self._sizes: dict[int, int] = {}
        self._open: set[int] = set()

    def size(self, node: Any) -> int:
        me = id(node)
        known = self._sizes.get(me)
        if known is not None:
            return known
        if me in self._open:
            raise ValueError("an alias refers to what it is part of")
        self._open.add(me)
        own = 1 + self._text(node)
        self.total += own
        size = own + sum(map(self.size, _children(node)))
        self._open.discard(me)
        self._sizes[me] = size
        return size

    @staticmethod
    def _text(node: Any) -> int:
        if not isinstance(node.value, str):
            return 0
        _bound_number(node, _DIGITS)
        return len(node.value)


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node.value, str):
        return ()
    if node.id == "mapping":
        _bound_keys([key for key, _ in node.value])
        return (part for pair in node.value for part in pair)
    children: Iterable[Any] = node.value
    return children


def _bound_keys(keys: list[Any]) -> None:
    if sum(key.tag == _MERGE for key in keys) > 1:
        raise ValueError("more than one merge in a map")
    for key in keys:
        if key.tag == _INT:
            _bound_number(key, _KEY_DIGITS)


def _bound_number(node: Any, limit: int) -> None:
    if node.tag in _NUMBERS and len(node.value) > limit:
        raise ValueError(f"a number of {len(node.value)} characters")
