"""The official client, ``kubernetes``.  Its refresh hook blocks, so it runs in a worker thread, one call at a time."""

from __future__ import annotations

from threading import Lock

from anyio import to_thread

from kubex_stream.configuration.foreign.authorization import LiveAuthorization
from kubex_stream.configuration.foreign.openapi import find
from kubex_stream.configuration.origin import Origin, Resolved

__all__ = ("resolve_kubernetes",)


def resolve_kubernetes(client: object | None, namespace: str | None) -> Resolved:
    """Read a Configuration, an ApiClient, an API object, or the default configuration."""
    found = find(client, "kubernetes")
    settings = found.configuration
    lock = Lock()  # one for all clients made of this configuration: the hook changes the object that it is given

    def ask() -> object:
        with lock:
            value = found.credentials()
            # The hook may have put the first token under the other name.
            return found.credentials() if value is None and found.has_token() else value

    async def read() -> object:
        # Without a hook this is a look into a dict, unless somebody made a class of their own.
        if settings.get("refresh_api_key_hook") is None and type(settings.value).__module__.startswith("kubernetes."):
            return found.credentials()
        return await to_thread.run_sync(ask, abandon_on_cancel=True)

    fields = found.fields(namespace, LiveAuthorization(settings.label, read))
    fields["proxy_url"] = found.proxy(str(fields["url"]))
    return Resolved(fields, Origin(settings.label, settings.label))
