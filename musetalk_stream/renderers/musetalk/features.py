"""The features of one utterance's sound, encoded as far as they are asked for.

Whisper hears 30 s at a time and every row depends on all of them, so longer speech is heard in
segments. The official code puts them end to end, which shows as a jump every 30 s; here they
overlap, and one fades into the other far enough from where either begins or ends.
"""

from collections.abc import Callable

import numpy as np

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
    """Rows of features of `samples` (mono, 16 kHz, float32), in any order of asking.

    A segment is encoded when the first of its rows is asked for. It is encoded again only if that
    goes back beyond the two segments encoded last.

    reference: segments end to end and rows counted as in the official code.
    """

    def __init__(self, samples: Floats, encode: Encode, *, reference: bool = False) -> None:
        self.num_rows = count_rows(samples.size, reference=reference)
        self._samples = samples
        self._encode = encode
        self._overlap, self._fade = (0, 1) if reference else (_OVERLAP_ROWS, _FADE_ROWS)
        self._stride = SEGMENT_ROWS - self._overlap
        self._kept: dict[int, Floats] = {}  # by number, the one encoded last at the end

    def windows(self, rows: Rows) -> Floats:
        """The windows of these rows, as `window_rows` gives them: float32 `[n, 50, 384]`."""
        there = rows[rows != NO_ROW]
        if not there.size:
            return gather(np.empty((0, LAYERS, WIDTH), np.float32), rows)
        first = int(there.min())
        features = self.rows(first, int(there.max()) + 1)
        return gather(features, np.where(rows == NO_ROW, NO_ROW, rows - np.int32(first)))

    def rows(self, first: int, last: int) -> Floats:
        """Rows `first` … `last-1`: float32 `[last-first, 5, 384]`."""
        assert 0 <= first <= last <= self.num_rows, f"{first} to {last} of {self.num_rows} rows"
        found = np.zeros((last - first, LAYERS, WIDTH), np.float32)
        earliest = max(0, first - SEGMENT_ROWS) // self._stride
        for number in range(earliest, last // self._stride + 1):
            share = self._share(number, first, last)
            places = np.flatnonzero(share)
            if places.size:
                segment = self._segment(number)[places + first - number * self._stride]
                found[places] += share[places, None, None] * segment
        return found

    def _share(self, number: int, first: int, last: int) -> Floats:
        """How far a segment counts in rows `first` … `last-1`; over all segments, 1 in each row."""
        rows = np.arange(first, last)

        def begun(segment: int) -> Floats:
            if segment == 0:
                return np.ones(rows.size, np.float32)
            if not self._exists(segment):
                return np.zeros(rows.size, np.float32)
            into = rows - segment * self._stride - (self._overlap - self._fade) / 2 + 0.5
            return np.clip(into / self._fade, 0, 1).astype(np.float32)

        return begun(number) - begun(number + 1)

    def _exists(self, number: int) -> bool:
        """The last segment is the first that reaches the end."""
        ends_before = (number * self._stride + self._overlap) * _SAMPLES_PER_ROW
        return number == 0 or ends_before < self._samples.size

    def _segment(self, number: int) -> Floats:
        segment = self._kept.get(number)
        if segment is None:
            segment = self._encoded(number)
            if len(self._kept) >= _KEPT_SEGMENTS:
                self._kept.pop(next(iter(self._kept)))
            self._kept[number] = segment
        return segment

    def _encoded(self, number: int) -> Floats:
        first = number * self._stride
        heard = self._samples[first * _SAMPLES_PER_ROW :][:SEGMENT_SAMPLES]
        padded = np.zeros(SEGMENT_SAMPLES, np.float32)
        padded[: heard.size] = heard
        encoded = self._encode(padded)
        expected = (SEGMENT_ROWS, LAYERS, WIDTH)
        assert encoded.shape == expected, f"{encoded.shape} features, not {expected}"
        # A copy, so that a short utterance does not hold the features of its padding.
        return np.array(encoded[: self.num_rows - first], np.float32)

    def __repr__(self) -> str:
        seconds = self._samples.size / MODEL_RATE
        return f"<SpeechFeatures {seconds:.1f} s, segments {sorted(self._kept)}>"
