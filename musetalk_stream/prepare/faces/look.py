"""Which face an avatar will speak with: found in the first pictures, or marked by hand."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

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
    distance,
    is_within,
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
_JAW_ENDS, _NOSE_TIP, _CHIN = (0, 16), 30, slice(7, 10)
_RIGHT_EYE, _LEFT_EYE = slice(36, 42), slice(42, 48)  # the person's
_JAW_BEYOND = 0.06  # of the face's width: how far the jaw may leave the picture
_INNER_UPPER, _INNER_LOWER, _CORNERS = [61, 62, 63], [67, 66, 65], (48, 54)
_APART = 0.12  # of the mouth's width: from here on, lips are open
# A detector is less sure of a face that lies on its side or on its head, and the mesh may then be
# the wrong way up: it is if another way up, surer by this much, puts it elsewhere.
_SURE, _SURER = 0.85, 0.1  # scores
_ELSEWHERE = 0.12  # of the face's width, in the mean over the landmarks
# What marks must be like to be those of a face, in shares of its width.
_LEAST_EYES_APART, _LEAST_EYES_TO_CHIN, _MOST_LIPS = 0.2, 0.4, 0.8
_FLATTEST_BOX = 0.4  # height by width


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
    if hint.point is not None:
        _check_point(hint.point, frames[0]())
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
            found = _chosen(index, picture, faces, hint.point, finder)
            return found if len(frames) > 1 else replace(found, notes=_still_notes(found))
        except (NoFace, FaceTooSmall, FaceCut) as exc:  # another picture may be better
            refused = refused or exc
    if refused:
        raise refused
    if hint.box is None:
        raise _no_face(frames[0]())
    picture = frames[0]()
    _seen_of(hint.box, picture)
    if hint.box[3] - hint.box[1] < _FLATTEST_BOX * width_of(hint.box):
        raise InvalidParameter("face_box", "is too flat for a face: it goes from brows to chin")
    note = "No face was recognised in the box: the lips are taken to be where they usually are."
    return _marked(picture, mean_face(hint.box), [note])


def _faces(picture: Bgr, hint: FaceHint, finder: FaceFinder) -> list[Face]:
    """What there is to choose from."""
    if hint.box is None:
        return finder.faces(picture)
    box = _seen_of(hint.box, picture)
    face = finder.near(picture, box)
    # Next to the box is not in it: whoever drew it meant another face.
    if face is not None and is_within(centre_of(face.box), box):
        return [face]
    # In a box that is much larger than the face, it may be too small to be seen at once.
    return [each for each in finder.faces(picture) if is_within(centre_of(each.box), box)]


def _chosen(
    index: int, picture: Bgr, faces: list[Face], point: Point | None, finder: FaceFinder
) -> Look:
    """The face at a point; without a point the largest that can be used.

    Raises NoFace, FaceTooSmall or FaceCut.
    """
    refused: MuseTalkStreamError | None = None
    for chosen in range(len(faces)) if point is None else [_at(faces, point)]:
        try:
            found = _found(index, picture, faces, chosen, finder.name)
            _check_way_up(picture, faces[chosen], finder)
        except (NoFace, FaceTooSmall, FaceCut) as exc:
            refused = refused or exc
        else:
            return found
    assert refused is not None, "there is a face"
    if len(faces) == 1:
        raise refused
    raise type(refused)(f"{refused}; or choose another face (face_point)") from refused


def _at(faces: list[Face], point: Point) -> int:
    """The face around a point, else the nearest to it."""
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


def _check_way_up(picture: Bgr, face: Face, finder: FaceFinder) -> None:
    """Raises NoFace if a face is upside down, so that its lips would be drawn into the hair."""
    if face.score >= _SURE:
        return
    turned = picture
    for quarters in (1, 2, 3):
        turned = np.ascontiguousarray(np.rot90(turned))
        for other in finder.faces(turned):
            there = _turned_back(other.landmarks, quarters, turned.shape)
            if other.score < face.score + _SURER or distance(box_of(there), face.box) > 1:
                continue
            away = float(np.linalg.norm(there - face.landmarks, axis=1).mean())
            if away > _ELSEWHERE * face.width:
                raise NoFace("the face is upside down or lies on its side: turn the picture")


def _turned_back(landmarks: Landmarks, quarters: int, shape: tuple[int, ...]) -> Landmarks:
    """Landmarks in a picture of a shape as those before it was turned to the left."""
    height, width = shape[:2]
    for _ in range(quarters):
        landmarks = np.stack([height - 1 - landmarks[:, 1], landmarks[:, 0]], axis=1)
        height, width = width, height
    return landmarks


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
        f"no face was found in {width} x {height} pixels: it must look towards the camera, be "
        f"upright, well lit, not covered, and at least {SMALLEST} pixels wide; or mark it by hand "
        "(face_box)"
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


def _still_notes(found: Look) -> list[str]:
    """What a still shows in silence, it shows for good."""
    points = found.points
    gap = float(np.linalg.norm(points[_INNER_UPPER] - points[_INNER_LOWER], axis=1).mean())
    mouth = float(np.linalg.norm(points[_CORNERS[1]] - points[_CORNERS[0]]))
    if gap < _APART * mouth:
        return found.notes
    note = "The lips are apart in this picture: they stay so in silence, and in m, b and p."
    return [*found.notes, note]


def _landmarks(points: Sequence[Point]) -> Landmarks:
    """Raises InvalidParameter."""
    landmarks = np.array(points, np.float32)
    if landmarks.shape != (NUM_LANDMARKS, 2) or not np.isfinite(landmarks).all():
        raise InvalidParameter("landmarks", f"must be {NUM_LANDMARKS} points x, y")
    if not _is_face(landmarks):
        raise InvalidParameter(
            "landmarks", "are not those of an upright face in the order of iBUG 300-W"
        )
    return landmarks


def _is_face(landmarks: Landmarks) -> bool:
    """Whether eyes, lips and chin are below each other as in a face, seen from the front or from
    the side, tilted by less than a right angle."""
    left, right = landmarks[_LEFT_EYE].mean(axis=0), landmarks[_RIGHT_EYE].mean(axis=0)
    width = width_of(box_of(landmarks))
    apart = float(np.linalg.norm(left - right))
    if apart < _LEAST_EYES_APART * width or left[0] <= right[0]:
        return False
    down = np.array([right[1] - left[1], left[0] - right[0]]) / apart
    lips, chin = ((landmarks[part] - (left + right) / 2) @ down for part in (LIPS, _CHIN))
    lips_size = float(np.ptp(landmarks[LIPS], axis=0).max())
    size = float(np.ptp(landmarks, axis=0).max())
    return bool(
        lips.min() > 0 and lips.max() < chin.min() and chin.min() >= _LEAST_EYES_TO_CHIN * width
        and lips_size <= _MOST_LIPS * size
    )  # fmt: skip


def _check_point(point: Point, picture: Bgr) -> None:
    """Raises InvalidParameter."""
    height, width = picture.shape[:2]
    if not is_within(point, (0, 0, width, height)):
        raise InvalidParameter("face_point", "is outside the picture")


def _seen_of(box: Rect, picture: Bgr) -> Rect:
    """What of a box is in the picture. Raises InvalidParameter."""
    height, width = picture.shape[:2]
    left, top, right, bottom = box
    if not np.isfinite(box).all() or left >= right or top >= bottom:
        raise InvalidParameter("face_box", "must be left, top, right, bottom of a rectangle")
    if overlap(box, (0, 0, width, height)) == 0:
        raise InvalidParameter("face_box", "is outside the picture")
    return max(left, 0), max(top, 0), min(right, width), min(bottom, height)


def _rounded_box(box: Rect) -> Rect:
    left, top, right, bottom = (round(value, 1) for value in box)
    return left, top, right, bottom
