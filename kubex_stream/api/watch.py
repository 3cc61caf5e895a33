"""Watches: the changes of any resource, as they happen, for as long as they are wanted."""

from __future__ import annotations

import inspect
import re
import weakref
from collections.abc import Callable, Mapping
from types import EllipsisType, TracebackType
from typing import Any, Final, Self, TypedDict, TypeVar, Unpack, overload

from pydantic import BaseModel

from kubex_stream.api.discovery import Discovery, ResourceType
from kubex_stream.api.request import check_name
from kubex_stream.api.watch_events import WatchEvent, WatchNotice
from kubex_stream.api.watch_settings import FindPath, WatchSettings
from kubex_stream.api.watch_stream import WatchStream
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request, check_headers
from kubex_stream.core.params import Timeout, TimeoutTypes
from kubex_stream.watch.backoff import Backoff
from kubex_stream.watch.course import Course, Initial
from kubex_stream.watch.selectors import field_selector_text, label_selector_text

__all__ = ("Watch", "WatchEvent", "WatchNotice", "WatchStream")

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
F = TypeVar("F", bound=Callable[..., object] | None)


#: Seconds that a list may always pause.
_SHORTEST_PAUSE: Final = 60.0


class WatchOptions(TypedDict, total=False):
    """What :meth:`Watch.stream` takes besides the resource and the model."""

    namespace: str | None
    all_namespaces: bool
    name: str | None
    label_selector: str | Mapping[str, str] | None
    field_selector: str | Mapping[str, str] | None
    resource_version: str | int | None
    timeout: float | None
    inactivity: float | None
    give_up_after: float | None
    initial: Initial
    notify: Callable[[WatchNotice], object] | None
    headers: Mapping[str, str] | None
    request_timeout: TimeoutTypes | EllipsisType


