"""Who is at the other end, and what may be believed of what a proxy says: only those that
`trusted_proxies` names are, since anybody can send the same headers."""

from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

from ..config import HttpConfig
from .context import CONFIG

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FORWARDED_FOR = "X-Forwarded-For"
# An IPv6 client has a network of its own, and may call from each of its 2^64 addresses.
_IPV6_CLIENT_BITS = 64
_ADDRESS: web.RequestKey[Address] = web.RequestKey("address", IPv4Address)  # of either kind


def client_address(request: web.Request) -> Address:
    """Of who sends a request: of the peer or, where that is a trusted proxy, of the last in
    `X-Forwarded-For` that is none. What is to the left of it anybody may have written."""
    known: Address | None = request.get(_ADDRESS)
    if known is None:
        known = request[_ADDRESS] = _find_address(request)
    return known


def client_network(request: web.Request) -> str:
    """What counts as one client."""
    return network_name(client_address(request))


def network_name(address: Address) -> str:
    """Likewise."""
    if isinstance(address, IPv4Address):
        return str(address)
    network = int(address) >> (128 - _IPV6_CLIENT_BITS) << (128 - _IPV6_CLIENT_BITS)
    return f"{IPv6Address(network)}/{_IPV6_CLIENT_BITS}"


def forwarded(request: web.Request, name: str) -> str | None:
    """What a trusted proxy says in a header; of several, all of it."""
    said = request.headers.getall(name, [])
    if not said or not comes_from_proxy(request):
        return None
    return ",".join(said)


def comes_from_proxy(request: web.Request) -> bool:
    """Whether the peer is a proxy that is trusted."""
    return is_proxy(_peer(request), request.app[CONFIG].http)


def is_proxy(address: Address, http: HttpConfig) -> bool:
    networks = _networks(http)
    return bool(networks) and any(address in network for network in networks)


def is_secure(request: web.Request) -> bool:
    """Whether the client speaks HTTPS, with us or with a trusted proxy."""
    said = forwarded(request, "X-Forwarded-Proto")
    return (said or request.scheme).partition(",")[0].strip() in ("https", "wss")


def _find_address(request: web.Request) -> Address:
    http, address = request.app[CONFIG].http, _peer(request)
    hops = ",".join(request.headers.getall(FORWARDED_FOR, [])).split(",")
    while hops and is_proxy(address, http):
        try:
            address = _plain(ip_address(without_port(hops.pop().strip())))
        except ValueError:
            break  # "unknown", or a mistake: then who said it is as far as we can see
    return address


def without_port(said: str) -> str:
    """Some proxies say 192.0.2.1:4711 or [2001:db8::1]:4711."""
    if said.startswith("["):
        return said[1:].partition("]")[0]
    return said.partition(":")[0] if said.count(":") == 1 else said


def _peer(request: web.Request) -> Address:
    transport = request.transport
    peer = parse_address(transport.get_extra_info("peername") if transport else None)
    return peer or IPv4Address(0)  # the connection has just been lost: nobody reads the answer


def parse_address(peer: tuple[str, int] | None) -> Address | None:
    """As a socket says it; a link-local one with the interface it is on."""
    return _plain(ip_address(peer[0].partition("%")[0])) if peer else None


def _plain(address: Address) -> Address:
    """A socket for both families says ::ffff:192.0.2.1."""
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=16)  # servers in one process, of which tests have several
def _networks(http: HttpConfig) -> tuple[Network, ...]:
    return http.proxy_networks()
