"""Which proxy leads to the API server: one answer for plain requests and WebSockets, whatever the backend.

Order: the options, the kubeconfig's ``proxy-url``, and with ``trust_env`` the environment, read as Go does (golang.org/x/net/http/httpproxy):
``NO_PROXY`` as a list of hosts, ``.suffixes``, addresses, CIDR blocks and ``*``, each but the last two with an optional port; loopback
addresses are never proxied by the environment.  ``ALL_PROXY`` is not read; Go does not either.  Lower-case names win over upper-case
ones, which is Python's way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from kubex_stream.client.options import ClientOptions, check_proxy_url
from kubex_stream.errors import ConfigurationError

__all__ = ("choose_proxy",)


def choose_proxy(url: str, options: ClientOptions, configured: str | None, environ: Mapping[str, str]) -> str | None:
    """The proxy for ``url``, None for none.

    :param configured: the kubeconfig's ``proxy-url``
    :raises ConfigurationError: the proxy's URL is not one of an HTTP proxy
    """
    target = urlsplit(url)
    explicit = options.proxy_for(target.scheme) or configured
    if explicit is not None or not options.trust_env:
        return explicit
    name = f"{target.scheme}_proxy"
    value = environ.get(name)
    # In a CGI program HTTP_PROXY is the request's "Proxy:" header, so whoever calls it could choose.
    if not value and not (name == "http_proxy" and "REQUEST_METHOD" in environ):
        value = environ.get(name.upper())
    if not value or _bypassed(target, environ.get("no_proxy") or environ.get("NO_PROXY") or ""):
        return None
    value = value if "://" in value else f"http://{value}"
    try:
        return check_proxy_url(value)
    except ValueError as error:
        raise ConfigurationError(f"the environment variable {name.upper()} is not usable: {error}") from None


def _bypassed(target: SplitResult, no_proxy: str) -> bool:
    host = (target.hostname or "").rstrip(".")
    port = target.port or (443 if target.scheme == "https" else 80)
    address = _address(host)
    if host == "localhost" or (address is not None and address.is_loopback):
        return True
    return any(_matches(entry.strip().lower(), host, port, address) for entry in no_proxy.split(","))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _matches(entry: str, host: str, port: int, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    if entry in ("", "*"):
        return entry == "*"
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, wanted = _split_port(entry)
    if wanted not in ("", str(port)):
        return False
    if address is not None:
        return _address(name) == address
    if name.startswith("*."):
        name = name[1:]
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, str]:
    if entry.startswith("["):
        name, _, port = entry[1:].partition("]")
        return name, port.removeprefix(":")
    if entry.count(":") == 1:
        name, _, port = entry.partition(":")
        return name, port
    return entry, ""
