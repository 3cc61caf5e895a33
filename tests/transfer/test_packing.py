"""What is packed while the tree changes."""

from __future__ import annotations

import io
import os
import sys
import tarfile
from pathlib import Path

import pytest

from kubex_stream.transfer.packing import Packer

if sys.platform == "win32":
    pytest.skip("hard links as POSIX has them", allow_module_level=True)


def test_a_file_that_goes_away_is_not_linked_to(tmp_path: Path) -> None:
    """Its other name is packed as the file."""
    (tmp_path / "a").write_bytes(bytes(2_000_000))
    (tmp_path / "b").write_bytes(b"contents")
    os.link(tmp_path / "b", tmp_path / "c")
    packer = Packer(str(tmp_path), "", contents=True, preserve=True, digest=False)
    pieces = packer.pieces()
    packed = next(pieces)
    (tmp_path / "b").unlink()
    packed += b"".join(pieces)
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        assert [(each.name, each.isreg()) for each in tar] == [("a", True), ("c", True)]
    assert [each.name for each in packer.refusals.kept] == [str(tmp_path / "b")]


def test_what_is_there_already_is_left_out_by_name(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(name.encode())
    os.symlink("a", tmp_path / "l")
    packer = Packer(str(tmp_path), "", contents=True, preserve=True, digest=False)
    packer.keep_order = True
    packer.done = {"a", "b", "l"}
    (tmp_path / "aa").write_bytes(b"new")
    with tarfile.open(fileobj=io.BytesIO(b"".join(packer.pieces()))) as tar:
        assert tar.getnames() == ["aa", "c", "l"]
    assert (packer.files, packer.links, list(packer.order)) == (4, 1, ["a", "aa", "b", "c", "l"])
