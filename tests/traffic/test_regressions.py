"""What the fuzzer once found stays mended: every case of tests/regressions, in the kernel and in the oracle."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from fuzz.cases import read, replay
from fuzz.rig import Rig, rigged

pytestmark = pytest.mark.traffic

CASES = sorted((Path(__file__).parents[1] / "regressions").glob("*.yaml"))


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with rigged(f"r{uuid.uuid4().hex[:8]}", 0) as standing:
        yield standing


@pytest.mark.parametrize("path", CASES, ids=lambda path: path.stem)
def test_kernel_and_oracle_agree_where_they_once_did_not(rig: Rig, path: Path) -> None:
    assert replay(rig, read(path)) is None
