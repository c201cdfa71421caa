"""The official weight files: which there are, which a folder has, and whether they are whole.

The layout is that of the official code, so that a folder can serve both. Fetching is `download`'s,
reading is `models.checkpoint`'s. docs/weights.md says where sizes and hashes come from.
"""

import hashlib
import shlex
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from .errors import WeightsError, WeightsMissing

Progress = Callable[[int, int], None]  # bytes done, bytes in all

HUB = "https://huggingface.co"

_BLOCK_BYTES = 4 * 2**20

# The commits of the repositories on the hub, so that a hash stays true.
_MUSETALK = "TMElyralab/MuseTalk/resolve/3ef28bc5cff08c90ad8178a25f1b570cd800170f"
_VAE = "stabilityai/sd-vae-ft-mse/resolve/31f26fdeee1355a5c34592e401dd41e45d25a493"
_WHISPER = "openai/whisper-tiny/resolve/169d4a4341b33bc18d8881c4b69c2e104e1cc0af"
_FACE_PARSING = (
    "ManyOtherFunctions/face-parse-bisent/resolve/0073b233a5a3c4b1377d4dbf49245017938a72b5"
)
_DWPOSE = "yzd-v/DWPose/resolve/1a7144101628d69ee7a3768d1ee3a094070dc388"


class State(Enum):
    OK = "ok"
    UNKNOWN_HASH = "unknown hash"  # the size is right, and there is no hash to compare with
    OTHER_FORMAT = "other format"  # safetensors in its place: no official hash
    MISSING = "missing"
    WRONG_SIZE = "wrong size"
    WRONG_HASH = "wrong hash"

    @property
    def is_good(self) -> bool:
        return self in (State.OK, State.UNKNOWN_HASH, State.OTHER_FORMAT)


@dataclass(frozen=True, slots=True)
class OfficialFile:
    role: str
    path: str  # in the models folder
    num_bytes: int
    sha256: str | None  # None: no two sources state one
    url_path: str  # below the source's address
    versions: tuple[str, ...] = ("v15", "v1")
    optional: bool = False
    safetensors: str = ""  # the name of the same tensors in that format

    def place(self, models_dir: Path) -> Path:
        return models_dir / self.path

    def find(self, models_dir: Path) -> Path | None:
        """The file, or what stands in for it in the other format. Raises WeightsError if the
        folder can't be looked into."""
        place = self.place(models_dir)
        other = place.with_name(self.safetensors or place.name)
        try:
            return next((path for path in (place, other) if path.is_file()), None)
        except OSError as exc:
            raise WeightsError(f"can't look for {place}: {exc.strerror}") from exc


OFFICIAL_FILES = (
    OfficialFile(
        "unet",
        "musetalkV15/unet.pth",
        3_400_074_924,
        "7ebf6c98c181e20838e4c0054e96e944ac60d5d692cc01db42839fe11b787007",
        f"{_MUSETALK}/musetalkV15/unet.pth",
        versions=("v15",),
        safetensors="unet.safetensors",
    ),
    OfficialFile(
        "unet_config",
        "musetalkV15/musetalk.json",
        748,
        "5b6923aee04d71692e0e9846c471e0a4ea07a4f686d39545e472bd4ba17e1b47",
        f"{_MUSETALK}/musetalkV15/musetalk.json",
        versions=("v15",),
    ),
    OfficialFile(
        "unet",
        "musetalk/pytorch_model.bin",
        3_400_076_549,
        None,
        f"{_MUSETALK}/musetalk/pytorch_model.bin",
        versions=("v1",),
        safetensors="unet.safetensors",
    ),
    OfficialFile(
        "unet_config",
        "musetalk/musetalk.json",
        748,
        None,
        f"{_MUSETALK}/musetalk/musetalk.json",
        versions=("v1",),
    ),
    OfficialFile(
        "vae",
        "sd-vae/diffusion_pytorch_model.bin",
        334_707_217,
        "1b4889b6b1d4ce7ae320a02dedaeff1780ad77d415ea0d744b476155c6377ddc",
        f"{_VAE}/diffusion_pytorch_model.bin",
        safetensors="diffusion_pytorch_model.safetensors",
    ),
    OfficialFile(
        "vae_config",
        "sd-vae/config.json",
        547,
        "92d3dfb746fca211a2c9e019e285f8597412211728dce3c5bcf4eda0f2d62e7e",
        f"{_VAE}/config.json",
    ),
    OfficialFile(
        "whisper",
        "whisper/pytorch_model.bin",
        151_095_027,
        "9607f98a2b22d9e229ae43c52ecea79dcede9e0c5cfae67e8da6eda86d8aac1d",
        f"{_WHISPER}/pytorch_model.bin",
        safetensors="model.safetensors",
    ),
    OfficialFile(
        "whisper_config",
        "whisper/config.json",
        1_983,
        "ffdccec4f3211f4c63310f2b7098f309fe70f3952cedc5e4d11e43f5b2379b98",
        f"{_WHISPER}/config.json",
    ),
    OfficialFile(
        "face_parsing",
        "face-parse-bisent/79999_iter.pth",
        53_289_463,
        "468e13ca13a9b43cc0881a9f99083a430e9c0a38abd935431d1c28ee94b26567",
        f"{_FACE_PARSING}/79999_iter.pth",
        optional=True,
        safetensors="79999_iter.safetensors",
    ),
    OfficialFile(
        "pose",
        "dwpose/dw-ll_ucoco_384.onnx",
        134_399_116,
        "724f4ff2439ed61afb86fb8a1951ec39c6220682803b4a8bd4f598cd913b1843",
        f"{_DWPOSE}/dw-ll_ucoco_384.onnx",
        optional=True,
    ),
)


