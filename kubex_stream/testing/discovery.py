"""Discovery: which resources there are, in both forms that clients ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

__all__ = ("VERSION", "discovery")

_GIT_VERSION: Final = "v1.36.3"
#: What ``/version`` answers.
VERSION: Final[dict[str, Any]] = {
    "major": "1",
    "minor": "36",
    "gitVersion": _GIT_VERSION,
    "gitCommit": "",
    "gitTreeState": "",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "",
    "compiler": "",
    "platform": "embedded",
}


Row = tuple[str, str, bool, tuple[str, ...], tuple[str, ...]]
_READ: Final = ("get", "list")
_WRITE: Final = ("create", "delete", "get", "list", "patch", "update", "watch")
#: Of each group and version: name, kind, whether it is namespaced, verbs, short names.
_RESOURCES: Final[Mapping[str, tuple[Row, ...]]] = {
    "v1": (
        ("configmaps", "ConfigMap", True, _WRITE, ("cm",)),
        ("namespaces", "Namespace", False, _WRITE, ("ns",)),
        ("pods", "Pod", True, ("delete", "get", "list", "watch"), ("po",)),
        ("pods/attach", "PodAttachOptions", True, ("create", "get"), ()),
        ("pods/exec", "PodExecOptions", True, ("create", "get"), ()),
        ("pods/portforward", "PodPortForwardOptions", True, ("create", "get"), ()),
        ("services", "Service", True, _READ, ("svc",)),
    ),
    "apps/v1": (
        ("deployments", "Deployment", True, _READ, ("deploy",)),
        ("replicasets", "ReplicaSet", True, _READ, ("rs",)),
        ("statefulsets", "StatefulSet", True, _READ, ("sts",)),
    ),
}


def _all(name: str) -> dict[str, Any]:
    return {} if "/" in name or name in ("configmaps", "namespaces") else {"categories": ["all"]}


def _legacy_resources(version: str) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "singularName": "" if "/" in name else kind.lower(),
            "namespaced": namespaced,
            "kind": kind,
            "verbs": list(verbs),
            **({"shortNames": list(short)} if short else {}),
            **_all(name),
        }
        for name, kind, namespaced, verbs, short in _RESOURCES[version]
    ]


def _aggregated_resources(version: str) -> list[dict[str, Any]]:
    group, _, number = version.rpartition("/")
    found: dict[str, dict[str, Any]] = {}
    for name, kind, namespaced, verbs, short in _RESOURCES[version]:
        response = {"group": group, "version": number if group else "", "kind": kind}
        if "/" in name:
            parent, sub = name.split("/")
            entry = {"subresource": sub, "responseKind": response, "verbs": list(verbs)}
            found[parent].setdefault("subresources", []).append(entry)
            continue
        found[name] = {
            "resource": name,
            "responseKind": response,
            "scope": "Namespaced" if namespaced else "Cluster",
            "singularResource": kind.lower(),
            "verbs": list(verbs),
            "shortNames": list(short),
            **_all(name),
        }
    return list(found.values())


def _aggregated(path: str) -> dict[str, Any]:
    name, metadata = ("v1", {}) if path == "/api" else ("apps/v1", {"name": "apps"})
    version = {"version": "v1", "resources": _aggregated_resources(name), "freshness": "Current"}
    kind = {"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}}
    return {**kind, "items": [{"metadata": metadata, "versions": [version]}]}


def discovery(path: str, address: str, *, aggregated: bool) -> dict[str, Any] | None:
    """The discovery document at ``/api``, ``/apis``, ``/apis/apps`` or one of their versions; None elsewhere."""
    version = path.removeprefix("/apis/").removeprefix("/api/")
    apps_version = {"groupVersion": "apps/v1", "version": "v1"}
    apps = {"name": "apps", "versions": [apps_version], "preferredVersion": apps_version}
    if version != path and version in _RESOURCES and path.startswith("/apis/") == ("/" in version):
        resources = _legacy_resources(version)
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": resources}
    if path == "/apis/apps":
        return {"kind": "APIGroup", "apiVersion": "v1", **apps}
    if path not in ("/api", "/apis"):
        return None
    if aggregated:
        return _aggregated(path)
    if path == "/apis":
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [apps]}
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
