"""Official MuseTalk avatars: they come in as they are, and nothing that they say is run."""

import json
import logging
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from models_folder import loaded
from PIL import Image
from skimage.data import astronaut
from test_face_region import official_blend, picture_of

from musetalk_stream.avatar import Avatar, Cycle, open_avatar
from musetalk_stream.blend import i420_planes
from musetalk_stream.config import Config, EncoderConfig, MuseTalkConfig, PrepareConfig
from musetalk_stream.errors import MediaTooLarge, MediaTooLong, UnsupportedAvatar
from musetalk_stream.prepare.official import import_official, is_official
from musetalk_stream.prepare.pickles import read_boxes
from musetalk_stream.prepare.progress import Progress, Stage
from musetalk_stream.prepare.request import Request
from musetalk_stream.prepare.work import Work
from musetalk_stream.renderers.musetalk.box import Box, crop_box
from musetalk_stream.renderers.musetalk.colour import i420_of
from musetalk_stream.renderers.musetalk.mask import paste_mask
from musetalk_stream.renderers.musetalk.official_latents import read_official_latents
from musetalk_stream.renderers.musetalk.prepared import Recipe, is_prepared, open_prepared
from musetalk_stream.renderers.musetalk.region import FaceRegion

Bytes = npt.NDArray[np.uint8]

WIDTH, HEIGHT, NUM_FRAMES = 193, 161, 3  # odd, as the official code takes any size
FACELESS = 1
WHOLE = Config(encoder=EncoderConfig(preset="ultrafast"))


# --- an official folder, by the rules of its code


def picture(index: int) -> Bytes:
    """BGR; a face that goes to the right."""
    left = 125 - 2 * index
    return np.ascontiguousarray(astronaut()[20 : 20 + HEIGHT, left : left + WIDTH, ::-1])


def face_of(index: int) -> Box:
    return Box(50 + 2 * index, 25, 145 + 2 * index, 155)


def mask_of(index: int) -> Bytes:
    jaw = np.zeros((512, 512), np.uint8)
    jaw[200:400, 120:390] = 255
    return paste_mask(jaw, face_of(index), crop_box(face_of(index)))


