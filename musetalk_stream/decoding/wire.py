"""What the server and a process that decodes say to each other, over one stream socket.

Each message is a kind, a length and so many bytes. The server says one JOB, then answers each
request with BYTES; the process asks (MORE, AT), says SOUND, and at last DONE or REFUSED.
"""

import json
import struct
from enum import IntEnum
from typing import Any, Protocol

import numpy as np

from ..sound import Samples

READY = b"!"  # by the fork server, once
STATUS = struct.Struct("<i")  # how a process ended, as `os.waitstatus_to_exitcode` gives it

_HEAD = struct.Struct("<BI")  # kind, length
_PLACE = struct.Struct("<QI")  # byte offset, bytes wanted
_NUM_EAR = struct.Struct("<I")
# The most that is asked for at once, and much more than what is said at once.
MOST_WANTED_BYTES = 1 << 20
_LONGEST_BYTES = 64 << 20


class Kind(IntEnum):
    JOB = 1
    BYTES = 2  # of the file; none: it has no more
    MORE = 3  # wanted: some bytes, from where the last one ended
    AT = 4  # wanted: all bytes from some place on, or as many as there are
    SOUND = 5
    DONE = 6
    REFUSED = 7


class Channel(Protocol):
    def sendall(self, data: bytes, /) -> None: ...
    def recv_into(self, buffer: memoryview, /) -> int: ...


class Closed(Exception):
    """The other one is no more."""


class Unintelligible(Exception):
    """The other one says what nobody says."""


def send(channel: Channel, kind: Kind, *parts: bytes) -> None:
    """Raises Closed, TimeoutError."""
    data = b"".join(parts)
    try:
        channel.sendall(_HEAD.pack(kind, len(data)) + data)
    except (BrokenPipeError, ConnectionResetError) as exc:
        raise Closed from exc


def receive(channel: Channel) -> tuple[Kind, bytearray]:
    """Raises Closed, Unintelligible, TimeoutError."""
    kind, length = _HEAD.unpack(_exactly(channel, _HEAD.size))
    if length > _LONGEST_BYTES:
        raise Unintelligible(f"a message of {length} bytes")
    try:
        return Kind(kind), _exactly(channel, length)
    except ValueError as exc:
        raise Unintelligible(f"a message of kind {kind}") from exc


def _exactly(channel: Channel, size: int) -> bytearray:
    data = bytearray(size)
    view, filled = memoryview(data), 0
    while filled < size:
        try:
            got = channel.recv_into(view[filled:])
        except ConnectionResetError:
            got = 0
        if not got:
            raise Closed
        filled += got
    return data


def document(data: bytes | bytearray) -> dict[str, Any]:
    """Raises Unintelligible."""
    try:
        said = json.loads(data)
    except ValueError as exc:
        raise Unintelligible("no document") from exc
    if not isinstance(said, dict):
        raise Unintelligible("no document")
    return said


def of_document(**members: object) -> bytes:
    return json.dumps(members).encode()


def of_place(place: int, size: int) -> bytes:
    return _PLACE.pack(place, size)


def place(data: bytes | bytearray) -> tuple[int, int]:
    """Byte offset and bytes wanted. Raises Unintelligible."""
    try:
        offset, size = _PLACE.unpack(data)
    except struct.error as exc:
        raise Unintelligible("no place") from exc
    if offset > 1 << 62 or size > MOST_WANTED_BYTES:
        raise Unintelligible(f"{size} bytes wanted at {offset}")
    return offset, size


def of_sound(ear: Samples, model: Samples) -> bytes:
    return _NUM_EAR.pack(len(ear)) + ear.tobytes() + model.tobytes()


def sound(data: bytearray) -> tuple[Samples, Samples]:
    """Ear, model. Raises Unintelligible."""
    try:
        (num_ear,) = _NUM_EAR.unpack_from(data)
        samples = np.frombuffer(data, np.float32, offset=_NUM_EAR.size)
    except (struct.error, ValueError) as exc:
        raise Unintelligible("no sound") from exc
    if num_ear > len(samples):
        raise Unintelligible("no sound")
    return samples[:num_ear], samples[num_ear:]
