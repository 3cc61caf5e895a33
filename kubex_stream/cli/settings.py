"""What stands before or after any verb, declared once: the fields of :class:`Settings` are the global options.

Rules of this file:
- Names and meanings are kubectl's; ``--embedded``, ``--backend`` and the counting ``-v`` are ours.
- An option behind the verb wins over the same one before it; groups add up, and so does ``-v``.
- Options of the panels :data:`SERVER` and :data:`IDENTITY` are accepted everywhere, but shown only in the help of the command as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from kubex_stream.cli.completion import (
    complete_backends,
    complete_clusters,
    complete_contexts,
    complete_namespaces,
    complete_users,
)
from kubex_stream.cli.durations import parse_timeout
from kubex_stream.cli.usage import UsageError
from kubex_stream.configuration import Impersonation
from kubex_stream.configuration.overrides import Overrides

__all__ = ("COMMON", "IDENTITY", "SERVER", "Settings", "UsageError")

COMMON: Final = "Global options"
SERVER: Final = "Global options: the server"
IDENTITY: Final = "Global options: who you are"

#: Those that an embedded cluster answers itself.
_OF_A_CLUSTER: Final = (
    "kubeconfig", "context", "cluster", "user", "server", "certificate_authority", "insecure_skip_tls_verify", "tls_server_name",
    "proxy_url", "token", "client_certificate", "client_key",
)  # fmt: skip


def _text(name: str, help: str, *, metavar: str, panel: str, short: str = "", completion: Any = None) -> Any:
    names = [f"--{name}", *([short] if short else [])]
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=panel, autocompletion=completion)


def _flag(name: str, help: str, *, panel: str) -> Any:
    return typer.Option(f"--{name}", metavar="", help=help, rich_help_panel=panel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The global options.  Each field is one: its name with dashes is the option's.

    :ivar embedded: use an embedded cluster of this process
    :ivar kubeconfig: this file instead of those that kubectl would use
    :ivar context: this context instead of the current one
    :ivar namespace: instead of the context's
    :ivar backend: the backend's name; None takes the best
    :ivar request_timeout: as it is written; :attr:`timeout` is its meaning
    :ivar verbosity: how often ``-v`` was given
    """

    namespace: Annotated[
        str | None,
        _text(
            "namespace",
            "Use this namespace instead of the context's.",
            metavar="NS",
            panel=COMMON,
            short="-n",
            completion=complete_namespaces,
        ),
    ] = None
    context: Annotated[
        str | None,
        _text(
            "context", "Use this context of the kubeconfig.", metavar="NAME", panel=COMMON, completion=complete_contexts
        ),
    ] = None
    kubeconfig: Annotated[
        Path | None,
        _text("kubeconfig", "Use this file instead of $KUBECONFIG or ~/.kube/config.", metavar="FILE", panel=COMMON),
    ] = None
    embedded: Annotated[
        bool,
        _flag(
            "embedded",
            "Use an embedded cluster with a ready pod `demo`; its commands run on this machine.",
            panel=COMMON,
        ),
    ] = False
    backend: Annotated[
        str | None,
        _text(
            "backend",
            "Use this backend; `kubex-stream backends` lists them.",
            metavar="NAME",
            panel=COMMON,
            completion=complete_backends,
        ),
    ] = None
    verbosity: Annotated[
        int,
        typer.Option(
            "--verbose", "-v", metavar="", count=True, show_default=False, rich_help_panel=COMMON,
            help="Tell on stderr what happens; -vv and -vvv tell more, and never a secret.",
        ),
    ] = 0  # fmt: skip
    server: Annotated[
        str | None, _text("server", "Use the API server at this URL.", metavar="URL", panel=SERVER, short="-s")
    ] = None
    cluster: Annotated[
        str | None,
        _text(
            "cluster", "Use this cluster of the kubeconfig.", metavar="NAME", panel=SERVER, completion=complete_clusters
        ),
    ] = None
    certificate_authority: Annotated[
        Path | None,
        _text("certificate-authority", "Trust the authorities of this PEM file.", metavar="FILE", panel=SERVER),
    ] = None
    insecure_skip_tls_verify: Annotated[
        bool, _flag("insecure-skip-tls-verify", "Trust any server. Anybody in between can read all.", panel=SERVER)
    ] = False
    tls_server_name: Annotated[
        str | None,
        _text("tls-server-name", "Expect this name in the server's certificate.", metavar="NAME", panel=SERVER),
    ] = None
    proxy_url: Annotated[
        str | None, _text("proxy-url", "Connect through this http or https proxy.", metavar="URL", panel=SERVER)
    ] = field(default=None, repr=False)
    request_timeout: Annotated[
        str | None,
        _text(
            "request-timeout",
            "Give up on a request, or on opening a stream, after this long, as 30s or 2m; 0 never does.",
            metavar="TIME",
            panel=SERVER,
        ),
    ] = None
    user: Annotated[
        str | None,
        _text("user", "Use this user of the kubeconfig.", metavar="NAME", panel=IDENTITY, completion=complete_users),
    ] = None
    token: Annotated[
        str | None,
        _text(
            "token", "Use this bearer token. Other users of this machine can see it.", metavar="TOKEN", panel=IDENTITY
        ),
    ] = field(default=None, repr=False)
    client_certificate: Annotated[
        Path | None,
        _text("client-certificate", "Use the certificate in this PEM file.", metavar="FILE", panel=IDENTITY),
    ] = None
    client_key: Annotated[
        Path | None, _text("client-key", "Use the key in this PEM file.", metavar="FILE", panel=IDENTITY)
    ] = None
    as_: Annotated[str | None, _text("as", "Act as this user.", metavar="USER", panel=IDENTITY)] = None
    as_group: Annotated[
        list[str] | None,
        _text("as-group", "Act as a member of this group; may be repeated.", metavar="GROUP", panel=IDENTITY),
    ] = None
    as_uid: Annotated[str | None, _text("as-uid", "Act with this user id.", metavar="UID", panel=IDENTITY)] = None

    def over(self, other: Settings) -> Settings:
        """These, and where they say nothing, those of ``other``."""
        return Settings(
            **{each.name: _over(getattr(self, each.name), getattr(other, each.name)) for each in fields(self)}
        )

    def check(self) -> None:
        """Find now what makes no sense.

        :raises UsageError: it does not; the text says why, and no value of a secret
        """
        for each in fields(self):
            value = getattr(self, each.name)
            if value == "" or (isinstance(value, list) and "" in value):
                raise UsageError(
                    f"--{each.name.strip('_').replace('_', '-')} is empty; give it a value, or leave it out"
                )
        given = [name for name in _OF_A_CLUSTER if getattr(self, name)]
        if self.embedded and given:
            options = " and ".join(f"--{name.replace('_', '-')}" for name in given)
            raise UsageError(f"--embedded brings its own cluster; leave out {options}")
        if self.as_ is None and (self.as_group or self.as_uid is not None):
            raise UsageError("--as-group and --as-uid need --as, the user to act as")
        _ = self.timeout

    @property
    def timeout(self) -> float | None:
        """``--request-timeout`` in seconds; None where it was not given, 0 for no limit."""
        return None if self.request_timeout is None else parse_timeout(self.request_timeout, "--request-timeout")

    @property
    def impersonation(self) -> Impersonation | None:
        """Whom to act as."""
        return None if self.as_ is None else Impersonation(user=self.as_, uid=self.as_uid, groups=self.as_group or ())

    @property
    def overrides(self) -> Overrides:
        """What is to be different from the kubeconfig."""
        return Overrides(
            cluster=self.cluster,
            user=self.user,
            server=self.server,
            server_ca_file=self.certificate_authority,
            insecure_skip_tls_verify=self.insecure_skip_tls_verify,
            tls_server_name=self.tls_server_name,
            proxy_url=self.proxy_url,
            token=self.token,
            client_cert_file=self.client_certificate,
            client_key_file=self.client_key,
        )


def _over(behind: Any, before: Any) -> Any:
    if isinstance(behind, bool):
        return behind or before
    if isinstance(behind, int):
        return behind + before
    if isinstance(behind, list) and before is not None:
        return [*before, *behind]
    return before if behind is None else behind
