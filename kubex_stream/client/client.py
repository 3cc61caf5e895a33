"""Making a client: which backend, and with what."""

from __future__ import annotations

from typing import Any

from kubex_stream.client.base import BaseClient
from kubex_stream.client.observer import Observer
from kubex_stream.client.options import ClientOptions
from kubex_stream.client.registry import choose_backend, load_backend
from kubex_stream.configuration import ClientConfiguration

__all__ = ("BaseClient", "create_client")


def create_client(
    configuration: ClientConfiguration | None = None,
    client_class: str | type[BaseClient] | BaseClient | None = None,
    options: ClientOptions | None = None,
    *,
    backend: str | type[BaseClient] | BaseClient | None = None,
    session: object = None,
    observer: Observer | None = None,
) -> BaseClient:
    """A client, to be opened by ``async with`` or ``await``.

    :param configuration: which cluster and who you are; None loads it on opening: ``$KUBECONFIG``, ``~/.kube/config``, or in-cluster
    :param options: how to work
    :param backend: a name (``"aiohttp"``, ``"httpx"``), a class, or a client that has been built already; None takes the best that is
        installed and runs on the running event loop
    :param client_class: another name of ``backend``
    :param session: the application's own ``aiohttp.ClientSession`` or ``httpx.AsyncClient``, which stays its owner's to close
    :param observer: is told of streams and retries
    :raises BackendNotAvailable: now, not on opening; the text holds the pip command
    :raises TypeError: both ``backend`` and ``client_class``, or a built client together with what it was built from
    """
    if backend is not None and client_class is not None:
        raise TypeError("backend and client_class are two names of one parameter: give one of them")
    chosen = backend if backend is not None else client_class
    if isinstance(chosen, BaseClient):
        if configuration is not None or options is not None or session is not None or observer is not None:
            raise TypeError("a client that is built already has its configuration, options, session and observer")
        return chosen
    if isinstance(chosen, type) and issubclass(chosen, BaseClient):
        factory = chosen
    elif isinstance(chosen, str) or chosen is None:
        factory = choose_backend() if chosen is None else load_backend(chosen)
    else:
        raise TypeError(f"backend must be a name, a BaseClient class or a client, not {chosen!r}")
    given: dict[str, Any] = {} if session is None else {"session": session}
    return factory(configuration, options, observer=observer, **given)
