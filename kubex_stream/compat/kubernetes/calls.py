"""From a method of a generated API to the request that it would send.

The method itself does the work: it runs on a copy of its API object whose copied client writes the request down instead of sending it.  The
application's own client is never touched, so any number of threads may do this with one client at once.  Credentials are left out, as they
come with the configuration, also when they have to be renewed; what the application has put on its client or into the call is kept.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from kubex_stream.compat.kubernetes.official import client as official

__all__ = ("Call", "recorded")

#: Headers of the generated code that say nothing: a stream has no such body, and nobody chose this name.
_GENERATED: Final = frozenset({"accept", "content-type"})
_GENERATED_AGENT: Final = "OpenAPI-Generator/"


@dataclass(frozen=True, slots=True)
class Call:
    """What a method would have sent.

    :ivar api_client: the application's, whose configuration is used
    :ivar path: behind the server's base URL, quoted
    """

    api_client: Any = field(repr=False)
    path: str
    query: tuple[tuple[str, str], ...] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)

    def values(self, name: str) -> list[str]:
        """The values of a parameter."""
        return [value for key, value in self.query if key == name]

    def value(self, name: str) -> str | None:
        """The value of a parameter; None where it is not there, or empty."""
        return next(iter(self.values(name)), None) or None

    def flag(self, name: str) -> bool:
        """Whether a parameter is there and true."""
        return (self.value(name) or "").lower() in ("true", "1")

    def without(self, *names: str) -> list[tuple[str, str]]:
        """The other parameters."""
        return [pair for pair in self.query if pair[0] not in names]

    def pod(self, *subresources: str) -> tuple[str, str, str]:
        """Namespace, name and subresource of a pod that this is about.

        :raises TypeError: it is about something else
        """
        parts = [unquote(part) for part in self.path.split("/")]
        match parts:
            case ["", "api", "v1", "namespaces", namespace, "pods", name, subresource] if subresource in subresources:
                return namespace, name, subresource
        raise official.ApiTypeError(f"this is for the {' and '.join(subresources)} of pods, not for {self.path}")


class _Recorded(Exception):  # no error: how the copied client gets out of the method
    def __init__(self, url: str, query: Iterable[tuple[str, Any]], headers: Mapping[str, Any]) -> None:
        super().__init__()
        self.url = url
        self.query = query
        self.headers = headers


def recorded(api_method: Callable[..., object], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Call:
    """The request of ``api_method(*args, **kwargs)``.  Wrong arguments raise what the method raises for them.

    :raises TypeError: it is no bound method of a generated API, or ``async_req`` is given
    """
    api = getattr(api_method, "__self__", None)
    function = getattr(api_method, "__func__", None)
    api_client = getattr(api, "api_client", None)
    if api_client is None or function is None:
        raise official.ApiTypeError(
            "the first argument is a method of a generated API, not called, as v1.connect_get_namespaced_pod_exec, "
            f"not {type(api_method).__name__}"
        )
    if kwargs.get("async_req"):
        raise official.ApiTypeError("async_req is not for streams: call this in a thread of your own instead")
    twin: Any = copy.copy(api)
    twin.api_client = _recorder(api_client)
    try:
        types.MethodType(function, twin)(*args, **{"_preload_content": False, **kwargs})
    except _Recorded as found:
        return _call(api_client, found)
    raise official.ApiTypeError(f"{getattr(api_method, '__name__', api_method)!r} sends no request")


def _recorder(api_client: Any) -> Any:
    twin = copy.copy(api_client)
    sign = api_client.update_params_for_auth

    def call_api(_method: str, url: str, header_params: Any = None, *_: Any, **__: Any) -> None:
        raise _Recorded(url, (), header_params or {})

    def request(
        _method: str, url: str, query_params: Any = None, headers: Any = None, **_: Any
    ) -> None:  # of packages before 36
        raise _Recorded(url, query_params or (), headers or {})

    def update_params_for_auth(headers: Any, queries: Any, settings: Any, *rest: Any, request_auth: Any = None) -> None:
        if request_auth:
            sign(headers, queries, settings, *rest, request_auth=request_auth)

    if hasattr(api_client, "param_serialize"):
        twin.call_api = call_api
    else:
        twin.request = request
    twin.update_params_for_auth = update_params_for_auth
    return twin


def _call(api_client: Any, found: _Recorded) -> Call:
    parts = urlsplit(found.url.removeprefix(str(api_client.configuration.host)))
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True)]
    for name, value in found.query:
        query += [(name, str(each)) for each in (value if isinstance(value, list | tuple) else (value,))]
    headers = {
        name: str(value)
        for name, value in found.headers.items()
        if name.lower() not in _GENERATED
        and not (name.lower() == "user-agent" and str(value).startswith(_GENERATED_AGENT))
    }
    return Call(api_client, parts.path, tuple(query), headers)
