"""How the portrait moves: everything is a function of the frame's place in the loop."""

from dataclasses import dataclass

import numpy as np

from . import geometry as g

NUM_FRAMES = 200
FPS = 25
PIVOT = np.array([256.0, 430.0])  # the head turns about the base of the neck

# First frame of a blink and how far the eyes are open in it and in the next frames.
BLINKS = {
    33: (0.62, 0.12, 0.0, 0.22, 0.66, 0.93),
    118: (0.66, 0.16, 0.0, 0.0, 0.3, 0.7, 0.94),
    151: (0.55, 0.05, 0.1, 0.55, 0.9),
}
# From this frame on the eyes rest there (pixels right, pixels down); they jump in two frames.
GAZE = {0: (0.0, 0.0), 35: (0.9, 0.1), 71: (0.2, -0.3), 120: (-0.9, 0.1), 153: (0.0, 0.0)}


@dataclass(frozen=True, slots=True)
class Pose:
    """Where head and eyes are in one frame. Pixels, degrees; breath is 0 (out) to 1 (in)."""

    roll: float
    shift: tuple[float, float]
    turn: tuple[float, float]  # how far what is nearest to the viewer moves: yaw, pitch
    breath: float
    eyes_open: float
    gaze: tuple[float, float]

    def head(self) -> g.Points:
        """The affine map [2, 3] of the head: from the picture at rest to this frame."""
        a = np.deg2rad(self.roll)
        linear = np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])
        return np.column_stack([linear, PIVOT + np.array(self.shift) - linear @ PIVOT])

    def place(self, points: g.Points) -> g.Points:
        """Where points [..., 2] of the head at rest lie in this frame."""
        m = self.head()
        return (points + depth(points) * self.turn) @ m[:, :2].T + m[:, 2]

    def unplace(self, points: g.Points) -> g.Points:
        """The inverse of `place`, to a hundredth of a pixel."""
        m = self.head()
        flat = (points - m[:, 2]) @ m[:, :2]
        rest = flat
        for _ in range(3):
            rest = flat - depth(rest) * self.turn
        return rest


def depth(points: g.Points) -> g.Points:
    """[..., 1]: how near to the viewer, 0 the hair to 1 the nose."""
    x, y = points[..., :1] - g.CENTRE_X, points[..., 1:] - 262
    return np.exp(-0.5 * ((x / 52) ** 2 + (y / 82) ** 2))


def pose(frame: int) -> Pose:
    t = 2 * np.pi * (frame % NUM_FRAMES) / NUM_FRAMES
    breath = 0.5 - 0.5 * np.cos(2 * t)  # two breaths in the loop
    return Pose(
        roll=0.75 * np.sin(t + 0.6) + 0.2 * np.sin(2 * t + 2.1),
        shift=(1.3 * np.sin(t + 0.2), -1.3 * breath + 0.3 * np.sin(t)),
        turn=(1.8 * np.sin(t - 0.5) + 0.5 * np.sin(3 * t), 0.9 * np.sin(t + 1.9)),
        breath=breath,
        eyes_open=_eyes_open(frame % NUM_FRAMES),
        gaze=_gaze(frame % NUM_FRAMES),
    )


def _eyes_open(frame: int) -> float:
    for first, values in BLINKS.items():
        if first <= frame < first + len(values):
            return values[frame - first]
    return 1.0


def _gaze(frame: int) -> tuple[float, float]:
    starts = sorted(GAZE)
    last = max(i for i, s in enumerate(starts) if s <= frame)
    (x0, y0), (x1, y1) = GAZE[starts[last - 1]], GAZE[starts[last]]
    done = min((frame - starts[last] + 1) / 2, 1.0)
    return x0 + done * (x1 - x0), y0 + done * (y1 - y0)


def landmarks(frame: int) -> np.ndarray:
    """float32 [68, 2]: the landmarks of one frame, in the order of iBUG 300-W."""
    p = pose(frame)
    parts = [
        g.JAW,
        g.brow_landmarks(),
        g.NOSE_BRIDGE,
        g.NOSE_BASE,
        g.eye_landmarks(p.eyes_open),
        g.mouth_landmarks(),
    ]
    return p.place(np.vstack(parts)).astype(np.float32)
