"""Random clients for a while, with cut connections and a server that is killed: a small version of
`scripts/bench soak`."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.alone  # it watches the clock: who does not come back within seconds is gone
@pytest.mark.timeout(180)
def test_a_little_of_everything() -> None:
    options = ["--utterances=15", "--sessions=2", "--cuts", "--kills=1", "--idle-s=5", "--seed=7"]
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.soak", *options],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 kills" in run.stdout
