"""Words that a shell may offer: names of contexts, namespaces, pods and containers, as they are at this moment.

Rules of this file:
- A completion never says anything but words: whatever goes wrong, there are none, and stderr is shut before anything is tried.
- It takes at most :data:`PATIENCE` seconds.  It starts no embedded cluster, and asks nobody for a password.
- The parser's library imports a function of completion before there are settings, so what needs more than that library is imported late.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import typer

if TYPE_CHECKING:
    from kubex_stream.api.pods import Pods
    from kubex_stream.cli.settings import Settings
    from kubex_stream.configuration.kubeconfig import Kubeconfig

__all__ = (
    "COMPLETION_VARIABLE", "complete_backends", "complete_clusters", "complete_containers", "complete_contexts", "complete_namespaces",
    "complete_pod_files", "complete_targets", "complete_users", "is_completion", "prepare", "quiet",
)  # fmt: skip

#: Set by the scripts that the shells run, to what they want of this process.
COMPLETION_VARIABLE: Final = "_KUBEX_STREAM_COMPLETE"
#: Seconds for the cluster to answer.
PATIENCE: Final = 5.0
#: Kinds besides pods whose names are offered behind ``kind/``, and where they live.
_KINDS: Final = {
    "svc": ("api/v1", "services"),
    "service": ("api/v1", "services"),
    "deploy": ("apis/apps/v1", "deployments"),
    "deployment": ("apis/apps/v1", "deployments"),
    "rs": ("apis/apps/v1", "replicasets"),
    "sts": ("apis/apps/v1", "statefulsets"),
    "ds": ("apis/apps/v1", "daemonsets"),
    "job": ("apis/batch/v1", "jobs"),
}


def is_completion() -> bool:
    """Whether a shell runs this process for words, or for the script that asks for them."""
    return bool(os.environ.get(COMPLETION_VARIABLE))


def prepare() -> None:
    """Let the parser's library know the shells, which it does not unless it is asked for its own options about them."""
    from typer.completion import get_completion_inspect_parameters

    get_completion_inspect_parameters()


def quiet() -> None:
    """Shut stderr, for plugins too."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    os.close(null)


def complete_backends(incomplete: str) -> list[str]:
    """Names of backends that can be used."""
    from kubex_stream.client.registry import backends

    return _matching((info.name for info in backends() if info.problem is None), incomplete)


def complete_contexts(context: typer.Context, incomplete: str) -> list[str]:
    """Names of contexts."""
    return _of_kubeconfig(context, incomplete, lambda merged: merged.contexts)


def complete_clusters(context: typer.Context, incomplete: str) -> list[str]:
    """Names of clusters."""
    return _of_kubeconfig(context, incomplete, lambda merged: merged.clusters)


def complete_users(context: typer.Context, incomplete: str) -> list[str]:
    """Names of users."""
    return _of_kubeconfig(context, incomplete, lambda merged: merged.users)


def complete_namespaces(context: typer.Context, incomplete: str) -> list[str]:
    """Names of namespaces."""

    async def ask(pods: Pods) -> Iterable[str]:
        return await _names(pods, "/api/v1/namespaces")

    return _of_cluster(context, incomplete, ask)


def complete_targets(context: typer.Context, incomplete: str) -> list[str]:
    """Names of pods; behind ``svc/``, ``deploy/`` and so on those of such objects.  Only the first word is a target."""
    if context.params.get("names"):
        return []

    async def ask(pods: Pods) -> Iterable[str]:
        kind, slash, _ = incomplete.partition("/")
        if not slash or kind in ("pod", "pods", "po"):
            return [f"{kind}/{name}" if slash else name for name in await _running(pods)]
        if kind not in _KINDS:
            return []
        root, plural = _KINDS[kind]
        return [f"{kind}/{name}" for name in await _names(pods, f"/{root}/namespaces/{pods.namespace}/{plural}")]

    return _of_cluster(context, incomplete, ask)


def complete_pod_files(context: typer.Context, incomplete: str) -> list[str]:
    """Pods as ``cp`` names them; the files behind the colon are nobody's to list."""

    async def ask(pods: Pods) -> Iterable[str]:
        return [f"{name}:" for name in await _running(pods)]

    return _of_cluster(context, incomplete, ask)