def files_for(version: str) -> list[OfficialFile]:
    """What MuseTalk `version` ("v15" or "v1") reads; optional files last."""
    files = [file for file in OFFICIAL_FILES if version in file.versions]
    return sorted(files, key=lambda file: file.optional)


def missing(models_dir: Path, version: str) -> list[OfficialFile]:
    """The needed files that are not there. Looks at names alone, so that it costs nothing and
    weights that somebody trained are as welcome as the official ones."""
    files = files_for(version)
    return [file for file in files if not file.optional and file.find(models_dir) is None]


def require(models_dir: Path, version: str) -> dict[str, Path]:
    """The files of `version` by role; an optional one is left out where it is not there.

    Raises WeightsMissing, which names what is missing and the command that gets it.
    """
    absent = missing(models_dir, version)
    if absent:
        raise WeightsMissing(
            f"{models_dir} lacks {', '.join(file.path for file in absent)} "
            f"({gigabytes(absent)}); to get them: {command(models_dir, version)}"
        )
    found = {file.role: file.find(models_dir) for file in files_for(version)}
    return {role: path for role, path in found.items() if path is not None}


def examine(models_dir: Path, file: OfficialFile, progress: Progress | None = None) -> State:
    """The state of a file in a folder; reads it whole if it has the right size."""
    found = file.find(models_dir)
    if found is None:
        return State.MISSING
    if found != file.place(models_dir):
        return State.OTHER_FORMAT
    return verify(found, file, progress)


def verify(path: Path, file: OfficialFile, progress: Progress | None = None) -> State:
    """Compare size and sha256 with the official ones. Raises WeightsError if it can't be read."""
    try:
        if path.stat().st_size != file.num_bytes:
            return State.WRONG_SIZE
        if file.sha256 is None:
            return State.UNKNOWN_HASH
        digest, done = hashlib.sha256(), 0
        for block in _blocks(path):
            digest.update(block)
            done += len(block)
            if progress:
                progress(done, file.num_bytes)
    except OSError as exc:
        raise WeightsError(f"can't read {path}: {exc.strerror}") from exc
    return State.OK if digest.hexdigest() == file.sha256 else State.WRONG_HASH


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while block := source.read(_BLOCK_BYTES):
            yield block


def expectation(path: Path) -> str:
    """What the official file in this place is like, and how to compare: a sentence for an error
    about a file that can't be used. Empty if no official file has this place."""
    file = next((file for file in OFFICIAL_FILES if path.parts[-2:] == Path(file.path).parts), None)
    if file is None:
        return ""
    digest = f"sha256 {file.sha256}" if file.sha256 else "a sha256 unknown to us"
    check = command(path.parent.parent, file.versions[0])
    return f"The official file has {file.num_bytes} bytes and {digest}; to compare: {check} --list"


def command(models_dir: Path, version: str) -> str:
    """What to type to get the weights into a folder."""
    option = "" if version == "v15" else f" --version {version}"
    return f"{program()} weights --dir {shlex.quote(str(models_dir))}{option}"


def program() -> str:
    """How to start this program as it was started now: a checkout's is not on the PATH."""
    name, started = "musetalk-stream", Path(sys.argv[0])
    if started.name == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m musetalk_stream"
    if started.name != name or shutil.which(name):
        return name
    return shlex.quote(str(started.absolute()))


def gigabytes(files: list[OfficialFile]) -> str:
    return f"{sum(file.num_bytes for file in files) / 1e9:.2f} GB"
