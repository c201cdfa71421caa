"""The fork server: forks a process that decodes whenever the server asks, so that none has to load
anything first.

    python -m musetalk_stream.decoding MEMORY_MB CPU_S

Its standard input is a socket. Each message on it brings two others: the channel of a new process,
and its leash. What comes on a leash, or its end, ends the process; how the process ended is said on
it. The end of the standard input, also because the server was killed, ends them all.
"""

import gc
import io
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Sequence
from contextlib import closing, suppress

import av
import numpy as np

from ..errors import MuseTalkStreamError
from ..listening import decoded
from . import child
from .wire import READY, STATUS, Closed


def main(argv: Sequence[str]) -> int:
    memory_mb, cpu_s = (int(each) for each in argv)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal; the server says when to end
    control = socket.socket(fileno=0)
    m4a = _load()
    gc.freeze()  # what is there is shared by all processes, as long as nobody touches it
    control.sendall(READY)
    _Forks(control, m4a, memory_bytes=memory_mb * 10**6, cpu_s=cpu_s).serve()
    return 0


def _load() -> bytes:
    """Whatever is loaded at its first use: afterwards, no file can be opened. Gives a file that
    takes most of it."""
    head = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", 0, b"WAVE", b"fmt ", 16, 1, 1, 8000, 16000, 2, 16
    )
    sound = head + struct.pack("<4sI", b"data", 1600) + bytes(1600)
    m4a = _m4a()
    for data in (sound, m4a, b"no sound"):
        with suppress(MuseTalkStreamError):
            file = io.BufferedReader(io.BytesIO(data))
            with closing(decoded(file, max_duration_s=1, mp3_frames=None)) as pieces:
                assert sum(len(ear) for ear, _ in pieces) >= 4800
    np.zeros(0, np.float32).tobytes()
    return m4a


def _m4a() -> bytes:
    """A tenth of a second of silence."""
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 4800), np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


class _Forks:
    """The processes that were forked, by what they are held by.

    Their number is bounded by the server, which asks for one per file, and a few to spare.
    """

    def __init__(
        self, control: socket.socket, m4a: bytes, *, memory_bytes: int, cpu_s: int
    ) -> None:
        self._control = control
        self._m4a = m4a
        self._memory_bytes = memory_bytes
        self._cpu_s = cpu_s
        self._leashes: dict[int, socket.socket] = {}  # by process id
        self._selector = selectors.DefaultSelector()
        self._ended, tell = socket.socketpair()
        for end in (self._ended, tell):
            end.setblocking(False)
        # Python writes a byte there for each signal that has a handler.
        signal.set_wakeup_fd(tell.detach(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

    def serve(self) -> None:
        for end in (self._control, self._ended):
            self._selector.register(end, selectors.EVENT_READ)
        try:
            while True:
                for key, _ in self._selector.select():
                    if key.fileobj is self._control:
                        message, descriptors, _, _ = socket.recv_fds(self._control, 1, 2)
                        if not message:
                            return
                        self._fork(*(socket.socket(fileno=each) for each in descriptors))
                    elif key.fileobj is self._ended:
                        self._ended.recv(1 << 12)
                        self._bury()
                    elif self._leashes.get(key.data) is key.fileobj:
                        self._kill(key.data)
        finally:
            for pid in self._leashes:
                os.kill(pid, signal.SIGKILL)

    def _fork(self, channel: socket.socket, leash: socket.socket) -> None:
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError:  # too many processes, or too little memory: its file can be sent again
            channel.close()
            leash.close()
            return
        if pid == 0:
            status = 1
            try:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                os.setpgid(0, 0)
                only_channel = child.only(channel)
                child.confine(memory_bytes=self._memory_bytes, cpu_s=self._cpu_s, parent=parent)
                child.warm_up(only_channel, self._m4a)
                child.serve(only_channel)
                status = 0
            except Closed:
                status = 0
            finally:
                os._exit(status)
        channel.close()
        self._leashes[pid] = leash
        self._selector.register(leash, selectors.EVENT_READ, pid)

    def _kill(self, pid: int) -> None:
        """Its number is not anybody else's: it has not been waited for yet."""
        self._selector.unregister(self._leashes[pid])
        os.kill(pid, signal.SIGKILL)

    def _bury(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:  # there is none
                return
            if not pid:
                return
            with self._leashes.pop(pid) as leash:
                with suppress(KeyError):
                    self._selector.unregister(leash)
                with suppress(OSError):  # nobody wants to know
                    leash.send(STATUS.pack(os.waitstatus_to_exitcode(status)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
