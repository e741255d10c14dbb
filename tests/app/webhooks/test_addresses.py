"""Which addresses webhooks may be delivered to."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from app.webhooks.addresses import RefusedAddressError, checked, resolved

PRIVATE = [
    "https://127.0.0.1/x",
    "https://10.1.2.3/x",
    "https://192.168.0.7/x",
    "https://169.254.169.254/latest/meta-data",
    "https://100.64.0.1/x",
    "https://0.0.0.0/x",
    "https://224.0.0.1/x",
    "https://[::1]/x",
    "https://[fe80::1]/x",
    "https://[fd00::1]/x",
    "https://[::ffff:10.0.0.1]/x",
    "https://[64:ff9b::a00:1]/x",
    "https://[2002:a00:1::]/x",
]


def resolving_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> None:
    def answer(*_arguments: Any, **_options: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", answer)


@pytest.mark.parametrize("url", PRIVATE)
def test_addresses_that_are_not_public_are_refused(url: str) -> None:
    with pytest.raises(RefusedAddressError, match="public address"):
        checked(url, allow_private=False)


@pytest.mark.parametrize("url", ["http://8.8.8.8/x", "ftp://8.8.8.8/x", "//8.8.8.8/x", "https:///x", "8.8.8.8", "é"])
def test_what_is_no_address_of_a_receiver_is_refused(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        checked(url, allow_private=False)


@pytest.mark.parametrize(
    "url", ["https://me:secret@example.org/", "https://example.org/#part", "https://example.org:99999/"]
)
def test_a_url_without_user_fragment_or_strange_port_is_wanted(url: str) -> None:
    with pytest.raises(RefusedAddressError):
        checked(url, allow_private=True)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/x", "http://[::1]/x", "https://10.0.0.1/"])
def test_private_addresses_are_let_through_where_the_setting_says_so(url: str) -> None:
    assert str(checked(url, allow_private=True)) == url


@pytest.mark.parametrize("url", ["http://0.0.0.0/", "http://224.0.0.1/"])
def test_what_is_no_single_machine_is_refused_in_any_case(url: str) -> None:
    with pytest.raises(RefusedAddressError, match="one machine"):
        checked(url, allow_private=True)


def test_a_name_is_connected_to_by_the_address_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    resolving_to(monkeypatch, "93.184.216.34")

    (target,) = asyncio.run(resolved("https://example.org:8443/hook?a=1", allow_private=False))

    assert str(target.url) == "https://93.184.216.34:8443/hook?a=1"
    assert (target.host, target.name) == ("example.org:8443", "example.org")


@pytest.mark.parametrize("url", ["https://example.org/", "https://127.1/", "https://2130706433/"])
def test_a_name_with_any_private_address_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    resolving_to(monkeypatch, "93.184.216.34", "127.0.0.1")

    with pytest.raises(RefusedAddressError, match=r"127\.0\.0\.1"):
        asyncio.run(resolved(url, allow_private=False))
