"""kubectl cp against the embedded cluster: a client that nobody here wrote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubex_stream.testing import EmbeddedCluster
from tests.testing.test_kubectl import Kubectl, kubectl, words

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

__all__ = ("kubectl", "words")


@pytest.fixture(scope="module")
def embedded() -> Iterator[EmbeddedCluster]:
    with EmbeddedCluster(quiet=True) as cluster:
        yield cluster


@pytest.mark.parametrize("retries", [(), ("--retries", "3")], ids=["plain", "retries"])
def test_both_ways(kubectl: Kubectl, tmp_path: Path, retries: tuple[str, ...]) -> None:
    (tmp_path / "src" / "d").mkdir(parents=True)
    (tmp_path / "src" / "large").write_bytes(bytes(range(256)) * 20_000)
    (tmp_path / "src" / "d" / "two words").write_bytes(b"x")
    (tmp_path / "src" / "empty").touch()
    there, back = tmp_path / "there", tmp_path / "back"
    up = kubectl("cp", str(tmp_path / "src"), f"demo:{there}")
    assert up.returncode == 0, up.stderr
    down = kubectl("cp", *retries, f"demo:{there}", str(back))
    assert down.returncode == 0, down.stderr
    for top in (there, back):
        assert {str(path.relative_to(top)): path.read_bytes() for path in top.rglob("*") if path.is_file()} == {
            "large": bytes(range(256)) * 20_000,
            "d/two words": b"x",
            "empty": b"",
        }


def test_what_is_not_there(kubectl: Kubectl, tmp_path: Path) -> None:
    kubectl(
        "cp", f"demo:{tmp_path}/nothing", str(tmp_path / "x")
    )  # its exit code is 0, and it may end before it has shown tar's words
    assert not (tmp_path / "x").exists()
