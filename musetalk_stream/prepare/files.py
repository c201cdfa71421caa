"""Files of a preparation: whole or not there, in whatever moment a process is killed."""

import hashlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .faces import Bgr


def put(path: Path, write: Callable[[Path], object]) -> None:
    """Let it be written beside, then rename it."""
    making = path.with_name(path.name + ".part")
    write(making)
    making.rename(path)


def write_array(path: Path, array: npt.NDArray[Any]) -> None:
    # Into memory first: of a disk that is full, numpy does not say that it is.
    file = BytesIO()
    np.save(file, array)
    path.write_bytes(file.getbuffer())


def write_picture(path: Path, picture: Bgr, kind: str) -> None:
    """`kind`: ".png" or ".jpg", whatever the path ends with."""
    encoded, data = cv2.imencode(kind, picture)
    assert encoded, f"a picture of shape {picture.shape} can be encoded as {kind}"
    path.write_bytes(data.tobytes())


def read_picture(path: Path) -> Bgr:
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    assert picture is not None, f"{path} is a whole picture: it was renamed to be there"
    return np.asarray(picture, np.uint8)


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
