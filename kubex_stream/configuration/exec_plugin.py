"""Credential plugins: the ``exec:`` entry of a kubeconfig, the question to the plugin, and its answer.

The contract is client.authentication.k8s.io, v1 and v1beta1
(ref: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins).  The question goes into the
environment variable KUBERNETES_EXEC_INFO; the answer comes on stdout.  Arguments and environment may hold secrets, and the answer does:
no error here shows any of them.
"""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue, ValidationError

from kubex_stream.configuration.certificates import certificate_blocks, not_after
from kubex_stream.configuration.entry import Entry
from kubex_stream.configuration.tls import KeyPair
from kubex_stream.errors import ConfigurationError

__all__ = ("Answer", "ClusterInfo", "ExecPlugin", "parse_answer", "plugin_from_entry", "question")

V1 = "client.authentication.k8s.io/v1"
V1BETA1 = "client.authentication.k8s.io/v1beta1"

#: Credentials are replaced this long before they end, so that none ends on its way to the server.
EXPIRY_MARGIN = timedelta(seconds=10)

_MODES = ("Never", "IfAvailable", "Always")


class ExecPlugin(BaseModel):
    """A program that gives credentials.

    :ivar command: a program on ``PATH``, or a path
    :ivar args: its arguments; never shown in an error or a repr
    :ivar env: what is added to its environment; never shown either
    :ivar api_version: the version of the contract that it speaks
    :ivar interactive_mode: may it talk to a user?  ``Never``: its stdin is empty.  ``IfAvailable``: it gets ours when that is a
        terminal.  ``Always``: it is an error when ours is none.
    :ivar provide_cluster_info: tell it which cluster the credentials are for
    :ivar install_hint: shown when the program is missing
    :ivar cluster_config: what the cluster's extension ``client.authentication.k8s.io/exec`` says, passed on as it is
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    command: str = Field(min_length=1)
    args: Annotated[Sequence[str], AfterValidator(tuple)] = Field(default=(), repr=False, exclude=True)
    env: Mapping[str, str] = Field(default_factory=dict, repr=False, exclude=True)
    api_version: Literal["client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1"] = (
        "client.authentication.k8s.io/v1"
    )
    interactive_mode: Literal["Never", "IfAvailable", "Always"] = "IfAvailable"
    provide_cluster_info: bool = False
    install_hint: str | None = None
    cluster_config: JsonValue = Field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class ClusterInfo:
    """What a plugin with ``provideClusterInfo`` is told."""

    server: str
    ca_data: bytes | None = None
    insecure: bool = False
    tls_server_name: str | None = None
    proxy_url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a plugin said.  Two answers are the same only if they are one object."""

    token: str | None = field(default=None, repr=False)
    pair: KeyPair | None = field(default=None, repr=False)
    expires: datetime | None = None

    def is_fresh(self) -> bool:
        """Can this still be used?"""
        return self.expires is None or datetime.now(UTC) < self.expires - EXPIRY_MARGIN


def plugin_from_entry(user: Entry, cluster_config: object) -> ExecPlugin | None:
    """Read ``exec:`` of a user entry.

    :param cluster_config: the extension of the cluster entry
    """
    entry = user.child("exec")
    if entry is None:
        return None
    version = _version(entry)
    fields = {
        "command": _command(entry),
        "args": entry.texts("args"),
        "env": dict(_variable(item) for item in entry.children("env")),
        "api_version": version,
        "interactive_mode": _interactive_mode(entry, version),
        "provide_cluster_info": entry.flag("provideClusterInfo"),
        "install_hint": entry.text("installHint"),
        "cluster_config": cluster_config,
    }
    try:
        return ExecPlugin.model_validate(fields)
    except ValidationError:
        text = "the cluster's extension client.authentication.k8s.io/exec, which exec gets, holds what JSON has no form for"
        raise entry.error(text) from None


def _command(entry: Entry) -> str:
    command = entry.required("command", "name the credential plugin")
    # As kubectl: a bare name is looked up in PATH, anything else is a file beside the kubeconfig.
    return str(entry.base / command) if os.sep in command else command


def _variable(item: Entry) -> tuple[str, str]:
    return item.required("name", "each item of exec.env has a name and a value"), item.text("value") or ""


