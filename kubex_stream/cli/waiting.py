"""Waiting for a pod that is not there yet, or does not run yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import anyio

from kubex_stream.api.pods import Pods
from kubex_stream.api.targets import Target, find_pod
from kubex_stream.cli.failures import reason_of, say
from kubex_stream.errors import ApiError, StreamTimeout

__all__ = ("wait_until_running",)

#: Seconds between two looks for a workload's pod.
_PAUSE: Final = 1.0


async def wait_until_running(
    pods: Pods,
    target: Target,
    problem: ApiError,
    patience: float,
    *,
    missing: str | None = None,
    tell: Callable[[str], object] = say,
) -> None:
    """Wait until there is a running pod of ``target``; say so, where it takes a while.

    :param problem: how it was found out that there is none
    :param patience: seconds
    :param missing: how to say so, where ``problem`` does not say it well
    :param tell: gets the line that says so
    :raises ApiError: ``problem``, where waiting will not help
    :raises StreamTimeout: too late
    """
    if not _lacks_a_pod(problem) or await _has_ended(pods, target):
        raise problem
    said = False
    with anyio.move_on_after(patience):
        while True:
            try:
                await find_pod(pods.client, target)
                return
            except ApiError as error:
                if not _lacks_a_pod(error):
                    raise
                problem = error
            if not said:
                tell(f"Waiting up to {patience:g} s: {missing or reason_of(problem)}")
                said = True
            if target.kind == "pod":
                await pods.wait(target.name, "Running", timeout=None)
            else:
                await anyio.sleep(_PAUSE)
    raise StreamTimeout(f"{missing or reason_of(problem)} (waited {patience:g} s)")


def _lacks_a_pod(error: ApiError) -> bool:
    """Whether it is this library that says so.  An object that the server does not know will not come by itself."""
    return error.status is None and error.status_code in (404, 409)


async def _has_ended(pods: Pods, target: Target) -> bool:
    if target.kind != "pod":
        return False
    pod = await pods.get(target.name)
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
