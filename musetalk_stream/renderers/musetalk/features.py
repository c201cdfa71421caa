"""The features of one utterance's sound, encoded as far as they are asked for.

Whisper hears 30 s at a time and every row depends on all of them, so longer speech is heard in
segments. The official code puts them end to end, which shows as a jump every 30 s; here they
overlap, and one fades into the other far enough from where either begins or ends.

Of sound that is still arriving, a segment is what has come of it, encoded anew as more comes.
"""

from collections.abc import Callable

import numpy as np

from ...sound import Sound
from ...timeline import MODEL_RATE
from .windows import NO_ROW, ROWS_PER_S, Floats, Rows, count_rows, gather

SEGMENT_SAMPLES = 30 * MODEL_RATE
SEGMENT_ROWS = 30 * ROWS_PER_S
LAYERS, WIDTH = 5, 384

Encode = Callable[[Floats], Floats]  # [SEGMENT_SAMPLES] at 16 kHz to [SEGMENT_ROWS, LAYERS, WIDTH]

_SAMPLES_PER_ROW = MODEL_RATE // ROWS_PER_S
_OVERLAP_ROWS = 4 * ROWS_PER_S
_FADE_ROWS = 2 * ROWS_PER_S  # in the middle of the overlap: a second from either end
# Frames in order need two at a time, and no more than these two are kept: 11.5 MB each.
_KEPT_SEGMENTS = 2


class SpeechFeatures:
    """Rows of features of a sound, in any order of asking.

    A segment is encoded when the first of its rows is asked for. It is encoded again only if that
    goes back beyond the two segments encoded last, or if more of it may be heard than before.

    reference: segments end to end and rows counted as in the official code.
    """

    def __init__(self, sound: Sound, encode: Encode, *, reference: bool = False) -> None:
        self._sound = sound
        self._encode = encode
        self._reference = reference
        self._overlap, self._fade = (0, 1) if reference else (_OVERLAP_ROWS, _FADE_ROWS)
        self._stride = SEGMENT_ROWS - self._overlap
        # By number, the one encoded last at the end: where what was heard of it ends, its rows.
        self._kept: dict[int, tuple[int, Floats]] = {}

    @property
    def num_rows(self) -> int:
        return self._count(self._sound.num_model)

    def _count(self, num_samples: int) -> int:
        return count_rows(num_samples, reference=self._reference)

    def windows(self, rows: Rows, *, upto: int | None = None) -> Floats:
        """The windows of these rows, as `window_rows` gives them: float32 `[n, 50, 384]`.

        upto: audio samples from there on are not heard, even if they have come.
        """
        there = rows[rows != NO_ROW]
        if not there.size:
            return gather(np.empty((0, LAYERS, WIDTH), np.float32), rows)
        first = int(there.min())
        features = self.rows(first, int(there.max()) + 1, upto=upto)
        return gather(features, np.where(rows == NO_ROW, NO_ROW, rows - np.int32(first)))

    def rows(self, first: int, last: int, *, upto: int | None = None) -> Floats:
        """Rows `first` … `last-1`: float32 `[last-first, 5, 384]`."""
        stop = self._sound.num_model if upto is None else upto
        count = self._count(stop)
        assert 0 <= first <= last <= count, f"{first} to {last} of {count} rows"
        found = np.zeros((last - first, LAYERS, WIDTH), np.float32)
        earliest = max(0, first - SEGMENT_ROWS) // self._stride
        for number in range(earliest, last // self._stride + 1):
            share = self._share(number, first, last, stop)
            places = np.flatnonzero(share)
            if places.size:
                segment = self._segment(number, stop)[places + first - number * self._stride]
                found[places] += share[places, None, None] * segment
        return found

    def _share(self, number: int, first: int, last: int, stop: int) -> Floats:
        """How far a segment counts in rows `first` … `last-1`; over all segments, 1 in each row."""
        rows = np.arange(first, last)

        def begun(segment: int) -> Floats:
            if segment == 0:
                return np.ones(rows.size, np.float32)
            if not self._exists(segment, stop):
                return np.zeros(rows.size, np.float32)
            into = rows - segment * self._stride - (self._overlap - self._fade) / 2 + 0.5
            return np.clip(into / self._fade, 0, 1).astype(np.float32)

        return begun(number) - begun(number + 1)

    def _exists(self, number: int, stop: int) -> bool:
        """The last segment is the first that reaches the end; while that is not known, the next one
        begins in time to be faded to."""
        begin = number * self._stride
        if not self._sound.is_live:
            begin += self._overlap
        return number == 0 or begin * _SAMPLES_PER_ROW < stop

    def _segment(self, number: int, stop: int) -> Floats:
        first = number * self._stride * _SAMPLES_PER_ROW
        heard_until = min(stop, first + SEGMENT_SAMPLES)
        until, segment = self._kept.pop(number, (-1, None))
        if segment is None or until != heard_until:
            segment = self._encoded(first, heard_until)
            if len(self._kept) >= _KEPT_SEGMENTS:
                self._kept.pop(next(iter(self._kept)))
        self._kept[number] = heard_until, segment
        return segment

    def _encoded(self, start: int, stop: int) -> Floats:
        padded = np.zeros(SEGMENT_SAMPLES, np.float32)
        padded[: stop - start] = self._sound.listened(start, stop)
        encoded = self._encode(padded)
        expected = (SEGMENT_ROWS, LAYERS, WIDTH)
        assert encoded.shape == expected, f"{encoded.shape} features, not {expected}"
        # A copy, so that a short utterance does not hold the features of its padding.
        num_rows = self._count(stop) - start // _SAMPLES_PER_ROW
        return np.array(encoded[:num_rows], np.float32)

    def __repr__(self) -> str:
        return f"<SpeechFeatures {self._sound.duration_s:.1f} s, segments {sorted(self._kept)}>"
