"""The MuseTalk renderer, to the contract that all renderers keep."""

import logging
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ...avatar import Avatar
from ...errors import SetupError
from ...sound import Sound
from ...timeline import model_samples_needed
from .. import FrameRequest, Mouths, OutOfDeviceMemory, Rendered, Rendering
from ..presence import Presence
from .device import Faces, Runner, make_runner, sizes_up_to, translated_errors
from .features import SpeechFeatures
from .networks import Networks, load_networks, random_networks
from .prepared import PreparedAvatar, Recipe, is_prepared, open_prepared, prepare
from .region import FaceMouth
from .windows import count_rows, window_rows

log = logging.getLogger(__name__)

# One row of audio_windows: the features that move the mouth, and how far the generated mouth
# counts; where it does not, the source frame is shown, which costs nothing.
WINDOW = np.dtype([("features", np.float32, (50, 384)), ("presence", np.float32)])


class MuseTalkRenderer:
    """Frames of all sessions in one batch, on one device.

    files      weights by role, as `weights.require` finds them; None: weights by chance, for
               measuring a device
    version    "v15" or "v1": which box and mask go with the weights
    max_batch  the largest batch size
    """

    name = "musetalk"
    moves_lips = True

    def __init__(
        self,
        files: Mapping[str, Path] | None,
        *,
        version: str,
        device: torch.device,
        dtype: torch.dtype,
        max_batch: int,
    ) -> None:
        self._files = files
        self._version = version
        self._device = device
        self._dtype = dtype
        self._max_batch = max_batch
        self._loaded: _Loaded | None = None
        self._presence = Presence()
        self._speech: weakref.WeakKeyDictionary[Sound, SpeechFeatures] = weakref.WeakKeyDictionary()
        self._avatars: weakref.WeakKeyDictionary[Avatar, PreparedAvatar] = (
            weakref.WeakKeyDictionary()
        )

    @property
    def batch_sizes(self) -> tuple[int, ...]:
        return self._loaded.runner.batch_sizes if self._loaded else sizes_up_to(self._max_batch)

    @property
    def loaded(self) -> "_Loaded":
        assert self._loaded is not None, "load comes first"
        return self._loaded

    def load(self, progress: Callable[[str], None]) -> None:
        began = time.monotonic()
        # Faces are pasted on all encoder threads at once, and each is too small to be shared.
        cv2.setNumThreads(1)
        if self._device.type == "cuda":
            torch.cuda.set_device(self._device)  # of this thread, which also submits
        try:
            with translated_errors():
                if self._files is None:
                    networks = random_networks(self._device, self._dtype)
                else:
                    networks = load_networks(self._files, self._device, self._dtype, progress)
                example = networks.example()
                runner = make_runner(networks.generator, self._device, self._dtype, self._max_batch)
            runner.warm_up(*example, progress)
        except OutOfDeviceMemory as exc:
            raise SetupError(
                f"the networks do not fit into the memory of {self._device}: {exc}"
            ) from exc
        self._loaded = _Loaded(
            networks,
            runner,
            Recipe(self._version, networks.fingerprint()),
            *self._streams(),
        )
        masks = "face parsing" if networks.parser else "landmarks (no face parsing weights)"
        sizes = ", ".join(map(str, runner.batch_sizes))
        took_s = time.monotonic() - began
        log.info("%r loaded in %.1f s; batches of %s; masks by %s", self, took_s, sizes, masks)

    def is_prepared(self, avatar: Avatar) -> bool:
        return self._loaded is not None and (
            avatar in self._avatars or is_prepared(avatar, self._loaded.recipe)
        )

    def prepare(self, avatar: Avatar) -> Iterator[float]:
        steps = prepare(avatar, self.loaded.networks, self.loaded.recipe)
        while True:
            # Entered anew for each step, as batches run in between.
            with translated_errors(), _on(self.loaded.preparing):
                share = next(steps, None)
            if share is None:
                return
            yield share

    def audio_windows(
        self, sound: Sound, fps: Fraction, first: int, count: int
    ) -> npt.NDArray[Any]:
        """Rows of `WINDOW`; frames in silence have no features, and cost none."""
        windows = np.zeros(count, WINDOW)
        windows["presence"] = self._presence.levels(sound, fps, first, count)
        voiced = np.flatnonzero(windows["presence"])
        if voiced.size:
            speech = self._speech.get(sound)
            if speech is None:
                speech = self._speech[sound] = SpeechFeatures(sound, self.loaded.networks.hear)
            upto = sound.num_model
            if sound.is_live:
                upto = min(upto, model_samples_needed(first + count, fps))
            rows = window_rows(first + voiced, fps, count_rows(upto))
            with translated_errors(), _on(self.loaded.hearing):
                windows["features"][voiced] = speech.windows(rows, upto=upto)
        return windows

    def submit(self, batch: Sequence[FrameRequest]) -> Rendering:
        shown: list[tuple[int, PreparedAvatar]] = []
        latents, windows = [], []
        for index, request in enumerate(batch):
            avatar = self._prepared(request.avatar)
            has_face = avatar.placements[request.picture] is not None
            if has_face and request.audio_window["presence"] > 0:
                shown.append((index, avatar))
                latents.append(avatar.latents[request.picture])
                windows.append(request.audio_window["features"])
        if not shown:
            return Rendered([None] * len(batch))
        faces = self.loaded.runner.start(np.stack(latents), np.stack(windows))
        strengths = [float(request.audio_window["presence"]) for request in batch]
        return _Batch(faces, shown, strengths)

    def _prepared(self, avatar: Avatar) -> PreparedAvatar:
        prepared = self._avatars.get(avatar)
        if prepared is None:
            prepared = open_prepared(avatar, self.loaded.recipe)
            self._avatars[avatar] = prepared
        return prepared

    def _streams(self) -> tuple[torch.cuda.Stream | None, torch.cuda.Stream | None]:
        if self._device.type != "cuda":
            return None, None
        # Who speaks waits for what is heard, and its kernels are small: they go first.
        return torch.cuda.Stream(self._device, priority=-1), torch.cuda.Stream(self._device)

    def __repr__(self) -> str:
        where = str(self._device)
        if self._device.type == "cuda":
            where += f" ({torch.cuda.get_device_name(self._device)})"
        how = f"{self._dtype} on {where}, torch {torch.__version__}"
        weights = self._version if self._files else "weights by chance"
        return f"<MuseTalkRenderer {weights}, {how}>"


@dataclass(frozen=True, slots=True, eq=False)
class _Loaded:
    networks: Networks
    runner: Runner
    recipe: Recipe
    # Beside the batches, which they must not wait for; None on a CPU.
    hearing: torch.cuda.Stream | None
    preparing: torch.cuda.Stream | None


def _on(stream: torch.cuda.Stream | None) -> AbstractContextManager[Any]:
    return nullcontext() if stream is None else torch.cuda.stream(stream)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """A batch on the device. Its faces are one array: a mouth has a copy of its own, as it may be
    kept for frames to come.

    shown      which requests show a generated face, and whose
    strengths  of all requests
    """

    faces: Callable[[], Faces]
    shown: Sequence[tuple[int, PreparedAvatar]]
    strengths: Sequence[float]

    def mouths(self) -> Mouths:
        faces, finite = self.faces()
        if not finite.all():
            raise ValueError("a face that is not made of numbers")
        mouths: Mouths = [None] * len(self.strengths)
        for (index, avatar), face in zip(self.shown, faces, strict=True):
            mouths[index] = FaceMouth(avatar.placements, face.copy(), self.strengths[index])
        return mouths
