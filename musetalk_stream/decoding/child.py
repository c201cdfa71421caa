"""A process that decodes one file: it may open nothing, gets bytes, gives sound, and ends."""

import errno
import io
import os
import socket
from collections.abc import Generator
from contextlib import closing, suppress

import av

from ..audio import decoded_here
from ..errors import DamagedAudio, MuseTalkStreamError
from ..listening import decoded_while_arriving
from ..resample import joined
from ..sandbox import (
    end_first,
    end_with_parent,
    give_up_privileges,
    hide,
    limit_cpu,
    limit_memory,
    open_nothing,
    write_nothing,
)
from ..sound import Samples
from ..timeline import EAR_RATE
from .wire import (
    MOST_WANTED_BYTES,
    Channel,
    Closed,
    Kind,
    document,
    of_document,
    of_place,
    of_sound,
    receive,
    send,
)

_CHANNEL = 3  # the only descriptor besides those of /dev/null
# Files are asked for in pieces of so much, of which decoders then read what they like.
_BLOCK_BYTES = 1 << 18
# What is not waited for is said in pieces of so much: a quarter of a second.
_SAID_BYTES = 1 << 16
# Who waits for a long whole file stands back for those who speak; of one that arrives, what comes
# next is to be spoken.
_LONG_NICE = 5
_LONG = 10 * EAR_RATE  # audio samples
_UNEXPECTED = "the file can't be decoded: it is corrupt"


def confine(*, memory_bytes: int, cpu_s: int, parent: int) -> None:
    end_with_parent(parent)
    end_first()
    give_up_privileges()
    hide()
    limit_memory(memory_bytes)  # which looks at a file, so it comes before what forbids that
    limit_cpu(cpu_s)
    write_nothing()
    open_nothing()


def only(channel: socket.socket) -> socket.socket:
    """The channel, after everything else that was open has been closed."""
    os.dup2(channel.detach(), _CHANNEL)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):  # what a library that ends in a crash prints is nobody's business
        os.dup2(nothing, standard)
    os.closerange(_CHANNEL + 1, os.sysconf("SC_OPEN_MAX"))
    return socket.socket(fileno=_CHANNEL)


def warm_up(channel: socket.socket, file: bytes) -> None:
    """Decode it, while no other is here: what is touched first is slow in a process that was forked
    just now."""
    with suppress(BlockingIOError):
        channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        return
    for _ in decoded_here(io.BytesIO(file), max_duration_s=1):
        pass


def serve(channel: Channel) -> None:
    """One file. Raises Closed when nobody listens any more."""
    kind, told = receive(channel)
    assert kind is Kind.JOB, kind
    try:
        with closing(_pieces(channel, **document(told))) as pieces:
            for ear, model in pieces:
                send(channel, Kind.SOUND, of_sound(ear, model))
    except MuseTalkStreamError as exc:
        error = _out_of_memory() if _lacked_memory(exc) else exc
        send(channel, Kind.REFUSED, of_document(code=error.code, detail=error.detail))
    except Closed:
        raise
    except Exception as exc:
        if _lacked_memory(exc):
            error, unexpected = _out_of_memory(), ""
        else:
            error, unexpected = DamagedAudio(_UNEXPECTED), repr(exc)[:300]
        said = of_document(code=error.code, detail=error.detail, unexpected=unexpected)
        send(channel, Kind.REFUSED, said)
    else:
        send(channel, Kind.DONE)


def _pieces(
    channel: Channel, *, size: int | None, max_duration_s: float
) -> Generator[tuple[Samples, Samples], None, None]:
    """Ear, model. size: bytes of a file that is there; None of one that is arriving."""
    said, num_ear = _Said(), 0
    if size is None:
        arriving = _Arriving(channel, said)
        found = decoded_while_arriving(arriving, max_duration_s=max_duration_s)
    else:
        file = io.BufferedReader(_Whole(channel, size), _BLOCK_BYTES)
        found = decoded_here(file, max_duration_s=max_duration_s)
    try:
        with closing(found):
            for ear, model in found:
                said.add(ear, model)
                if size is not None and num_ear <= _LONG < num_ear + len(ear):
                    os.nice(_LONG_NICE)
                num_ear += len(ear)
                if said.num_bytes >= _SAID_BYTES:
                    yield said.take()
    finally:
        # Before the damage, too.
        if said.num_bytes:
            send(channel, Kind.SOUND, of_sound(*said.take()))


class _Said:
    """Sound that is to be said together."""

    def __init__(self) -> None:
        self._pieces: list[tuple[Samples, Samples]] = []
        self.num_bytes = 0

    def add(self, ear: Samples, model: Samples) -> None:
        self._pieces.append((ear, model))
        self.num_bytes += ear.nbytes + model.nbytes

    def take(self) -> tuple[Samples, Samples]:
        pieces, self._pieces, self.num_bytes = self._pieces, [], 0
        return joined([ear for ear, _ in pieces]), joined([model for _, model in pieces])


class _Whole(io.RawIOBase):
    """A file that is there, in the server."""

    def __init__(self, channel: Channel, size: int) -> None:
        self._channel = channel
        self._size = size
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise OSError(errno.EINVAL, "before the beginning")
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        wanted = min(len(buffer), self._size - self._place, MOST_WANTED_BYTES)
        if wanted <= 0:
            return 0
        data = _asked(self._channel, Kind.AT, self._place, wanted)
        buffer[: len(data)] = data
        self._place += len(data)
        return len(data)


class _Arriving:
    """A file that is arriving at the server. All that can be said is said before more is waited
    for."""

    def __init__(self, channel: Channel, said: _Said) -> None:
        self._channel = channel
        self._said = said

    def read(self, size: int, /) -> bytes:
        if self._said.num_bytes:
            send(self._channel, Kind.SOUND, of_sound(*self._said.take()))
        return bytes(_asked(self._channel, Kind.MORE, 0, min(size, MOST_WANTED_BYTES)))

    def read_at(self, place: int, size: int) -> bytes:
        return bytes(_asked(self._channel, Kind.AT, place, min(size, MOST_WANTED_BYTES)))


def _asked(channel: Channel, kind: Kind, place: int, size: int) -> bytearray:
    send(channel, kind, of_place(place, size))
    answer, data = receive(channel)
    assert answer is Kind.BYTES, answer
    return data


def _lacked_memory(error: BaseException | None) -> bool:
    while error is not None:
        lacks = isinstance(error, MemoryError)
        if lacks or (isinstance(error, av.FFmpegError) and error.errno == errno.ENOMEM):
            return True
        error = error.__cause__ or error.__context__
    return False


def _out_of_memory() -> DamagedAudio:
    return DamagedAudio(
        "decoding the file takes more memory than there is for one: save it anew, as wav or mp3"
    )
