"""Certificates for loopback servers, made anew for each of them."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

import trustme

__all__ = ("Certificates", "ClientCertificate")


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client's certificate chain and private key, both PEM."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "ClientCertificate(…)"


class Certificates:
    """A certificate authority of one server's own."""

    def __init__(self) -> None:
        self._ca = trustme.CA(organization_name="kubex-stream embedded cluster")

    @property
    def ca_pem(self) -> bytes:
        """The authority's certificate."""
        return self._ca.cert_pem.bytes()

    def server_context(self) -> ssl.SSLContext:
        """A server's context for loopback names; it takes client certificates of the same authority, and asks for none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.num_tickets = 0
        context.set_alpn_protocols(["http/1.1"])
        self._ca.issue_cert("localhost", "127.0.0.1", "::1").configure_cert(context)
        self._ca.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def client_certificate(self, name: str) -> ClientCertificate:
        """A certificate for a client."""
        issued = self._ca.issue_cert("client.invalid", common_name=name, organization_name="kubex-stream")
        chain = b"".join(blob.bytes() for blob in issued.cert_chain_pems)
        return ClientCertificate(chain, issued.private_key_pem.bytes())