class Watch:
    """Watches through one client.

        async with Watch(client).stream("pods", label_selector="app=web") as events:
            async for event in events:
                print(event.type, event.raw_object["metadata"]["name"])

    :param client: an open client
    :param backoff: how long to wait before a watch that failed is opened again
    :raises TypeError: no client
    """

    def __init__(self, client: BaseClient, *, backoff: Backoff | None = None) -> None:
        if not isinstance(client, BaseClient):
            raise TypeError(f"Watch takes a client, as create_client() makes it, not {type(client).__name__}")
        self._client = client
        self._backoff = backoff or Backoff()
        self._discovery = Discovery.of(client)
        self._streams: weakref.WeakSet[WatchStream[Any]] = weakref.WeakSet()

    @overload
    def stream(
        self,
        resource: str | ResourceType,
        *,
        model: type[M],
        **options: Unpack[WatchOptions],
    ) -> WatchStream[M]: ...

    @overload
    def stream(
        self,
        resource: str | ResourceType,
        *,
        model: Callable[[dict[str, Any]], T],
        **options: Unpack[WatchOptions],
    ) -> WatchStream[T]: ...

    @overload
    def stream(
        self,
        resource: str | ResourceType,
        *,
        model: None = ...,
        **options: Unpack[WatchOptions],
    ) -> WatchStream[dict[str, Any]]: ...

    def stream(
        self,
        resource: str | ResourceType,
        *,
        model: Callable[[dict[str, Any]], Any] | type[BaseModel] | None = None,
        namespace: str | None = None,
        all_namespaces: bool = False,
        name: str | None = None,
        label_selector: str | Mapping[str, str] | None = None,
        field_selector: str | Mapping[str, str] | None = None,
        resource_version: str | int | None = None,
        timeout: float | None = None,
        inactivity: float | None = 90.0,
        give_up_after: float | None = None,
        initial: Initial = "auto",
        notify: Callable[[WatchNotice], object] | None = None,
        headers: Mapping[str, str] | None = None,
        request_timeout: TimeoutTypes | EllipsisType = ...,
    ) -> WatchStream[Any]:
        """The changes of a resource's objects.  Nothing is sent before the first event is waited for.

        :param resource: a name as kubectl takes it, ``"pods"``, ``"po"``, ``"deployments.apps"``, which the server is asked about once; or a
            path, ``"/apis/apps/v1/namespaces/shop/deployments"``
        :param model: makes ``event.object``: a pydantic model, or anything that can be called with the dict; None leaves the dict
        :param namespace: None for the one that the configuration names; a resource without namespaces has none
        :param all_namespaces: those of every namespace
        :param name: only the object of this name
        :param label_selector: ``"app=web,tier!=cache"``, or a mapping of the labels that are wanted
        :param field_selector: the same for fields, ``"status.phase=Running"``
        :param resource_version: go on from here: a list's, or the last one that another watch has seen.  None begins with the objects as
            they are, as ``ADDED``; ``0`` with the state that the server has at hand, which may be a little old
        :param timeout: seconds after which it ends in order; None: it does not
        :param inactivity: seconds without a byte from the server, bookmarks included, after which the connection counts as lost and is made
            again; None: never
        :param give_up_after: seconds for which every attempt must have failed before the last error is raised; None: go on trying
        :param initial: how the state is asked for: ``stream`` (``sendInitialEvents``), ``list``, or ``auto``: streamed by servers that can
        :param notify: is called with a :class:`WatchNotice` whenever something happens to the watch itself, in order with the events, by
            the task that waits for the next one
        :param headers: for every request of it
        :param request_timeout: for each list, and for each watch until it is open; ``...`` for the client's own.  Where that says nothing
            either, a list may pause for ``inactivity``, and at least 60 s
        :raises TypeError: an argument of a wrong type
        :raises ValueError: a selector that does not parse, a version that is no number, a namespace for a path, no positive seconds …
        """
        if initial not in ("auto", "list", "stream"):
            raise ValueError(f"initial is 'auto', 'list' or 'stream', not {initial!r}")
        check_headers(headers or {})
        if request_timeout is not ...:
            request_timeout = Timeout.coerce(request_timeout)
        settings = WatchSettings(
            query=_selectors(label_selector, field_selector, name),
            headers=dict(headers or {}),
            timeout=_seconds("timeout", timeout),
            inactivity=_seconds("inactivity", inactivity),
            give_up_after=_seconds("give_up_after", give_up_after),
            request_timeout=request_timeout,
            list_timeout=self._list_timeout(request_timeout, inactivity),
            backoff=self._backoff,
            notify=_plain("notify", notify),
        )
        path = self._path(resource, namespace, all_namespaces)
        course = Course(_version(resource_version), initial)
        stream: WatchStream[Any] = WatchStream(self._client, path, course, settings, _maker(model))
        self._streams.add(stream)
        return stream

    def _list_timeout(self, wanted: Any, inactivity: float | None) -> Any:
        """That of a list.  Where nobody has said one, it is a pause and not the whole: of a large list, or one that the server has to think
        about, the limits of some libraries would end every attempt, and others have none that would notice silence in time."""
        if wanted is not ... or self._client.options.timeout is not ... or inactivity is None:
            return wanted
        longest = max(inactivity, _SHORTEST_PAUSE)
        return Timeout(connect=longest, read=longest)

    def stop(self) -> None:
        """Stop every watch that was begun through this object; see :meth:`WatchStream.stop`."""
        for stream in tuple(self._streams):
            stream.stop()

    async def aclose(self) -> None:
        """Stop all of them, and wait until their connections are closed."""
        self.stop()
        for stream in tuple(self._streams):
            await stream.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    def _path(self, resource: str | ResourceType, namespace: str | None, all_namespaces: bool) -> FindPath:
        if namespace is not None:
            check_name("namespace", namespace)
            if all_namespaces:
                raise ValueError("namespace and all_namespaces exclude each other")
        if isinstance(resource, str) and resource.startswith("/"):
            if namespace is not None or all_namespaces:
                raise ValueError("a path says where to look itself; leave namespace and all_namespaces out")
            _check_path(resource)
            return _known(resource)
        if not isinstance(resource, ResourceType):
            _check_word(resource)

        async def find(*, refresh: bool = False) -> str:
            found = resource
            if isinstance(found, str):
                found = await self._discovery.resolve(found, refresh=refresh)
            found.check_watchable()
            where = None
            if found.namespaced and not all_namespaces:
                where = self._client.configuration.namespace if namespace is None else namespace
            elif namespace is not None:
                raise ValueError(f"{found} have no namespace; leave it out")
            return found.path(where)

        return find


