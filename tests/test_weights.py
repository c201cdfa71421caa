"""Weight files: the list, a folder's state, the command, the doctor."""

import errno
import hashlib
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import make_avatar_folder
from hub import CONTENT, FILE, Hub

from musetalk_stream import weights_command
from musetalk_stream.config import load
from musetalk_stream.doctor import Finding, Verdict, examine
from musetalk_stream.errors import SetupError, WeightsMissing
from musetalk_stream.weights import (
    OFFICIAL_FILES,
    OfficialFile,
    State,
    files_for,
    missing,
    require,
)
from musetalk_stream.weights import examine as examine_file

PARITY = Path(__file__).parent / "data/parity"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub().running() as hub:
        yield hub


# The list


def test_the_list_is_well_formed() -> None:
    assert len({file.path for file in OFFICIAL_FILES}) == len(OFFICIAL_FILES)
    for file in OFFICIAL_FILES:
        assert file.num_bytes > 0
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert re.fullmatch(r"[\w-]+/[\w-]+/resolve/[0-9a-f]{40}/[\w./-]+", file.url_path)
        assert Path(file.url_path).name == Path(file.path).name
        assert set(file.versions) <= {"v15", "v1"}
        assert not Path(file.path).is_absolute()
        assert ".." not in file.path


@pytest.mark.parametrize("version", ["v15", "v1"])
def test_a_version_has_every_role_once(version: str) -> None:
    files = files_for(version)
    roles = [file.role for file in files]
    networks = {"unet", "vae", "whisper"}
    assert sorted(roles) == sorted(
        {"face_parsing", "pose", *networks, *(f"{name}_config" for name in networks)}
    )
    optional = [file.role for file in files if file.optional]
    assert optional == roles[-2:] == ["face_parsing", "pose"]


