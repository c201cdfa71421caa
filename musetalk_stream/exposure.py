"""May a server that asks nobody for a key be reached from elsewhere? Only if that was said."""

import ipaddress
import socket
from urllib.parse import urlsplit

from .config import Config
from .errors import SetupError
from .keys import read_keys


def require_closed_or_local(config: Config) -> None:
    """A server without API keys is for this machine alone. Raises SetupError, which names both ways
    out."""
    http, state_dir = config.http, config.storage.state_dir
    has_keys = bool(read_keys(state_dir))
    public = urlsplit(http.public_url).hostname or ""
    if has_keys and http.no_auth:
        raise SetupError(
            f"there are API keys in {state_dir}, and no_auth says that nobody needs one: leave out "
            "--no-auth, or choose another place by --state-dir"
        )
    if has_keys or http.no_auth:
        return
    if public and not is_loopback_name(public):
        reached = public  # by a proxy
    elif not is_local(http.host):
        reached = http.host or "every address"
    else:
        return
    raise SetupError(
        f"{reached} can be reached from other machines, and there are no API keys in {state_dir}: "
        "make one by musetalk-stream keys add --name … --scopes sessions,avatars, or let everybody "
        "do everything by --no-auth"
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


def is_loopback_name(name: str) -> bool:
    """Whether a host is this machine, without asking anybody. Browsers lead names below localhost
    (RFC 6761 §6.3) nowhere else."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return _is_loopback(name)
    except ValueError:
        return False


def _is_loopback(address: str) -> bool:
    its = ipaddress.ip_address(address)
    mapped = its.ipv4_mapped if isinstance(its, ipaddress.IPv6Address) else None
    return (mapped or its).is_loopback
