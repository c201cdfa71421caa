"""The fork server as the server sees it: started, started again when it died, and ended; and a few
processes that wait for files."""

import logging
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeAlias

from ..errors import NotReady
from .file import FileDecoding
from .process import DecodeProcess
from .wire import READY

log = logging.getLogger(__name__)

_Process: TypeAlias = "subprocess.Popen[bytes]"

# Processes that wait for a file: as many as are often wanted within a few milliseconds.
_SPARE = 2
_STARTS_WITHIN_S = 60.0  # on a machine that is busy with other things
_ENDS_WITHIN_S = 5.0
# Between the ends of one that does not live long, and its next start.
_PAUSE_S = 1.0
_LIVES_S = 10.0
# A decoder that is silent for so long, on a busy machine, too, is in a circle.
_STALL_S = 8.0
# An upload waits so long for a fork server that is being started.
_CLAIM_WITHIN_S = 10.0


class DecodeProcesses:
    """Processes that decode, one per file. Their number is bounded by the threads that want one:
    each waits for its own; and there are two more that wait for what comes next.

    memory_mb  megabytes that decoding one file may take
    cpu_s      seconds of computing time that it may take
    stall_s    seconds without a word from it
    """

    def __init__(self, *, memory_mb: int, cpu_s: int, stall_s: float = _STALL_S) -> None:
        self._memory_mb = memory_mb
        self._cpu_s = cpu_s
        self._stall_s = stall_s
        self._changed = threading.Condition()
        self._control: socket.socket | None = None  # of one that is there, or is being started
        self._process: _Process | None = None  # likewise
        self._is_ready = False
        self._spare: list[DecodeProcess] = []
        self._is_stopping = False

    def __repr__(self) -> str:
        state = "lost" if not self._is_ready else f"{len(self._spare)} waiting"
        return f"<DecodeProcesses {state}>"

    @property
    def lost(self) -> str | None:
        """Why files can't be decoded now; None if they can. It is being started again."""
        return None if self._is_ready else "the process that decodes sound files is being started"

    @property
    def pid(self) -> int | None:
        """Of the fork server, while there is one."""
        return self._process.pid if self._process and self._is_ready else None

    @contextmanager
    def running(self) -> Iterator["DecodeProcesses"]:
        """There are processes soon after this block begins, and none after its end."""
        keeper = threading.Thread(target=self._keep, name="decoder-keeper")
        keeper.start()
        try:
            yield self
        finally:
            with self._changed:
                self._is_stopping = True
                self._let_go()
                self._changed.notify_all()
            keeper.join(_ENDS_WITHIN_S)
            if keeper.is_alive() and self._process:
                self._process.kill()
            keeper.join()

    def wait_until_ready(self, within_s: float = _STARTS_WITHIN_S) -> None:
        """Blocking. Raises NotReady."""
        with self._changed:
            self._wait(within_s)

    def file(self) -> FileDecoding:
        """To decode one file."""
        return FileDecoding(self._claim, self._refill, cpu_s=self._cpu_s, stall_s=self._stall_s)

    def _claim(self) -> DecodeProcess:
        """One that waits, or a new one. Raises NotReady."""
        with self._changed:
            self._wait(_CLAIM_WITHIN_S)
            claimed = None
            while claimed is None and self._spare:
                oldest = self._spare.pop(0)
                if oldest.is_waiting():
                    claimed = oldest
                else:
                    oldest.close()
            # What is sent to it is there when it has been forked.
            return claimed or self._forked()

    def _refill(self) -> None:
        """In place of those that were claimed: not while anybody waits for these. To fork others,
        and what those do first, takes longer than to decode a short file."""
        with self._changed:
            if self._is_ready:
                self._fill()

    def _wait(self, longest_s: float) -> None:
        if not self._changed.wait_for(lambda: self._is_ready or self._is_stopping, longest_s):
            raise NotReady(f"{self.lost}; try again shortly")
        if self._is_stopping:
            raise NotReady("the server is shutting down")

    def _fill(self) -> None:
        with suppress(NotReady):  # it will be found to be dead
            while len(self._spare) < _SPARE:
                self._spare.append(self._forked())

    def _forked(self) -> DecodeProcess:
        """Raises NotReady."""
        assert self._control is not None
        channel, its_channel = socket.socketpair()
        leash, its_leash = socket.socketpair()
        try:
            with its_channel, its_leash:
                ends = [its_channel.fileno(), its_leash.fileno()]
                socket.send_fds(self._control, [b"f"], ends)
        except OSError as exc:
            channel.close()
            leash.close()
            raise NotReady("the process that decodes sound files has ended; try again") from exc
        return DecodeProcess(channel, leash)

    # --- the thread that keeps it alive

    def _keep(self) -> None:
        while not self._is_stopping:
            began_s = time.monotonic()
            try:
                status = self._run()
            except OSError as exc:
                log.error("the process that decodes sound files can't be started: %s", exc)
                status = 1
            with self._changed:
                if self._is_stopping:
                    return
                log.error(
                    "the process that decodes sound files ended (%s) and is started again",
                    signal.Signals(-status).name if status < 0 else f"status {status}",
                )
                self._let_go()
                if time.monotonic() - began_s < _LIVES_S:
                    self._changed.wait_for(lambda: self._is_stopping, _PAUSE_S)

    def _run(self) -> int:
        """Start one, and wait for its end."""
        control, its_end = socket.socketpair()
        arguments = (str(self._memory_mb), str(self._cpu_s))
        with its_end:
            process = subprocess.Popen(
                [sys.executable, "-m", __package__, *arguments],
                stdin=its_end.fileno(),
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the server, which ends it in good order
            )
        with self._changed:
            self._control, self._process = control, process
            if self._is_stopping:
                self._let_go()
        try:
            control.settimeout(_STARTS_WITHIN_S)
            with suppress(OSError):
                if control.recv(len(READY)) == READY:
                    self._took()
                    return process.wait()
            process.kill()
            return process.wait()
        finally:
            control.close()

    def _took(self) -> None:
        with self._changed:
            if not self._is_stopping:
                self._is_ready = True
                self._fill()
                self._changed.notify_all()

    def _let_go(self) -> None:
        """The end of its control ends it, and with it all processes; or ends its start."""
        self._is_ready = False
        if self._control:
            with suppress(OSError):
                self._control.shutdown(socket.SHUT_RDWR)
        for each in self._spare:
            each.close()
        self._spare.clear()
