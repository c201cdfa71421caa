"""One sound file on its way through a process that decodes it."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import BinaryIO

from ..errors import AudioTooLong, DamagedAudio, EmptyAudio, NotReady, UnsupportedAudio
from ..growing_file import anew
from ..listening import Beginning, Growing, decoded_pcm, plain_wav
from ..sound import Samples
from . import wire
from .process import DecodeProcess
from .wire import Kind

log = logging.getLogger(__name__)

Pieces = Generator[tuple[Samples, Samples], None, None]

# It may wait for its turn so many times as long as it computes.
_WALL_PER_CPU = 20
_KINDS = {kind.code: kind for kind in (UnsupportedAudio, DamagedAudio, AudioTooLong, EmptyAudio)}


class FileDecoding:
    """One file, on one thread; `stop` from any.

    What its generators raise besides the errors of `listening`: NotReady (no process is to be had),
    and what `stop` was told.
    """

    def __init__(
        self,
        claim: Callable[[], DecodeProcess],
        is_served: Callable[[], None],
        *,
        cpu_s: int,
        stall_s: float,
    ) -> None:
        """is_served: called, maybe several times, once nobody waits for what its process does."""
        self._claim = claim
        self._is_served = is_served
        self._cpu_s = cpu_s
        self._stall_s = stall_s
        self._lock = threading.Lock()
        self._process: DecodeProcess | None = None
        self._stopped: BaseException | None = None
        self._waited_s = 0.0

    def stop(self, error: BaseException) -> None:
        """Nobody wants the sound any more: its process ends at once, and who waits for it gets this
        error."""
        with self._lock:
            self._stopped = self._stopped or error
            if self._process:
                self._process.kill()

    def whole(self, file: BinaryIO, *, max_duration_s: float) -> Pieces:
        """`listening.decoded`, of a file that is there; raw audio samples in a wav file are heard
        here."""
        if header := plain_wav(file):
            if header.size is not None and header.place + header.size > file.seek(0, 2):
                # As FFmpeg reads a wav file that says too much, and there are many.
                header = replace(header, size=None)
            file.seek(0)
            yield from self._pcm(decoded_pcm(file, header, max_duration_s=max_duration_s))
            return
        size = file.seek(0, 2)

        def answer(kind: Kind, place: int, wanted: int) -> bytes:
            file.seek(place)
            return file.read(wanted)

        yield from self._through_process(answer, size=size, max_duration_s=max_duration_s)

    def arriving(self, file: Growing, *, max_duration_s: float) -> Pieces:
        """`listening.decoded_while_arriving`; likewise."""
        if header := plain_wav(Beginning(file)):
            yield from self._pcm(decoded_pcm(file, header, max_duration_s=max_duration_s))
            return

        def answer(kind: Kind, place: int, wanted: int) -> bytes:
            return file.read(wanted) if kind is Kind.MORE else file.read_at(place, wanted)

        yield from self._through_process(answer, size=None, max_duration_s=max_duration_s)

    def _pcm(self, pieces: Pieces) -> Pieces:
        for ear, model in pieces:
            self._raise_if_stopped()
            yield ear, model

    def _raise_if_stopped(self) -> None:
        if self._stopped:
            raise anew(self._stopped)

    def _through_process(
        self,
        answer: Callable[[Kind, int, int], bytes],
        *,
        size: int | None,
        max_duration_s: float,
    ) -> Pieces:
        process = self._claim()
        with self._lock:
            self._process = process
        try:
            self._raise_if_stopped()
            process.channel.settimeout(self._stall_s)
            job = wire.of_document(size=size, max_duration_s=max_duration_s)
            wire.send(process.channel, Kind.JOB, job)
            while (message := self._heard(process))[0] is not Kind.DONE:
                kind, said = message
                if kind is Kind.SOUND:
                    yield wire.sound(said)
                    if size is None:  # it is spoken from here on; a whole file when it is done
                        self._is_served()
                elif kind in (Kind.MORE, Kind.AT):
                    data = answer(kind, *wire.place(said))
                    wire.send(process.channel, Kind.BYTES, data)
                else:
                    raise _refusal(kind, said)
        except wire.Closed:
            self._raise_if_stopped()
            raise self._how_it_ended(process.status()) from None
        except wire.Unintelligible as exc:
            log.warning("a process that decodes a file said what nobody says: %s", exc)
            raise DamagedAudio("the file can't be decoded: it is corrupt") from None
        except TimeoutError:
            raise DamagedAudio(
                f"decoding the file stood still for {self._stall_s:g} s: save it anew, as wav"
            ) from None
        finally:
            with self._lock:
                self._process = None
            process.close()
            self._is_served()

    def _heard(self, process: DecodeProcess) -> tuple[Kind, bytearray]:
        """The next message. Time counts only here: elsewhere others are waited for."""
        began_s = time.monotonic()
        message = wire.receive(process.channel)
        self._waited_s += time.monotonic() - began_s
        if self._waited_s > _WALL_PER_CPU * self._cpu_s:
            raise DamagedAudio("decoding the file takes too long: send a shorter or plainer one")
        return message

    def _how_it_ended(self, status: int | None) -> Exception:
        """Of a process that ended without a word."""
        if status is None:
            return NotReady("the process that decodes sound files ended: send the file again")
        if status == -signal.SIGXCPU:
            return DamagedAudio(
                f"decoding the file takes more than {self._cpu_s} s of computing time: send a "
                "shorter or plainer one"
            )
        if status == -signal.SIGKILL:
            return DamagedAudio(
                "decoding the file was ended, as happens when memory runs out: save it anew, as "
                "wav or mp3"
            )
        log.warning("a file crashed the process that decoded it (status %d)", status)
        name = signal.Signals(-status).name if status < 0 else f"status {status}"
        return DamagedAudio(f"the file crashed its decoder ({name}): save it anew, as wav or mp3")


def _refusal(kind: Kind, said: bytearray) -> Exception:
    if kind is not Kind.REFUSED:
        raise wire.Unintelligible(f"a message of kind {kind}")
    told = wire.document(said)
    if unexpected := told.get("unexpected"):
        log.warning("a file that can't be decoded: %s", str(unexpected)[:300])
    return _KINDS.get(str(told.get("code")), DamagedAudio)(str(told.get("detail"))[:300])
