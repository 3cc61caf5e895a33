"""Waiting for a pod to come to a condition."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from kubex_stream.api.conditions import Condition, parse_condition
from kubex_stream.api.request import pods_path
from kubex_stream.api.watch import Watch
from kubex_stream.api.watch_settings import TROUBLE, passes
from kubex_stream.client.base import BaseClient
from kubex_stream.core.params import Timeout
from kubex_stream.errors import ApiError, Gone, NotFound, StreamTimeout
from kubex_stream.watch.backoff import Backoff

__all__ = ("wait_for_pod",)


async def wait_for_pod(
    client: BaseClient,
    get: Callable[[], Awaitable[dict[str, Any]]],
    name: str,
    namespace: str,
    condition: str,
    timeout: float | None,
) -> dict[str, Any]:
    """See :meth:`Pods.wait <kubex_stream.Pods.wait>`.

    :param get: the pod as it is now
    """
    wanted = parse_condition(condition)
    limit = Timeout.coerce(timeout)
    seconds = None if limit is None else limit.total
    waiting = _Waiting(client, get, name, namespace, wanted)
    with anyio.move_on_after(seconds):
        return await waiting.run()
    phase = (waiting.pod.get("status") or {}).get("phase", "unknown") if waiting.pod else "unknown"
    what = "deleted" if wanted.deletion else condition
    raise StreamTimeout(f"pod {name!r} was not {what} within {seconds:g} s; its phase is {phase}")


class _Waiting:
    """One wait.

    :ivar pod: as it was seen last
    """

    def __init__(
        self,
        client: BaseClient,
        get: Callable[[], Awaitable[dict[str, Any]]],
        name: str,
        namespace: str,
        wanted: Condition,
    ) -> None:
        self.pod: dict[str, Any] = {}
        self._watch = Watch(client)
        self._failures = 0
        self._reached = False
        self._get = get
        self._name = name
        self._path = pods_path(namespace)
        self._wanted = wanted

    async def run(self) -> dict[str, Any]:
        """The pod, when it has come to it."""
        while True:
            try:
                found = await self._look()
                return await self._follow() if found is None else found
            except Gone:
                # The version is too old: the pod as it is now tells more than the changes that were missed.
                await self._pause()
            except TROUBLE as error:
                if not self._reached or not passes(error):
                    raise
                await self._pause()

    async def _pause(self) -> None:
        self._failures += 1
        if self._failures > 1:
            await anyio.sleep(Backoff().pause(self._failures - 1))

    async def _look(self) -> dict[str, Any] | None:
        """The pod, where it has come to it already."""
        before = self.pod
        try:
            self.pod = await self._get()
        except NotFound:
            if self._wanted.deletion:
                return before
            if not self._wanted.creation:
                raise
            self.pod = {}
        self._reached = True
        if self.pod and self._has_come(before):
            return before if self._wanted.deletion else self.pod
        return None

    async def _follow(self) -> dict[str, Any]:
        version = str((self.pod.get("metadata") or {}).get("resourceVersion") or "") or None
        async with self._watch.stream(self._path, name=self._name, resource_version=version) as events:
            async for event in events:
                before, self.pod, self._failures = self.pod, event.raw_object, 0
                if event.type == "DELETED":
                    if self._wanted.deletion:
                        return self.pod
                    raise NotFound(f"pod {self._name!r} was deleted", status_code=404)
                if self._has_come(before):
                    return before if self._wanted.deletion else self.pod
        raise AssertionError("a watch without a timeout has ended")

    def _has_come(self, before: dict[str, Any]) -> bool:
        if self._wanted.deletion:
            return bool(before) and _uid(before) != _uid(self.pod)  # another one of the same name
        if self._wanted.holds(self.pod):
            return True
        status = self.pod.get("status")
        phase = status.get("phase") if isinstance(status, dict) else None
        if self._wanted.final and phase in ("Succeeded", "Failed"):
            raise ApiError(
                f"pod {self._name!r} has ended ({phase}) and will not be {self._wanted.text}", status_code=409
            )
        return False


def _uid(pod: dict[str, Any]) -> object:
    return (pod.get("metadata") or {}).get("uid")