def latents_of(index: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(index)
    return torch.randn(1, 8, 32, 32, generator=generator).half()


def there_and_back(values: list[Any]) -> list[Any]:
    return values + values[::-1]


def make_official(
    folder: Path, *, faceless: bool = False, version: str | None = "v15", fewer: bool = False
) -> Path:
    """faceless  one picture shows no face
    fewer     and has no latents, as where the official code passes it over
    """
    info: dict[str, Any] = {"avatar_id": "her", "video_path": "her.mp4", "bbox_shift": 0}
    if version:
        info["version"] = version
    for name in ("full_imgs", "mask", "vid_output"):
        (folder / name).mkdir(parents=True)
    (folder / "avator_info.json").write_text(json.dumps(info))
    seen = [k for k in range(NUM_FRAMES) if not (faceless and k == FACELESS)]
    for place, index in enumerate(there_and_back(list(range(NUM_FRAMES)))):
        Image.fromarray(picture(index)[..., ::-1]).save(folder / f"full_imgs/{place:08d}.png")
        Image.fromarray(mask_of(index)).save(folder / f"mask/{place:08d}.png")
    coords: list[Any] = [(0.0, 0.0, 0.0, 0.0)] * NUM_FRAMES
    squares: list[Any] = [[0, 0, 0, 0]] * NUM_FRAMES
    for index in seen:
        x1, y1, x2, y2 = face_of(index)
        coords[index] = [np.int32(x1), y1, np.int32(x2), np.int64(y2)]
        squares[index] = [np.int64(each) for each in crop_box(face_of(index))]
    (folder / "coords.pkl").write_bytes(pickle.dumps(there_and_back(coords)))
    (folder / "mask_coords.pkl").write_bytes(pickle.dumps(there_and_back(squares)))
    kept = seen if fewer else range(NUM_FRAMES)
    torch.save(there_and_back([latents_of(k) for k in kept]), folder / "latents.pt")
    return folder


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never changed."""
    return make_official(tmp_path_factory.mktemp("official") / "her")


@pytest.fixture
def official(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "her"))


def begun(store: Path, avatar_id: str = "mine") -> Work:
    work = Work(store, Request(avatar_id, "Her", "her", "job-1"))
    work.begin()
    return work


def imported(folder: Path, store: Path, config: Config = WHOLE) -> Avatar:
    work = begun(store)
    import_official(folder, work, config, lambda progress: None)
    return open_avatar(work.finish())


def without_finder(tmp_path: Path) -> Config:
    """DWPose is wanted, and its weights are not there."""
    return Config(
        encoder=WHOLE.encoder,
        prepare=PrepareConfig(face_finder="dwpose"),
        musetalk=MuseTalkConfig(models_dir=tmp_path / "none"),
    )


@pytest.fixture(scope="module")
def avatar(pristine: Path, tmp_path_factory: pytest.TempPathFactory) -> Avatar:
    return imported(pristine, tmp_path_factory.mktemp("store"))


# --- what comes in


def test_the_pictures_are_those_of_the_folder(avatar: Avatar) -> None:
    assert (avatar.manifest.width, avatar.manifest.height) == (192, 160)
    assert avatar.manifest.cycle is Cycle.MIRROR
    assert [avatar.picture(k) for k in range(2 * NUM_FRAMES)] == [0, 1, 2, 2, 1, 0]
    assert avatar.placeholder.is_file()
    for index, frame in enumerate(avatar.frames):
        theirs = i420_of(picture(index)[:160, :192])
        ours = i420_planes(frame)
        assert np.abs(ours.luma.astype(int) - theirs.luma).mean() < 1.5
        assert np.abs(ours.cb.astype(int) - theirs.cb).mean() < 1.5


def test_the_renderer_uses_the_given_at_once(models: Path, avatar: Avatar) -> None:
    renderer = loaded(models)
    assert renderer.is_prepared(avatar)
    assert list(renderer.prepare(avatar)) == [1.0]
    assert not list(avatar.derived.glob("*.safetensors")), "nothing is made anew"
    prepared = open_prepared(avatar, renderer.loaded.recipe)
    for index, placement in enumerate(prepared.placements):
        assert np.array_equal(prepared.latents[index], latents_of(index)[0].float().numpy())
        assert placement is not None
        assert placement.box == face_of(index)
        inside = placement.rect.seen_from(crop_box(face_of(index)))
        given = mask_of(index)[inside.y1 : inside.y2, inside.x1 : inside.x2]
        seen = placement.rect.within(placement.box).seen_from(placement.rect)
        ours, theirs = (
            each[seen.y1 : seen.y2, seen.x1 : seen.x2] for each in (placement.luma, given)
        )
        assert np.array_equal(ours, theirs)
        assert ours.max() > 200


def test_a_face_is_pasted_as_the_official_code_does(models: Path, avatar: Avatar) -> None:
    prepared = open_prepared(avatar, loaded(models).loaded.recipe)
    face = np.asarray(Image.fromarray(picture(0)[60:120, 60:120]).resize((256, 256)), np.uint8)
    for index, placement in enumerate(prepared.placements):
        assert placement is not None
        box, source = face_of(index), picture(index)[:160, :192]
        theirs = i420_of(official_blend(source, face, box, crop_box(box), mask_of(index)))
        ours = picture_of(i420_of(source))
        FaceRegion(placement, face).paste(ours)
        assert np.abs(ours.luma.astype(int) - theirs.luma).max() <= 1
        assert np.abs(ours.cb.astype(int) - theirs.cb).max() <= 3
        assert np.abs(ours.luma.astype(int) - i420_of(source).luma).max() > 20


def test_other_versions_prepare_from_the_landmarks(models: Path, tmp_path: Path) -> None:
    avatar = imported(make_official(tmp_path / "old", version=None), tmp_path)
    renderer = loaded(models)
    assert is_prepared(avatar, Recipe("v1", "0" * 64)), "older folders do not say so"
    assert not renderer.is_prepared(avatar)
    list(renderer.prepare(avatar))
    prepared = open_prepared(avatar, renderer.loaded.recipe)
    for index, placement in enumerate(prepared.placements):
        assert placement is not None
        assert np.abs(np.subtract(placement.box, face_of(index))).max() < 35, "the same face"
        assert not np.allclose(prepared.latents[index], latents_of(index)[0].float().numpy())


def test_landmarks_are_found_in_the_given_boxes(avatar: Avatar) -> None:
    assert np.isfinite(avatar.landmarks).all()
    assert avatar.manifest.face_finder.startswith("mediapipe")
    for index, points in enumerate(avatar.landmarks):
        x1, y1, x2, y2 = face_of(index)
        x, y = points.mean(axis=0)
        assert x1 < x < x2
        assert y1 < y < y2


@pytest.mark.parametrize("fewer", [False, True])
def test_pictures_without_a_face_pass_through(models: Path, tmp_path: Path, fewer: bool) -> None:
    folder = make_official(tmp_path / "her", faceless=True, fewer=fewer)
    avatar = imported(folder, tmp_path / "store")
    prepared = open_prepared(avatar, loaded(models).loaded.recipe)
    assert [placement is None for placement in prepared.placements] == [False, True, False]
    assert np.array_equal(prepared.latents[2], latents_of(2)[0].float().numpy())
    assert np.isnan(avatar.landmarks[FACELESS]).all()


def test_without_a_face_finder_only_musetalk_speaks(
    models: Path, official: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        avatar = imported(official, tmp_path / "store", without_finder(tmp_path))
    assert "only for MuseTalk v15" in caplog.text
    assert np.isnan(avatar.landmarks).all()
    assert loaded(models).is_prepared(avatar)


def test_no_pickle_comes_along(avatar: Avatar) -> None:
    assert sorted(path.name for path in avatar.folder.iterdir()) == [
        "avatar.json", "derived", "landmarks.npy", "musetalk.safetensors", "source.mp4",
    ]  # fmt: skip


def test_it_goes_on_where_it_was_killed(official: Path, tmp_path: Path) -> None:
    work = begun(tmp_path / "store")
    seen: list[Progress] = []
    import_official(official, work, WHOLE, seen.append)
    assert {each.stage for each in seen} == {Stage.READING, Stage.FOLLOWING, Stage.ENCODING}
    (work.avatar / "avatar.json").unlink()
    kept = ("source.mp4", "landmarks.npy", "musetalk.safetensors")
    before = [(work.avatar / name).stat().st_ino for name in kept]
    (work.avatar / "landmarks.npy.part").write_bytes(b"half")
    seen.clear()
    import_official(official, work, WHOLE, seen.append)
    assert [(work.avatar / name).stat().st_ino for name in kept] == before
    assert {each.stage for each in seen} == {Stage.ENCODING}
    assert open_avatar(work.finish()).manifest.face_finder.startswith("mediapipe")


def test_masks_that_were_written_as_pictures_are_masks(
    models: Path, official: Path, tmp_path: Path
) -> None:
    for path in (official / "mask").iterdir():
        Image.open(path).convert("RGB").save(path)
    avatar = imported(official, tmp_path / "store", without_finder(tmp_path))
    placement = open_prepared(avatar, loaded(models).loaded.recipe).placements[0]
    assert placement is not None
    assert placement.luma.max() > 200


def test_hidden_files_do_not_matter(official: Path, tmp_path: Path) -> None:
    """A Mac leaves such ones beside everything that it copies."""
    for folder in ("full_imgs", "mask"):
        (official / folder / "._00000000.png").write_text("x")
    assert imported(official, tmp_path / "store").manifest.num_frames == NUM_FRAMES


def test_nobody_to_speak(official: Path, tmp_path: Path) -> None:
    for path in (official / "mask").iterdir():
        Image.fromarray(np.zeros_like(np.asarray(Image.open(path)))).save(path)
    with pytest.raises(UnsupportedAvatar, match="all masks are empty"):
        imported(official, tmp_path / "masks")
    nowhere = pickle.dumps([(0.0, 0.0, 0.0, 0.0)] * 2 * NUM_FRAMES)
    (official / "coords.pkl").write_bytes(nowhere)
    with pytest.raises(UnsupportedAvatar, match="a face in none of the pictures"):
        imported(official, tmp_path / "faces")


def test_a_face_far_from_the_given_box_is_anothers(official: Path, tmp_path: Path) -> None:
    beside = [[0, 0, 30, HEIGHT]] * 2 * NUM_FRAMES
    (official / "coords.pkl").write_bytes(pickle.dumps(beside))
    for path in (official / "mask").iterdir():
        Image.fromarray(np.full_like(np.asarray(Image.open(path)), 255)).save(path)
    found = imported(official, tmp_path / "store").landmarks
    assert np.isnan(found).all()


def test_what_looks_official(official: Path, tmp_path: Path) -> None:
    assert is_official(official)
    (official / "avator_info.json").unlink()
    assert is_official(official), "then it can be said what is missing"
    assert not is_official(tmp_path / "store")
    assert not is_official(tmp_path / "nowhere")


# --- what does not


Break = Callable[[Path], object]


def cut(name: str, length: int) -> Break:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:length])


def gone(name: str) -> Break:
    return lambda folder: (folder / name).unlink()


def written(name: str, content: bytes) -> Break:
    return lambda folder: (folder / name).write_bytes(content)


def pickled(name: str, value: object) -> Break:
    return written(name, pickle.dumps(value))


def painted(name: str, size: tuple[int, int], colour: object, mode: str = "RGB") -> Break:
    return lambda folder: Image.new(mode, size, colour).save(folder / name)  # type: ignore[arg-type]


def saved(value: object) -> Break:
    return lambda folder: torch.save(value, folder / "latents.pt")


def compressed(folder: Path) -> None:
    with zipfile.ZipFile(folder / "latents.pt") as archive:
        entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    with zipfile.ZipFile(folder / "latents.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


BOXES = [list(face_of(k)) for k in (0, 1, 2, 2, 1, 0)]


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        pytest.param(gone("avator_info.json"), "avator_info.json", id="no info"),
        pytest.param(written("avator_info.json", b"[]"), "avator_info.json", id="info a list"),
        pytest.param(written("avator_info.json", b"[" * 9999), "avator_info.json", id="deep info"),
        pytest.param(written("avator_info.json", b'{"version": "v2"}'), "no version 'v2'",
                     id="other version"),
        pytest.param(gone("full_imgs/00000002.png"), "full_imgs/00000002.png", id="no picture"),
        pytest.param(gone("full_imgs/00000005.png"), "not as many back", id="odd count"),
        pytest.param(written("full_imgs/other.png", b""), "full_imgs", id="another file"),
        pytest.param(cut("full_imgs/00000001.png", 999), "00000001.png", id="torn picture"),
        pytest.param(cut("full_imgs/00000001.png", 9), "00000001.png", id="picture without header"),
        pytest.param(written("full_imgs/00000001.png", b"GIF89a"), "00000001.png", id="no PNG"),
        pytest.param(painted("full_imgs/00000004.png", (64, 64), 0), "size is", id="other size"),
        pytest.param(painted("full_imgs/00000005.png", (WIDTH, HEIGHT), 0), "on the way back",
                     id="not back"),
        pytest.param(painted("full_imgs/00000000.png", (WIDTH, HEIGHT), 0, "L"), "of mode L",
                     id="grey picture"),
        pytest.param(gone("mask/00000005.png"), "mask", id="no mask"),
        pytest.param(cut("mask/00000002.png", 200), "mask/00000002.png", id="torn mask"),
        pytest.param(painted("mask/00000001.png", (194, 194), (9, 0, 0)), "coloured", id="colours"),
        pytest.param(painted("mask/00000001.png", (7, 7), 0, "L"), "size is", id="small mask"),
        pytest.param(gone("coords.pkl"), "coords.pkl", id="no boxes"),
        pytest.param(cut("coords.pkl", 50), "coords.pkl", id="torn boxes"),
        pytest.param(written("coords.pkl", b""), "coords.pkl", id="empty boxes"),
        pytest.param(pickled("coords.pkl", BOXES[:4]), "4 boxes for 6", id="few boxes"),
        pytest.param(pickled("coords.pkl", BOXES[:3] * 2), "backwards", id="boxes not back"),
        pytest.param(pickled("coords.pkl", [[1, 2, 3]] * 6), "four numbers", id="three numbers"),
        pytest.param(pickled("coords.pkl", [["1"] * 4] * 6), "place of a number", id="text"),
        pytest.param(pickled("coords.pkl", [[True] * 4] * 6), "place of a number", id="booleans"),
        pytest.param(pickled("coords.pkl", [[float("nan")] * 4] * 6), "no pixels", id="NaN"),
        pytest.param(pickled("coords.pkl", [[10**9] * 4] * 6), "no pixels", id="far away"),
        pytest.param(pickled("coords.pkl", [[5.5] * 4] * 6), "between pixels", id="half a pixel"),
        pytest.param(pickled("coords.pkl", [[-5, 0, 50, 50]] * 6), "outside", id="left of it"),
        pytest.param(pickled("coords.pkl", [[500, 0, 550, 50]] * 6), "outside", id="right of it"),
        pytest.param(pickled("coords.pkl", {"boxes": BOXES}), "coords.pkl", id="a dictionary"),
        pytest.param(pickled("coords.pkl", np.array(BOXES)), "coords.pkl", id="an array"),
        pytest.param(pickled("coords.pkl", BOXES * 2), "coords.pkl", id="twice as many"),
        pytest.param(pickled("mask_coords.pkl", [[0, 0, 9999, 9999]] * 6), "no possible square",
                     id="huge square"),
        pytest.param(gone("latents.pt"), "latents.pt", id="no latents"),
        pytest.param(cut("latents.pt", 5000), "latents.pt", id="torn latents"),
        pytest.param(written("latents.pt", b"no zip"), "latents.pt", id="latents no zip"),
        pytest.param(compressed, "compressed", id="compressed latents"),
        pytest.param(saved([latents_of(0)] * 5), "5 latents for 6", id="few latents"),
        pytest.param(saved([latents_of(0)] * 7), "at most 6", id="many latents"),
        pytest.param(saved([torch.zeros(1, 4, 32, 32)] * 6), "(1, 4, 32, 32)", id="other shape"),
        pytest.param(saved([latents_of(0) * float("nan")] * 6), "not numbers", id="NaN latents"),
        pytest.param(saved([torch.zeros(1, 8, 32, 32).int()] * 6), "IntStor", id="whole latents"),
        pytest.param(saved({"a": 1}), "no list", id="latents no list"),
        pytest.param(saved([torch.zeros(99, 8, 32, 32)] * 6), "too large", id="large latents"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(official: Path, tmp_path: Path, broken: Break, words: str) -> None:
    broken(official)
    work = begun(tmp_path / "store")
    with pytest.raises(UnsupportedAvatar) as raised:
        import_official(official, work, without_finder(tmp_path), lambda progress: None)
    assert words in str(raised.value)
    assert str(official) in str(raised.value), "the file is named"
    assert not (work.avatar / "avatar.json").exists()


def test_limits_are_those_of_a_video(official: Path, tmp_path: Path) -> None:
    for error, words, limits in (
        (MediaTooLong, "max_avatar_s", PrepareConfig(max_avatar_s=1.0)),
        (MediaTooLarge, "max_video_mp", PrepareConfig(max_video_mp=0.1)),
    ):
        if error is MediaTooLong:
            for index in range(6, 52):
                shutil.copy(official / "full_imgs/00000000.png",
                            official / f"full_imgs/{index:08d}.png")  # fmt: skip
        else:
            large = make_official(tmp_path / "large")
            for index in range(2 * NUM_FRAMES):
                Image.new("RGB", (400, 300)).save(large / f"full_imgs/{index:08d}.png")
            official = large
        with pytest.raises(error, match=words):
            import_official(
                official, begun(tmp_path / words), Config(prepare=limits), lambda progress: None
            )


# --- what would be run


class Runs:
    """Pickled, it says: make this file."""

    def __init__(self, witness: Path) -> None:
        self._witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self._witness}",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["coords.pkl", "mask_coords.pkl"])
def test_a_pickle_runs_nothing(official: Path, tmp_path: Path, name: str, protocol: int) -> None:
    witness = tmp_path / "witness"
    content = pickle.dumps([BOXES[0], Runs(witness)], protocol)
    pickle.loads(content)
    assert witness.exists(), "it would run"
    witness.unlink()
    (official / name).write_bytes(content)
    with pytest.raises(UnsupportedAvatar, match=r"it would call (os|posix)\.system"):
        import_official(official, begun(tmp_path / "store"), WHOLE, lambda progress: None)
    assert not witness.exists()


def test_latents_run_nothing(official: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    torch.save([latents_of(0), Runs(witness)], official / "latents.pt")
    with pytest.raises(UnsupportedAvatar, match=r"latents\.pt"):
        import_official(official, begun(tmp_path / "store"), WHOLE, lambda progress: None)
    assert not witness.exists()


def stored(path: Path, content: bytes) -> None:
    """As torch.save packs a pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/data/0", bytes(4))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        pytest.param(
            b"\x80\x02](cbuiltins\nbytearray\n\x8a\x05\0\0\0\x80\x01\x85Re.",
            r"it would call builtins\.bytearray", id="6 gigabytes",
        ),
        pytest.param(
            b"\x80\x02](ctorch\nTensor\n\x8a\x05\0\0\0\x80\x01\x85Re.",
            r"it would call torch\.Tensor", id="24 gigabytes",
        ),
        pytest.param(b"\x80\x02K\x01Q.", "it is damaged", id="no storage"),
        pytest.param(b"", "it is damaged", id="nothing"),
    ],
)  # fmt: skip
def test_made_up_latents(tmp_path: Path, content: bytes, words: str) -> None:
    stored(tmp_path / "latents.pt", content)
    with pytest.raises(UnsupportedAvatar, match=words) as refused:
        read_official_latents(tmp_path / "latents.pt", 10)
    assert "weights_only" not in str(refused.value), "nobody should try that"


