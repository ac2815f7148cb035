"""Tests in a browser need one: they are skipped where there is none, and say so. The pictures are taken when asked for."""

from __future__ import annotations

import pytest

from tests.compat.web.browser import program


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    asked = "browser" in config.getoption("-m") or bool(config.getoption("--pictures"))
    left_out = [item for item in items if item.get_closest_marker("pictures") and not asked]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    if program() is None and not asked:
        why = pytest.mark.skip(reason="it needs chromium; on Debian: apt-get install chromium")
        for item in items:
            if item.get_closest_marker("browser"):
                item.add_marker(why)
