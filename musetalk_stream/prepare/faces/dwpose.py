"""The DWPose finder: the network and the steps by which the official MuseTalk code finds landmarks,
read as ONNX instead of through mmpose. The whole picture counts as one person, so it sees one face.
"""

from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime

from ...errors import WeightsError
from ...weights import expectation
from .face import NUM_LANDMARKS, Bgr, Face, Rect
from .mean_face import MIRRORED

Vectors: TypeAlias = npt.NDArray[np.float32]

_WIDTH, _HEIGHT = 288, 384  # pixels of the network's input
_PADDING = 1.25  # around the person, as trained
_SPLIT = 2  # steps of the network's answer per pixel of its input
_FACE = slice(23, 23 + NUM_LANDMARKS)  # of the 133 points of a whole body
_LEAST_SCORE = 0.3  # mean over the face's points, from which there is a face
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # R, G, B
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)


class DwposeFinder:
    def __init__(self, path: Path) -> None:
        """Raises WeightsError if the file can't be read or is not this network."""
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors
        try:
            self._network = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # its errors have no common class of their own
            raise WeightsError(
                f"{path} can't be read: {str(exc)[:200]}. {expectation(path)}"
            ) from exc
        self._input = self._network.get_inputs()[0].name
        outputs = [output.name for output in self._network.get_outputs()]
        shape = self._network.get_inputs()[0].shape[-3:]
        if outputs[:2] != ["simcc_x", "simcc_y"] or shape != [3, _HEIGHT, _WIDTH]:
            raise WeightsError(
                f"{path} is another network: it takes {shape} and makes {', '.join(outputs)}. "
                f"{expectation(path)}"
            )

    @property
    def name(self) -> str:
        return f"dwpose (onnxruntime {onnxruntime.__version__})"

    def __repr__(self) -> str:
        return f"<DwposeFinder {self.name}>"

    def faces(self, picture: Bgr) -> list[Face]:
        """At most one."""
        height, width = picture.shape[:2]
        seen, corner, scale = _seen(picture)
        x, y = self._answer(seen)
        x_flipped, y_flipped = self._answer(seen[:, ::-1])
        # [68, 576] and [68, 768]: how likely each column and row is
        columns = (x + x_flipped[list(MIRRORED), ::-1]) / 2
        rows = (y + y_flipped[list(MIRRORED)]) / 2
        scores = np.minimum(columns.max(axis=1), rows.max(axis=1))
        score = float(scores.mean())
        if not score >= _LEAST_SCORE:  # nor if it is NaN
            return []
        steps = np.stack([columns.argmax(axis=1), rows.argmax(axis=1)], axis=1)
        points = steps / _SPLIT * scale + corner
        if not _is_in((width, height), points):
            return []
        return [Face(points.astype(np.float32), min(score, 1.0))]

    def near(self, picture: Bgr, box: Rect) -> Face | None:
        """The one face, wherever it is: the network is used on whole pictures only."""
        return next(iter(self.faces(picture)), None)

    def close(self) -> None:
        pass  # what it holds is memory

    def _answer(self, seen: Bgr) -> tuple[Vectors, Vectors]:
        """Columns `[68, 576]` and rows `[68, 768]` of a picture `[384, 288, 3]`."""
        normal = (seen[..., ::-1].astype(np.float32) - _MEAN) / _DEVIATION
        batch = np.ascontiguousarray(normal.transpose(2, 0, 1)[None])  # [1, 3, 384, 288]
        x, y = self._network.run(["simcc_x", "simcc_y"], {self._input: batch})
        return x[0, _FACE], y[0, _FACE]


def _seen(picture: Bgr) -> tuple[Bgr, npt.NDArray[np.float64], float]:
    """The picture as the network sees it, `[384, 288, 3]`: whole, with padding, black around; the
    place of its corner, and picture pixels per pixel of it."""
    height, width = picture.shape[:2]
    scale = max(width * _PADDING / _WIDTH, height * _PADDING / _HEIGHT)
    corner = np.array([width - scale * _WIDTH, height - scale * _HEIGHT]) / 2
    back = np.array([[scale, 0, corner[0]], [0, scale, corner[1]]])
    forth = cv2.invertAffineTransform(back)
    seen = cv2.warpAffine(picture, forth, (_WIDTH, _HEIGHT), flags=cv2.INTER_LINEAR)
    return np.asarray(seen, np.uint8), corner, scale


def _is_in(size: tuple[int, int], points: npt.NDArray[np.float64]) -> bool:
    """Whether the middle of the points is in the picture, and not in the padding."""
    x, y = points.mean(axis=0)
    return bool(0 <= x <= size[0] and 0 <= y <= size[1])