def _check_word(resource: object) -> None:
    if not isinstance(resource, str):
        raise TypeError(f"resource is a name as 'pods', or a path as '/api/v1/nodes', not {type(resource).__name__}")
    if not re.fullmatch(r"[\w.-]+", resource):
        raise ValueError(
            f"{resource!r} is no resource; name one as 'pods' or 'deployments.apps', or give a path as '/api/v1/nodes'"
        )


def _check_path(path: str) -> None:
    Request(path=path)  # raises, where it is none
    root, *rest = path.strip("/").split("/")
    within = {"api": rest[1:], "apis": rest[2:]}.get(root)
    if within is not None and len(within) % 2 == 0:
        parent, _, name = path.rstrip("/").rpartition("/")
        hint = (
            f"is one object; watch {parent!r} with name={name!r}" if within else "is no resource; go on to its plural"
        )
        raise ValueError(f"{path!r} {hint}")


def _known(path: str) -> FindPath:
    async def find(**_: bool) -> str:
        return path

    return find


def _selectors(
    labels: str | Mapping[str, str] | None, fields: str | Mapping[str, str] | None, name: str | None
) -> tuple[tuple[str, str], ...]:
    texts = {}
    if labels is not None:
        texts["labelSelector"] = label_selector_text(labels)
    wanted = [] if fields is None else [field_selector_text(fields)]
    if name is not None:
        _check_object(name)
        wanted.append(field_selector_text({"metadata.name": name}))
    if any(wanted):
        texts["fieldSelector"] = ",".join(text for text in wanted if text)
    return tuple((key, text) for key, text in texts.items() if text)


def _check_object(name: object) -> None:
    # Rules differ between resources, as for the colons of roles, so only what no object can have is refused.
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, not {type(name).__name__}")
    if name in ("", ".", "..") or not name.isprintable() or re.search(r"[/%\s]", name):
        raise ValueError(f"{name!r} is not the name of an object")


def _version(version: str | int | None) -> str | None:
    if version is None or version == "":
        return None
    text = str(version)
    if isinstance(version, bool) or not re.fullmatch(r"[0-9]{1,20}", text) or int(text) >= 2**64:
        raise ValueError(
            f"resource_version is a number, as a list's metadata.resourceVersion has it, not {version!r}; leave it out to begin with the "
            "objects as they are"
        )
    return str(int(text))


def _seconds(what: str, value: float | None) -> float | None:
    try:
        limit = Timeout.coerce(value)
    except ValueError as error:
        raise ValueError(str(error).replace("timeout", what, 1)) from None
    return None if limit is None else limit.total


def _maker(model: Callable[[dict[str, Any]], Any] | type[BaseModel] | None) -> Callable[[dict[str, Any]], Any]:
    if model is None:
        return lambda item: item
    if isinstance(model, type) and issubclass(model, BaseModel):
        return model.model_validate
    if not callable(model):
        raise TypeError(f"model is a pydantic model or something that can be called, not {type(model).__name__}")
    return _plain("model", model)


def _plain(what: str, function: F) -> F:
    """``function``, which nobody would await."""
    if function is not None and not callable(function):
        raise TypeError(f"{what} is something that can be called, not {type(function).__name__}")
    if inspect.iscoroutinefunction(function):
        raise TypeError(f"{what} is called and not awaited; give a plain function, which may start a task")
    return function
