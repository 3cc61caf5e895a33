"""The kubeconfig of an embedded cluster."""

from __future__ import annotations

import base64
import os
from pathlib import Path

import yaml

__all__ = ("write_kubeconfig",)


def write_kubeconfig(path: Path, *, url: str, token: str, ca_pem: bytes) -> None:
    """Write it, or another one in its place, in one step; nobody else can read it.

    :param ca_pem: the certificate of the cluster's authority; empty without TLS
    """
    cluster: dict[str, object] = {"server": url}
    if ca_pem:
        cluster["certificate-authority-data"] = base64.b64encode(ca_pem).decode()
    context = {"cluster": "embedded", "user": "embedded", "namespace": "default"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "embedded", "cluster": cluster}],
        "users": [{"name": "embedded", "user": {"token": token}}],
        "contexts": [{"name": "embedded", "context": context}],
        "current-context": "embedded",
    }
    new = path.with_suffix(".new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        yaml.safe_dump(document, file, sort_keys=False)
    new.replace(path)