def _version(entry: Entry) -> str:
    version = entry.required("apiVersion", f"say which contract the plugin speaks: {V1} or {V1BETA1}")
    if version in (V1, V1BETA1):
        return version
    if version == "client.authentication.k8s.io/v1alpha1":
        text = f"exec.apiVersion {version} was removed from Kubernetes in 1.24; write {V1BETA1} or {V1}, and update the plugin"
        raise entry.error(f"{text} (for EKS: aws eks update-kubeconfig)")
    raise entry.error(f"exec.apiVersion {version!r} is unknown; {V1} and {V1BETA1} are supported")


def _interactive_mode(entry: Entry, version: str) -> str:
    mode = entry.text("interactiveMode")
    if mode in _MODES:
        return mode
    if mode is not None:
        raise entry.error(f"exec.interactiveMode is {mode!r}, but must be one of {', '.join(_MODES)}")
    if version == V1:
        raise entry.error(f"exec.interactiveMode is missing, and {V1} requires it: {', '.join(_MODES)}")
    return "IfAvailable"


def question(plugin: ExecPlugin, cluster: ClusterInfo, *, interactive: bool) -> str:
    """The content of KUBERNETES_EXEC_INFO."""
    spec: dict[str, object] = {"interactive": interactive}
    if plugin.provide_cluster_info:
        known = {
            "server": cluster.server,
            "tls-server-name": cluster.tls_server_name,
            "insecure-skip-tls-verify": cluster.insecure,
            "certificate-authority-data": b64encode(cluster.ca_data).decode() if cluster.ca_data else None,
            "proxy-url": cluster.proxy_url,
        }
        config = {} if plugin.cluster_config is None else {"config": plugin.cluster_config}
        spec["cluster"] = {key: value for key, value in known.items() if value} | config
    return json.dumps({"kind": "ExecCredential", "apiVersion": plugin.api_version, "spec": spec})


def parse_answer(plugin: ExecPlugin, stdout: bytes, name: str) -> Answer:
    """Read what the plugin wrote.

    :param name: how errors call the plugin
    :raises ConfigurationError: it is no answer; the text says why
    """
    status = _status(plugin, stdout, name)
    token, certificate, key = (_text(status, name, key) for key in ("token", "clientCertificateData", "clientKeyData"))
    if bool(certificate) != bool(key):
        raise ConfigurationError(
            f"{name} gave only one of clientCertificateData and clientKeyData; both or none must be there"
        )
    if not token and not certificate:
        raise ConfigurationError(f"{name} gave neither a token nor a client certificate; log in with it again")
    pair = KeyPair(certificate.encode(), key.encode()) if certificate and key else None
    return Answer(token or None, pair, _expiry(status, pair, name))


def _status(plugin: ExecPlugin, stdout: bytes, name: str) -> Mapping[str, object]:
    try:
        document = json.loads(stdout)
    except (ValueError, RecursionError):
        raise ConfigurationError(
            f"{name} wrote something that is not JSON to stdout ({len(stdout)} bytes), where an ExecCredential was expected"
        ) from None
    if not isinstance(document, dict) or document.get("kind") != "ExecCredential":
        raise ConfigurationError(f"{name} wrote JSON that is not an object of kind ExecCredential")
    if document.get("apiVersion") != plugin.api_version:
        raise ConfigurationError(
            f"{name} answered in another apiVersion than exec.apiVersion says ({plugin.api_version}); make the two agree"
        )
    status = document.get("status")
    if not isinstance(status, dict):
        raise ConfigurationError(f"{name} answered without a status, so without credentials; log in with it again")
    return status


def _text(status: Mapping[str, object], name: str, key: str) -> str:
    value = status.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} answered with a status.{key} that is not a string")
    return value.strip()


def _expiry(status: Mapping[str, object], pair: KeyPair | None, name: str) -> datetime | None:
    """The earlier of what the plugin says and what its certificate says."""
    ends = []
    if text := _text(status, name, "expirationTimestamp"):
        try:
            end = datetime.fromisoformat(text)
        except ValueError:
            end = None
        if end is None or end.tzinfo is None:
            raise ConfigurationError(
                f"{name} gave an expirationTimestamp that is not RFC 3339, like 2030-01-31T12:00:00Z"
            )
        ends.append(end)
    if pair is not None and (blocks := certificate_blocks(pair.certificate)):
        try:
            ends.append(not_after(blocks[0]))
        except ValueError as exc:
            raise ConfigurationError(f"{name} gave a client certificate that cannot be read ({exc})") from None
    return min(ends, default=None)
