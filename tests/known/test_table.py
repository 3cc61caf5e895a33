"""The table in README.md: it is complete, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
TESTS: Final = HERE.parent
SUITES: Final = TESTS.parent / "kubex_stream" / "testing"
ROW: Final = re.compile(r"^\| (?P<item>[^|]+?) \| (?P<defect>[^|]+?) \| (?P<proof>[^|]+?) \|$", re.MULTILINE)
NAMED: Final = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
ITEMS: Final = [
    *(f"S-{number}" for number in range(1, 13)),
    *(f"T-{number}" for number in range(1, 15)),
    *(f"C-{number}" for number in range(1, 14)),
    *(f"P-{number}" for number in range(1, 7)),
    *(f"R-{number}" for number in range(1, 9)),
    *(f"D-{number}" for number in range(1, 20)),
    *(str(number) for number in range(1, 102)),
]


def rows() -> dict[str, str]:
    """The proof of each item."""
    found = ROW.findall((HERE / "README.md").read_text(encoding="utf-8"))
    table = {item: proof for item, _, proof in found if item not in ("item", "---")}
    assert len(table) == len([item for item, *_ in found if item not in ("item", "---")]), "an item stands there twice"
    return table


def _path(file: str) -> Path:
    """Where the table's path leads."""
    return (SUITES if file.startswith("conformance/") else TESTS) / file


def declared_in(path: Path) -> dict[str, str]:
    """The tests of a file, with their docstrings."""
    functions = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )
    return {node.name: ast.get_docstring(node) or "" for node in functions}


def test_every_item_is_in_the_table() -> None:
    assert set(rows()) == set(ITEMS)


def test_every_item_has_a_test_or_belongs_elsewhere() -> None:
    for item, proof in rows().items():
        assert NAMED.search(proof) or proof.startswith("cannot happen here because "), item


def test_every_test_in_the_table_exists() -> None:
    named = {match for proof in rows().values() for match in NAMED.findall(proof)}
    files = {file for file, _ in named}
    existing = {(file, name) for file in files for name in declared_in(_path(file))}
    assert named - existing == set()


def test_every_test_of_this_folder_is_in_the_table_and_says_where_it_comes_from() -> None:
    named = {match for proof in rows().values() for match in NAMED.findall(proof)}
    for path in sorted([*HERE.glob("test_kubex_*.py"), *HERE.glob("test_peers_*.py")]):
        for name, docstring in declared_in(path).items():
            assert (f"known/{path.name}", name) in named, name
            assert re.match(r"kubex [STCP]-\d|(R-)?\d", docstring), name
