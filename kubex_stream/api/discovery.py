"""Discovery: which resources a server has, and what the words mean that people call them by.

Rules of this file:
- The server is asked once for each client, and again only for a word that it did not know then, since resources are added while programs
  run, or where it turned out that what it said is no longer true.
- Where several groups have a word, the core group wins, then the order in which the server names them, as with kubectl; but a name or kind
  wins over a short name, and a group over one that it only begins like.
- A group whose own server is away hides nothing but its own resources.
"""

from __future__ import annotations

import difflib
import json
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import anyio

from kubex_stream.api.objects import unexpected
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request, path_of
from kubex_stream.errors import ApiError, NotFound

__all__ = ("Discovery", "ResourceType")

_AGGREGATED: Final = ",".join(
    (
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",  # Kubernetes 1.27 to 1.29
        "application/json",
    )
)


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A kind of object that a server has.

    :ivar group: empty for the core group
    :ivar name: the plural, as paths have it: ``deployments``
    :ivar verbs: what can be done with it: ``get``, ``list``, ``watch`` …
    """

    group: str
    version: str
    name: str
    kind: str
    namespaced: bool
    singular: str = ""
    short_names: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name}.{self.group}" if self.group else self.name

    def path(self, namespace: str | None = None) -> str:
        """The path of its objects: those of a namespace, or all.

        :raises ValueError: a namespace, and it has none
        """
        if namespace is not None and not self.namespaced:
            raise ValueError(f"{self} have no namespace")
        root = ("apis", self.group) if self.group else ("api",)
        inside = () if namespace is None else ("namespaces", namespace)
        return path_of(*root, self.version, *inside, self.name)

    def check_watchable(self) -> None:
        """Refuse what cannot be watched.

        :raises ApiError: the server does not offer it, with code 405
        """
        if "watch" not in self.verbs:
            offered = ", ".join(self.verbs) or "nothing"
            raise ApiError(f"{self} cannot be watched: the server offers {offered} for them", status_code=405)

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called, in lower case, without its group and its short names."""
        return self.name, self.singular or self.kind.lower(), self.kind.lower()