def test_latents_as_they_may_be_kept(tmp_path: Path) -> None:
    path = tmp_path / "latents.pt"
    torch.save([latents_of(0).float().requires_grad_(), latents_of(1).bfloat16()], path)
    first, second = read_official_latents(path, 10)
    np.testing.assert_array_equal(first, latents_of(0)[0].float().numpy())
    np.testing.assert_allclose(second, latents_of(1)[0].float().numpy(), rtol=0.01)
    torch.save([torch.zeros(1, 8, 32, 32, device="meta")], path)
    with pytest.raises(UnsupportedAvatar, match="_rebuild_meta_tensor"):
        read_official_latents(path, 10)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"\x80\x04cbuiltins\neval\n.", id="a function alone"),
        pytest.param(b"\x80\x04cnumpy\nload\n.", id="another one of numpy"),
        pytest.param(b"\x80\x04]r\xff\xff\xff\x7f.", id="memory by a far memo"),
        pytest.param(b"\x80\x04]p2000000000\n.", id="memory by a far memo in text"),
        pytest.param(b"\x80\x04\x8e" + struct.pack("<Q", 1 << 40) + b".", id="a terabyte"),
        pytest.param(b"\x80\x04B" + struct.pack("<I", 1 << 31) + b".", id="2 gigabytes"),
        pytest.param(b"\x80\x04\x95" + struct.pack("<Q", 1 << 40) + b"].", id="a frame of 1 TB"),
        pytest.param(b"\x80\x04}.", id="an empty dictionary"),
        pytest.param(b"\x80\x04cnumpy\ndtype\n}b.", id="attributes by a dictionary"),
        pytest.param(b"\x80\x04cnumpy\ndtype\nN}\x86b.", id="attributes by two"),
        pytest.param(b"\x80\x04cnumpy\ndtype\n(\x8c\x03i99tR.", id="no such number"),
        pytest.param(b"\x80\x04(\x8c\x02i4cnumpy\ndtype\no.", id="an object"),
        pytest.param(b"\x80\x04\x82\x01.", id="an extension"),
        pytest.param(b"\x80\x04Pmine\n.", id="something of ours"),
        pytest.param(b"\x80\x04)(cnumpy.core.multiarray\nscalar\ntR.", id="mixed up"),
        pytest.param(b"\x80\x04R.", id="an empty stack"),
        pytest.param(b"\x80\x04]", id="no end"),
        pytest.param(b"\x80\x63].", id="a later protocol"),
        pytest.param(b"\x80\x04](]\x94h\x00e.", id="no four numbers"),
    ],
)
def test_made_up_pickles(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "coords.pkl"
    path.write_bytes(content)
    with pytest.raises(UnsupportedAvatar, match=r"coords\.pkl"):
        read_boxes(path, 10)


def test_a_pickle_of_any_length_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "coords.pkl"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UnsupportedAvatar, match="too large"):
        read_boxes(path, 10)


