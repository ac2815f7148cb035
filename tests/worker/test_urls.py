"""URLs are read as `urllib` reads them, with and without it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from hypothesis import given
from hypothesis import strategies as st

from celeriac.worker import urls

NAMES = ("scheme", "username", "password", "hostname", "port", "path", "query")
PIECES = st.sampled_from(
    (
        *(
            "redis",
            "://",
            "//",
            "/",
            ":",
            "@",
            "a",
            "Host",
            "user",
            "p%40ss",
            "6379",
            "65535",
            "65536",
            "0",
            "?db=1",
            "#x",
        ),
        *("[::1]", "", " ", ".", "~!$*+", "\t", "\u00e9", "\u00b2", "-1", ";", "redis+socket", "1redis", "Redis"),
    )
)


@given(
    st.lists(PIECES, max_size=9).map("".join)
    | st.lists(PIECES, max_size=7).map(lambda some: "redis://" + "".join(some))
)
def test_the_parts_are_urllibs(url: str) -> None:
    assert _told(urls.split, url) == _told(urlsplit, url)


def _told(read: Callable[[str], Any], url: str) -> list[Any]:
    try:
        parts = read(url)
        return [getattr(parts, name) for name in NAMES]
    except ValueError as problem:
        return [str(problem)]


def test_what_is_quoted_is_read_too() -> None:
    assert urls.unquote("p%40ss") == "p@ss"
    assert urls.unquote("pass") == "pass"
    assert urls.pairs("a=1&b=%20") == {"a": "1", "b": " "}
    assert urls.pairs("") == {}


def test_plain_urls_do_without() -> None:
    program = (
        "import sys; before = {*sys.modules}; from celeriac.worker import urls\n"
        "urls.unquote(urls.split('redis://user:pass@host:6379/0').path)\n"
        "assert 'urllib.parse' in before or 'urllib.parse' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
