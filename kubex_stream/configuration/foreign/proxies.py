"""The proxies of other clients: what their settings come to for the one server that we talk to."""

from __future__ import annotations

import ipaddress
import logging
from base64 import b64decode
from collections.abc import Iterable
from urllib.parse import SplitResult, quote, urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from kubex_stream.errors import ConfigurationError

__all__ = ("environment_proxy", "is_bypassed", "with_proxy_headers")

_logger = logging.getLogger("kubex_stream")


def environment_proxy(url: str, *, all_proxy: bool) -> str | None:
    """The proxy that the environment says for this server, read as aiohttp and httpx read it.

    :param all_proxy: does ``ALL_PROXY`` count?
    """
    parts = _parts(url)
    found = getproxies()
    proxy = found.get(parts.scheme) or (found.get("all") if all_proxy else None)
    if not proxy or proxy_bypass(parts.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def is_bypassed(url: str, no_proxy: str | None) -> bool:
    """Does a list of hosts exclude this server from the proxy?

    :param no_proxy: comma-separated names with all below them, with a leading dot or without, addresses, networks, ``*``; names may
        have a port
    """
    parts = _parts(url)
    host, place = (parts.hostname or "").lower(), parts.netloc.lower()
    for entry in (no_proxy or "").lower().split(","):
        wanted = entry.strip()
        if wanted == "*" or (wanted and _in_network(host, wanted)):
            return True
        wanted = wanted.lstrip(".")
        if wanted and any(name == wanted or name.endswith(f".{wanted}") for name in (host, place)):
            return True
    return False


def _parts(url: str) -> SplitResult:
    """A URL taken apart; nothing of one that is none, which the new configuration will say in its own words."""
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


def _in_network(host: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except (ValueError, TypeError):
        return False


def with_proxy_headers(proxy: str, headers: Iterable[tuple[object, object]], label: str) -> str:
    """The address of a proxy with the user name and the password that a header for it holds.

    :raises ConfigurationError: it authenticates in another way
    """
    others = []
    for name, value in headers:
        if str(name).lower() == "proxy-authorization":
            proxy = _with_credentials(proxy, value.decode("latin-1") if isinstance(value, bytes) else str(value), label)
        else:
            others.append(str(name))
    if others:
        _logger.warning("%s: these headers for the proxy are not sent: %s", label, ", ".join(sorted(others)))
    return proxy


def _with_credentials(proxy: str, value: str, label: str) -> str:
    scheme, _, encoded = value.strip().partition(" ")
    try:
        raw = b64decode(encoded.strip(), validate=True) if scheme.lower() == "basic" else b""
        user, colon, password = raw.decode().partition(":")
    except ValueError:
        colon = ""
    if not colon:
        raise ConfigurationError(
            f"{label}: the proxy-authorization header is not a user name and a password of the scheme Basic, "
            "which is all that can be sent to a proxy"
        )
    parts = _parts(proxy)
    if not parts.netloc:
        return proxy  # that it is no address is told by whoever takes it
    place = parts.netloc.rpartition("@")[2]
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{place}"
    return urlunsplit((parts.scheme, netloc, parts.path, parts.query, parts.fragment))
