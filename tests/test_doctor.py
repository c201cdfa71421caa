"""What the doctor says about making avatars: the finder of faces, OpenCV, ffmpeg."""

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from musetalk_stream.config import load
from musetalk_stream.doctor import Finding, Verdict, examine

ROOT = Path(__file__).parents[1]


def findings(tmp_path: Path, **flags: str) -> list[Finding]:
    return examine(load({"models_dir": str(tmp_path / "models"), **flags}, environ={}))


def doctor(*args: str, **environ: str) -> str:
    """What it prints, started anew."""
    run = subprocess.run(
        [sys.executable, "-m", "musetalk_stream", "doctor", *args],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
        cwd=ROOT,
    )
    assert "Traceback" not in run.stderr
    return run.stdout


def without(folder: Path, *modules: str) -> str:
    """A folder in which modules lie that can't be loaded."""
    for module in modules:
        (folder / f"{module}.py").write_text(f"raise ImportError('no {module} here')")
    return str(folder)


def test_what_finds_faces(tmp_path: Path) -> None:
    pytest.importorskip("mediapipe", reason="the extra `face` has no wheel for this Python")
    (found,) = (each for each in findings(tmp_path) if each.what.startswith("faces are found"))
    assert found == Finding(Verdict.OK, f"faces are found by mediapipe {version('mediapipe')}")


def test_what_decodes_files_is_started(tmp_path: Path) -> None:
    (found,) = (each for each in findings(tmp_path) if each.what.startswith("sound files"))
    assert found == Finding(Verdict.OK, "sound files are decoded in processes of their own")


def test_nothing_finds_faces(tmp_path: Path) -> None:
    """Optional, as only new avatars need it, unless somebody asked for it by name."""
    path = without(tmp_path, "mediapipe")
    out = doctor("--models-dir", str(tmp_path), PYTHONPATH=path)
    line = next(line for line in out.splitlines() if "mediapipe" in line)
    assert line.startswith("optional only new avatars need it")
    assert "no mediapipe here" in line
    assert "dwpose needs" in line
    assert "pip install 'musetalk-stream[face]'" in line


def test_a_finder_that_was_asked_for_is_missing(tmp_path: Path) -> None:
    (found,) = (
        finding for finding in findings(tmp_path, face_finder="dwpose") if "dwpose" in finding.what
    )
    assert found.verdict is Verdict.MISSING
    assert "dw-ll_ucoco_384.onnx" in found.what


def test_a_finder_that_is_broken(tmp_path: Path) -> None:
    path = tmp_path / "models/dwpose/dw-ll_ucoco_384.onnx"
    path.parent.mkdir(parents=True)
    path.write_text("no network")
    (found,) = (
        finding
        for finding in findings(tmp_path, face_finder="dwpose")
        if "dw-ll_ucoco_384" in finding.what
    )
    assert found.verdict is Verdict.MISSING
    assert "can't be read" in found.what


def distribution(folder: Path, name: str, number: str) -> None:
    """What pip leaves of a package beside its modules."""
    place = folder / f"{name.replace('-', '_')}-{number}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {number}\n")


@pytest.mark.parametrize("other", ["9.1.0", "9.2.0"])
def test_opencv_in_two_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    """One overwrites some of the other's files: fine if they are equal."""
    distribution(tmp_path, "opencv-python-headless", "9.1.0")
    distribution(tmp_path, "opencv-contrib-python", other)
    monkeypatch.syspath_prepend(tmp_path)
    found = [each for each in findings(tmp_path) if "OpenCV is there in several" in each.what]
    assert [each.advice.split()[-1] for each in found] == (
        ["opencv-python-headless==9.2.0"] if other != "9.1.0" else []
    )


def test_ffmpeg_of_the_system_or_the_bundled_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ffmpeg() -> Finding:
        (found,) = (each for each in findings(tmp_path) if each.what.startswith("ffmpeg"))
        return found

    own = tmp_path / "ffmpeg"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert ffmpeg() == Finding(Verdict.OK, f"ffmpeg, installed: {own}")
    own.unlink()
    assert ffmpeg().verdict is Verdict.OK
    assert ffmpeg().what.startswith("ffmpeg, bundled: ")


def test_an_open_server_on_an_address_of_others(tmp_path: Path) -> None:
    flags = {"state_dir": str(tmp_path / "state"), "host": "0.0.0.0"}
    (found,) = (each for each in findings(tmp_path, **flags) if "listens on" in each.what)
    assert found.verdict is Verdict.MISSING
    assert "keys add" in found.advice
    (found,) = (
        each for each in findings(tmp_path, **flags, no_auth="true") if "listens on" in each.what
    )
    assert found.verdict is Verdict.OPTIONAL
    assert "for everybody" in found.what


def test_what_some_settings_ask_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the server would not start, or would record nothing."""
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.json.http.trace_exporter", None)
    (tmp_path / "file").write_text("")
    flags = {
        "recording_days": "3",
        "recordings_dir": str(tmp_path / "file"),
        "tls_cert": "no",
        "tls_key": "no",
        "otlp_endpoint": "http://127.0.0.1:9",
    }
    said = {each.what.partition(" ")[0]: each for each in findings(tmp_path, **flags)}
    for what, words in (
        ("recordings", "--recordings-dir"),
        ("certificate", "can't be used"),
        ("traces", "pip install 'musetalk-stream[tracing]'"),
    ):
        assert said[what].verdict is Verdict.MISSING
        assert words in said[what].advice


def test_an_opencv_that_opens_windows(tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object')")
    lines = doctor(PYTHONPATH=str(tmp_path)).splitlines()
    advice = lines[next(i for i, line in enumerate(lines) if "cv2: libGL" in line) + 1]
    assert "pip uninstall -y opencv-contrib-python" in advice
    assert "opencv-python-headless" in advice


def test_state_that_can_not_be_kept_and_too_few_descriptors(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    flags = {"state_dir": str(tmp_path / "file"), "max_connections": "100000000"}
    said = {each.what.partition(" ")[0]: each for each in findings(tmp_path, **flags)}
    assert said["state"].verdict is Verdict.MISSING
    assert "--state-dir" in said["state"].advice
    assert any("--max-connections" in each.advice for each in said.values())
