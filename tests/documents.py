"""Markdown pages as the tests see them: fenced blocks, and how those of Python are run.

- A ``python`` block is a whole program.  It runs in an empty directory, with a ``KUBECONFIG`` whose pod ``demo`` is ready.
- One that defines ``test_…`` functions is a test module: pytest runs it, in a process of its own.
- Where an ``output`` block follows at once, it is what the program prints.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
_FENCE: Final = re.compile(r"^```(?P<language>\w+)\n(?P<text>.*?)^```$(?P<gap>\s*)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block.

    :ivar line: of its first line of text
    :ivar output: what the next block says that this one prints
    """

    page: Path
    line: int
    language: str
    text: str
    output: str | None

    @property
    def name(self) -> str:
        """For people: page and line."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def is_test_module(self) -> bool:
        """Whether pytest has to run it."""
        return re.search(r"^(async )?def test_", self.text, re.MULTILINE) is not None


def pages() -> list[Path]:
    """Every page of the project."""
    return [README, *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page that name a language."""
    source = page.read_text(encoding="utf-8")
    for match in _FENCE.finditer(source):
        following = _FENCE.match(source, match.end())
        output = following["text"] if following is not None and following["language"] == "output" else None
        line = source.count("\n", 0, match.start("text")) + 1
        yield Block(page, line, match["language"], match["text"], output)