def test_the_list_knows_the_official_configuration() -> None:
    """Size and hash, compared with a file that is the official one."""
    (file,) = (file for file in OFFICIAL_FILES if file.path == "musetalkV15/musetalk.json")
    content = (PARITY / "musetalk.json").read_bytes()
    assert (file.num_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_documented_files_are_those_of_the_list() -> None:
    text = (Path(__file__).parents[1] / "docs/weights.md").read_text()
    rows = re.findall(r"^\| `(\S+)` \| (\w+) \| ([\d,]+) \|", text, re.MULTILINE)
    assert rows == [
        (file.path, "both" if len(file.versions) == 2 else file.versions[0], f"{file.num_bytes:,}")
        for file in OFFICIAL_FILES
    ]


# A folder


def fill_folder(folder: Path, version: str) -> None:
    """Files of the right names; nobody looks inside before they are loaded."""
    for file in files_for(version):
        if not file.optional:
            file.place(folder).parent.mkdir(exist_ok=True, parents=True)
            file.place(folder).write_text("weights")


def test_an_empty_folder_lacks_all_that_is_needed(tmp_path: Path) -> None:
    with pytest.raises(WeightsMissing) as caught:
        require(tmp_path / "none yet", "v1")
    for file in files_for("v1"):
        assert (file.path in str(caught.value)) is not file.optional
    assert "(3.89 GB)" in str(caught.value)
    assert f"weights --dir '{tmp_path}/none yet' --version v1" in str(caught.value)
    assert (SetupError.exit_status, caught.value.exit_status) == (1, 2)


@pytest.mark.parametrize("version", ["v15", "v1"])
def test_a_full_folder_gives_the_paths_by_role(version: str, tmp_path: Path) -> None:
    fill_folder(tmp_path, version)
    paths = require(tmp_path, version)
    assert paths == {f.role: tmp_path / f.path for f in files_for(version) if not f.optional}
    parsing = tmp_path / "face-parse-bisent/79999_iter.pth"
    parsing.parent.mkdir()
    parsing.write_text("weights")
    assert require(tmp_path, version) == {**paths, "face_parsing": parsing}


def test_one_missing_file_is_named_alone(tmp_path: Path) -> None:
    fill_folder(tmp_path, "v15")
    (tmp_path / "whisper/config.json").unlink()
    assert [file.path for file in missing(tmp_path, "v15")] == ["whisper/config.json"]
    with pytest.raises(WeightsMissing, match=r"lacks whisper/config.json \("):
        require(tmp_path, "v15")


def test_safetensors_stand_in(tmp_path: Path) -> None:
    fill_folder(tmp_path, "v15")
    (tmp_path / "sd-vae/diffusion_pytorch_model.bin").unlink()
    other = tmp_path / "sd-vae/diffusion_pytorch_model.safetensors"
    other.touch()
    assert require(tmp_path, "v15")["vae"] == other


def test_states(tmp_path: Path) -> None:
    place = FILE.place(tmp_path)
    place.parent.mkdir()
    assert examine_file(tmp_path, FILE) is State.MISSING
    (tmp_path / "net/unet.safetensors").touch()
    assert examine_file(tmp_path, FILE) is State.OTHER_FORMAT
    place.write_bytes(CONTENT)
    assert examine_file(tmp_path, FILE) is State.OK
    assert examine_file(tmp_path, replace(FILE, sha256=None)) is State.UNKNOWN_HASH
    place.write_bytes(CONTENT[:-1])
    assert examine_file(tmp_path, FILE) is State.WRONG_SIZE
    place.write_bytes(CONTENT[:-1] + b"?")
    assert examine_file(tmp_path, FILE) is State.WRONG_HASH


# The command


def run(files: list[OfficialFile], folder: Path, source: str, *, look_only: bool = False) -> int:
    return weights_command.run(files, folder, "v15", source, look_only=look_only)


def test_the_command_fetches_what_is_missing(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extra = replace(FILE, role="extra", path="extra/unet.pth", optional=True)
    assert run([FILE, extra], tmp_path, hub.url, look_only=True) == 1
    assert hub.ranges == []
    assert "1 of 1 needed files are missing" in capsys.readouterr().out
    assert run([FILE, extra], tmp_path, hub.url) == 0
    first = capsys.readouterr()
    assert len(hub.ranges) == 2
    assert f"fetching net/unet.pth, 3,200,000 bytes, from {hub.url}" in first.out
    assert re.search(r"ok +3,200,000  net/unet.pth\n", first.out)
    assert "extra/unet.pth (optional)" in first.out
    assert f"serve --renderer musetalk --models-dir {tmp_path}" in first.out.splitlines()[-1]
    assert run([FILE, extra], tmp_path, hub.url) == 0
    assert len(hub.ranges) == 2, "what is there is not fetched again"


def test_the_command_replaces_nothing(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    FILE.place(tmp_path).parent.mkdir()
    FILE.place(tmp_path).write_text("somebody's own")
    assert run([FILE], tmp_path, hub.url) == 1
    assert FILE.place(tmp_path).read_text() == "somebody's own"
    out = capsys.readouterr().out
    assert "wrong size" in out
    assert "not the official files: net/unet.pth; if they are not your own" in out


def test_an_optional_file_may_fail(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.script = ["whole", "404"]
    extra = replace(FILE, role="extra", path="extra/unet.pth", optional=True)
    assert run([FILE, extra], tmp_path, hub.url) == 0
    captured = capsys.readouterr()
    assert "answers 404" in captured.err
    assert re.search(r"missing .*extra/unet.pth", captured.out)


def command(*arguments: str, stderr: int = subprocess.PIPE) -> "subprocess.Popen[str]":
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MUSETALK_STREAM_")}
    line = [sys.executable, "-m", "musetalk_stream", "weights", *arguments]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=stderr, text=True, env=environment)


def test_the_command_lists(tmp_path: Path) -> None:
    with command("--list", "--dir", str(tmp_path), "--version", "v1") as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err == ""
    for file in files_for("v1"):
        assert re.search(rf"missing +{file.num_bytes:,}  {file.path}", out)
    assert "6 of 6 needed files are missing" in out
    assert out.endswith(
        f"{sys.executable} -m musetalk_stream weights --dir {tmp_path} --version v1\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_command_explains_a_failure(hub: Hub, tmp_path: Path) -> None:
    hub.script = ["404"]
    with command("--dir", str(tmp_path), "--source", hub.url) as process:
        out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert f"{OFFICIAL_FILES[0].url_path}: the server answers 404" in err
    assert "Traceback" not in err
    assert "\033" not in err
    assert "6 of 6 needed files are missing" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--list", "--dir", "x" * 300), "can't look for"),
        (("--version", "v2"), "must be one of v15, v1"),
        (("--source", "ftp://x"), "--source must begin with"),
        (("--fps", "25"), "there is no --fps"),
    ],
)
def test_a_wrong_argument_is_explained(arguments: tuple[str, ...], words: str) -> None:
    with command(*arguments) as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode in (1, 2)
    assert words in err


def test_an_interrupted_command_says_how_to_go_on(hub: Hub, tmp_path: Path) -> None:
    file = OFFICIAL_FILES[0]
    hub.script = ["stall"]
    hub.num_bytes = file.num_bytes
    with command("--dir", str(tmp_path), "--source", hub.url) as process:
        assert hub.stalled.wait(timeout=30)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"to go on: {sys.executable} -m musetalk_stream weights --dir {tmp_path}" in err
    assert "Traceback" not in err
    assert (tmp_path / (file.path + ".part")).exists()


def test_a_terminal_sees_progress(tmp_path: Path) -> None:
    place = tmp_path / "musetalkV15/musetalk.json"
    place.parent.mkdir()
    place.write_bytes((PARITY / "musetalk.json").read_bytes())
    ours, theirs = pty.openpty()
    with command("--list", "--dir", str(tmp_path), stderr=theirs) as process:
        out, _ = process.communicate(timeout=30)
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert "checking musetalkV15/musetalk.json: 100.0%" in shown
    assert shown.endswith("\r\033[K"), "the line is gone in the end"
    assert re.search(r"ok +748  musetalkV15/musetalk.json", out)


# The doctor


def musetalk_findings(tmp_path: Path, **flags: str) -> dict[str, Finding]:
    """What the doctor says about the GPU and the weights."""
    make_avatar_folder(tmp_path / "avatars", "tiny")
    settings = {"avatars_dir": str(tmp_path / "avatars"), "models_dir": str(tmp_path / "models")}
    findings = examine(load({**settings, **flags}, environ={}))
    named = {"GPU": "no GPU", "weights": "MuseTalk "}
    return {
        name: finding
        for name, start in named.items()
        for finding in findings
        if finding.what.startswith(start)
    }


@pytest.mark.parametrize(
    ("renderer", "verdict"), [("builtin", Verdict.OPTIONAL), ("musetalk", Verdict.MISSING)]
)
def test_the_doctor_misses_what_the_renderer_needs(
    renderer: str, verdict: Verdict, tmp_path: Path
) -> None:
    findings = musetalk_findings(tmp_path, renderer=renderer, device="cuda:99")
    assert {finding.verdict for finding in findings.values()} == {verdict}
    assert "--device cpu" in findings["GPU"].advice
    assert "musetalkV15/unet.pth" in findings["weights"].what
    assert findings["weights"].advice == f"musetalk-stream weights --dir {tmp_path}/models"


def test_the_doctor_survives_a_folder_that_can_not_be(tmp_path: Path) -> None:
    findings = musetalk_findings(tmp_path, renderer="musetalk", models_dir=f"/{'x' * 300}")
    assert findings["weights"].verdict is Verdict.MISSING
    assert os.strerror(errno.ENAMETOOLONG) in findings["weights"].what
    assert "--models-dir" in findings["weights"].advice


def test_the_doctor_finds_the_weights(tmp_path: Path) -> None:
    fill_folder(tmp_path / "models", "v1")
    findings = musetalk_findings(tmp_path, renderer="musetalk", device="cpu", musetalk_version="v1")
    assert findings["weights"].verdict is Verdict.OK
    assert "GPU" not in findings


def test_the_doctor_speaks_without_torch(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    run = subprocess.run(
        [sys.executable, "-m", "musetalk_stream", "doctor", "--renderer", "musetalk"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert run.returncode == 1
    assert "MISSING  torch (only MuseTalk needs it): no torch here" in run.stdout
    assert "pip install -e .[musetalk]" in run.stdout
    assert "Traceback" not in run.stderr
