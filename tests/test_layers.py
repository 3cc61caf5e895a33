"""How the parts stand on each other, and what the sources as texts may hold.

The layers, lowest first; an import goes to a lower one or stays inside its own:

    protocol  statistics  <  errors  <  core  <  configuration  <  client  <  session  <  terminal  transfer  watch  logs  <  api  <
    kubex_stream itself  <  testing  compat  <  cli

A backend package stands on ``client`` and what is below it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.packages import PACKAGES, ROOT, modules

LAYERS: Final = (
    {"_version", "protocol", "statistics"}, {"errors"}, {"core"}, {"configuration"}, {"client"}, {"session"},
    {"terminal", "transfer", "watch", "logs"}, {"api"}, {""},
    {"testing", "compat"}, {"cli"},
)  # fmt: skip
RANKS: Final = {name: rank for rank, names in enumerate(LAYERS) for name in names}
#: What each part may import besides the standard library; what is not listed may import what all may.
FOREIGN: Final = {
    "protocol": frozenset[str](),
    "cli": frozenset({"typer", "rich"}),
    "testing": frozenset({"h11", "trustme", "pytest"}),
    "compat": frozenset({"kubernetes", "kubernetes_asyncio", "aiohttp"}),
}
FOR_ALL: Final = frozenset({"anyio", "pydantic", "yaml"})
#: They name a backend, and nobody here may import them.
BACKEND_DOORS: Final = ("kubex_stream.client.aiohttp", "kubex_stream.client.httpx")

CORE: Final = list(modules("kubex_stream"))
SOURCES: Final = sorted(path for folder in (*PACKAGES.values(), ROOT / "tests") for path in folder.rglob("*.py"))


def imported(path: Path) -> Iterator[str]:
    """The modules that a file imports, inside of functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""


# Layers ---------------------------------------------------------------------------------------------------------------


def names_imported_from(path: Path) -> Iterator[str]:
    """As ``from module import name`` has them, dotted: each may be a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer(module: str) -> str:
    """The layer of one of our modules, as its first name below the package; "" for the package itself."""
    return module.partition(".")[2].partition(".")[0]


@pytest.mark.parametrize(("name", "path"), CORE, ids=[name for name, _ in CORE])
def test_imports_point_downwards(name: str, path: Path) -> None:
    own = layer(name)
    assert own in RANKS, f"{own!r} is no known layer"
    for target in imported(path):
        top = target.partition(".")[0]
        if top == "kubex_stream":
            below = RANKS[layer(target)] < RANKS[own] or layer(target) == own
            assert below, f"{target} is not below {name}"
        elif top in PACKAGES:
            assert name in BACKEND_DOORS, f"only {' and '.join(BACKEND_DOORS)} name a backend"
        elif top not in sys.stdlib_module_names:
            extra = FOREIGN.get(own, frozenset())
            assert top in extra or (own != "protocol" and top in FOR_ALL), (
                f"{target} is not for {own or 'kubex_stream'}"
            )


@pytest.mark.parametrize(
    ("package", "below"),
    # picows has WebSockets only.
    [("kubex_stream_aiohttp", ""), ("kubex_stream_httpx", ""), ("kubex_stream_picows", "kubex_stream_aiohttp")],
)
def test_backends_stand_on_the_client_and_know_no_other_backend(package: str, below: str) -> None:
    for _, path in modules(package):
        for target in imported(path):
            top = target.partition(".")[0]
            if top == "kubex_stream":
                assert layer(target), "a backend imports modules, not the package, which imports everything"
                assert RANKS[layer(target)] <= RANKS["client"]
            else:
                assert top in (package, below) or top not in PACKAGES


def test_nobody_here_goes_through_a_backends_door() -> None:
    for _, path in CORE:
        assert not {*imported(path), *names_imported_from(path)} & set(BACKEND_DOORS)


@pytest.mark.parametrize("door", BACKEND_DOORS)
def test_the_doors_are_nothing_but_doors(door: str) -> None:
    tree = ast.parse((ROOT / (door.replace(".", "/") + ".py")).read_text())
    rest = [node for node in tree.body if not isinstance(node, ast.ImportFrom)]
    assert len(rest) == 1, "a docstring and imports"
    assert isinstance(rest[0], ast.Expr)


# Text -----------------------------------------------------------------------------------------------------------------


def test_sources_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in SOURCES}
    assert {name: length for name, length in lengths.items() if length > 350} == {}


def test_sources_say_what_they_ignore() -> None:
    lines = [(path, number, line) for path in SOURCES for number, line in enumerate(path.read_text().splitlines(), 1)]
    bare = [f"{path}:{number}" for path, number, line in lines if re.search(r"#\s*type:\s*ignore(?!\[)", line)]
    assert not bare


def texts() -> Iterator[Path]:
    """Everything that people read."""
    for name in ("kubex_stream", "backends", "tests", "docs", "benchmarks", ".github", ".ci"):
        for path in sorted((ROOT / name).rglob("*")):
            below = path.relative_to(ROOT / name).parts
            if path.is_file() and not any(part.startswith(".") or part in ("__pycache__", "cache") for part in below):
                yield path
    yield from (ROOT / name for name in ("README.md", "CHANGELOG.md", "pyproject.toml"))


def test_texts_name_no_registry_and_no_machine() -> None:
    hosts = (
        "pypi" + ".org",
        "python" + "hosted",
        "registry" + ".npmjs",
        "docker" + ".io",
        "quay" + ".io",
        "ghcr" + ".io",
    )
    places = ("/root" + "/", "/work" + "/main", "/tmp" + "/venv")
    found = [
        f"{path.relative_to(ROOT)}: {word}"
        for path in texts()
        for word in (*hosts, *places)
        if word in path.read_text(encoding="utf-8")
    ]
    assert not found


def test_one_place_knows_where_the_real_cluster_comes_from() -> None:
    place = "shared/" + "cluster"
    assert [path.relative_to(ROOT) for path in texts() if place in path.read_text(encoding="utf-8")] == [
        Path(".ci/run")
    ]
