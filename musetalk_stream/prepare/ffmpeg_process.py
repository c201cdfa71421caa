"""Where is ffmpeg, and how is its output read without waiting for ever?"""

import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import imageio_ffmpeg

from ..errors import DamagedMedia, SetupError

_HEARD = 2000  # bytes of what ffmpeg complains about first; what follows comes from that
_GOODBYE_S = 10.0  # after its last picture


def ffmpeg_binary() -> str:
    """The installed ffmpeg, else the one that imageio-ffmpeg brings. Raises SetupError."""
    try:
        return shutil.which("ffmpeg") or imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as exc:
        raise SetupError("there is no ffmpeg here; install it (apt-get install ffmpeg)") from exc


class FFmpeg:
    """A running ffmpeg that writes raw pictures; see `running`.

    Its output is a pipe: when this process is killed, ffmpeg ends at its next picture.
    """

    def __init__(self, process: "subprocess.Popen[bytes]", stall_s: float) -> None:
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stall_s = stall_s
        self._out, self._err = process.stdout.fileno(), process.stderr.fileno()
        self._words = b""
        self._selector = selectors.DefaultSelector()
        for pipe in (self._out, self._err):
            self._selector.register(pipe, selectors.EVENT_READ)

    def __repr__(self) -> str:
        return f"<FFmpeg {self._process.pid} {self._process.poll()}>"

    @property
    def pid(self) -> int:
        return self._process.pid

    def read(self, size: int) -> bytearray:
        """The next `size` bytes, fewer only at the end. Raises DamagedMedia after silence."""
        picture = bytearray(size)
        view, filled = memoryview(picture), 0
        heard = time.monotonic()
        while filled < size:
            ready = self._selector.select(self._stall_s)
            for key, _ in ready:
                if key.fd == self._err:
                    self._listen()
            if any(key.fd == self._out for key, _ in ready):
                got = os.readv(self._out, [view[filled:]])
                if not got:
                    break
                filled += got
                heard = time.monotonic()
            elif time.monotonic() - heard >= self._stall_s:
                raise DamagedMedia(
                    f"reading the video gave no picture for {self._stall_s:g} s: it is corrupt, "
                    "or far too large; convert it to H.264 in MP4"
                )
        return picture[:filled]

    def _listen(self) -> None:
        words = os.read(self._err, 1 << 16)
        if not words:
            self._selector.unregister(self._err)
        self._words = (self._words + words)[:_HEARD]

    def result(self) -> tuple[int, str]:
        """After the last picture: its exit status, and the first of its complaints."""
        try:
            _, words = self._process.communicate(timeout=_GOODBYE_S)
        except subprocess.TimeoutExpired:
            raise DamagedMedia("the video does not end where it should: it is corrupt") from None
        lines = (self._words + words).decode(errors="replace").strip().splitlines()
        # Without the part of ffmpeg that says it: "[h264 @ 0x55d0c0ffee00] ".
        complaint = re.sub(r"^(\[[^]]*\] *)+", "", lines[0]) if lines else ""
        return self._process.returncode, complaint[:200]

    def close(self) -> None:
        self._selector.close()
        self._process.kill()
        self._process.wait()


@contextmanager
def running(command: list[str], stall_s: float) -> Iterator[FFmpeg]:
    """Start ffmpeg; at the end of the block it is gone, however the block ends."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    ) as process:
        try:
            ffmpeg = FFmpeg(process, stall_s)
        except BaseException:
            process.kill()
            raise
        try:
            yield ffmpeg
        finally:
            ffmpeg.close()
