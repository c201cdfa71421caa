"""How the portrait moves: everything is a function of the frame's place in the loop."""

from dataclasses import dataclass

import numpy as np

from . import geometry as g

NUM_FRAMES = 200
FPS = 25
PIVOT = (256.0, 430.0)  # the head turns about the base of the neck

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
    turn: tuple[float, float]  # how far what is nearest to the viewer (nose) moves: yaw, pitch
    breath: float
    eyes_open: float
    gaze: tuple[float, float]

    def head(self, depth: float = 0.0) -> g.Points:
        """The affine map [2, 3] of what lies this deep: 0 is the outline, 1 the tip of the nose."""
        a = np.deg2rad(self.roll)
        c, s = np.cos(a), np.sin(a)
        dx, dy = self.turn[0] * depth, self.turn[1] * depth
        px, py = PIVOT
        linear = np.array([[c, -s], [s, c]])
        move = linear @ (np.array([dx, dy]) - PIVOT) + (px + self.shift[0], py + self.shift[1])
        return np.column_stack([linear, move])

    def place(self, points: g.Points, depth: float = 0.0) -> g.Points:
        """The points of the face at rest as they lie in this frame."""
        m = self.head(depth)
        return points @ m[:, :2].T + m[:, 2]


# How deep the parts of the face lie.
DEPTH_BROWS, DEPTH_EYES, DEPTH_MOUTH, DEPTH_NOSE = 0.5, 0.5, 0.7, 1.0


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
        p.place(g.JAW),
        p.place(g.brow_landmarks(), DEPTH_BROWS),
        p.place(np.vstack([g.NOSE_BRIDGE, g.NOSE_BASE]), DEPTH_NOSE),
        p.place(g.eye_landmarks(p.eyes_open), DEPTH_EYES),
        p.place(g.mouth_landmarks(), DEPTH_MOUTH),
    ]
    return np.vstack(parts).astype(np.float32)
