"""One process that decodes, as the server holds it."""

import socket
from contextlib import suppress
from dataclasses import dataclass

from .wire import STATUS

_STATUS_WITHIN_S = 2.0


@dataclass(frozen=True, slots=True)
class DecodeProcess:
    """One that waits for a file, or has one."""

    channel: socket.socket
    leash: socket.socket

    def is_waiting(self) -> bool:
        try:
            return bool(self.channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))
        except BlockingIOError:
            return True
        except OSError:
            return False

    def kill(self) -> None:
        """Who waits for its next word wakes at once, also if nobody ends it now."""
        with suppress(OSError):  # it is dead already
            self.leash.send(b"k")
        with suppress(OSError):
            self.channel.shutdown(socket.SHUT_RDWR)

    def status(self) -> int | None:
        """How it ended, which it has: an exit status, or less than 0 a signal; None if nobody
        knows."""
        self.leash.settimeout(_STATUS_WITHIN_S)
        try:
            said = self.leash.recv(STATUS.size)
        except OSError:
            return None
        return int(STATUS.unpack(said)[0]) if len(said) == STATUS.size else None

    def close(self) -> None:
        """It ends, if it has not yet."""
        self.leash.close()
        self.channel.close()
