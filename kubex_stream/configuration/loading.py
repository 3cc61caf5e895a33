"""From kubeconfigs, or the pod we run in, to the fields of a ClientConfiguration.  Everything here blocks: call it in a thread."""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from kubex_stream.configuration.entry import Entry
from kubex_stream.configuration.exec_plugin import plugin_from_entry
from kubex_stream.configuration.impersonation import Impersonation
from kubex_stream.configuration.incluster import SERVICE_ACCOUNT, is_pod, load_cluster
from kubex_stream.configuration.kubeconfig import Kubeconfig, find, is_there, merge, parse, read
from kubex_stream.configuration.origin import Origin, Resolved
from kubex_stream.configuration.overrides import Overrides
from kubex_stream.configuration.sources import read_token
from kubex_stream.configuration.tls import TlsMaterial, add_authorities, add_client_certificate
from kubex_stream.errors import ConfigurationError

__all__ = ("check", "load_default", "load_kubeconfig", "load_mapping")

_logger = logging.getLogger("kubex_stream")

#: The extension of a cluster entry that is meant for its users' plugins.
_EXEC_EXTENSION = "client.authentication.k8s.io/exec"

#: What replaces the authentication that clients once had built in.
_REPLACEMENTS = {
    "gcp": "install gke-gcloud-auth-plugin and run: gcloud container clusters get-credentials CLUSTER",
    "azure": "install kubelogin (Azure) and run: kubelogin convert-kubeconfig",
    "oidc": "use an OIDC exec plugin, such as kubelogin: kubectl oidc-login setup",
    "openstack": "use client-keystone-auth as an exec plugin",
}

_Path = str | os.PathLike[str]
#: Where an entry "stands" that only a caller's overrides make.
_COMMAND_LINE = "the given overrides"
_NOTHING = Overrides()


def load_default(
    kubeconfig: _Path | None,
    context: str | None,
    directory: _Path = SERVICE_ACCOUNT,
    overrides: Overrides = _NOTHING,
) -> Resolved:
    """An explicit file, else ``$KUBECONFIG``, else ``~/.kube/config``, else the pod; or a server that the overrides name."""
    if kubeconfig is not None:
        return _resolve(read(Path(kubeconfig)), context, overrides)
    found = find()
    merged = merge(read(path) for path in found.present)
    if not merged.is_empty:
        return _resolve(merged, context, overrides)
    looked = f"{merged.label} is empty" if merged.files else found.looked
    if context is not None:
        raise ConfigurationError(
            f"context {context!r} is asked for, but there is no kubeconfig: {looked}; set KUBECONFIG or pass kubeconfig="
        )
    if overrides.cluster is not None or overrides.user is not None:
        raise ConfigurationError(f"a cluster or a user is asked for by name, but there is no kubeconfig: {looked}")
    if is_pod(directory):
        if "KUBECONFIG" in os.environ:
            _logger.warning("%s; the service account of this pod is used", looked)
        mounted = load_cluster(directory)
        return Resolved(mounted.fields | overrides.of_the_cluster() | overrides.of_the_user(), mounted.origin)
    if overrides.server is not None:
        return _resolve(merged, None, overrides)
    raise ConfigurationError(
        f"no configuration: {looked}, and this does not run in a pod; set KUBECONFIG, or pass kubeconfig="
    )


def load_kubeconfig(path: _Path | Sequence[_Path] | None, context: str | None) -> Resolved:
    """A file, a list of files, or those of the environment."""
    if path is None:
        found = find()
        if not found.present:
            raise ConfigurationError(f"no kubeconfig: {found.looked}; set KUBECONFIG or pass a path")
        return _resolve(merge(read(file) for file in found.present), context)
    if isinstance(path, str | os.PathLike):
        return _resolve(read(Path(path)), context)
    paths = [Path(item) for item in path if os.fspath(item)]
    present = [item for item in paths if is_there(item)]
    if not present:
        raise ConfigurationError(f"no kubeconfig: none of {', '.join(map(str, paths)) or 'an empty list'} exists")
    return _resolve(merge(read(file) for file in present), context)


def load_mapping(kubeconfig: Mapping[str, object], context: str | None, base: _Path | None) -> Resolved:
    """A kubeconfig that is parsed already."""
    if not isinstance(kubeconfig, Mapping):
        raise TypeError(
            f"kubeconfig must be a mapping, not {type(kubeconfig).__name__}; for a file use from_kubeconfig"
        )
    folder = Path.cwd() if base is None else Path(os.path.abspath(base))
    return _resolve(parse(kubeconfig, "the kubeconfig mapping", folder), context)


def check(material: TlsMaterial | None, token_file: Path | None, has_token: bool) -> None:
    """Find now what would go wrong at the first request: files that cannot be read, certificates that are wrong or have expired.

    :param material: None for plain http
    :param has_token: a token beside the file serves while the file cannot be read
    """
    if material is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    add_authorities(context, material)
    add_client_certificate(context, material)
    if token_file is not None and not has_token:
        read_token(token_file, material.origin.user)


