"""The sound of one utterance, on its way from who sends it to who speaks it."""

import asyncio
import logging
import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from contextlib import asynccontextmanager, closing
from fractions import Fraction
from functools import partial
from typing import BinaryIO

import numpy as np

from .audio import decode
from .config import UploadConfig
from .decoding import Decoders, FileDecoding
from .errors import (
    AudioTooLong,
    DamagedAudio,
    EmptyAudio,
    MuseTalkStreamError,
    QueueFull,
    UploadStalled,
    UtteranceEnded,
)
from .growing_file import GrowingFile, anew
from .listening import BEGINNING, PcmFormat, PcmListener, may_stream
from .onset import LeadingSilence
from .options import SpeechOptions
from .resample import joined
from .sound import Samples, Sound
from .timeline import EAR_RATE, MODEL_RATE, frames_covering

log = logging.getLogger(__name__)

# Whoever sends faster than it is spoken waits at this much. More than LeadingSilence holds back.
MAX_AHEAD_S = 10.0
# What renderers may still look at: Whisper hears 30 s at a time.
_KEPT_S = 40.0
# Containers that are decoded while they arrive have a thread each, which mostly waits. One more is
# decoded when all of it has come.
MAX_LISTENERS = 16
_listeners = threading.BoundedSemaphore(MAX_LISTENERS)
# With this much it can be spoken at any frame rate: 8 frames at 5 per second, and what lies ahead.
_BEGINS_S = 2.0
# Until then a sender may keep us waiting for so many times `audio_stall_timeout_s` in all; what it
# sends earns it more. No codec of speech has fewer bytes per second.
_PATIENCE = 3
_LEAST_BYTES_PER_S = 500
# Raw samples are heard in stretches of a tenth of a second.
_STEPS_PER_S = 10
# What is there at once is handed on in stretches of so much, so that a long file is no burden.
_HANDED_ON = EAR_RATE
_TRY_AGAIN_S = 5
_NOBODY = "the utterance was interrupted or cancelled: begin another"


