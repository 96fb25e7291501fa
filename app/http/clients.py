"""Who makes a request, for limits and turns: a reader by the cookie, anybody by the address."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

from starlette.requests import Request
from starlette.types import Scope

from app.ask.readers import reader_of

UNKNOWN = "unknown"
NETWORK_BITS = 64
"""Of an IPv6 address: whoever has one has all of its network's."""


def network_of(scope: Scope) -> str:
    """The address that a request came from as the server has resolved it; of IPv6 the network."""
    client = scope.get("client")
    return _network(client[0]) if client else UNKNOWN


@lru_cache(maxsize=4096)
def _network(host: str) -> str:
    try:
        address: IPv4Address | IPv6Address = ip_address(host.partition("%")[0])
    except ValueError:  # a socket's path
        return host[:100] or UNKNOWN
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Network((address, NETWORK_BITS), strict=False))
    return str(address)


def address_turn(request: Request) -> str:
    """Whom the queue counts a question of an unknown reader for: a hash of the address."""
    return f"address:{hashlib.sha256(network_of(request.scope).encode()).hexdigest()[:16]}"


def client_of(request: Request) -> str:
    """Whose keys a request's Idempotency-Key is among: the reader's, or those of the address without the cookie."""
    reader = reader_of(request)
    return reader.turn if reader is not None else address_turn(request)
