"""Which addresses an action may call; pure.

Link-local and cloud metadata addresses hand out credentials of the machine: they are never called. What event data
fills in may only lead to public addresses, so that a sender can not reach into the network that tocsin runs in.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

METADATA = tuple(map(ip_network, (
    "169.254.0.0/16",      # link-local; AWS, Azure, Google, Oracle, DigitalOcean
    "fe80::/10",           # link-local
    "fd00:ec2::/32",       # AWS
    "fd20:ce::254/128",    # Google
    "100.100.100.200/32",  # Alibaba
    "168.63.129.16/32",    # Azure's host agent
    "192.0.0.192/32",      # Oracle
)))  # fmt: skip
"""Networks that are never called."""

_NAT64 = ip_network("64:ff9b::/96")
_COMPATIBLE = ip_network("::/96")


def why_refused(address: str, *, public_only: bool) -> str | None:
    """Return why a numeric address may not be called, None if it may. An IPv4 address inside of an IPv6 one counts."""
    for one in _meant(ip_address(address.partition("%")[0])):
        if any(one in network for network in METADATA):
            return "is a link-local or cloud metadata address: such are never called"
        if public_only and (not one.is_global or one.is_multicast):
            return "is not a public address, and event data names it: list the host in TOCSIN_ALLOW_HOSTS to allow it"
    return None


def _meant(address: IPv4Address | IPv6Address) -> Iterator[IPv4Address | IPv6Address]:
    """Yield the address, and the IPv4 address that it carries, by whichever way of carrying one."""
    if isinstance(address, IPv6Address):
        carried = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if carried is None and (address in _NAT64 or (address in _COMPATIBLE and int(address) > 1)):
            carried = IPv4Address(int(address) & 0xFFFF_FFFF)
        if carried is not None:
            yield carried
            if address.ipv4_mapped:  # the same address, written longer
                return
    yield address
