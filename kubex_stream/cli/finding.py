"""The pod that ``exec``, ``attach`` and their like are to work on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kubex_stream.api.pods import Pods
from kubex_stream.api.targets import Target, find_pod
from kubex_stream.cli.usage import UsageError
from kubex_stream.cli.waiting import wait_until_running
from kubex_stream.errors import ApiError

__all__ = ("check_target", "find_target")


def check_target(text: str) -> None:
    """Refuse what no namespace can hold.

    :raises UsageError: a kind without pods
    :raises ValueError: a name that no object can have
    """
    kind, slash, _ = text.rpartition("/")
    if slash:
        try:
            Target.parse(f"{kind}/name", "default")
        except ValueError:
            raise UsageError(
                f"{kind!r} is no kind of object that has pods; there are pod, svc, deploy, rs, sts, ds, rc and job, as in deploy/web"
            ) from None
    Target.parse(text, "default")


async def find_target(pods: Pods, text: str, patience: float, tell: Callable[[str], object]) -> Mapping[str, Any]:
    """The pod that ``text`` means now.

    A pod that is named is taken as it is; that it does not run yet is for the server to say.  Where an object has no running pod, one is
    waited for.

    :param text: as ``web-0`` or ``deploy/web``
    :param patience: seconds
    :param tell: gets a line that says that it is waited
    :raises ApiError: there is none
    :raises StreamTimeout: none ran in time
    """
    target = Target.parse(text, pods.namespace)
    if target.kind == "pod":
        return await pods.get(target.name)
    try:
        return (await find_pod(pods.client, target)).pod
    except ApiError as error:
        missing = f"{target} has no running pod"
        await wait_until_running(pods, target, error, patience, missing=missing, tell=tell)
    return (await find_pod(pods.client, target)).pod
