"""The httpx client inside of kr8s and lightkube: which proxy it uses for its server.  Nothing in public says so."""

from __future__ import annotations

from kubex_stream.configuration.foreign.proxies import with_proxy_headers
from kubex_stream.configuration.foreign.reading import Reader, package_of

__all__ = ("session_proxy",)

_KNOWN = ("HTTPTransport", "AsyncHTTPTransport")


def session_proxy(session: Reader) -> str | None:
    """The proxy for the session's base URL, be it from an argument or from the environment.

    :raises ConfigurationError: it has a transport of its own, of which nothing is known
    """
    choose = session.get("_transport_for_url")
    transport: object = choose(session.get("base_url")) if callable(choose) else None
    if package_of(transport) not in ("httpx", "httpx2") or type(transport).__name__ not in _KNOWN:
        raise session.error(
            "its transport is not one of httpx itself, so nobody can say how it connects; "
            "pass its configuration instead of the client, or make a ClientConfiguration by hand"
        )
    pool = Reader(Reader(transport, "").get("_pool"), session.label)
    proxy = Reader(pool.get("_proxy_url"), session.label)
    if proxy.value is None:
        return None
    host, scheme, port = _text(proxy.get("host")), _text(proxy.get("scheme")), proxy.get("port")
    address = f"{scheme}://{f'[{host}]' if ':' in host else host}" + ("" if port is None else f":{port}")
    headers = pool.get("_proxy_headers")
    pairs = [(_text(name), value) for name, value in headers] if isinstance(headers, list) else []
    return with_proxy_headers(address, pairs, session.label)


def _text(value: object) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value or "")
