"""Is this the only server that keeps here what outlives it? Two would end each other's sessions."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import SetupError

_LOCK = "server.lock"  # it stays when the server ends


@contextmanager
def held(state_dir: Path) -> Iterator[None]:
    """No other server has the folder while this block runs; the kernel lets go for one that is
    killed. Made if it is not there, for its owner alone. Raises SetupError."""
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(state_dir / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise SetupError(
            f"nothing can be kept in {state_dir}: {exc.strerror}; choose another place by "
            "--state-dir"
        ) from exc
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise SetupError(
                f"another server keeps its sessions in {state_dir}: end it, or give this one "
                "another place by --state-dir"
            ) from exc
        yield
    finally:
        os.close(descriptor)