NUMBERS = [[np.int32(5), np.int64(-7), np.float64(0.5), 3], (0.0, 0.0, 0.0, 0.0),
           [np.float32(1.5), np.uint8(9), np.float16(2), np.int16(-3)]]  # fmt: skip
OF_NUMPY_2 = (
    b"\x80\x04]\x94]\x94(\x8c\x16numpy._core.multiarray\x94\x8c\x06scalar\x94\x93\x94"
    b"\x8c\x05numpy\x94\x8c\x05dtype\x94\x93\x94\x8c\x02i4\x94\x89\x88\x87\x94R\x94"
    b"(K\x03\x8c\x01<\x94NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t\x94bC\x04\x05\x00\x00\x00\x94"
    b"\x86\x94R\x94K\x01K\x02K\x03ea."
)


@pytest.mark.parametrize("protocol", range(6))
def test_numbers_of_python_and_numpy(tmp_path: Path, protocol: int) -> None:
    path = tmp_path / "coords.pkl"
    path.write_bytes(pickle.dumps(NUMBERS, protocol))
    assert read_boxes(path, 3) == [(5, -7, 0.5, 3), (0, 0, 0, 0), (1.5, 9, 2, -3)]
    path.write_bytes(OF_NUMPY_2)
    assert read_boxes(path, 1) == [(5, 1, 2, 3)]
