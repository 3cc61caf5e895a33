"""Kubeconfig files: reading them, and merging them by kubectl's rules.

1.  Of each named cluster, user and context the first file that has it counts, whole; of ``current-context`` the first that is not empty.
2.  Files that are not there are skipped; one that is there but cannot be read is an error, also when an earlier one would have done.
3.  ``~`` and variables are ordinary characters, in ``$KUBECONFIG`` as inside of files.
4.  A name that comes twice in one file is an error.  Keys that nobody knows are fine.
ref: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/#merging-kubeconfig-files

An error never shows a piece of the file: it might be a secret.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from kubex_stream.configuration.entry import Entry
from kubex_stream.errors import ConfigurationError

try:
    from yaml import CSafeLoader as _SafeLoader
except ImportError:  # PyYAML without libyaml
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

__all__ = ("Found", "Kubeconfig", "find", "is_there", "merge", "parse", "read")

#: The list that holds the entries of a kind, and the key under which an entry has its content.
_LISTS = {"contexts": "context", "clusters": "cluster", "users": "user"}


class _Loader(_SafeLoader):
    """YAML as Kubernetes reads it, as far as kubeconfigs go: what looks like a date is a string."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - PyYAML's own way of saying it
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in _SafeLoader.yaml_implicit_resolvers.items()
    }


@dataclass(slots=True)
class Kubeconfig:
    """One kubeconfig, or several merged."""

    files: list[str]
    current_context: str | None = None
    contexts: dict[str, Entry] = field(default_factory=dict)
    clusters: dict[str, Entry] = field(default_factory=dict)
    users: dict[str, Entry] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not (self.current_context or self.contexts or self.clusters or self.users)

    @property
    def label(self) -> str:
        """How errors call it."""
        return ", ".join(self.files)


@dataclass(frozen=True, slots=True)
class Found:
    """The kubeconfigs to read, and where we were told to look for them."""

    present: tuple[Path, ...]
    looked: str


def is_there(path: Path) -> bool:
    """Is there anything to read?  What may not be looked at counts as there, so that reading it tells why."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    return True


def find() -> Found:
    """The files of ``$KUBECONFIG``, else ``~/.kube/config``."""
    value = os.environ.get("KUBECONFIG")
    if not value:
        try:
            path = Path.home() / ".kube" / "config"
        except RuntimeError:
            return Found((), "KUBECONFIG is not set, and this user has no home directory")
        return Found((path,) if is_there(path) else (), f"KUBECONFIG is not set, and {path} does not exist")
    paths = list(dict.fromkeys(Path(item) for item in value.split(os.pathsep) if item))
    looked = f"KUBECONFIG names {', '.join(map(str, paths)) or 'no file'}, and nothing is there"
    if any(str(path).startswith("~") for path in paths):
        looked += " (a leading ~ is not expanded in KUBECONFIG: write the whole path)"
    return Found(tuple(path for path in paths if is_there(path)), looked)


def read(path: Path) -> Kubeconfig:
    """Read one file.  Blocks.

    :raises ConfigurationError: it cannot be read, or is no kubeconfig
    """
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        hint = "; a leading ~ is not expanded: use Path.expanduser()" if str(path).startswith("~") else ""
        raise ConfigurationError(
            f"the kubeconfig {path} cannot be read ({reason}){hint or '; correct the path or the permissions'}"
        ) from exc
    document = _decode(content, path)
    if document is None:
        return Kubeconfig([str(path)])
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"{path} is no kubeconfig: its content is not a mapping; see kubectl config view")
    return parse(document, str(path), Path(os.path.abspath(path)).parent)


def _decode(content: bytes, path: Path) -> object:
    if content.lstrip()[:1] == b"{":
        try:
            return json.loads(content)  # JSON may be indented with tabs, which YAML forbids
        except ValueError:
            pass
    try:
        return yaml.load(content, _Loader)
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        problem = re.sub(r"(['\"]).{4,}\1", "…", exc.problem or "syntax error")
    except (yaml.YAMLError, ValueError, RecursionError):
        where, problem = "", "a character or a value that YAML does not allow"
    raise ConfigurationError(f"the kubeconfig {path} is not valid YAML ({where}{problem}); correct that place")


def parse(document: Mapping[str, object], file: str, base: Path) -> Kubeconfig:
    """Take a parsed kubeconfig apart.

    :param file: how errors call it
    :param base: where relative file names start
    """
    top = Entry("kubeconfig", "", file, base, document)
    kind, version = document.get("kind"), document.get("apiVersion")
    if kind not in (None, "", "Config") or version not in (None, "", "v1"):
        raise ConfigurationError(
            f"{file} is no kubeconfig: it says kind {kind!r}, apiVersion {version!r}, not Config, v1"
        )
    found = {plural: _named(top, plural, key) for plural, key in _LISTS.items()}
    current = document.get("current-context")
    if current is not None and not isinstance(current, str):
        raise ConfigurationError(f"{file}: current-context must be a string; put it in quotes")
    return Kubeconfig([file], current or None, found["contexts"], found["clusters"], found["users"])


def _named(top: Entry, plural: str, key: str) -> dict[str, Entry]:
    """The entries of one of the three lists, by name."""
    values = top.body.get(plural)
    if values is None:
        return {}
    if not isinstance(values, list):
        raise ConfigurationError(f"{top.file}: {plural} must be a list of items with name and {key}")
    found: dict[str, Entry] = {}
    for index, item in enumerate(values):
        name, body = (item.get("name"), item.get(key)) if isinstance(item, Mapping) else (None, None)
        if not isinstance(name, str) or not isinstance(body, Mapping | None):
            raise ConfigurationError(
                f"{top.file}: {plural}[{index}] must have a name, a string, and a {key}, a mapping"
            )
        if name in found:
            raise ConfigurationError(f"{top.file}: {key} {name!r} comes twice in {plural}; rename or remove one")
        found[name] = Entry(key, name, top.file, top.base, body or {})
    return found


def merge(kubeconfigs: Iterable[Kubeconfig]) -> Kubeconfig:
    """Merge, the first being the most important."""
    merged = Kubeconfig([])
    for one in kubeconfigs:
        merged.files += one.files
        merged.current_context = merged.current_context or one.current_context
        merged.contexts = one.contexts | merged.contexts
        merged.clusters = one.clusters | merged.clusters
        merged.users = one.users | merged.users
    return merged
