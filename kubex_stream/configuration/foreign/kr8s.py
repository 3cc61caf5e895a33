"""The package ``kr8s``: its Api, sync or async, has an ``auth`` that a kubeconfig or a service account was read into.

It renews credentials by reading everything again (``reauthenticate``), which here happens after a 401.  A credential plugin is run by
us instead, since kr8s does not look when its credentials end.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path

from anyio import to_thread

from kubex_stream.configuration.entry import Entry
from kubex_stream.configuration.exec_plugin import plugin_from_entry
from kubex_stream.configuration.foreign.authorization import LiveAuthorization
from kubex_stream.configuration.foreign.proxies import environment_proxy
from kubex_stream.configuration.foreign.reading import Reader
from kubex_stream.configuration.foreign.sessions import session_proxy
from kubex_stream.configuration.origin import Origin, Resolved
from kubex_stream.errors import ConfigurationError

__all__ = ("resolve_kr8s",)

_LABEL = "kr8s.Api"


def resolve_kr8s(api: object, namespace: str | None) -> Resolved:
    """Read an Api, or an object that has one (a Pod)."""
    client, auth = _find(api)
    url = auth.text("server")
    if url is None:
        raise client.error("it has not read its configuration yet; await it first: api = await kr8s.asyncio.api()")
    fields: dict[str, object] = {"url": url, "proxy_url": _proxy(client, auth, url)}
    fields["namespace"] = namespace or auth.text("namespace") or "default"
    if url.strip().lower().startswith("https:"):
        fields |= _trust(auth) | {"tls_server_name": auth.text("tls_server_name")}
    return Resolved(fields | _authentication(client, auth), Origin(_LABEL, _LABEL))


def _find(api: object) -> tuple[Reader, Reader]:
    if inspect.iscoroutine(api):
        raise ConfigurationError("from_kr8s was given something to await; write from_kr8s(await kr8s.asyncio.api())")
    given = Reader(api, _LABEL)
    client = given if given.get("auth") is not None else Reader(given.get("api"), _LABEL)
    auth = Reader(client.get("auth"), _LABEL)
    if isinstance(api, type) or not hasattr(auth.value, "server") or not callable(client.get("reauthenticate")):
        kind = api.__name__ if isinstance(api, type) else type(api).__name__
        raise ConfigurationError(f"from_kr8s takes a kr8s Api (kr8s.api() or await kr8s.asyncio.api()), not {kind}")
    return client, auth


def _proxy(client: Reader, auth: Reader, url: str) -> str | None:
    explicit = auth.text("proxy")
    if explicit is not None:
        return explicit
    session = client.get("_session")
    return environment_proxy(url, all_proxy=True) if session is None else session_proxy(Reader(session, _LABEL))


def _trust(auth: Reader) -> dict[str, object]:
    if auth.get("_insecure_skip_tls_verify"):
        return {"insecure_skip_tls_verify": True}
    return auth.file("server_ca_file", "server_ca")


def _authentication(client: Reader, auth: Reader) -> dict[str, object]:
    certificate = auth.file("client_cert_file", "client_cert")
    certificate = certificate | auth.file("client_key_file", "client_key") if certificate else {}
    user = auth.mapping("_user")
    if isinstance(user.get("exec"), Mapping):
        if "client-certificate" in user or ("client-certificate-data" in user and "token" in user):
            raise client.error(
                "its user has a client certificate and a credential plugin, and kr8s sends both; kubectl and this library would show "
                "the certificate only: remove one of them from the kubeconfig"
            )
        return {"exec_plugin": _plugin(user, auth)}
    if auth.text("token") is None:
        return certificate

    async def read() -> object:
        return auth.get("token")

    async def renew() -> object:
        again = client.get("reauthenticate")
        assert callable(again)
        if inspect.iscoroutinefunction(again):
            return await again()
        return await to_thread.run_sync(again, abandon_on_cancel=True)  # a sync Api waits for a loop in another thread

    return certificate | {"token": LiveAuthorization(_LABEL, read, renew)}


def _plugin(user: Mapping[object, object], auth: Reader) -> object:
    spec = user["exec"]
    assert isinstance(spec, Mapping)
    name = auth.mapping("_context").get("user")
    # kr8s asks for no interactiveMode, and takes a relative command as it is.
    body = {"exec": {"interactiveMode": "IfAvailable", **spec}}
    return plugin_from_entry(Entry("user", str(name or ""), f"the kubeconfig of {_LABEL}", Path(), body), None)
