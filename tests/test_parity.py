"""Every vector of the official code is met within its tolerance."""

from pathlib import Path

import pytest
from parity.vectors import compare

VECTORS = Path(__file__).parent / "data" / "parity"
FILES = sorted([*VECTORS.glob("*.npz"), VECTORS / "cycle.json"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_vectors_of_the_official_code(path: Path) -> None:
    found = compare(path)
    assert found
    beyond = [each for each in found if not each.is_close]
    assert not beyond
