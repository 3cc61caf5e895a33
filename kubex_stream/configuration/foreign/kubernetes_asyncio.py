"""The package ``kubernetes_asyncio``.  Its refresh hook may be a coroutine function, and is called on the event loop, as there."""

from __future__ import annotations

import inspect

from kubex_stream.configuration.foreign.authorization import LiveAuthorization
from kubex_stream.configuration.foreign.openapi import find
from kubex_stream.configuration.foreign.proxies import environment_proxy
from kubex_stream.configuration.origin import Origin, Resolved

__all__ = ("resolve_kubernetes_asyncio",)


def resolve_kubernetes_asyncio(client: object | None, namespace: str | None) -> Resolved:
    """Read a Configuration, an ApiClient, an API object, or the default configuration."""
    found = find(client, "kubernetes_asyncio")
    settings = found.configuration

    async def ask() -> object:
        value = found.credentials()
        return await value if inspect.isawaitable(value) else value

    async def read() -> object:
        value = await ask()
        # The hook may have put the first token under the other name.
        return await ask() if value is None and found.has_token() else value

    fields = found.fields(namespace, LiveAuthorization(settings.label, read))
    url = str(fields["url"])
    # Its sessions read the environment where the configuration names no proxy.
    fields["proxy_url"] = found.proxy(url) if settings.text("proxy") else environment_proxy(url, all_proxy=False)
    return Resolved(fields, Origin(settings.label, settings.label))
