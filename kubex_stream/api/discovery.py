"""Discovery: which resources a server has, and what the words mean that people call them by.

Rules of this file: the server is asked once for each client, and again only for a word that it did not know then, since resources are added
while programs run.  Where several groups have a word, the core group wins, then the order in which the server names them, as with kubectl.
"""

from __future__ import annotations

import difflib
import json
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import anyio

from kubex_stream.api.objects import unexpected
from kubex_stream.client.base import BaseClient
from kubex_stream.client.request import Request, path_of
from kubex_stream.errors import ApiError, NotFound

__all__ = ("Discovery", "ResourceType")

_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"


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

    def words(self) -> Iterator[str]:
        """What it is called, in lower case, without its group."""
        yield from (self.name, self.singular or self.kind.lower(), self.kind.lower(), *self.short_names)


class Discovery:
    """The resources of one server; one object for each client, see :meth:`of`."""

    def __init__(self, client: BaseClient) -> None:
        self._client = weakref.ref(client)
        self._lock = anyio.Lock()
        self._types: tuple[ResourceType, ...] | None = None

    @classmethod
    def of(cls, client: BaseClient) -> Discovery:
        """What is known of the server of ``client``, for everybody who asks."""
        return _CACHE.setdefault(client, cls(client))

    async def types(self, *, refresh: bool = False) -> tuple[ResourceType, ...]:
        """All of them, the core group's first.

        :param refresh: ask again
        :raises ApiError: the server refused
        """
        async with self._lock:
            if self._types is None or refresh:
                self._types = tuple(await self._ask())
            return self._types

    async def resolve(self, word: str) -> ResourceType:
        """What a word means: the plural, the singular, the kind or a short name, also with a group or with version and group:
        ``po``, ``Deployment``, ``deployments.apps``, ``deployments.v1.apps``.

        :raises NotFound: there is no such resource; the text names what is most like it
        :raises ApiError: the server refused
        """
        asked_before = self._types is not None
        found = _find(await self.types(), word)
        if found is None and asked_before:
            found = _find(await self.types(refresh=True), word)
        if found is None:
            raise NotFound(_unknown(word, await self.types()), status_code=404)
        return found

    async def _ask(self) -> list[ResourceType]:
        found: list[ResourceType] = []
        for root in ("/api", "/apis"):
            document = await self._get(root, _AGGREGATED)
            if document.get("kind") == "APIGroupDiscoveryList":
                found += _aggregated(document)
            else:  # before Kubernetes 1.27
                found += await self._each(root, document)
        return found

    async def _each(self, root: str, document: Mapping[str, Any]) -> list[ResourceType]:
        groups = document.get("groups")
        names = [str(version) for version in document.get("versions") or ()] if groups is None else []
        names += [str(group["preferredVersion"]["groupVersion"]) for group in groups or ()]
        found: list[ResourceType] = []
        for name in names:
            try:
                listed = await self._get(root + path_of(*name.split("/")), "application/json")
            except ApiError as error:
                if error.status_code not in (404, 503):  # an aggregated API whose server is away
                    raise
                continue
            found += _listed(name, listed)
        return found

    async def _get(self, path: str, accept: str) -> dict[str, Any]:
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
        return document


_CACHE: Final[weakref.WeakKeyDictionary[BaseClient, Discovery]] = weakref.WeakKeyDictionary()


def _aggregated(document: Mapping[str, Any]) -> Iterator[ResourceType]:
    for item in document.get("items") or ():
        group = (item.get("metadata") or {}).get("name", "")
        # The first version is the preferred one; a resource that only another version has is taken from there.
        seen: set[str] = set()
        for version in item.get("versions") or ():
            for entry in version.get("resources") or ():
                if entry["resource"] not in seen:
                    seen.add(entry["resource"])
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
    name, _, group = word.lower().partition(".")
    for each in types:
        if group in ("", each.group, f"{each.version}.{each.group}".rstrip(".")) and name in each.words():
            return each
    return None


def _unknown(word: str, types: Iterable[ResourceType]) -> str:
    known: dict[str, ResourceType] = {}
    for each in types:
        for name in (str(each), *each.words()):
            known.setdefault(name, each)
    close = difflib.get_close_matches(word.lower(), known, n=6, cutoff=0.6)
    names = list(dict.fromkeys(str(known[name]) for name in close))[:3]
    hint = f"; did you mean {' or '.join(map(repr, names))}?" if names else ""
    return f"the server has no resource {word!r}{hint}"
