"""Finding backends: everything in the entry-point group ``kubex_stream.backends`` whose library can be imported here."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from kubex_stream.client.base import BaseClient
from kubex_stream.client.event_loops import running_event_loop
from kubex_stream.errors import BackendNotAvailable

__all__ = ("BackendInfo", "backends", "choose_backend", "load_backend")

GROUP: Final = "kubex_stream.backends"
#: Best first, where the application leaves the choice; a third party's come after these, by name.  picows, which needs aiohttp, is for
#: who asks for it.
PREFERENCE: Final = ("aiohttp", "httpx", "picows")
#: Backends of this distribution, and the extra that each needs.
EXTRAS: Final = {"aiohttp": "aiohttp", "httpx": "httpx", "picows": "picows"}


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What is known of one backend.

    :ivar event_loops: those that it runs on; empty where it is not available
    :ivar problem: why it is not available and what to do, None where it is
    """

    name: str
    event_loops: frozenset[str]
    problem: str | None

    @property
    def available(self) -> bool:
        """Whether it can be used here."""
        return self.problem is None


def _found() -> Mapping[str, EntryPoint]:
    return _found_on(tuple(sys.path))


@lru_cache(maxsize=4)
def _found_on(_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """What is registered; looking for it reads the metadata of every installed distribution, some milliseconds for each client."""
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    known = [name for name in PREFERENCE if name in entries]
    return {name: entries[name] for name in [*known, *sorted(entries.keys() - set(known))]}


def _install_hint(name: str) -> str:
    return (
        f"pip install 'kubex-stream[{EXTRAS[name]}]'" if name in EXTRAS else f"install the libraries that {name} needs"
    )


def _load(entry: EntryPoint) -> type[BaseClient]:
    try:
        backend = entry.load()
    except Exception as error:  # somebody else's code, and one that is broken must not take the others along
        raise BackendNotAvailable(
            f"the backend {entry.name!r} cannot be used here ({error}): {_install_hint(entry.name)}"
        ) from error
    if not (isinstance(backend, type) and issubclass(backend, BaseClient)):
        raise BackendNotAvailable(f"the entry point {entry.name!r} ({entry.value}) is not a subclass of BaseClient")
    return backend


def backends() -> list[BackendInfo]:
    """Every backend that is registered, best first, and whether it can be used here; this imports them all."""
    infos = []
    for name, entry in _found().items():
        try:
            infos.append(BackendInfo(name, _load(entry).event_loops, None))
        except BackendNotAvailable as error:
            infos.append(BackendInfo(name, frozenset(), str(error)))
    return infos


def load_backend(name: str) -> type[BaseClient]:
    """The client class of a backend.

    :raises BackendNotAvailable: unknown, or its library is missing; the text says what to install
    """
    found = _found()
    if name in found:
        return _load(found[name])
    if name in EXTRAS:
        raise BackendNotAvailable(f"the backend {name!r} is not installed: {_install_hint(name)}")
    raise BackendNotAvailable(f"there is no backend {name!r}; registered are: {', '.join(found) or 'none'}")


def choose_backend() -> type[BaseClient]:
    """The best backend that can be used here and runs on the running event loop; outside of one, the best.

    :raises BackendNotAvailable: there is none; the text says what to install
    """
    loop = running_event_loop()
    problems = []
    for entry in _found().values():
        try:
            backend = _load(entry)
        except BackendNotAvailable as error:
            problems.append(str(error))
            continue
        if loop is None or loop in backend.event_loops:
            return backend
        problems.append(f"the backend {entry.name!r} does not run on {loop}")
    wanted = "httpx" if loop == "trio" else "aiohttp"
    listed = "; ".join(problems) or "none is registered"
    raise BackendNotAvailable(f"no backend is available: pip install 'kubex-stream[{wanted}]' ({listed})")
