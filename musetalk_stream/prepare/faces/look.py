"""Which face an avatar will speak with: found in the first pictures, or marked by hand."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ...errors import FaceCut, FaceTooSmall, InvalidParameter, MuseTalkStreamError, NoFace
from ...renderers.musetalk.crop import FACE
from ..request import FaceHint, Point
from .face import (
    EYES,
    JAW,
    LIPS,
    NUM_LANDMARKS,
    Bgr,
    Face,
    FaceFinder,
    Landmarks,
    Rect,
    beyond,
    box_of,
    centre_of,
    overlap,
    width_of,
    within,
)
from .finders import finder_missing
from .mean_face import mean_face
from .outline import outlines

BY_HAND = "by hand"
SMALLEST = 48  # pixels from jaw to jaw; in a smaller face, lips are too few pixels to move
_SOFT = 100  # pixels of width below which a face looks soft
_LARGE = 400  # and above which what is drawn at 256 pixels does
# From here on, lips fit visibly less well: degrees, and shares of the jaw's width that the tip of
# the nose is off the middle.
_TILTED, _TURNED = 20, 0.3
_JAW_ENDS, _NOSE_TIP = (0, 16), 30
_RIGHT_EYE, _LEFT_EYE = slice(36, 42), slice(42, 48)  # the person's
_JAW_BEYOND = 0.06  # of the face's width: how far the jaw may leave the picture


@dataclass(frozen=True, slots=True)
class Look:
    """What was found, in pixels of the working picture.

    frame      which of the pictures that were looked at
    width      of the picture, as its height
    faces      box and score of each face, the largest first
    chosen     index into `faces`
    landmarks  68 x, y of the chosen one
    mask       outlines of what will be generated
    finder     what found it
    notes      what somebody should know about it: a sentence each
    """

    frame: int
    width: int
    height: int
    faces: list[tuple[Rect, float]]
    chosen: int
    landmarks: list[Point]
    mask: list[list[Point]]
    finder: str
    notes: list[str]

    @property
    def points(self) -> Landmarks:
        """The landmarks as an array, `[68, 2]`."""
        return np.array(self.landmarks, np.float32)

    def to_json(self) -> str:
        return json.dumps(asdict(self))


def read_look(text: str) -> Look:
    """What `Look.to_json` wrote. Raises ValueError, KeyError or TypeError if it is not that."""
    raw = json.loads(text)
    return Look(
        **raw
        | {
            "faces": [(tuple(box), score) for box, score in raw["faces"]],
            "landmarks": [(x, y) for x, y in raw["landmarks"]],
            "mask": [[(x, y) for x, y in outline] for outline in raw["mask"]],
        }
    )


def look(frames: Sequence[Callable[[], Bgr]], hint: FaceHint, finder: FaceFinder | None) -> Look:
    """The face in the first of the pictures that shows one that can be used.

    hint    in pixels of these pictures
    finder  None where there is none: then the face must be marked by box or landmarks

    Raises InvalidParameter if the hint is in no picture, FaceFinderMissing, NoFace, FaceTooSmall
    or FaceCut.
    """
    assert frames, "no picture to look at"
    if hint.landmarks is not None:
        return _marked(frames[0](), _landmarks(hint.landmarks), [])
    if finder is None and hint.box is None:
        raise finder_missing()
    refused: MuseTalkStreamError | None = None
    for index, frame in enumerate(frames if finder else ()):
        assert finder is not None
        picture = frame()
        faces = _faces(picture, hint, finder)
        if not faces:
            continue
        try:
            return _found(index, picture, faces, _choose(faces, hint.point), finder.name)
        except (FaceTooSmall, FaceCut) as exc:  # another picture may be better
            refused = refused or exc
    if refused:
        raise refused
    if hint.box is None:
        raise _no_face(frames[0]())
    picture = frames[0]()
    _check_box(hint.box, picture)
    note = "No face was recognised in the box: the lips are taken to be where they usually are."
    return _marked(picture, mean_face(hint.box), [note])


def _faces(picture: Bgr, hint: FaceHint, finder: FaceFinder) -> list[Face]:
    """What there is to choose from."""
    if hint.box is None:
        return finder.faces(picture)
    _check_box(hint.box, picture)
    face = finder.near(picture, hint.box)
    # Next to the box is not in it: whoever drew it meant another face.
    if face is None or not _is_within(centre_of(face.box), hint.box):
        return []
    return [face]


def _choose(faces: list[Face], point: Point | None) -> int:
    """The face around a point, else the nearest to it; without a point the largest."""
    if point is None:
        return 0
    away = []
    for face in faces:
        left, top, right, bottom = face.box
        beside = max(left - point[0], 0, point[0] - right)
        above = max(top - point[1], 0, point[1] - bottom)
        away.append(float(np.hypot(beside, above)))
    return away.index(min(away))


def _found(index: int, picture: Bgr, faces: list[Face], chosen: int, finder: str) -> Look:
    height, width = picture.shape[:2]
    landmarks = faces[chosen].landmarks
    _check_face(landmarks, width, height)
    notes = [*_size_notes(width_of(box_of(landmarks))), *_pose_notes(landmarks)]
    landmarks = within(landmarks, width, height)
    if len(faces) > 1:
        notes.insert(0, f"There are {len(faces)} faces; the one that speaks is marked.")
    return Look(
        frame=index,
        width=width,
        height=height,
        faces=[(_rounded_box(face.box), round(face.score, 3)) for face in faces],
        chosen=chosen,
        landmarks=[(float(x), float(y)) for x, y in landmarks.tolist()],
        mask=outlines(landmarks, width, height),
        finder=finder,
        notes=notes,
    )


def _marked(picture: Bgr, landmarks: Landmarks, notes: list[str]) -> Look:
    """What somebody has marked by hand in the first picture."""
    made = _found(0, picture, [Face(landmarks, 1.0)], 0, BY_HAND)
    made.notes[:0] = notes
    return made


def _check_face(landmarks: Landmarks, width: int, height: int) -> None:
    """Raises FaceTooSmall or FaceCut."""
    face_width = width_of(box_of(landmarks))
    if face_width < SMALLEST:
        raise FaceTooSmall(
            f"the face is {face_width:.0f} pixels wide, and {SMALLEST} are the least: "
            "send a picture that is larger, or cut out around the head"
        )
    for part, name, allowed in (
        (LIPS, "mouth", 0.0),
        (EYES, "eyes", 0.0),
        (JAW, "chin or cheek", _JAW_BEYOND * face_width),
    ):
        if beyond(landmarks[part], width, height) > allowed:
            raise FaceCut(
                f"the border of the picture cuts the {name}: send a picture that shows the whole "
                "face, with some room around it"
            )


def _no_face(picture: Bgr) -> NoFace:
    height, width = picture.shape[:2]
    return NoFace(
        f"no face was found in {width} x {height} pixels: it must look towards the camera, be well "
        f"lit, not covered, and at least {SMALLEST} pixels wide; or mark it by hand (face_box)"
    )


def _size_notes(face_width: float) -> list[str]:
    if face_width < _SOFT:
        return [f"The face is {face_width:.0f} pixels wide: its mouth will look soft."]
    if face_width > _LARGE:
        return [
            f"The face is {face_width:.0f} pixels wide and MuseTalk draws {FACE}: "
            "the mouth will look softer than what is around it."
        ]
    return []


def _pose_notes(landmarks: Landmarks) -> list[str]:
    """The share is how far the tip of the nose is from one side of the jaw to the other."""
    across = landmarks[_JAW_ENDS[1]] - landmarks[_JAW_ENDS[0]]
    tip = landmarks[_NOSE_TIP] - landmarks[_JAW_ENDS[0]]
    share = float(tip @ across) / max(float(across @ across), 1e-6)
    if abs(share - 0.5) > _TURNED:
        return ["The head is turned to the side: lips fit best on one that faces the camera."]
    x, y = landmarks[_LEFT_EYE].mean(axis=0) - landmarks[_RIGHT_EYE].mean(axis=0)
    tilt = abs(np.degrees(np.arctan2(y, x)))
    if tilt > _TILTED:
        return [f"The head is tilted by {tilt:.0f} degrees: lips fit best on an upright one."]
    return []


def _landmarks(points: Sequence[Point]) -> Landmarks:
    """Raises InvalidParameter."""
    landmarks = np.array(points, np.float32)
    if landmarks.shape != (NUM_LANDMARKS, 2) or not np.isfinite(landmarks).all():
        raise InvalidParameter("landmarks", f"must be {NUM_LANDMARKS} points x, y")
    return landmarks


def _check_box(box: Rect, picture: Bgr) -> None:
    """Raises InvalidParameter."""
    height, width = picture.shape[:2]
    left, top, right, bottom = box
    if not np.isfinite(box).all() or left >= right or top >= bottom:
        raise InvalidParameter("face_box", "must be left, top, right, bottom of a rectangle")
    if overlap(box, (0, 0, width, height)) == 0:
        raise InvalidParameter("face_box", "is outside the picture")


def _is_within(point: Point, box: Rect) -> bool:
    return box[0] <= point[0] <= box[2] and box[1] <= point[1] <= box[3]


def _rounded_box(box: Rect) -> Rect:
    left, top, right, bottom = (round(value, 1) for value in box)
    return left, top, right, bottom
