"""Sound without the silence before somebody begins to speak."""

import numpy as np
import numpy.typing as npt

from .resample import joined
from .sound import Samples
from .timeline import EAR_RATE, MODEL_RATE
from .voice import CELL, VoiceActivity

# Voice is looked for in so much: sound that is still arriving can't be held back for ever.
SEARCHED_S = 8.0
_SEARCHED = round(SEARCHED_S * MODEL_RATE) // CELL  # cells
_KEPT = round(0.1 * MODEL_RATE) // CELL  # cells before the first voice: breath, and lips that part
_IN_A_ROW = 2  # voiced cells that are voice: one alone may be a click


class LeadingSilence:
    """Holds back what comes until there is voice in it, then lets it through from 0.1 s before.

    If there is none in the first 8 s (`SEARCHED_S`), or in all of it, everything is let through.
    What is left out does not depend on how the sound is split.
    """

    def __init__(self) -> None:
        self._activity = VoiceActivity()
        self._voiced: npt.NDArray[np.bool_] = np.zeros(0, np.bool_)
        self._ear: list[Samples] = []
        self._model: list[Samples] = []
        self._is_over = False

    def feed(self, ear: Samples, model: Samples) -> tuple[Samples, Samples]:
        """What can be let through now: ear, model."""
        if self._is_over:
            return ear, model
        self._ear.append(ear)
        self._model.append(model)
        self._voiced = np.append(self._voiced, self._activity.feed(model))[:_SEARCHED]
        if not len(self._voiced):
            return ear[:0], model[:0]  # not a whole cell yet
        in_a_row = np.lib.stride_tricks.sliding_window_view(
            np.append(np.zeros(_IN_A_ROW - 1, np.bool_), self._voiced), _IN_A_ROW
        ).all(axis=1)
        if in_a_row.any():
            onset = int(in_a_row.argmax()) - (_IN_A_ROW - 1)
            return self._let_through(max(0, onset - _KEPT))
        if len(self._voiced) == _SEARCHED:
            return self._let_through(0)
        return ear[:0], model[:0]

    def finish(self) -> tuple[Samples, Samples]:
        """No more comes: what was held back."""
        return self._let_through(0)

    @property
    def held_s(self) -> float:
        return sum(map(len, self._ear)) / EAR_RATE

    def _let_through(self, cells: int) -> tuple[Samples, Samples]:
        self._is_over = True
        ear, self._ear = joined(self._ear), []
        model, self._model = joined(self._model), []
        return ear[cells * CELL * EAR_RATE // MODEL_RATE :].copy(), model[cells * CELL :].copy()
