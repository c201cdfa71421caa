"""HTTPS without a proxy: a certificate that is read again when its files change."""

import asyncio
import logging
import ssl
from pathlib import Path

from ..config import HttpConfig
from ..errors import SetupError

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 60.0

_Signature = tuple[tuple[int, int], ...]


class Certificate:
    """What is asked for by `tls_cert` and `tls_key`.

    context   for the listening socket. Connections take the certificate that counts when they
              begin; those that are there are not disturbed
    """

    def __init__(self, cert: Path, key: Path) -> None:
        """Raises SetupError."""
        self._cert = cert
        self._key = key
        self._seen = self._look()
        self.context = self._newest = self._load()
        self.context.sni_callback = self._choose

    def __repr__(self) -> str:
        return f"<Certificate {self._cert}>"

    def reload(self) -> None:
        """Read the files if they have changed. What is wrong with them is logged, once, and what
        there was before goes on counting. Blocking."""
        try:
            seen = self._look()
            if seen == self._seen:
                return
            self._seen = seen
            self._newest = self._load()
        except SetupError as exc:
            log.error("%s; the certificate of before is used", exc)
        else:
            log.info("the certificate in %s has changed, and is used", self._cert)

    async def follow(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await asyncio.to_thread(self.reload)

    def _choose(self, socket: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        """OpenSSL asks this in every handshake, also of who names no server."""
        socket.context = self._newest

    def _look(self) -> _Signature:
        """What changes with the files. Tools replace them by renaming, or by moving a link."""
        try:
            found = [path.stat() for path in (self._cert, self._key)]
        except OSError as exc:
            return ((exc.errno or 0, 0),)  # what is missing, loading says
        return tuple((each.st_mtime_ns, each.st_ino) for each in found)

    def _load(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            # An encrypted key must not ask for its password on a terminal.
            context.load_cert_chain(self._cert, self._key, password=b"")
        except (OSError, ValueError) as exc:  # ssl.SSLError is an OSError
            raise SetupError(
                f"tls_cert {self._cert} and tls_key {self._key} can't be used: {exc}; they must be "
                "PEM files, the key without a password and of that certificate"
            ) from exc
        return context


def certificate(http: HttpConfig) -> Certificate | None:
    """None where HTTP is spoken. Raises SetupError."""
    if not http.tls_cert:
        return None
    return Certificate(*(Path(each).expanduser() for each in (http.tls_cert, http.tls_key)))
