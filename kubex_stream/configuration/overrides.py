"""What a caller, most of all a command line, wants different from what a kubeconfig says."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

__all__ = ("Overrides",)


class Overrides(BaseModel):
    """Values that win over those of a kubeconfig, or of the pod that the program runs in; what is None or False changes nothing.

    The rules are kubectl's:

    - ``cluster`` and ``user`` name other entries of the kubeconfig than the context does; ``user`` is of no use without a kubeconfig.
    - ``server`` also drops the ``tls-server-name`` of the kubeconfig, which was that of another server.
    - ``server_ca_file`` and ``insecure_skip_tls_verify`` replace all that the kubeconfig says about trust.
    - ``token`` replaces the kubeconfig's token, token file, user name and password.
    - ``client_cert_file`` and ``client_key_file`` each replace their counterpart, be that a file or data.

    :ivar cluster: the name of a cluster entry
    :ivar user: the name of a user entry
    :ivar server: URL of the API server
    :ivar server_ca_file: PEM file of the authorities to trust
    :ivar insecure_skip_tls_verify: trust any server
    :ivar tls_server_name: the name that the server's certificate must have
    :ivar proxy_url: an http or https proxy for all connections
    :ivar token: a bearer token; never shown
    :ivar client_cert_file: PEM file of a client certificate
    :ivar client_key_file: PEM file of its key
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    cluster: str | None = Field(default=None, min_length=1)
    user: str | None = Field(default=None, min_length=1)
    server: str | None = Field(default=None, min_length=1)
    server_ca_file: Path | None = None
    insecure_skip_tls_verify: bool = False
    tls_server_name: str | None = Field(default=None, min_length=1)
    proxy_url: str | None = Field(default=None, min_length=1, repr=False, exclude=True)
    token: str | None = Field(default=None, min_length=1, repr=False, exclude=True)
    client_cert_file: Path | None = None
    client_key_file: Path | None = None

    def of_the_cluster(self) -> dict[str, object]:
        """The fields of a ClientConfiguration that say which server and how to reach it."""
        fields: dict[str, object] = {}
        if self.server is not None:
            fields |= {"url": self.server, "tls_server_name": None}
        if self.server_ca_file is not None or self.insecure_skip_tls_verify:
            fields |= {
                "server_ca_data": None,
                "server_ca_file": self.server_ca_file,
                "insecure_skip_tls_verify": self.insecure_skip_tls_verify,
            }
        if self.tls_server_name is not None:
            fields["tls_server_name"] = self.tls_server_name
        if self.proxy_url is not None:
            fields["proxy_url"] = self.proxy_url
        return fields

    def of_the_user(self) -> dict[str, object]:
        """The fields of a ClientConfiguration that say who is asking."""
        fields: dict[str, object] = {}
        if self.token is not None:
            fields |= {"token": self.token, "token_file": None, "username": None, "password": None}
        if self.client_cert_file is not None:
            fields |= {"client_cert_file": self.client_cert_file, "client_cert_data": None}
        if self.client_key_file is not None:
            fields |= {"client_key_file": self.client_key_file, "client_key_data": None}
        return fields
