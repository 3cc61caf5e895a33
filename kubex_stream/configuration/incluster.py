"""The configuration that every pod with a service account finds mounted."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from kubex_stream.configuration.origin import Origin, Resolved
from kubex_stream.errors import ConfigurationError

__all__ = ("SERVICE_ACCOUNT", "is_pod", "load_cluster")

#: Where the kubelet mounts the service account.
SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"

_logger = logging.getLogger("kubex_stream")


def is_pod(directory: str | os.PathLike[str] = SERVICE_ACCOUNT) -> bool:
    """Does this program run in a pod, with a service account?  The same test as kubectl's."""
    return bool(
        os.environ.get("KUBERNETES_SERVICE_HOST")
        and os.environ.get("KUBERNETES_SERVICE_PORT")
        and (Path(directory) / "token").is_file()
    )


def load_cluster(directory: str | os.PathLike[str] = SERVICE_ACCOUNT) -> Resolved:
    """Read the environment and the mounted files.  Blocks.

    :raises ConfigurationError: this is no pod
    """
    folder = Path(directory)
    fields: dict[str, object] = {"url": _url(), "token_file": folder / "token"}
    if not (folder / "token").exists():
        raise ConfigurationError(
            f"the service account token {folder / 'token'} does not exist; "
            "let the pod mount one (automountServiceAccountToken: true), or use a kubeconfig"
        )
    if (folder / "ca.crt").exists():
        fields["server_ca_file"] = folder / "ca.crt"
    else:
        _logger.warning("%s does not exist; the authorities of this system are trusted instead", folder / "ca.crt")
    try:
        fields["namespace"] = (folder / "namespace").read_text(encoding="utf-8").strip() or "default"
    except (OSError, UnicodeDecodeError):
        fields["namespace"] = "default"
    where = f"the service account in {folder}"
    return Resolved(fields, Origin(where, where))


def _url() -> str:
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT")
    if not host or not port:
        raise ConfigurationError(
            "this does not run in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set; "
            "use a kubeconfig, or set both"
        )
    return f"https://[{host}]:{port}" if ":" in host and not host.startswith("[") else f"https://{host}:{port}"
