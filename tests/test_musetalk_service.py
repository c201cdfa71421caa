"""The server with the MuseTalk renderer, as a user starts it: real networks of a small size, from
upload to decoded pictures."""

import asyncio
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from fakes import EAR_RATE, buzz, make_avatar_folder, silence, sound_file, speech_like, tone, wav
from media import decoded
from safetensors.numpy import load_file
from servers import Command, Json, ProcessServer, Server, free_port, launch, told

from musetalk_stream.avatar import Avatar, open_avatar
from musetalk_stream.blend import i420_planes
from musetalk_stream.config import EncoderConfig
from musetalk_stream.prepare import derive
from musetalk_stream.timeline import cycle_frame

Frames = npt.NDArray[np.uint8]
Samples = npt.NDArray[np.float32]

FILE = "musetalk-v15-*.safetensors"  # in the middle the weights
# What a picture loses in coding, in levels, at the quality that these servers encode with. Networks
# in batches of another size may differ by one more.
CODING = 2


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one`, `two` and `cut` are single pictures: they look the same whenever they are asked."""
    store = tmp_path_factory.mktemp("store")
    make_avatar_folder(store, "tiny")
    make_avatar_folder(store, "one", num_frames=1)
    make_avatar_folder(store, "two", num_frames=1, size=160)
    make_avatar_folder(store, "cut", num_frames=1)
    make_avatar_folder(store, "long", num_frames=40)
    return store


@pytest.fixture(scope="module")
def flags(models: Path) -> list[str]:
    return [
        *("--renderer", "musetalk", "--models-dir", str(models), "--device", "cpu"),
        *("--avatar", "tiny", "--max-batch", "4", "--crf", "1"),
    ]


@pytest.fixture(scope="module")
def first_start(
    store: Path, flags: list[str], tmp_path_factory: pytest.TempPathFactory
) -> list[str]:
    """What the server says until it is ready for the first time."""
    port, folder = free_port(), tmp_path_factory.mktemp("first")
    with launch(folder, store, *flags, "--port", str(port)) as process:
        doing = list(told(port, process))
        assert process.poll() is None, (folder / "log").read_text()
    return doing


@dataclass(frozen=True)
class Again:
    """A server that finds `tiny` prepared, and what it said until it was ready."""

    process: ProcessServer
    doing: list[str]


@pytest.fixture(scope="module")
def again(
    store: Path,
    flags: list[str],
    first_start: list[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Again]:
    port, folder = free_port(), tmp_path_factory.mktemp("again")
    more = ("--port", str(port), "--capacity-fps", "150")
    with launch(folder, store, *flags, *more) as process:
        doing = list(told(port, process))
        running = ProcessServer(process, f"http://127.0.0.1:{port}", folder)
        assert process.poll() is None, running.log
        yield Again(running, doing)


@pytest.fixture
async def server(again: Again) -> AsyncIterator[Server]:
    async with again.process.client() as client:
        yield client


@dataclass(frozen=True, eq=False)
class Spoken:
    """An utterance as it arrived: events, I420 pictures `[N, H*3/2, W]`, and what is heard."""

    events: list[Json]
    frames: Frames
    heard: Samples

    def sources(self, avatar: Avatar, fps: float) -> Frames:
        """The avatar's own picture under every frame: from where speech began, in natural speed."""
        start, rate = self.events[0]["avatar_frame"], Fraction(fps).limit_denominator(1000)
        return avatar.frames[
            [
                avatar.picture(cycle_frame(start, k, rate, avatar.manifest.fps))
                for k in range(len(self.frames))
            ]
        ]


async def spoken(server: Server, sound: bytes, **options: object) -> Spoken:
    session_id = await created(server, **options)
    events = await server.speak(session_id, sound)
    assert events[-1]["event"] == "complete", events[-1]
    chunks = await server.chunks(events)
    await server.client.delete(f"/sessions/{session_id}")
    return Spoken(events, *decoded(chunks))


async def created(server: Server, **options: object) -> str:
    """A session's id, once its avatar is prepared."""

    async def is_prepared() -> bool:
        answer = await server.client.post("/sessions/create", json=options)
        if answer.status_code == 201:
            ids.append(answer.json()["session_id"])
        else:
            assert answer.json()["code"] == "avatar_not_prepared", answer.text
        return bool(ids)

    ids: list[str] = []
    await server.until(is_prepared, within_s=20)
    return ids[0]


def differences(some: Frames, others: Frames) -> npt.NDArray[np.int16]:
    apart: npt.NDArray[np.int16] = np.abs(some.astype(np.int16) - others)
    return apart


# --- start and stop


def test_a_start_says_what_it_does(first_start: list[str]) -> None:
    order = ["preparing its avatars", "loading", "warming up", "preparing avatar tiny", "measuring"]
    phases = [next(k for k, start in enumerate(order) if doing.startswith(start))
              for doing in first_start]  # fmt: skip
    assert phases == sorted(phases)
    assert {0, 3, 4} <= set(phases), first_start
    sizes = [doing for doing in first_start if doing.startswith("measuring batches")]
    assert sizes == [f"measuring batches of {size}" for size in (1, 2, 4)]


def test_another_start_prepares_and_measures_nothing(again: Again) -> None:
    assert not any("avatar tiny" in doing or "measuring" in doing for doing in again.doing)


@pytest.mark.parametrize("phase", ["loading", "preparing avatar long"])
def test_a_start_can_be_stopped(phase: str, store: Path, flags: list[str], tmp_path: Path) -> None:
    port = free_port()
    with launch(tmp_path, store, *flags, "--avatar", "long", "--port", str(port)) as process:
        assert any(doing.startswith(phase) for doing in told(port, process))
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=10)
    assert process.returncode == 0
    assert out == "", "it never was ready"
    assert "Traceback" not in (tmp_path / "log").read_text()
    assert sorted(path.name for path in (store / "long").iterdir()) == [
        "avatar.json", "derived", "landmarks.npy", "source.mp4",
    ]  # fmt: skip
    assert sorted(path.name for path in (store / "long" / "derived").iterdir()) == [
        "frames.i420", "placeholder.mp4", "stamp.json",
    ]  # fmt: skip


# --- pictures and sound


@pytest.mark.parametrize(
    ("fps", "playback_fps"), [(12.5, 12.5), (25, 25), (29.97, 29.97), (30, 30), (60, 60), (10, 25)]
)
async def test_speech_moves_the_mouth_and_nothing_else(
    server: Server, store: Path, fps: float, playback_fps: float
) -> None:
    voice_s, duration_s = 0.5, 1.3
    sound = np.concatenate([buzz(voice_s), silence(duration_s - voice_s)])
    found = await spoken(server, wav(sound), fps=fps, playback_fps=playback_fps)
    assert len(found.frames) == math.ceil(duration_s * playback_fps)

    tiny = open_avatar(store / "tiny")
    changed = differences(found.frames, found.sources(tiny, playback_fps))
    x1, y1, x2, y2 = load_file(next(tiny.derived.glob(FILE)))["rects"][0]
    starts_s = np.arange(len(changed)) / playback_fps
    speaks = (starts_s > 0.2) & (starts_s < voice_s - 0.15)
    is_quiet = starts_s > voice_s + 0.5  # at 10 fps it takes as long to fade out
    assert speaks.any()
    assert is_quiet.any()
    assert changed[speaks, y1:y2, x1:x2].mean(axis=(1, 2)).min() > 5
    assert changed[is_quiet].max() <= CODING
    for planes in map(i420_planes, changed):
        planes.luma[y1:y2, x1:x2] = 0
        for chroma in (planes.cb, planes.cr):
            chroma[y1 // 2 : y2 // 2, x1 // 2 : x2 // 2] = 0
    assert changed.max() <= CODING

    edge, voice = 2048, round(voice_s * EAR_RATE)  # AAC smears where sound begins and ends
    error = (found.heard[: len(sound)] - sound)[edge : voice - edge]
    assert error.std() < 0.1 * sound[:voice].std()
    assert np.abs(found.heard[voice + edge :]).max() < 0.01


async def test_an_mp3_is_spoken(server: Server) -> None:
    found = await spoken(server, sound_file(speech_like(0.6), "mp3"), avatar_id="one", fps=10)
    assert len(found.frames) == 6


async def test_options_of_a_session_do_not_change_its_pictures(server: Server) -> None:
    sound = wav(speech_like(1.0))
    slow, fast = [
        await spoken(server, sound, avatar_id="one", chunk_duration=duration, batch_size=size)
        for duration, size in ((0.2, 1), (10, 64))
    ]
    assert len(slow.frames) == len(fast.frames) == 25
    assert differences(slow.frames, fast.frames).max() <= 1 + CODING
    assert np.abs(np.diff(slow.frames.astype(int), axis=0)).max() > 10 * CODING, "it moves"


async def test_two_at_once_are_as_alone(server: Server) -> None:
    """Two avatars, two voices."""
    wanted = {"one": tone(0.8, 300), "two": tone(0.8, 1100, level=0.3)}

    async def of(avatar_id: str) -> Spoken:
        return await spoken(server, wav(wanted[avatar_id]), avatar_id=avatar_id, fps=12.5)

    alone = {avatar_id: await of(avatar_id) for avatar_id in wanted}
    together = await asyncio.gather(*(of(avatar_id) for avatar_id in (*wanted, *wanted)))
    assert alone["one"].frames.shape != alone["two"].frames.shape
    for avatar_id, found in zip((*wanted, *wanted), together, strict=True):
        assert differences(found.frames, alone[avatar_id].frames).max() <= 1 + CODING
        assert np.array_equal(found.heard, alone[avatar_id].heard)


# --- avatars, room and damage


async def test_an_avatar_is_prepared_when_it_is_asked_for(server: Server) -> None:
    refused = await server.client.post("/sessions/create", json={"avatar_id": "long"})
    assert (refused.status_code, refused.json()["code"]) == (409, "avatar_not_prepared")
    shares: list[float] = []

    async def is_prepared() -> bool:
        document = (await server.client.get("/avatars/long")).json()
        shares.extend(share for share in (document.get("progress"),) if share is not None)
        return bool(document["prepared"])

    await server.until(is_prepared, within_s=20)
    assert shares == sorted(shares)
    assert len({share for share in shares if 0 < share < 1}) > 1
    accepted = await server.client.post("/sessions/create", json={"avatar_id": "long"})
    assert accepted.status_code == 201
    await server.client.delete(f"/sessions/{accepted.json()['session_id']}")


async def test_a_deleted_session_leaves_the_renderer_to_others(server: Server) -> None:
    async def engine() -> Json:
        figures: Json = (await server.client.get("/sessions/stats")).json()["engine"]
        return figures

    session_id = await server.create()
    before = (await engine())["frames_rendered"]
    async with server.events(session_id) as events:
        await server.upload(session_id, wav(speech_like(60.0)))
        await events.until("started")
        assert (await server.client.delete(f"/sessions/{session_id}")).status_code == 204

    async def is_free() -> bool:
        figures = await engine()
        return not any(figures[name] for name in ("frames_waiting", "in_flight", "reserved_fps"))

    await server.until(is_free)
    assert (await engine())["frames_rendered"] - before < 60 * 25
    await spoken(server, wav(tone(0.4)), fps=10)


async def test_a_full_server_takes_no_more_sessions(server: Server) -> None:
    ids = [await server.create(fps=60) for _ in range(2)]
    refused = await server.client.post("/sessions/create", json={"fps": 60})
    assert (refused.status_code, refused.json()["code"]) == (429, "capacity")
    for session_id in ids:
        await server.client.delete(f"/sessions/{session_id}")


async def test_a_file_that_is_cut_is_told_and_made_anew(server: Server, store: Path) -> None:
    session_id = await created(server, avatar_id="cut")
    (path,) = (store / "cut" / "derived").glob(FILE)
    path.write_bytes(path.read_bytes()[:5000])
    refused = await server.upload(session_id, wav(tone(0.4)))
    assert (refused.status_code, refused.json()["code"]) == (409, "avatar_not_prepared")
    assert (await spoken(server, wav(tone(0.4)), avatar_id="cut", fps=10)).frames.shape[0] == 4
    await server.client.delete(f"/sessions/{session_id}")


# --- what stands in the way


@pytest.mark.parametrize(
    ("module", "error", "why"),
    [
        ("torch", ModuleNotFoundError, "No module named torch"),
        ("torch", OSError, "libcudart.so.13: cannot open shared object file"),
        ("safetensors", ModuleNotFoundError, "No module named safetensors"),
    ],
)
def test_a_library_that_is_not_there_is_told(
    module: str, error: type[Exception], why: str, flags: list[str], tmp_path: Path
) -> None:
    (tmp_path / f"{module}.py").write_text(f"raise {error.__name__}({why!r})")
    result = subprocess.run(
        [sys.executable, "-m", "musetalk_stream", "serve", *flags],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert why in result.stderr
    assert "pip install -e '.[musetalk]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_missing_weights_end_it_before_it_listens(command: Command, tmp_path: Path) -> None:
    with socket.socket() as taken:  # which it would complain of
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = command(
            *("serve", "--renderer", "musetalk", "--device", "cpu", "--port", port),
            *(
                "--models-dir",
                str(tmp_path),
                "--chunks-dir",
                str(tmp_path / "chunks"),
                "--state-dir",
                str(tmp_path / "state"),
            ),
        )
    assert (result.returncode, result.stdout) == (2, "")
    assert "musetalkV15/unet.pth" in result.stderr
    assert f"weights --dir {tmp_path}" in result.stderr
    assert "taken" not in result.stderr
    assert not (tmp_path / "chunks").exists()


def test_check_says_what_is_missing(command: Command, tmp_path: Path) -> None:
    flags = ("--renderer", "musetalk", "--device", "cpu", "--models-dir", str(tmp_path))
    result = command("serve", "--check", *flags)
    assert result.returncode == 1
    assert "musetalkV15/unet.pth" in result.stderr
    assert f"weights --dir {tmp_path}" in result.stderr


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--precision", "int4"), "precision must be one of auto, fp32, bf16, fp16"),
        (("--device", "tpu"), "device must be cpu, cuda or cuda:N"),
        (("--musetalk-version", "v2"), "musetalk_version must be one of v15, v1"),
        (("--musetalk-version", "v1"), "weights --dir"),
        pytest.param(
            ("--device", "cuda"),
            "--device cpu",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device"),
        ),
    ],
)
def test_a_wrong_setting_is_explained(
    command: Command, more: tuple[str, ...], words: str, flags: list[str]
) -> None:
    result = command("serve", *flags, *more)
    assert result.returncode in (1, 2)
    assert words in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("wrong", ["cut", "foreign"])
def test_weights_that_can_not_be_used_are_told(
    command: Command, flags: list[str], models: Path, store: Path, tmp_path: Path, wrong: str
) -> None:
    shutil.copytree(models, tmp_path / "models")
    unet = tmp_path / "models/musetalkV15/unet.pth"
    if wrong == "cut":
        unet.write_bytes(unet.read_bytes()[:100_000])
    else:
        shutil.copy(models / "sd-vae/diffusion_pytorch_model.bin", unet)
    result = command(
        *("serve", *flags, "--models-dir", str(tmp_path / "models"), "--port", "0"),
        *(
            "--avatars-dir",
            str(store),
            "--chunks-dir",
            str(tmp_path / "chunks"),
            "--state-dir",
            str(tmp_path / "state"),
        ),
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert str(unet) in result.stderr
    assert "3400074924 bytes and sha256 7ebf6c98" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_place_that_can_not_be_written_is_told(
    command: Command, flags: list[str], store: Path, first_start: list[str], tmp_path: Path
) -> None:
    folder = make_avatar_folder(tmp_path, "tiny", num_frames=1) / "derived"
    derive(folder.parent, EncoderConfig(crf=1))
    (prepared,) = (store / "tiny" / "derived").glob(FILE)
    (folder / prepared.name / "in the way").mkdir(parents=True)
    result = command(
        *("serve", *flags, "--port", "0"),
        *(
            "--avatars-dir",
            str(tmp_path),
            "--chunks-dir",
            str(tmp_path / "chunks"),
            "--state-dir",
            str(tmp_path / "state"),
        ),
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert f"{folder / prepared.name} can't be written" in result.stderr
    assert "Traceback" not in result.stderr
