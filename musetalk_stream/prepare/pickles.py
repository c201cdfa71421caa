"""Boxes out of a pickle file from elsewhere, without running anything that it says.

A pickle is a program: it names functions, and the reader calls them. Here the opcodes are looked
through first, and of functions there are three, our own, that make numbers of what numpy writes
where its numbers are in a list. (https://docs.python.org/3/library/pickle.html#pickle-restrict)
"""

import io
import math
import pickle
import pickletools
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from ..errors import UnsupportedAvatar

Box = tuple[float, float, float, float]  # x1, y1, x2, y2

_MOST_BYTES_PER_BOX = 1024  # a list of four numpy numbers takes 100 to 200
_FARTHEST = 1 << 20  # pixels

# What lists of numbers are made of. No dictionaries, so there is no object whose attributes can be
# set; no places in the memo chosen by the file, for which any amount of memory would be taken.
_OPCODES = frozenset({
    "PROTO", "FRAME", "STOP", "MARK", "POP", "POP_MARK", "DUP",
    "NONE", "NEWTRUE", "NEWFALSE", "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1",
    "FLOAT", "BINFLOAT",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES",
    "EMPTY_LIST", "LIST", "APPEND", "APPENDS", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2",
    "TUPLE3",
    "PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE", "GET", "BINGET", "LONG_BINGET",
    "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD",
})  # fmt: skip
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))


def read_boxes(path: Path, most: int) -> list[Box]:
    """Lists or tuples of four numbers, in a list: at most `most` of them. Raises UnsupportedAvatar.

    The numbers may be Python's or numpy's (1 and 2).
    """
    try:
        with path.open("rb") as file:
            content = file.read(most * _MOST_BYTES_PER_BOX + 1)
    except OSError as exc:
        raise UnsupportedAvatar(f"{path} can't be read: {exc.strerror}") from exc
    if len(content) > most * _MOST_BYTES_PER_BOX:
        raise UnsupportedAvatar(f"{path} is too large for {most} boxes")
    try:
        _check_opcodes(content)
        found = _Unpickler(io.BytesIO(content)).load()
        if not isinstance(found, list) or len(found) > most:
            raise ValueError(f"it is no list of at most {most} boxes")
        return [_box(each) for each in found]
    except _ERRORS as exc:
        raise UnsupportedAvatar(
            f"{path} is not the list of boxes of an official MuseTalk avatar: {exc}"
        ) from exc


# Of a pickle that is damaged or made up: the unpickler does not check what it is told.
_ERRORS = (
    pickle.UnpicklingError, ValueError, TypeError, IndexError, KeyError, AttributeError, EOFError,
    OverflowError, struct.error,
)  # fmt: skip


def _check_opcodes(content: bytes) -> None:
    for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
        if opcode.name not in _OPCODES:
            raise ValueError(f"its opcode {opcode.name} has no business there")
        if opcode.name in _PUTS and not 0 <= int(argument or 0) <= count:
            raise ValueError("it is made up")


def _box(value: object) -> Box:
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise ValueError("it holds something else than boxes of four numbers")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"it holds a {type(number).__name__} in the place of a number")
        if not math.isfinite(number) or abs(number) > _FARTHEST:
            raise ValueError("it holds numbers that are no pixels")
    x1, y1, x2, y2 = value
    return float(x1), float(y1), float(x2), float(y2)


class _Dtype:
    """What becomes of `numpy.dtype`: the kind of one number."""

    _FORMATS: ClassVar = {
        "i1": "b", "i2": "h", "i4": "i", "i8": "q", "u1": "B", "u2": "H", "u4": "I", "u8": "Q",
        "f2": "e", "f4": "f", "f8": "d",
    }  # fmt: skip

    def __init__(self, name: object, align: object = False, copy: object = True) -> None:
        if not isinstance(name, str) or name not in self._FORMATS:
            raise ValueError("it holds something else than numbers")
        self._format = self._FORMATS[name]
        self._order = "<"

    def __setstate__(self, state: object) -> None:
        """(version, byte order, …): "|" if there is none, as of one byte."""
        if not isinstance(state, tuple) or len(state) < 2 or state[1] not in ("<", ">", "|"):
            raise ValueError("it holds numbers of a kind that numpy does not write")
        self._order = "<" if state[1] == "|" else str(state[1])

    def number(self, content: bytes) -> int | float:
        (number,) = struct.unpack(self._order + self._format, content)
        return number  # type: ignore[no-any-return]  # by its format, an int or a float


def _scalar(dtype: object, content: object) -> int | float:
    """What becomes of `numpy.core.multiarray.scalar`."""
    if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
        raise ValueError("it holds numbers of a kind that numpy does not write")
    return dtype.number(content)


def _encode(text: object, encoding: object) -> bytes:
    """What becomes of `_codecs.encode`, by which protocols 0 to 2 write bytes."""
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("it holds text")
    return text.encode("latin-1")


class _Unpickler(pickle.Unpickler):
    _OURS: ClassVar[dict[tuple[str, str], Callable[..., Any]]] = {
        ("numpy", "dtype"): _Dtype,
        ("numpy.core.multiarray", "scalar"): _scalar,
        ("numpy._core.multiarray", "scalar"): _scalar,  # numpy 2
        ("_codecs", "encode"): _encode,
    }

    def find_class(self, module: str, name: str) -> Callable[..., Any]:
        if (module, name) not in self._OURS:
            raise pickle.UnpicklingError(f"it would call {module}.{name}"[:200])
        return self._OURS[module, name]
