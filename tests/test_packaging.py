"""A wheel holds what a server needs, and nothing that is made from it."""

import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout stays as it is."""
    if find_spec("setuptools") is None or int(version("setuptools").split(".")[0]) < 71:
        pytest.skip("building a wheel needs setuptools 71 or newer (pip install -U setuptools)")
    copy, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listing.returncode:
        pytest.skip("this is not a git checkout")
    for name in filter(None, listing.stdout.split("\0")):
        source, target = ROOT / name, copy / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    derived = copy / "avatars/demo/derived"
    derived.mkdir()
    (derived / "frames.i420").write_bytes(b"not to be shipped")
    build = [
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"),
        *("--disable-pip-version-check", "--wheel-dir", str(out), str(copy)),
    ]
    run = subprocess.run(build, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    (built,) = out.glob("*.whl")
    return built


def test_contents(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        f"musetalk_stream/{path.relative_to(ROOT / 'musetalk_stream')}"
        for path in (ROOT / "musetalk_stream").rglob("*.py")
    }
    expected |= {f"musetalk_stream/templates/{path.name}" for path in ROOT.glob("templates/*.html")}
    expected |= {
        f"musetalk_stream/templates/static/{path.name}" for path in ROOT.glob("templates/static/*")
    }
    client = ROOT / "clients/web/src"
    expected |= {
        f"musetalk_stream/client/{path.relative_to(client)}" for path in client.rglob("*.js")
    }
    expected |= {
        f"musetalk_stream/avatars/demo/{name}"
        for name in ("avatar.json", "landmarks.npy", "source.mp4")
    }
    expected.add("musetalk_stream/py.typed")
    assert expected <= names
    strangers = [
        name for name in names - expected
        if ".dist-info/" not in name and not name.endswith("__init__.py")
    ]  # fmt: skip
    assert strangers == []
    assert any(name.endswith("entry_points.txt") for name in names)


def test_it_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """Unpacked far from the checkout: it finds its pages and its avatar, and keeps its data in the
    user's folder."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MUSETALK_STREAM_")}
    environment |= {"PYTHONPATH": str(tmp_path / "site"), "XDG_DATA_HOME": str(tmp_path / "data")}
    code = (
        "from musetalk_stream import config, __file__ as place; print(place);"
        "print(config.load({}).storage.chunks_dir);"
        "print((config.bundled('templates') / 'player.html').is_file(),"
        " (config.bundled('avatars') / 'demo' / 'source.mp4').is_file())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=environment, cwd=tmp_path, check=True,
    )  # fmt: skip
    place, chunks_dir, found = run.stdout.splitlines()
    assert place.startswith(str(tmp_path / "site"))
    assert chunks_dir == str(tmp_path / "data" / "musetalk-stream" / "chunks")
    assert found == "True True"
