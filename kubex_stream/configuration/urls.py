"""The two addresses of a configuration: the API server's and the proxy's."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit, urlunsplit

from kubex_stream.errors import ConfigurationError

__all__ = ("proxy_url", "redacted", "server_url")


def server_url(value: str) -> str:
    """Check the address of an API server, and bring it into one form: no slash at the end.

    :raises ConfigurationError: it is none
    """
    parts = _split(value, "the server's address", "https://host:6443")
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError(
            "the server's address holds a user name or password; give username and password instead"
        )
    if parts.query or parts.fragment:
        raise ConfigurationError(
            f"the server's address {redacted(value)!r} ends in a query or a fragment; leave it out"
        )
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def proxy_url(value: str) -> str:
    """Check the address of a proxy.

    :raises ConfigurationError: it is none, or a SOCKS proxy
    """
    if value.strip().lower().startswith("socks"):
        raise ConfigurationError(
            f"the proxy {redacted(value)!r} is a SOCKS proxy, which is not supported; use an http:// or https:// proxy"
        )
    parts = _split(value, "the proxy's address", "http://proxy.example:3128")
    return urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))


def redacted(value: str) -> str:
    """An address that may be shown: without credentials and query, whatever else is wrong with it."""
    credentials, at, rest = value.strip().rpartition("@")
    scheme = credentials.partition("://")[0] + "://" if "://" in credentials else ""
    place, mark, _ = rest.partition("?")
    return f"{scheme}{'…@' if at else ''}{place}{'?…' if mark else ''}"


def _split(value: str, what: str, example: str) -> SplitResult:
    try:
        parts = urlsplit(value.strip())
        _ = parts.port  # ValueError for what is no port
    except ValueError:
        raise ConfigurationError(
            f"{what} {redacted(value)!r} is not a URL; write it like {example}, an IPv6 address in [brackets]"
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(f"{what} {redacted(value)!r} is not an http or https URL; write it like {example}")
    if any(character.isspace() or not character.isprintable() for character in value.strip()):
        raise ConfigurationError(f"{what} holds white space or control characters; write it like {example}")
    return parts
