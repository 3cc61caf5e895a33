"""``Watch``: the changes of a resource, and the lines of a log, for code that is not async.

Rules of this file:
- Reading is :class:`kubex_stream.Watch`'s and ``pods.logs``'; here they are asked for, and what they say is told in the official words.
- ``resource_version`` is that of what has been handed out, not of what has been read ahead.
- Models are made in the thread that takes the events, one by one; the loop makes none.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final, TypedDict, TypeVar

import anyio

from kubex_stream.api.pods import Pods
from kubex_stream.api.watch import Watch as AsyncWatch
from kubex_stream.api.watch_events import WatchEvent, WatchNotice
from kubex_stream.compat.kubernetes.asked import AskedWatch, asked_of, log_options
from kubex_stream.compat.kubernetes.calls import Call, recorded
from kubex_stream.compat.kubernetes.clients import Lease, lease_of
from kubex_stream.compat.kubernetes.errors import translated
from kubex_stream.compat.kubernetes.feed import Feed
from kubex_stream.compat.kubernetes.loop import background
from kubex_stream.compat.kubernetes.models import deserializer, has_parameter, model_name
from kubex_stream.compat.kubernetes.streams import time_limits

__all__ = ("Watch", "WatchedEvent")

T = TypeVar("T")
#: Seconds of silence after which a watch, or a log, is asked for again, where nothing else is said.
_INACTIVITY: Final = 90.0
_LOG_INACTIVITY: Final = 60.0


class WatchedEvent(TypedDict):
    """An event, as the official client gives it.

    ``type`` is ``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK``, ``raw_object`` the object as the API's JSON, and ``object`` the model
    that was made of it, or the same as ``raw_object``.
    """

    type: str
    object: Any
    raw_object: dict[str, Any]


class Watch:
    """Watches, with the methods and attributes of the official client's ``Watch``.

    :param return_type: the model of the objects, a class or its name; None for the one that the method names
    :ivar resource_version: where a watch that begins now would have to go on from: that of the last event, or bookmark, that was handed out;
        None before the first state is complete
    """

    def __init__(self, return_type: str | type[Any] | None = None) -> None:
        self._return_type = return_type
        self._feeds: weakref.WeakSet[Feed[Any]] = weakref.WeakSet()
        self._adding = threading.RLock()  # a WeakSet cannot be gone through while another thread adds to it
        self.resource_version: str | int | None = None

    def stop(self) -> None:
        """End what was begun through this object, at once, from any thread; what was not handed out yet is dropped."""
        with self._adding:
            feeds = tuple(self._feeds)
        for feed in feeds:
            feed.stop()

    def get_return_type(self, func: Callable[..., Any]) -> Any:
        """The model of the objects that a method lists: a class, or a name."""
        return self._return_type or model_name(func)

    def get_watch_argument_name(self, func: Callable[..., Any]) -> str:
        """``follow`` for logs, ``watch`` for everything else."""
        return "follow" if has_parameter(func, "follow") else "watch"

    def stream(self, func: Callable[..., Any], *args: Any, **kwargs: Any) -> Generator[Any, None, None]:
        """The events of a resource, ``for event in watch.stream(v1.list_namespaced_pod, "default")``, or the lines of a log,
        ``for line in watch.stream(v1.read_namespaced_pod_log, "web-0", "default")``.

        A watch goes on through clean ends, broken connections and silence, from where it was, until ``timeout_seconds`` are over, it is
        stopped, or the loop is left.  Without ``resource_version`` it begins with what is there, as ``ADDED``; where the version to go on
        from is too old then, everything is listed anew, and the differences come as ordinary events.  A log is followed through restarts of
        its container, until the container has ended for good.

        :param func: a ``list_…`` method, or ``read_namespaced_pod_log``, of a generated API, not called
        :param args, kwargs: what the method takes; ``resource_version`` may be a number; ``timeout_seconds`` bounds the whole;
            ``allow_watch_bookmarks`` shows bookmarks; ``deserialize=False`` makes no models; ``_request_timeout`` is seconds until it is
            open, and seconds of silence, which is 90 s otherwise
        :returns: a generator of :class:`WatchedEvent`, or of text
        :raises ApiException: 410 where ``resource_version`` was given and is too old; whatever else the server refuses for good
        :raises TypeError, ValueError: wrong arguments; at once, and nothing is sent
        """
        while isinstance(func, partial):
            args, kwargs = (*func.args, *args), {**func.keywords, **kwargs}
            func = func.func
        if self.get_watch_argument_name(func) == "follow":
            return self._lines(func, args, dict(kwargs))
        asked = asked_of(func, args, kwargs)
        self.resource_version = asked.version
        model = self.get_return_type(func) if kwargs.get("deserialize", True) else ""
        make = deserializer(asked.call.api_client, model)
        loop = background()
        lease = lease_of(loop, asked.call.api_client)
        feed: Feed[WatchEvent[Any] | WatchNotice] = Feed(loop, lambda feed: _watch(lease, asked, feed))
        return self._generator(feed, asked.call, lambda items: self._events(items, asked, make))

    def _generator(
        self, feed: Feed[T], call: Call, told: Callable[[Iterable[T]], Iterable[Any]]
    ) -> Generator[Any, None, None]:
        with self._adding:
            self._feeds.add(feed)
        return _generate(feed, call, told)

    def _events(
        self, items: Iterable[WatchEvent[Any] | WatchNotice], asked: AskedWatch, make: Callable[[Any], Any]
    ) -> Generator[WatchedEvent, None, None]:
        synced, last = asked.knows, dict[str, Any]()
        for item in items:
            if isinstance(item, WatchNotice):
                synced = synced or item.kind == "synced"
                if item.kind in ("synced", "relisted", "bookmark"):
                    self.resource_version = item.resource_version
                    if asked.bookmarks and (item.kind == "bookmark" or asked.streamed):
                        raw = _bookmark(item, last)
                        yield {"type": "BOOKMARK", "object": raw, "raw_object": raw}
                continue
            last = item.raw_object
            made = make(last)
            if synced and not item.relisted:
                self.resource_version = (last.get("metadata") or {}).get("resourceVersion") or self.resource_version
            yield {"type": item.type, "object": made, "raw_object": last}

    def _lines(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[str, None, None]:
        opened, silence = time_limits(kwargs.pop("_request_timeout", None))
        for name in ("follow", "pretty", "deserialize", "_preload_content", "_return_http_data_only"):
            kwargs.pop(name, None)
        call = recorded(func, args, kwargs)
        options, (namespace, pod, _) = log_options(call), call.pod("log")
        loop = background()
        lease = lease_of(loop, call.api_client)

        async def read(feed: Feed[str]) -> None:
            async with lease() as client:
                log = Pods(client, namespace).logs.stream(
                    pod,
                    follow=not options.get("previous"),
                    encoding="utf-8",
                    inactivity=silence or _LOG_INACTIVITY,
                    headers=call.headers,
                    request_timeout=... if opened is None else opened,
                    **options,
                )
                async with log:
                    with suppress(anyio.EndOfStream):
                        while True:
                            await feed.put([line.data for line in await log.receive_many()])

        return self._generator(Feed(loop, read), call, lambda lines: lines)


def _generate(feed: Feed[T], call: Call, told: Callable[[Iterable[T]], Iterable[Any]]) -> Generator[Any, None, None]:
    """A feed as a generator whose end closes it.

    A generator that is left is closed without waiting: that may be the garbage collector's doing, in a thread for which the loop waits.

    :param call: held, so that the application's client is there for as long as the generator
    """
    close = feed.close
    try:
        with translated():
            yield from told(feed)
    except GeneratorExit:
        close = feed.stop
        raise
    finally:
        close()
        del call


async def _watch(lease: Lease, asked: AskedWatch, feed: Feed[WatchEvent[Any] | WatchNotice]) -> None:
    async with lease() as client:
        stream = AsyncWatch(client).stream(
            asked.call.path,
            label_selector=asked.call.value("labelSelector"),
            field_selector=asked.call.value("fieldSelector"),
            resource_version=asked.version,
            timeout=asked.timeout,
            inactivity=asked.silence or _INACTIVITY,
            initial="stream" if asked.streamed else "auto",
            notify=lambda notice: feed.add((notice,)),
            headers=asked.call.headers,
            request_timeout=... if asked.opened is None else asked.opened,
        )
        async with stream as events:
            async for event in events:
                await feed.put((event,))


def _bookmark(notice: WatchNotice, last: Mapping[str, Any]) -> dict[str, Any]:
    """A bookmark as the server sends it; its kind is that of the events."""
    metadata: dict[str, Any] = {"resourceVersion": notice.resource_version}
    if notice.kind != "bookmark":
        metadata["annotations"] = {"k8s.io/initial-events-end": "true"}
    return {**{key: last[key] for key in ("kind", "apiVersion") if key in last}, "metadata": metadata}
