"""Every vector of the official code is met within its tolerance."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from parity.__main__ import main
from parity.vectors import compare

VECTORS = Path(__file__).parent / "data" / "parity"
FILES = sorted(VECTORS.iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_vectors_of_the_official_code(path: Path) -> None:
    found, left = compare(path)
    assert [each for each in found if not each.is_close] == []
    assert left == []


def test_what_is_beyond_tolerance_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(VECTORS / "positional_encoding.npz") as file:
        wrong = file["pe"].copy()
    wrong[3, 5] += 1e-3
    np.savez(tmp_path / "wrong.npz", pe=wrong)
    good = str(VECTORS / "positional_encoding.npz")
    assert main([str(tmp_path / "wrong.npz"), good]) == 1
    out = capsys.readouterr().out
    assert "BEYOND TOLERANCE" in out
    assert good in out
    assert main([good]) == 0


@pytest.mark.parametrize(
    ("arrays", "why"),
    [
        ({"something": np.zeros(3)}, "no vectors of a known kind"),
        ({"pcm": np.zeros(16_000, np.float32)}, "nothing to compare"),
        ({"pe": np.zeros(7)}, "TypeError"),
        ({"pe": np.full((64, 384), np.nan)}, "BEYOND TOLERANCE"),
    ],
)
def test_what_can_not_be_compared_fails(
    arrays: dict[str, npt.NDArray[np.float64]],
    why: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.savez(tmp_path / "odd.npz", **arrays)
    assert main([str(tmp_path / "odd.npz")]) == 1
    assert why in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"[1, 2]"])
@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_files_that_can_not_be_read_fail(content: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    assert main([str(path)]) == 1
    assert main([str(tmp_path / "missing.npz")]) == 1


def test_arrays_that_we_do_not_know_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with np.load(VECTORS / "positional_encoding.npz") as file:
        np.savez(tmp_path / "more.npz", pe=file["pe"], other=np.zeros(1))
    assert main([str(tmp_path / "more.npz")]) == 0
    assert "not compared: other" in capsys.readouterr().out


def test_without_files_it_says_how() -> None:
    assert main([]) == 2
