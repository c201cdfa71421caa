"""May a server that asks nobody for a key be reached from elsewhere? Only if that was said."""

import ipaddress
import socket

from .config import Config
from .errors import SetupError
from .keys import read_keys


def require_closed_or_local(config: Config) -> None:
    """A server without API keys is for this machine alone. Raises SetupError, which names both ways
    out."""
    http, state_dir = config.http, config.storage.state_dir
    has_keys = bool(read_keys(state_dir))
    if has_keys and http.no_auth:
        raise SetupError(
            f"there are API keys in {state_dir}, and no_auth says that nobody needs one: leave out "
            "--no-auth, or choose another place by --state-dir"
        )
    if not (has_keys or http.no_auth or is_local(http.host)):
        raise SetupError(
            f"{http.host or 'every address'} can be reached from other machines, and there are no "
            "API keys: make one by musetalk-stream keys add --name … --scopes sessions,avatars, or "
            "let everybody do everything by --no-auth"
        )


def is_local(host: str) -> bool:
    """Whether who listens there is reached from this machine alone. A name that is not known here
    is nobody's; to listen there fails, and says so."""
    if not host:
        return False  # every address
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return True
    return all(_is_loopback(str(address[4][0])) for address in found)


def _is_loopback(address: str) -> bool:
    its = ipaddress.ip_address(address)
    mapped = its.ipv4_mapped if isinstance(its, ipaddress.IPv6Address) else None
    return (mapped or its).is_loopback
