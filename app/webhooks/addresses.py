"""Which addresses webhooks may be delivered to: without this whoever registers one could make the service speak to machines
that only it can reach.

The name is resolved here and the connection goes to the very address that was checked, so that a name that changes its mind
in between gains nothing.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import httpx

MAX_URL_CHARACTERS = 2_048
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class RefusedAddressError(Exception):
    """Nothing may be delivered there; the text says why."""


@dataclass(frozen=True)
class Target:
    """Where to connect to, and under which name."""

    url: httpx.URL  # with an IP address in place of the name
    host: str  # for the Host header
    name: str  # that the certificate has to bear


def checked(text: str, allow_private: bool) -> httpx.URL:
    """The URL, as far as can be told without resolving its name.

    Raises:
        RefusedAddressError: if it is no URL of a webhook, or its address may not be delivered to.
    """
    try:
        url = httpx.URL(text)
        port = url.port
    except (httpx.InvalidURL, ValueError, TypeError) as error:
        raise RefusedAddressError(f"expected a URL, got an error: {error}") from error
    schemes = ("https", "http") if allow_private else ("https",)
    if url.scheme not in schemes:
        raise RefusedAddressError(f"expected a URL that begins with {' or '.join(schemes)}, got {url.scheme!r}")
    if not url.host or (port is not None and not 1 <= port <= 65_535):
        raise RefusedAddressError("expected a URL with a host and, if any, a port from 1 to 65535, got another one")
    if url.userinfo or url.fragment:
        raise RefusedAddressError("expected a URL without user, password and fragment, got one with them")
    literal = _literal(url.host)
    if literal is not None:
        _check(literal, allow_private)
    return url


async def resolved(text: str, allow_private: bool) -> Sequence[Target]:
    """Where to connect to, the first that answers. If any of a name's addresses may not be delivered to, none is.

    Raises:
        RefusedAddressError: if nothing may be delivered there.
        OSError: if the name cannot be resolved.
    """
    url = checked(text, allow_private)
    literal = _literal(url.host)
    found = [literal] if literal is not None else await _addresses(url)
    for address in found:
        _check(address, allow_private)
    host, name = url.netloc.decode("ascii"), url.raw_host.decode("ascii")
    return [Target(url.copy_with(host=str(address)), host, name) for address in dict.fromkeys(found)]


async def _addresses(url: httpx.URL) -> list[Address]:
    host, loop = url.raw_host.decode("ascii"), asyncio.get_running_loop()
    infos = await loop.getaddrinfo(host, url.port or 443, type=socket.SOCK_STREAM)
    found = [ipaddress.ip_address(str(info[4][0]).partition("%")[0]) for info in infos]
    if not found:
        raise OSError(f"expected an address of {host!r}, got none")
    return found


def _literal(host: str) -> Address | None:
    """The address that is written out; None if it is a name. Forms such as 127.1 or 2130706433 are names here, and what the
    resolver makes of them is checked like any other address."""
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


def _check(address: Address, allow_private: bool) -> None:
    if allow_private:
        if address.is_multicast or address.is_unspecified:
            raise RefusedAddressError(f"expected the address of one machine, got {address}")
        return
    for inner in (address, *_embedded(address)):
        if not inner.is_global or inner.is_multicast:
            raise RefusedAddressError(f"expected a public address, got {address}")


def _embedded(address: Address) -> list[Address]:
    """The IPv4 addresses that an IPv6 address leads to."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    inner: list[Address] = [one for one in (address.ipv4_mapped, address.sixtofour) if one is not None]
    inner += list(address.teredo or ())
    if address in _NAT64:
        inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return inner
