"""Every golden vector is claimed: parsed to the expected value and, where we would write it, built again."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from tests.protocol.vectors import GOLDEN, Tally, claims_of, index, vector

for _module in sorted((Path(__file__).parent / "claims").glob("*.py")):
    importlib.import_module(f"tests.protocol.claims.{_module.stem}")


@pytest.mark.parametrize("case", index())
def test_vector_is_claimed_and_agrees(case: str, golden_tally: Tally) -> None:
    claims = claims_of(case)
    assert claims, f"{case}: nobody claims this vector"
    for check in claims:
        check(vector(case), golden_tally)
    assert golden_tally.total, f"{case}: its claims saw nothing in it"


def test_index_names_every_file() -> None:
    files = {str(path.relative_to(GOLDEN).with_suffix("")) for path in GOLDEN.rglob("*.json")} - {"INDEX"}
    assert files == set(index())
