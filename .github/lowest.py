"""The lowest version of everything that pyproject.toml asks for, as constraints: ``python .github/lowest.py > lowest.txt``.

Then ``pip install -c lowest.txt -e '.[all,dev]'`` installs exactly what the lower bounds promise to work.  A requirement without a
lower bound is left as it is, and so is what only developers and the benchmarks use.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path
from typing import Any

REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?\s*(>=\s*(?P<version>[0-9.]+))?")


def lowest(project: dict[str, Any]) -> dict[str, str]:
    """Names and versions."""
    found: dict[str, str] = {}
    extras = project["optional-dependencies"]
    groups = [project["dependencies"], *(extras[name] for name in extras if name not in ("dev", "bench"))]
    for requirement in (each for group in groups for each in group):
        match = REQUIREMENT.match(requirement)
        if match is not None and match["version"]:
            found[match["name"]] = match["version"]
    return found


if __name__ == "__main__":
    pyproject = Path(__file__).resolve().parent.parent / "pyproject.toml"
    pins = lowest(tomllib.loads(pyproject.read_text())["project"])
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in sorted(pins.items()))
