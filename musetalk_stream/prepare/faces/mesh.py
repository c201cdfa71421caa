"""The mediapipe finder: a detector on the whole picture and on tiles of it, then a mesh of 478
points on a crop around each face. The models are in the library's wheel: nothing is fetched."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from typing import Any

import cv2
import numpy as np

# By module: `mediapipe.solutions` would load everything that the library has.
from mediapipe.python.solutions import face_detection, face_mesh

from .face import Bgr, Face, Landmarks, Rect, centre_of, distance, overlap, size_of

_LEAST_SCORE = 0.5  # of a detection, 0 to 1
_CROP = 256  # pixels: the side of the picture that the mesh is laid on; it looks at 192
# Sides of the crops in sizes of the face. The mesh trembles with the crop by 0.2 % of the face's
# width; the mean over three crops does so by little more than half of that.
_AROUND = (1.9, 2.2, 2.5)
_NEARBY = 2.0  # side of what `near` looks at, in sizes of the box
_SAME_FACE = 0.3  # overlap from which two detections are of one face
_FULL_RANGE, _SHORT_RANGE = 1, 0

# The point of the mesh for each landmark, or the two in whose middle it is.
_POINTS: tuple[tuple[int, ...], ...] = (
    # jaw: even steps along the outline of the mesh
    (127,), (234, 93), (93, 132), (58,), (172,), (136, 150), (149,), (176, 148),
    (152,),
    (400, 377), (378,), (365, 379), (397,), (288,), (323, 361), (454, 323), (356,),
    # brows: between their upper and lower edges
    (70, 46), (63, 53), (105, 52), (66, 65), (107, 55),
    (336, 285), (296, 295), (334, 282), (293, 283), (300, 276),
    # nose: the bridge, then below the nostrils
    (168,), (6, 197), (195, 5), (4,),
    (98,), (97,), (2,), (326,), (327,),
    # eyes
    (33,), (160,), (158,), (133,), (153,), (144,),
    (362,), (385,), (387,), (263,), (373,), (380,),
    # outer lips, then inner lips
    (61,), (40, 39), (37,), (0,), (267,), (270, 269),
    (291,), (321, 405), (314,), (17,), (84,), (91, 181),
    (78,), (81,), (13,), (311,), (308,), (402,), (14,), (178,),
)  # fmt: skip
_FIRST, _LAST = (np.array([indices[end] for indices in _POINTS]) for end in (0, -1))


class MeshFinder:
    def __init__(self) -> None:
        self._has_met_a_face = False  # at which the mesh warns of something, once
        with _quiet():
            self._full, self._short = (
                face_detection.FaceDetection(
                    min_detection_confidence=_LEAST_SCORE, model_selection=model
                )
                for model in (_FULL_RANGE, _SHORT_RANGE)
            )
            self._mesh = face_mesh.FaceMesh(
                static_image_mode=True,  # each picture by itself: the same answer every time
                refine_landmarks=True,  # for the lips
                max_num_faces=1,
                min_detection_confidence=_LEAST_SCORE,
            )
            for model in (self._full, self._short, self._mesh):  # they start at their first picture
                model.process(np.zeros((_CROP, _CROP, 3), np.uint8))

    @property
    def name(self) -> str:
        return f"mediapipe {version('mediapipe')}"

    def __repr__(self) -> str:
        return f"<MeshFinder {self.name}>"

    def faces(self, picture: Bgr) -> list[Face]:
        rgb = _rgb(picture)
        found: list[Face] = []
        for box, score in _distinct([*self._detected(rgb), *self._in_tiles(rgb)]):
            face = self._laid(rgb, box, score)
            if face and not any(overlap(face.box, other.box) > _SAME_FACE for other in found):
                found.append(face)
        return sorted(found, key=lambda face: face.width, reverse=True)

    def near(self, picture: Bgr, box: Rect) -> Face | None:
        rgb = _rgb(picture)
        side = _NEARBY * size_of(box)
        crop, corner, scale = _square(rgb, centre_of(box), side)
        faces = [
            (_moved(found, corner, scale), score) for found, score in self._run(self._short, crop)
        ]
        if not faces:
            return None
        nearest, score = min(faces, key=lambda each: distance(each[0], box))
        return self._laid(rgb, nearest, score)

    def close(self) -> None:
        for model in (self._full, self._short, self._mesh):
            model.close()

    def _detected(self, rgb: Bgr) -> list[tuple[Rect, float]]:
        """In the whole picture; small faces escape, as the detectors see it at 192 pixels."""
        return [*self._run(self._full, rgb), *self._run(self._short, rgb)]

    def _in_tiles(self, rgb: Bgr) -> Iterator[tuple[Rect, float]]:
        for left, top, side in _tiles(rgb.shape[1], rgb.shape[0]):
            tile = np.ascontiguousarray(rgb[top : top + side, left : left + side])
            for box, score in self._run(self._full, tile):
                yield _moved(box, (left, top), 1.0), score

    def _run(self, model: Any, rgb: Bgr) -> list[tuple[Rect, float]]:
        """Boxes in pixels with their scores."""
        height, width = rgb.shape[:2]
        found = []
        for detection in model.process(rgb).detections or ():
            box = detection.location_data.relative_bounding_box
            left, top = box.xmin * width, box.ymin * height
            rect = (left, top, left + box.width * width, top + box.height * height)
            found.append((rect, float(detection.score[0])))
        return found

    def _laid(self, rgb: Bgr, box: Rect, score: float) -> Face | None:
        """The mesh on a face that is about as large as the box."""
        meshes = [self._points(rgb, box, around) for around in _AROUND]
        laid = [points for points in meshes if points is not None]
        if not laid:
            return None
        return Face(np.mean(laid, axis=0, dtype=np.float64).astype(np.float32), score)

    def _points(self, rgb: Bgr, box: Rect, around: float) -> Landmarks | None:
        crop, corner, scale = _square(rgb, centre_of(box), around * size_of(box))
        with nullcontext() if self._has_met_a_face else _quiet():
            faces = self._mesh.process(crop).multi_face_landmarks
        if not faces:
            return None
        self._has_met_a_face = True
        mesh = np.array([(point.x, point.y) for point in faces[0].landmark]) * _CROP
        points = (mesh[_FIRST] + mesh[_LAST]) / 2
        return np.asarray(points * scale + corner, np.float32)


def _rgb(picture: Bgr) -> Bgr:
    return np.ascontiguousarray(picture[..., ::-1])


def _square(
    rgb: Bgr, centre: tuple[float, float], side: float
) -> tuple[Bgr, tuple[float, float], float]:
    """A square of a picture at `_CROP` pixels, its corner, and picture pixels per pixel of it.
    Where it leaves the picture, the border goes on: an edge there would be taken for a jaw.

    Whole numbers are the middles of pixels, as OpenCV has it, so the corner is no whole number of
    pixels away from the first middle.
    """
    scale = max(side, 1.0) / _CROP
    corner = (centre[0] - side / 2, centre[1] - side / 2)
    # OpenCV averages nothing when it warps, so what is larger is made smaller first.
    most = int(np.log2(min(rgb.shape[:2])))  # something must be left of the picture
    halvings = min(max(0, int(np.floor(np.log2(scale)))), most)
    if halvings:
        rgb = np.asarray(
            cv2.resize(rgb, None, fx=0.5**halvings, fy=0.5**halvings, interpolation=cv2.INTER_AREA)
        )
    step = scale / 2**halvings
    left, top = ((value + 0.5) / 2**halvings - 0.5 for value in corner)
    forth = np.array([[step, 0, left + step / 2], [0, step, top + step / 2]])
    crop = cv2.warpAffine(
        rgb,
        forth,
        (_CROP, _CROP),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(crop, np.uint8), corner, scale


def _moved(box: Rect, corner: tuple[float, float], scale: float) -> Rect:
    """A box in a crop as one in the picture."""
    x, y = corner
    if scale != 1.0:
        left, top, right, bottom = (value * scale for value in box)
    else:
        left, top, right, bottom = box
    return left + x, top + y, right + x, bottom + y


def _distinct(detections: list[tuple[Rect, float]]) -> list[tuple[Rect, float]]:
    """The surest detection of each face."""
    kept: list[tuple[Rect, float]] = []
    for box, score in sorted(detections, key=lambda each: each[1], reverse=True):
        if not any(overlap(box, other) > _SAME_FACE for other, _ in kept):
            kept.append((box, score))
    return kept


def _tiles(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """left, top, side of squares half as long as the picture, each overlapping the next by half."""
    side = max(width, height) // 2
    for top in _steps(height, side):
        for left in _steps(width, side):
            yield left, top, side


def _steps(length: int, side: int) -> list[int]:
    if length <= side:
        return [0]
    count = -(-2 * (length - side) // side)
    return [round(step * (length - side) / count) for step in range(count + 1)]


@contextmanager
def _quiet() -> Iterator[None]:
    """Nothing on standard error: the library's C++ tells there what nobody can change, past every
    logger. What goes wrong is raised."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