def complete_containers(context: typer.Context, incomplete: str) -> list[str]:
    """Names of the containers of the pod that the command line names; those of all pods where it names none yet."""
    # An option that lacks its value stops the parser before it has names.
    named = context.params.get("names") or context.args
    pod = _pod_of(named)

    async def ask(pods: Pods) -> Iterable[str]:
        found = await pods.list() if pod is None else [await pods.get(pod)]
        return [container for each in found for container in _containers(each)]

    return _of_cluster(context, incomplete, ask)


def _pod_of(names: Sequence[str]) -> str | None:
    """The pod that is named, as ``exec`` and its like or as ``cp`` does; None where it is not known which that is."""
    files = [name.partition(":")[0].rpartition("/")[2] for name in names if ":" in name]
    found = (files or [name.removeprefix("pod/") for name in names] or [""])[0]
    return found if found and "/" not in found else None


def _containers(pod: dict[str, Any]) -> list[str]:
    keys = ("containers", "ephemeralContainers", "initContainers")
    return [str(each["name"]) for key in keys for each in pod["spec"].get(key) or ()]


async def _running(pods: Pods) -> list[str]:
    ended = ("Succeeded", "Failed")
    found = [pod for pod in await pods.list() if (pod.get("status") or {}).get("phase") not in ended]
    return [str(pod["metadata"]["name"]) for pod in found]


async def _names(pods: Pods, path: str) -> list[str]:
    from kubex_stream.api.objects import kubernetes_object
    from kubex_stream.client.request import Request

    request = Request(path=path)
    items = kubernetes_object(await pods.client.request(request), request).get("items") or ()
    return [str(item["metadata"]["name"]) for item in items]


def _matching(words: Iterable[str], incomplete: str) -> list[str]:
    return sorted({word for word in words if word.startswith(incomplete)})


def _settings(context: typer.Context) -> Settings:
    """The settings so far: the parser is lenient while it completes, and so the values may be anything or missing."""
    from kubex_stream.cli.options import ALL
    from kubex_stream.cli.settings import Settings

    def of(level: Any) -> Settings:
        given = {name: value for name, value in level.params.items() if name in ALL and value is not None}
        return Settings(**given)

    return of(context) if context.parent is None else of(context).over(of(context.parent))


def _of_kubeconfig(context: typer.Context, incomplete: str, choose: Callable[[Kubeconfig], Iterable[str]]) -> list[str]:
    from kubex_stream.configuration.kubeconfig import find, merge, read

    try:
        given = _settings(context).kubeconfig
        files = find().present if given is None else (given,)
        return _matching(choose(merge(read(file) for file in files)), incomplete)
    except Exception:  # noqa: BLE001  # there is nobody to tell
        return []


def _of_cluster(context: typer.Context, incomplete: str, ask: Callable[[Pods], Awaitable[Iterable[str]]]) -> list[str]:
    try:
        settings = _settings(context)
        settings.check()
        if settings.embedded:
            return []
        return _matching(_asked(settings, ask), incomplete)
    except Exception:  # noqa: BLE001  # there is nobody to tell
        return []


def _asked(settings: Settings, ask: Callable[[Pods], Awaitable[Iterable[str]]]) -> Iterable[str]:
    import anyio

    from kubex_stream.cli.connection import open_pods
    from kubex_stream.cli.running import loop_of
    from kubex_stream.client.observer import Observer

    async def within() -> Iterable[str]:
        with anyio.fail_after(PATIENCE):
            async with open_pods(settings, Observer()) as pods:
                return await ask(pods)

    return anyio.run(within, backend=loop_of(settings.backend))
