"""`musetalk-stream bench`: what it prints, what it leaves alone, and what it refuses."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from servers import Command

from musetalk_stream.config import load
from musetalk_stream.errors import WeightsMissing
from musetalk_stream.renderers.make import make_renderer


@pytest.fixture
def small(models: Path) -> tuple[str, ...]:
    return ("--renderer", "musetalk", "--models-dir", str(models), "--device", "cpu")


def on_tiny(avatar_store: Path) -> tuple[str, ...]:
    return ("--avatars-dir", str(avatar_store), "--avatar", "tiny")


def test_the_built_in_renderer_is_measured(command: Command, avatar_store: Path) -> None:
    result = command("bench", *on_tiny(avatar_store), "--encode-threads", "3")
    assert (result.returncode, result.stderr) == (0, "")
    name, encode, streams = result.stdout.splitlines()
    assert "BuiltinRenderer" in name
    rate = re.fullmatch(
        r"move lips, compose and encode: ([\d.]+) frames/s by 3 threads together", encode
    )
    assert rate is not None
    held = re.fullmatch(r"streams held at 25 fps: (\d+)", streams)
    assert held is not None
    assert -0.01 < 0.7 * float(rate[1]) / 25 - int(held[1]) < 1.01


def test_musetalk_is_measured_and_its_stages_too(
    command: Command, avatar_store: Path, small: tuple[str, ...]
) -> None:
    result = command("bench", *on_tiny(avatar_store), *small, "--max-batch", "2")
    assert result.returncode == 0, result.stderr
    assert "<MuseTalkRenderer v15, torch.float32 on cpu" in result.stdout
    lines = result.stdout.splitlines()
    rows = lines[lines.index("batch  frames/s  ms/frame  of the limit") + 1 :][:2]
    assert [row.split()[0] for row in rows] == ["1", "2"]
    assert all(float(row.split()[-1].rstrip("%")) > 0 for row in rows)
    for stage in ("U-Net", "VAE decoder", "mel and Whisper", "latents"):
        assert any(re.match(rf"{stage}: [\d.]+ ms per", line) for line in lines), stage
    derived = avatar_store / "tiny" / "derived"
    assert not list(derived.glob("musetalk*")), "it prepares a part, and that is not kept"


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (("--avatar", "nobody"), 1, "there is no avatar 'nobody'"),
        (("--avatars-dir", "/proc/nothing"), 1, "--avatars-dir"),
        (("--renderer", "magic"), 1, "renderer must be one of builtin, musetalk"),
        pytest.param(
            ("--renderer", "musetalk", "--models-dir", "/proc/nothing"),
            1,
            "--device cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_what_can_not_be_measured_is_explained(
    command: Command, avatar_store: Path, flags: tuple[str, ...], status: int, words: str
) -> None:
    result = command("bench", *on_tiny(avatar_store), *flags)
    assert (result.returncode, result.stdout) == (status, "")
    assert words in result.stderr


def test_weights_by_chance_stand_in_only_for_missing_ones(models: Path, tmp_path: Path) -> None:
    def described(folder: Path, *, random_weights: bool) -> str:
        flags = {"renderer": "musetalk", "models_dir": str(folder), "device": "cpu"}
        return repr(make_renderer(load(flags, environ={}), random_weights=random_weights))

    assert "weights by chance" in described(tmp_path, random_weights=True)
    assert "weights by chance" not in described(models, random_weights=True)
    with pytest.raises(WeightsMissing):
        described(tmp_path, random_weights=False)


@pytest.mark.parametrize(
    ("arguments", "lines"),
    [(("bench",), 1), (("doctor",), 0), (("serve", "--check"), 0), (("weights", "--list"), 0)],
)
def test_whoever_reads_may_stop(
    avatar_store: Path, tmp_path: Path, arguments: tuple[str, ...], lines: int
) -> None:
    """As `bench | head -1` does."""
    flags = ("--dir", str(tmp_path)) if arguments[0] == "weights" else on_tiny(avatar_store)
    with subprocess.Popen(
        [sys.executable, "-m", "musetalk_stream", *arguments, *flags],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        for _ in range(lines):
            assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()
    assert "Traceback" not in said
    assert "BrokenPipeError" not in said
    assert process.returncode == 141
