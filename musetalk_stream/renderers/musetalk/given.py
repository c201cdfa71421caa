"""What an avatar brings along for the renderer, as imported ones do: the boxes, masks and latents
of the official code, which need not be made and come out the same.

`{folder}/musetalk.safetensors`, in the format of `prepared_file`; it fits one version of MuseTalk.
"""

from contextlib import AbstractContextManager
from pathlib import Path

from ...avatar import Avatar
from .prepared_file import Parts, Stamp, Writer, read_parts, writing

_FORMAT = "given 1"


def given_path(folder: Path) -> Path:
    return folder / "musetalk.safetensors"


def writing_given(
    folder: Path, version: str, source_sha256: str, num_frames: int
) -> AbstractContextManager[Writer]:
    """The file, to which the block adds pictures in order; there is all of it afterwards, or none.

    version        "v15" or "v1": for which masks and latents were made
    source_sha256  of the pictures, as in the manifest
    """
    return writing(given_path(folder), _stamp(version, source_sha256), num_frames)


def read_given(avatar: Avatar, version: str) -> Parts | None:
    """None if the avatar brings nothing for this version, and its own pictures."""
    manifest = avatar.manifest
    stamp = _stamp(version, manifest.source_sha256)
    size = (manifest.width, manifest.height)
    return read_parts(given_path(avatar.folder), stamp, manifest.num_frames, size)


def _stamp(version: str, source_sha256: str) -> Stamp:
    return {"format": _FORMAT, "version": version, "pictures": source_sha256}
