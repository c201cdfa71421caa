"""Sound without the silence before somebody begins to speak."""

from .resample import joined
from .sound import Samples
from .timeline import EAR_RATE, MODEL_RATE
from .voice import CELL, CONFIRMED, Voices

# Voice is looked for in so much: sound that is still arriving can't be held back for ever.
SEARCHED_S = 8.0
_SEARCHED = round(SEARCHED_S * MODEL_RATE) // CELL  # cells
_KEPT = round(0.1 * MODEL_RATE) // CELL  # cells before the first voice: breath, and lips that part


class LeadingSilence:
    """Holds back what comes until there is voice in it, then lets it through from 0.1 s before.

    If there is none in the first 8 s (`SEARCHED_S`), or in all of it, everything is let through.
    What is left out does not depend on how the sound is split.
    """

    def __init__(self) -> None:
        self._voices = Voices()
        self._looked_at = 0  # cells in which no voice begins
        self._ear: list[Samples] = []
        self._model: list[Samples] = []
        self._num_held = 0  # audio samples of the ear
        self._is_over = False

    def feed(self, ear: Samples, model: Samples) -> tuple[Samples, Samples]:
        """What can be let through now: ear, model."""
        if self._is_over:
            return ear, model
        if len(ear):
            self._ear.append(ear)
            self._num_held += len(ear)
        if not len(model):
            return ear[:0], model
        self._model.append(model)
        self._voices.feed(model)
        if self._finds_voice(len(self._voices.voiced) - CONFIRMED + 1):
            return self._let_through(max(0, self._looked_at - _KEPT))
        if self._looked_at == _SEARCHED:
            return self._let_through(0)
        return ear[:0], model[:0]

    def finish(self) -> tuple[Samples, Samples]:
        """No more comes: what was held back."""
        found = not self._is_over and self._finds_voice(len(self._voices.voiced))
        return self._let_through(max(0, self._looked_at - _KEPT) if found else 0)

    def _finds_voice(self, stop: int) -> bool:
        while self._looked_at < min(stop, _SEARCHED):
            if self._voices.begins(self._looked_at):
                return True
            self._looked_at += 1
        return False

    @property
    def held_s(self) -> float:
        return self._num_held / EAR_RATE

    def _let_through(self, cells: int) -> tuple[Samples, Samples]:
        self._is_over, self._num_held = True, 0
        ear, self._ear = joined(self._ear), []
        model, self._model = joined(self._model), []
        return ear[cells * CELL * EAR_RATE // MODEL_RATE :].copy(), model[cells * CELL :].copy()