class Speech:
    """Used on one event loop: by who sends (`hear_…`, `end`) and by who speaks (the others).

    sound        None until something has come
    ended_early  why there is no more of it, though there should be
    received_s, decoded_s  instants of the monotonic clock: made, and first sound there
    waited_s     silence that `fill` added
    has_ended    no more comes
    room_s       seconds of sound that it may still take in, beside what waits with it
    """

    def __init__(self, options: SpeechOptions, limits: UploadConfig, decoders: Decoders) -> None:
        self.sound: Sound | None = None
        self.ended_early: MuseTalkStreamError | None = None
        self.received_s = time.monotonic()
        self.decoded_s: float | None = None
        self.waited_s = 0.0
        self.has_ended = False
        self.room_s: Callable[[], float] = lambda: math.inf
        self._options = options
        self._limits = limits
        self._decoders = decoders
        self._leading = LeadingSilence() if options.trim_leading_silence else None
        self._pcm: PcmListener | None = None
        self._file: GrowingFile | None = None
        self._decoding: FileDecoding | None = None
        self._num_received = 0  # audio samples at 48 kHz, with those that are left out
        self._num_listened = 0  # likewise at 16 kHz
        self._spoken_s = 0.0
        self._awaited_s = 0.0  # that its sender kept us waiting
        self._awaiting: asyncio.Timeout | None = None
        self._is_closed = False
        self._news = asyncio.Event()

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else "whole" if self.has_ended else "arriving"
        return f"<Speech {self.sound.duration_s if self.sound else 0:.2f} s, {state}>"

    # --- who sends

    @asynccontextmanager
    async def awaiting(self) -> AsyncIterator[None]:
        """Around each wait for the sender's next sound; it ends when no more is wanted.

        Raises UtteranceEnded; what ended it early; and UploadStalled, after `audio_stall_timeout_s`
        or when so little comes that it can't be spoken.
        """
        self._check_wanted()
        began_s, longest_s = time.monotonic(), self._limits.audio_stall_timeout_s
        left_s = min(longest_s, self._left_to_begin_s())
        try:
            async with asyncio.timeout(left_s) as self._awaiting:
                yield
        except TimeoutError:
            self._check_wanted()
            if left_s < longest_s:
                raise UploadStalled("the sound came so slowly that it could not begin") from None
            raise UploadStalled(f"no more of the sound came for {longest_s:g} s") from None
        finally:
            self._awaiting = None
            self._awaited_s += time.monotonic() - began_s

    def _left_to_begin_s(self) -> float:
        """How long its sender may still keep us waiting."""
        if self.has_ended or (self.sound is not None and self.sound.duration_s >= _BEGINS_S):
            return math.inf
        earned_s = self._num_received / EAR_RATE
        if self._file is not None:
            earned_s += self._file.size / _LEAST_BYTES_PER_S
        allowed_s = _PATIENCE * self._limits.audio_stall_timeout_s + earned_s
        return max(0.0, allowed_s - self._awaited_s)

    async def hear_file(self, file: BinaryIO) -> None:
        """A complete file, at its beginning; nothing is spoken unless all of it can be.

        Raises what `audio.decode` raises, and UtteranceEnded.
        """
        self._check_arriving()
        decoding = self._decoders.processes.file()
        decode_it = partial(
            decode,
            file,
            max_duration_s=self._limits.max_audio_s,
            trailing_silence_s=self._options.trailing_silence_s,
            trim_leading_silence=self._options.trim_leading_silence,
            pieces_of=decoding.whole,
        )
        self._decoding = decoding
        try:
            sound = await self._decoders.workers.run(
                decode_it,
                deadline_s=time.monotonic(),
                stop=lambda: decoding.stop(UtteranceEnded(_NOBODY)),
            )
        finally:
            self._decoding = None
        self._check_arriving()
        self._require_room(sound.num_ear)
        self._decoders.room.hold(sound)
        self.sound, self.has_ended = sound, True
        self.decoded_s = time.monotonic()
        self._tell()

    async def hear_pcm(self, data: bytes, form: PcmFormat) -> None:
        """Some bytes of raw audio samples. Waits while more than 10 s are there that have not been
        spoken. Raises AudioTooLong (what came until then is spoken), UtteranceEnded."""
        self._check_arriving()
        if self._pcm is None:
            self._pcm = PcmListener(form)
        assert self._pcm.form == form, "the format of audio samples changed within an utterance"
        # A fraction of a millisecond each: less than to wait for a decoder, which may have a file.
        step = max(1, form.bytes_per_second // _STEPS_PER_S)
        for start in range(0, len(data), step):
            await self._room()
            await asyncio.sleep(0)  # others, too
            self._check_arriving()
            self._take(*self._pcm.hear(data[start : start + step]))

    def end(self, early: MuseTalkStreamError | None = None) -> None:
        """No more comes; `early`: though it should have. Once is enough.

        Raises, after ending, DamagedAudio (it stopped within an audio sample), EmptyAudio (there
        was none); and UtteranceEnded. With `early` nothing is raised: its sender knows.
        """
        if early is None:
            self._check_open()
        if self.has_ended or self._is_closed:
            return
        error = early
        if self._pcm is not None:
            ear, model, rest = self._pcm.finish()
            if rest and error is None:
                error = DamagedAudio(
                    f"the sound stops within an audio sample: {rest} of "
                    f"{self._pcm.form.bytes_per_sample} bytes"
                )
            try:
                self._take(ear, model)
            except (AudioTooLong, QueueFull):  # which have ended it
                if early is None:
                    raise
                return
        if not self._num_received and error is None:
            error = EmptyAudio("there is no sound: 0 samples")
        self._finish(error)
        if error is not None and early is None:
            raise self._why_it_ended()

    async def hear_growing(self, file: GrowingFile) -> None:
        """A container, while it arrives or when it is there, to its end.

        If it is damaged, too long or breaks off, what came is spoken; this is raised all the same.
        Also raises what `audio.decode` raises, and UtteranceEnded.
        """
        self._check_arriving()
        self._file = file
        try:
            if may_stream(await file.beginning(BEGINNING)) and _listeners.acquire(blocking=False):
                try:
                    await self._listen(file)
                finally:
                    _listeners.release()
            else:
                await self.hear_file(await file.whole())
        finally:
            self._file = None

    async def _listen(self, file: GrowingFile) -> None:
        """Decode on a thread, which ends before this does."""
        loop = asyncio.get_running_loop()

        def hand_on(ear: Samples, model: Samples) -> None:
            asyncio.run_coroutine_threadsafe(self._take_from(file, ear, model), loop).result()

        outcome: Future[None] = Future()
        decoding = self._decoding = self._decoders.processes.file()
        listen = partial(_listen, file, decoding, self._limits.max_audio_s, hand_on)
        thread = threading.Thread(target=_run, args=(listen, outcome), name="listener")
        thread.start()
        listened = asyncio.wrap_future(outcome)
        try:
            await asyncio.shield(listened)
            if file.broken_off:
                raise anew(file.broken_off)
            self.end()
        except MuseTalkStreamError as exc:
            # Of a file that broke off a decoder says no more than that it is cut off.
            error = anew(file.broken_off) if file.broken_off else exc
            self.end(error)
            file.refuse(anew(error))
            try:
                raise error from None
            finally:
                del error  # which refers to this frame
        finally:
            file.refuse(UtteranceEnded(_NOBODY))
            decoding.stop(UtteranceEnded(_NOBODY))
            self._decoding = None
            self._tell()
            await asyncio.wait([listened])
            listened.exception()  # told already, or nobody is there to be told
            thread.join()
            # An exception refers to the frames it went through, and these to its future.
            del listened, outcome, listen, hand_on

    async def _take_from(self, file: GrowingFile, ear: Samples, model: Samples) -> None:
        file.raise_if_refused()
        self._check_arriving()
        self._take(ear, model)

    async def _room(self) -> None:
        while self._ahead_s() > MAX_AHEAD_S and not self._is_closed and not self.has_ended:
            await self._news.wait()

    def _ahead_s(self) -> float:
        held_s = self._leading.held_s if self._leading else 0.0
        return held_s + (self.sound.duration_s if self.sound else 0.0) - self._spoken_s

    def _require_room(self, num_ear: int) -> None:
        """Raises QueueFull."""
        if num_ear > self.room_s() * EAR_RATE:
            raise QueueFull(
                f"utterances with {self._limits.max_audio_s:g} s of sound in all may wait in a "
                "session: wait for one of them to be spoken, or interrupt",
                retry_after_s=1,
            )
        # Raw samples are read no faster than they are spoken, so of these there is little.
        if self._pcm is None and not self._decoders.room.has(num_ear / EAR_RATE, self.sound):
            raise QueueFull(
                "the server has as much sound as its memory may take (sound_memory_mb): wait until "
                "some of it is spoken",
                retry_after_s=_TRY_AGAIN_S,
            )

    def _take(self, ear: Samples, model: Samples) -> None:
        try:
            self._require_room(len(ear))
        except QueueFull as exc:
            self._finish(exc)
            raise self._why_it_ended() from None
        limit_s = self._limits.max_audio_s
        room = round(limit_s * EAR_RATE) - self._num_received
        is_too_long = len(ear) > room
        if is_too_long:
            ear, model = ear[:room], model[: max(0, self._model_room())]
        self._num_received += len(ear)
        self._num_listened += len(model)
        if self._leading:
            ear, model = self._leading.feed(ear, model)
        self._add(ear, model)
        if is_too_long:
            self._finish(AudioTooLong(f"the audio is longer than the limit of {limit_s:g} s"))
            raise self._why_it_ended()

    def _model_room(self) -> int:
        return math.ceil(self._limits.max_audio_s * MODEL_RATE) - self._num_listened

    def _add(self, ear: Samples, model: Samples) -> None:
        if not len(ear) and not len(model):
            return
        if self.sound is None:
            self.sound = Sound(is_live=True)
            self._decoders.room.hold(self.sound)
            self.decoded_s = time.monotonic()
        self.sound.add(ear, model)
        self._tell()

    def _finish(self, error: MuseTalkStreamError | None) -> None:
        if error is not None:
            self.ended_early = anew(error)
        if self._leading:
            self._add(*self._leading.finish())
        if self.sound is not None:
            silence = round(self._options.trailing_silence_s * EAR_RATE)
            self.sound.add(np.zeros(silence, np.float32), np.zeros(0, np.float32))
            self.sound.end()
        self.has_ended = True
        self._pcm = None
        if error is not None:
            self._send_away(error)
        self._tell()

    def _send_away(self, error: MuseTalkStreamError) -> None:
        """Nobody wants what its sender still has: who waits for it does so no longer."""
        if self._file is not None:
            self._file.refuse(anew(error))
        if self._decoding is not None:
            self._decoding.stop(anew(error))
        if self._awaiting is not None and not self._awaiting.expired():
            self._awaiting.reschedule(asyncio.get_running_loop().time())

    def _why_it_ended(self) -> MuseTalkStreamError:
        """To be raised; what is kept must not refer to the frames that an error has left."""
        assert self.ended_early is not None
        return anew(self.ended_early)

    def _check_open(self) -> None:
        if self._is_closed:
            raise self._why_it_ended() if self.ended_early else UtteranceEnded(_NOBODY)

    def _check_wanted(self) -> None:
        self._check_open()
        if self.ended_early is not None:
            raise self._why_it_ended()

    def _check_arriving(self) -> None:
        self._check_wanted()
        assert not self.has_ended, "sound came after its end"

    # --- who speaks

    def total_frames(self, fps: Fraction) -> int | None:
        """Frames from beginning to end; None until the end is known."""
        if not self.has_ended:
            return None
        return frames_covering(self.sound.num_ear, fps) if self.sound else 0

    async def more(self, timeout_s: float) -> None:
        """Returns when something has come, or it has ended, or after that time."""
        if self.has_ended or self._is_closed:
            return
        try:
            async with asyncio.timeout(timeout_s):
                await self._news.wait()
        except TimeoutError:
            pass  # who speaks looks at what there is in any case

    def spoken(self, until_s: float) -> None:
        """Frames until this instant of the sound are made: makes room for who sends, and forgets
        old sound."""
        self._spoken_s = until_s
        if self.sound is not None:
            self.sound.forget_before(until_s - _KEPT_S)
        self._tell()

    def fill(self, num_ear: int) -> None:
        """Silence for a while (48 kHz samples, rounded up to whole ones at 16 kHz), as no sound
        comes: what came fades out, what comes fades in. Nothing if no more is to come.

        A sender of which a little comes now and then is not waited for without an end: after
        silence as long as an utterance may be, this one ends early.
        """
        if self.sound is None or self.has_ended or self._is_closed:
            return
        num_model = self.sound.pause(math.ceil(num_ear * MODEL_RATE / EAR_RATE))
        self.waited_s += num_model / MODEL_RATE
        longest_s = self._limits.max_audio_s
        if self.waited_s > longest_s:
            slow = f"the sound came so slowly that {longest_s:g} s of silence are in it"
            self._finish(UploadStalled(slow))
        self._tell()

    def close(self) -> None:
        """Nothing more is to be spoken: who sends gets UtteranceEnded, who waits at once."""
        self._is_closed = True
        self._send_away(UtteranceEnded(_NOBODY))
        # Errors on their way to who sends refer to frames that refer to this.
        self._pcm = self.sound = None
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


def _run(function: Callable[[], None], outcome: Future[None]) -> None:
    try:
        function()
    except BaseException as exc:  # handed on to whoever awaits it
        outcome.set_exception(exc)
    else:
        outcome.set_result(None)
    finally:
        del outcome  # which refers to the error, and that to this frame


def _listen(
    file: GrowingFile,
    decoding: FileDecoding,
    max_duration_s: float,
    hand_on: Callable[[Samples, Samples], None],
) -> None:
    """On a thread: decode a file while it arrives, and hand on what can be said."""
    ears: list[Samples] = []
    models: list[Samples] = []

    def all_of_it() -> None:
        ear, model = joined(ears), joined(models)
        ears.clear()
        models.clear()
        if len(ear) or len(model):
            hand_on(ear, model)

    try:
        with closing(decoding.arriving(file, max_duration_s=max_duration_s)) as pieces:
            for ear, model in pieces:
                ears.append(ear)
                models.append(model)
                if not file.has_more() or sum(map(len, ears)) >= _HANDED_ON:
                    all_of_it()
    finally:
        all_of_it()  # before the damage, too