def _resolve(kubeconfig: Kubeconfig, name: str | None, overrides: Overrides = _NOTHING) -> Resolved:
    context = _context(kubeconfig, name, overrides)
    cluster = _referenced(context, "cluster", kubeconfig.clusters, kubeconfig, overrides.cluster, overrides.server)
    user = _referenced(context, "user", kubeconfig.users, kubeconfig, overrides.user, overrides.server)
    fields = _cluster_fields(cluster, overrides) | {"impersonate": _impersonation(user)}
    if namespace := context.text("namespace"):
        fields["namespace"] = namespace
    authentication = _user_fields(user, _exec_extension(cluster)) | overrides.of_the_user()
    if str(fields["url"]).strip().lower().startswith("https:"):
        fields |= authentication
    elif any(value is not None for value in authentication.values()):
        # As kubectl does: a kubeconfig's secrets do not travel in the clear.
        _logger.warning(
            "%s: its credentials are not used, because the server of %s is plain http", user.label, cluster.label
        )
    return Resolved(fields, Origin(cluster.label, user.label))


def _context(kubeconfig: Kubeconfig, name: str | None, overrides: Overrides) -> Entry:
    if kubeconfig.is_empty and overrides.server is None:
        raise ConfigurationError(
            f"the kubeconfig {kubeconfig.label} is empty; fill it (e.g. with your provider's get-credentials), or name another"
        )
    existing = f"there are: {_names(kubeconfig.contexts)}"
    chosen = name or kubeconfig.current_context
    if not chosen:
        if overrides.cluster is not None or overrides.server is not None:
            return _nothing("context")
        raise ConfigurationError(f"{kubeconfig.label} has no current-context; pass context= ({existing})")
    if chosen not in kubeconfig.contexts:
        what = "context" if name else "current-context"
        raise ConfigurationError(f"{what} {chosen!r} is not in {kubeconfig.label}; {existing}")
    return kubeconfig.contexts[chosen]


def _nothing(kind: str) -> Entry:
    """An entry of which a kubeconfig says nothing."""
    return Entry(kind, "", _COMMAND_LINE, Path(), {})


def _referenced(
    context: Entry,
    key: str,
    entries: Mapping[str, Entry],
    kubeconfig: Kubeconfig,
    wanted: str | None,
    server: str | None,
) -> Entry:
    """The cluster or the user of a context.

    :param wanted: the name that is asked for instead of the context's
    :param server: a server that is asked for; a context without a cluster, or without a user, will do then
    """
    if wanted is not None:
        if wanted not in entries:
            raise ConfigurationError(f"{key} {wanted!r} is not in {kubeconfig.label}; there are: {_names(entries)}")
        return entries[wanted]
    if context.text(key) is None and (server is not None or (key == "user" and not context.name)):
        return _nothing(key)
    name = context.required(key, f"name one of the {key}s: {_names(entries)}")
    if name not in entries:
        raise context.error(f"{key} {name!r} is not in {kubeconfig.label}; there are: {_names(entries)}")
    return entries[name]


def _names(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in sorted(names)) or "none"


def _cluster_fields(cluster: Entry, overrides: Overrides) -> dict[str, object]:
    data = cluster.data("certificate-authority-data")
    fields: dict[str, object] = {
        "url": overrides.server or cluster.required("server", "write the address of the API server"),
        "server_ca_data": data,
        "server_ca_file": None if data else cluster.path("certificate-authority"),
        "insecure_skip_tls_verify": cluster.flag("insecure-skip-tls-verify"),
        "tls_server_name": cluster.text("tls-server-name"),
        "proxy_url": cluster.text("proxy-url"),
    }
    return fields | overrides.of_the_cluster()


def _exec_extension(cluster: Entry) -> object:
    for extension in cluster.children("extensions"):
        if extension.body.get("name") == _EXEC_EXTENSION:
            return extension.body.get("extension")
    return None


def _user_fields(user: Entry, cluster_config: object) -> dict[str, object]:
    _refuse_auth_provider(user)
    fields: dict[str, object] = {
        "token": user.text("token"),
        "token_file": user.path("tokenFile"),
        "username": user.text("username"),
        "password": user.text("password"),
        "exec_plugin": plugin_from_entry(user, cluster_config),
    }
    certificate = user.data("client-certificate-data")
    file = None if certificate else user.path("client-certificate")
    if certificate or file:  # a key alone means nothing, to kubectl too
        key = user.data("client-key-data")
        fields |= {
            "client_cert_data": certificate,
            "client_cert_file": file,
            "client_key_data": key,
            "client_key_file": None if key else user.path("client-key"),
        }
    return fields


def _refuse_auth_provider(user: Entry) -> None:
    provider = user.child("auth-provider")
    if provider is None:
        return
    name = provider.text("name") or ""
    way_out = _REPLACEMENTS.get(name, "use the exec plugin of that provider")
    raise user.error(
        f"auth-provider {name!r} is not supported: Kubernetes replaced auth providers by exec plugins; {way_out}"
    )


def _impersonation(user: Entry) -> Impersonation | None:
    name, uid, groups = user.text("as"), user.text("as-uid"), user.texts("as-groups")
    extra = user.child("as-user-extra")
    if name is None:
        if uid or groups or extra:
            raise user.error("as-uid, as-groups or as-user-extra is given without as; name the user to act as")
        return None
    values = {key: extra.texts(key) for key in extra.body} if extra else {}
    try:
        return Impersonation(user=name, uid=uid, groups=groups, extra=values)
    except ConfigurationError as exc:
        raise user.error(str(exc)) from None
