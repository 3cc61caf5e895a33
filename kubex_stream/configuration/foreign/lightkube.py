"""The package ``lightkube``: a Client or an AsyncClient, or the configuration that one is made of."""

from __future__ import annotations

import binascii
import os
from base64 import b64decode
from collections.abc import Callable
from functools import partial
from pathlib import Path

from kubex_stream.configuration.entry import Entry
from kubex_stream.configuration.exec_plugin import plugin_from_entry
from kubex_stream.configuration.foreign.authorization import parse
from kubex_stream.configuration.foreign.proxies import environment_proxy
from kubex_stream.configuration.foreign.reading import Reader
from kubex_stream.configuration.foreign.sessions import session_proxy
from kubex_stream.configuration.origin import Origin, Resolved
from kubex_stream.errors import ConfigurationError

__all__ = ("resolve_lightkube",)


def resolve_lightkube(client: object, namespace: str | None) -> Resolved:
    """Read a Client, an AsyncClient, a SingleConfig, or the current context of a KubeConfig."""
    given = Reader(client, "lightkube")
    config = Reader(_config(given), "lightkube.SingleConfig")
    cluster, user = Reader(config.get("cluster"), config.label), Reader(config.get("user"), config.label)
    url = cluster.text("server") if cluster.value is not None else None
    if url is None:
        raise ConfigurationError(
            "from_lightkube takes a lightkube Client, AsyncClient, KubeConfig or SingleConfig, not "
            + (client.__name__ if isinstance(client, type) else type(client).__name__)
        )
    fields: dict[str, object] = {"url": url, "proxy_url": _proxy(given, url)}
    fields["namespace"] = namespace or given.text("namespace") or config.text("namespace") or "default"
    if url.strip().lower().startswith("https:"):
        resolve = partial(_resolve, config)
        fields |= _trust(cluster, resolve) | _certificate(user, resolve)
    fields |= _authentication(user, has_certificate="client_cert_file" in fields or "client_cert_data" in fields)
    return Resolved(fields, Origin(config.label, config.label))


def _config(given: Reader) -> object:
    if given.get("config") is not None:
        return given.get("config")
    choose = given.get("get")
    if given.get("contexts") is None or not callable(choose):
        return given.value
    try:
        found: object = choose()
    except Exception as exc:
        raise given.error(
            f"the KubeConfig gives no current context ({type(exc).__name__}); pass config.get(context)"
        ) from exc
    return found


def _proxy(given: Reader, url: str) -> str | None:
    session = Reader(Reader(given.get("_client"), "").get("_client"), "lightkube.Client")
    return environment_proxy(url, all_proxy=True) if session.value is None else session_proxy(session)


def _resolve(config: Reader, file: str) -> Path:
    """The path of a file; a relative one starts at the folder of the kubeconfig."""
    fname = config.get("fname")
    if Path(file).is_absolute() or isinstance(fname, Path):
        return Path(os.path.abspath(fname.parent / file if isinstance(fname, Path) else file))
    raise config.error("it names a file by a relative path, but does not say which kubeconfig it comes from")


def _trust(cluster: Reader, resolve: Callable[[str], Path]) -> dict[str, object]:
    file, data = cluster.text("certificate_auth"), cluster.text("certificate_auth_data")
    if file is not None:
        return {"server_ca_file": resolve(file)}
    if data is not None:
        return {"server_ca_data": _decoded(data, cluster, "certificate-authority-data")}
    return {"insecure_skip_tls_verify": bool(cluster.get("insecure"))}  # it counts only where there is no authority


def _certificate(user: Reader, resolve: Callable[[str], Path]) -> dict[str, object]:
    fields: dict[str, object] = {}
    if user.text("client_cert") is None and user.text("client_cert_data") is None:
        return fields
    for name in ("client_cert", "client_key"):
        file, data = user.text(name), user.text(f"{name}_data")
        if data is not None:
            fields[f"{name}_data"] = _decoded(data, user, f"{name}_data")
        elif file is not None:
            fields[f"{name}_file"] = resolve(file)
    return fields


def _authentication(user: Reader, *, has_certificate: bool) -> dict[str, object]:
    token_file, token = user.text("token_file"), user.text("token")
    if token_file is not None:
        return {"token_file": Path(token_file)}
    if token is not None:
        header = parse(token, user.label)
        return {} if header is None else {"token": header.removeprefix("Bearer ")}
    if user.get("exec") is not None:
        if has_certificate:
            raise user.error(
                "there are a client certificate and a credential plugin, and lightkube sends both; kubectl and this library would show "
                "the certificate only: remove one of them"
            )
        return {"exec_plugin": _plugin(Reader(user.get("exec"), user.label))}
    username, password = user.text("username"), user.text("password")
    if username is not None and password is not None:
        return {"username": username, "password": password}
    if user.get("auth_provider"):
        raise user.error(
            "an auth-provider is not supported, here as in lightkube; use the exec plugin of that provider"
        )
    return {}


def _plugin(plugin: Reader) -> object:
    env, args = plugin.get("env"), plugin.get("args")
    pairs = (
        [(getattr(item, "name", None), getattr(item, "value", None)) for item in env] if isinstance(env, list) else []
    )
    body: dict[str, object] = {
        "apiVersion": plugin.text("apiVersion"),
        "command": plugin.text("command"),
        "args": args,
        "env": [{"name": name, "value": value} for name, value in pairs],
        "installHint": plugin.text("installHint"),
        "interactiveMode": "IfAvailable",
    }
    return plugin_from_entry(Entry("user", "", "lightkube.SingleConfig", Path(), {"exec": body}), None)


def _decoded(data: str, reader: Reader, name: str) -> bytes:
    try:
        return b64decode(data)
    except (ValueError, binascii.Error):
        raise reader.error(f"{name} is not base64") from None