class Discovery:
    """The resources of one server; one object for each client, see :meth:`of`."""

    def __init__(self, client: BaseClient) -> None:
        self._client = weakref.ref(client)
        self._lock = anyio.Lock()
        self._types: tuple[ResourceType, ...] | None = None
        self._away: list[str] = []

    @classmethod
    def of(cls, client: BaseClient) -> Discovery:
        """What is known of the server of ``client``, for everybody who asks."""
        return _CACHE.setdefault(client, cls(client))

    async def types(self, *, refresh: bool = False) -> tuple[ResourceType, ...]:
        """All of them, the core group's first, and in each group the version that the server prefers.

        :param refresh: ask again
        :raises ApiError: the server refused
        """
        async with self._lock:
            if self._types is None or refresh:
                self._types = tuple(await self._ask())
            return self._types

    async def resolve(self, word: str, *, refresh: bool = False) -> ResourceType:
        """What a word means: the plural, the singular, the kind or a short name, also with a group or with version and group:
        ``po``, ``Deployment``, ``deployments.apps``, ``deployments.v1.apps``.

        :param refresh: ask again
        :raises NotFound: there is no such resource; the text names what is most like it
        :raises ApiError: the server refused
        """
        asked_before = self._types is not None and not refresh
        found = _find(await self.types(refresh=refresh), word)
        if found is None and asked_before:
            found = _find(await self.types(refresh=True), word)
        if found is None:
            raise NotFound(_unknown(word, await self.types(), self._away), status_code=404)
        return found

    async def _ask(self) -> list[ResourceType]:
        found: list[ResourceType] = []
        self._away = []
        for root in ("/api", "/apis"):
            request, document = await self._get(root, _AGGREGATED)
            try:
                if document.get("kind") == "APIGroupDiscoveryList":
                    found += _aggregated(document, self._away)
                else:  # before Kubernetes 1.27
                    found += await self._each(root, _group_versions(document))
            except (KeyError, TypeError, AttributeError):
                raise unexpected(request, 200, "no discovery document") from None
        return found

    async def _each(self, root: str, names: list[str]) -> list[ResourceType]:
        found: list[ResourceType] = []
        for name in names:
            try:
                _, listed = await self._get(root + path_of(*name.split("/")), "application/json")
            except ApiError as error:
                if error.status_code < 500 and error.status_code != 404:
                    raise
                self._away.append(name)
                continue
            found += _listed(name, listed)
        return found

    async def _get(self, path: str, accept: str) -> tuple[Request, dict[str, Any]]:
        client = self._client()
        assert client is not None
        request = Request(path=path, headers={"Accept": accept})
        response = await client.request(request)
        try:
            document = json.loads(response.content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise unexpected(request, response.status_code, "no discovery document")
        return request, document


_CACHE: Final[weakref.WeakKeyDictionary[BaseClient, Discovery]] = weakref.WeakKeyDictionary()


def _group_versions(document: Mapping[str, Any]) -> list[str]:
    """The groups' versions, of each group the preferred one first."""
    groups = document.get("groups")
    if groups is None:
        return [str(version) for version in document.get("versions") or ()]
    names: list[str] = []
    for group in groups:
        names.append(group["preferredVersion"]["groupVersion"])
        names += [each["groupVersion"] for each in group.get("versions") or () if each["groupVersion"] != names[-1]]
    return names


def _aggregated(document: Mapping[str, Any], away: list[str]) -> Iterator[ResourceType]:
    for item in document.get("items") or ():
        group = (item.get("metadata") or {}).get("name", "")
        for version in item.get("versions") or ():  # the preferred one first
            if version.get("freshness") == "Stale":
                away.append(f"{group}/{version['version']}")
            for entry in version.get("resources") or ():
                yield ResourceType(
                    group,
                    version["version"],
                    entry["resource"],
                    (entry.get("responseKind") or {}).get("kind", ""),
                    entry.get("scope") == "Namespaced",
                    entry.get("singularResource") or "",
                    tuple(entry.get("shortNames") or ()),
                    tuple(entry.get("verbs") or ()),
                )


def _listed(name: str, document: Mapping[str, Any]) -> Iterator[ResourceType]:
    group, _, version = name.rpartition("/")
    for entry in document.get("resources") or ():
        if "/" not in entry["name"]:
            yield ResourceType(
                group,
                version,
                entry["name"],
                entry.get("kind", ""),
                bool(entry.get("namespaced")),
                entry.get("singularName") or "",
                tuple(entry.get("shortNames") or ()),
                tuple(entry.get("verbs") or ()),
            )


def _find(types: Iterable[ResourceType], word: str) -> ResourceType | None:
    name, _, group = word.lower().rstrip(".").partition(".")
    ranked = [(rank, each) for each in types if (rank := _rank(each, name, group)) is not None]
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def _rank(each: ResourceType, name: str, group: str) -> tuple[bool, bool] | None:
    """How well a word fits, the less the better; None for not at all."""
    whole = group in ("", each.group, f"{each.version}.{each.group}".rstrip("."))
    if not whole and not each.group.startswith(group):
        return None
    if name in each.names:
        return not whole, False
    return (not whole, True) if name in each.short_names else None


def _unknown(word: str, types: Iterable[ResourceType], away: Sequence[str]) -> str:
    known: dict[str, ResourceType] = {}
    for each in types:
        for name in (str(each), *each.names, *each.short_names):
            known.setdefault(name, each)
    close = difflib.get_close_matches(word.lower(), known, n=6, cutoff=0.6)
    names = list(dict.fromkeys(str(known[name]) for name in close))[:3]
    hint = f"; did you mean {' or '.join(map(repr, names))}?" if names else ""
    absent = f"; those of {', '.join(sorted(away))} could not be asked for" if away else ""
    return f"the server has no resource {word!r}{hint}{absent}"
