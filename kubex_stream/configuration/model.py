"""``ClientConfiguration``: which server, and as whom."""

from __future__ import annotations

import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Self

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator, model_validator

from kubex_stream.configuration.credentials import Credentials
from kubex_stream.configuration.exec_plugin import ExecPlugin
from kubex_stream.configuration.foreign import (
    resolve_kr8s,
    resolve_kubernetes,
    resolve_kubernetes_asyncio,
    resolve_lightkube,
)
from kubex_stream.configuration.impersonation import Impersonation
from kubex_stream.configuration.incluster import SERVICE_ACCOUNT, load_cluster
from kubex_stream.configuration.loading import check, load_default, load_kubeconfig, load_mapping
from kubex_stream.configuration.origin import Origin, Resolved
from kubex_stream.configuration.overrides import Overrides
from kubex_stream.configuration.sources import bearer
from kubex_stream.configuration.tls import TlsMaterial
from kubex_stream.configuration.urls import proxy_url, redacted, server_url
from kubex_stream.errors import ConfigurationError

__all__ = ("ClientConfiguration", "TokenFunction")

#: Gives a token; awaited for every request and every handshake.
TokenFunction = Callable[[], Awaitable[str]]

_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class ClientConfiguration(BaseModel):
    """Which API server to talk to, how to reach it, and as whom.

    Make one from code, or with :meth:`load`, :meth:`from_kubeconfig`, :meth:`from_mapping`, :meth:`from_cluster`, or from the client of
    another package: :meth:`from_kubernetes`, :meth:`from_kubernetes_asyncio`, :meth:`from_kr8s`, :meth:`from_lightkube`.  It never changes;
    ``model_copy(update=…)`` makes another.  Secrets are left out of its repr and of ``model_dump``.

    :ivar url: base URL of the API server, http or https; it may have a path prefix; never ends in a slash
    :ivar namespace: used where a call names none
    :ivar server_ca_file: PEM file of the authorities to trust, instead of the system's; read again when it changes
    :ivar server_ca_data: the same as PEM bytes; wins over the file
    :ivar insecure_skip_tls_verify: trust any server; not together with authorities
    :ivar tls_server_name: the name that the server's certificate must have and that SNI sends, where it is not the host of ``url``
    :ivar proxy_url: an http or https proxy for all connections; may hold a user name and a password
    :ivar client_cert_file: PEM file of the client certificate; read again when it changes
    :ivar client_key_file: PEM file of its key, without a password
    :ivar client_cert_data: the certificate as PEM bytes; wins over the file
    :ivar client_key_data: the key as PEM bytes; wins over the file, and is never written to a disk that has a choice
    :ivar token: a bearer token, or an async function that gives one, awaited for every request
    :ivar token_file: a file with a bearer token, read again as it rotates; wins over ``token``, which then serves while the file cannot be
        read
    :ivar username: for basic authentication; not together with a token
    :ivar password: for basic authentication
    :ivar exec_plugin: a program that gives credentials; asked when there is no token, no user name and no client certificate
    :ivar impersonate: whom to act as
    :ivar try_refresh_token: after a 401, renew the credentials and try once more

    :raises ConfigurationError: values that make no sense, alone or together
    :raises pydantic.ValidationError: values of a wrong type, and unknown names
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    url: str
    namespace: str = "default"
    server_ca_file: Path | None = None
    server_ca_data: bytes | None = Field(default=None, repr=False)
    insecure_skip_tls_verify: bool = False
    tls_server_name: str | None = Field(default=None, min_length=1)
    proxy_url: str | None = Field(default=None, exclude=True)
    client_cert_file: Path | None = None
    client_key_file: Path | None = None
    client_cert_data: bytes | None = Field(default=None, repr=False)
    client_key_data: bytes | None = Field(default=None, repr=False, exclude=True)
    token: str | TokenFunction | None = Field(default=None, repr=False, exclude=True)
    token_file: Path | None = None
    username: str | None = None
    password: str | None = Field(default=None, repr=False, exclude=True)
    exec_plugin: ExecPlugin | None = None
    impersonate: Impersonation | None = None
    try_refresh_token: bool = True

    _origin: Origin = PrivateAttr(default_factory=Origin)

    @classmethod
    async def load(
        cls,
        *,
        kubeconfig: str | os.PathLike[str] | None = None,
        context: str | None = None,
        overrides: Overrides | None = None,
    ) -> Self:
        """The configuration that kubectl would use: the files of ``$KUBECONFIG``, else ``~/.kube/config``, else the pod we run in.

        :param kubeconfig: this file, and nothing else
        :param context: this context of it, instead of its current one
        :param overrides: values that win over those found there, as those of a command line; with a ``server`` among them, no kubeconfig is
            needed
        :raises ConfigurationError: there is none, or it cannot be used; the text names the file, the entry and the way out
        """
        return await cls._from(partial(load_default, kubeconfig, context, overrides=overrides or Overrides()))

    @classmethod
    async def from_kubeconfig(
        cls,
        path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | None = None,
        *,
        context: str | None = None,
    ) -> Self:
        """A kubeconfig, or several merged by kubectl's rules: of each named entry, and of the current context, the first counts.

        Relative file names inside start at the folder of the kubeconfig that holds them.  Files that are missing from a list are ignored,
        unless all are.

        :param path: a file, a list of files, or None for those of ``$KUBECONFIG``, else ``~/.kube/config``
        :param context: this context, instead of the current one
        :raises ConfigurationError: it cannot be used; the text names the file, the entry and the way out
        """
        return await cls._from(partial(load_kubeconfig, path, context))

    @classmethod
    async def from_mapping(
        cls,
        kubeconfig: Mapping[str, object],
        *,
        context: str | None = None,
        base: str | os.PathLike[str] | None = None,
    ) -> Self:
        """A kubeconfig that has been parsed already.

        :param context: this context, instead of the current one
        :param base: where relative file names inside start; by default the working directory
        :raises ConfigurationError: it cannot be used; the text names the entry and the way out
        """
        return await cls._from(partial(load_mapping, kubeconfig, context, base))

    @classmethod
    async def from_cluster(cls, *, directory: str | os.PathLike[str] = SERVICE_ACCOUNT) -> Self:
        """The service account of the pod that this program runs in.  Its token is read again as it rotates.

        :param directory: where ``token``, ``ca.crt`` and ``namespace`` are mounted
        :raises ConfigurationError: this is no pod, or one without a service account token
        """
        return await cls._from(partial(load_cluster, directory))

    @classmethod
    def from_kubernetes(cls, client: object | None = None, *, namespace: str | None = None) -> Self:
        """What a configured client of the package ``kubernetes`` says: server, proxy, TLS, credentials, refresh hook, impersonation.

        The credentials stay that object's: they are read from it for every request, in a worker thread where there is a hook.  Reads the
        certificates, so it may block for a moment.

        :param client: a ``Configuration``, an ``ApiClient``, an API object such as ``CoreV1Api``, or None for that package's default
        :param namespace: used where a call names none; that package has no such setting
        :raises ConfigurationError: it is none of these, or holds what cannot be used or carried over
        """
        return cls._build(partial(resolve_kubernetes, client, namespace))

    @classmethod
    def from_kubernetes_asyncio(cls, client: object | None = None, *, namespace: str | None = None) -> Self:
        """The same for the package ``kubernetes_asyncio``, whose refresh hook is awaited on the event loop.

        :param client: a ``Configuration``, an ``ApiClient``, an API object such as ``CoreV1Api``, or None for that package's default
        :param namespace: used where a call names none; that package has no such setting
        :raises ConfigurationError: it is none of these, or holds what cannot be used or carried over
        """
        return cls._build(partial(resolve_kubernetes_asyncio, client, namespace))

    @classmethod
    def from_kr8s(cls, api: object, *, namespace: str | None = None) -> Self:
        """What an ``Api`` of the package ``kr8s`` says.  After a 401 that Api authenticates again; its credential plugin is run by us.

        :param api: an Api, sync or async, that has been made ready, or an object that has one, such as a Pod
        :param namespace: instead of the Api's
        :raises ConfigurationError: it is none of these, or holds what cannot be used or carried over
        """
        return cls._build(partial(resolve_kr8s, api, namespace))

    @classmethod
    def from_lightkube(cls, client: object, *, namespace: str | None = None) -> Self:
        """What a client of the package ``lightkube`` says.

        :param client: a ``Client``, an ``AsyncClient``, a ``SingleConfig``, or a ``KubeConfig`` for its current context
        :param namespace: instead of the client's
        :raises ConfigurationError: it is none of these, or holds what cannot be used or carried over
        """
        return cls._build(partial(resolve_lightkube, client, namespace))

    @classmethod
    async def _from(cls, loader: Callable[[], Resolved]) -> Self:
        """Run a loader, and all that may block, in a thread."""
        return await to_thread.run_sync(cls._build, loader)

    @classmethod
    def _build(cls, loader: Callable[[], Resolved]) -> Self:
        resolved = loader()
        try:
            made = cls.model_validate(resolved.fields)
        except ConfigurationError as exc:
            where = ", ".join(dict.fromkeys((resolved.origin.cluster, resolved.origin.user)))
            raise ConfigurationError(f"{where}: {exc}") from None
        made._origin = resolved.origin
        check(made.tls_material() if made.url.startswith("https:") else None, made.token_file, made.token is not None)
        return made

    @property
    def origin(self) -> Origin:
        """Where this came from; errors name it."""
        return self._origin

    @property
    def has_client_certificate(self) -> bool:
        """Is there a client certificate, as a file or as data?"""
        return self.client_cert_file is not None or self.client_cert_data is not None

    def credentials(self, *, reload_interval: float = 10.0) -> Credentials:
        """The living side of this configuration: one for each client.

        :param reload_interval: seconds for which the content of a file that may rotate is believed
        """
        return Credentials(self, reload_interval=reload_interval)

    def tls_material(self) -> TlsMaterial:
        """All that this says about TLS."""
        return TlsMaterial(
            self._origin,
            self.server_ca_file,
            self.server_ca_data,
            self.insecure_skip_tls_verify,
            self.client_cert_file,
            self.client_cert_data,
            self.client_key_file,
            self.client_key_data,
        )

    def __repr_args__(self) -> Iterable[tuple[str | None, object]]:
        for name, value in super().__repr_args__():
            yield name, redacted(value) if name == "proxy_url" and isinstance(value, str) else value

    @field_validator("url")
    @classmethod
    def _check_url(cls, value: str) -> str:
        return server_url(value)

    @field_validator("proxy_url")
    @classmethod
    def _check_proxy_url(cls, value: str | None) -> str | None:
        return None if value is None else proxy_url(value)

    @field_validator("namespace")
    @classmethod
    def _check_namespace(cls, value: str) -> str:
        if not _NAMESPACE.fullmatch(value):
            raise ConfigurationError(
                f"namespace {value!r} is no Kubernetes name: at most 63 lower-case letters, digits and '-', no '-' at either end"
            )
        return value

    @field_validator("token")
    @classmethod
    def _check_token(cls, value: str | TokenFunction | None) -> str | TokenFunction | None:
        if isinstance(value, str):
            return bearer(value, "token").removeprefix("Bearer ")
        return value

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if (self.token is not None or self.token_file is not None) and (
            self.username is not None or self.password is not None
        ):
            raise ConfigurationError(
                "both a token and a user name or password are given; only one of them can be sent: remove one"
            )
        if self.password is not None and not self.username:
            raise ConfigurationError("a password is given without a username; give both")
        if self.username is not None and ":" in self.username:
            raise ConfigurationError("the username holds a ':', which basic authentication cannot carry")
        if self.token_file is not None and callable(self.token):
            raise ConfigurationError("both token_file and a token function are given; remove one")
        self._check_tls()
        return self

    def _check_tls(self) -> None:
        has_key = self.client_key_file is not None or self.client_key_data is not None
        if self.has_client_certificate and not has_key:
            raise ConfigurationError("there is a client certificate but no client key; give both or none")
        if has_key and not self.has_client_certificate:
            raise ConfigurationError("there is a client key but no client certificate; give both or none")
        if self.insecure_skip_tls_verify and (self.server_ca_file is not None or self.server_ca_data is not None):
            raise ConfigurationError(
                "insecure-skip-tls-verify is set and authorities are given, which contradict each other; remove one"
            )
