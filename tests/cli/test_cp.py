"""``kubex-stream cp``: kubectl's forms, archives on stdin and stdout, what was refused, and the bar."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from kubex_stream.cli.cp import CpRequest, FileSpec, cp_command, parse_files
from kubex_stream.cli.settings import Settings
from kubex_stream.cli.transfer_bar import transfer_bar
from kubex_stream.cli.usage import UsageError
from kubex_stream.errors import CopyError
from kubex_stream.testing import EmbeddedCluster
from kubex_stream.transfer.result import CopyProgress
from tests.behaviour.copies import listing, make_tree

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

Copy = Callable[..., int]


@pytest.fixture
def copy(pods: EmbeddedCluster) -> Copy:
    """The verb, inside of this process."""

    def call(source: str, target: str, **options: object) -> int:
        request = CpRequest(source=source, target=target, **options)  # type: ignore[arg-type]
        return anyio.run(cp_command, Settings(kubeconfig=pods.kubeconfig), request)

    return call


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("demo:/x", FileSpec("/x", "demo")),
        ("demo:x", FileSpec("x", "demo")),
        ("other/demo:/x:y", FileSpec("/x:y", "demo", "other")),
        ("x", FileSpec("x")),
        ("/a/b:c", FileSpec("/a/b:c")),
        ("./b:c", FileSpec("./b:c")),
        ("../b:c", FileSpec("../b:c")),
        ("-", FileSpec("-")),
    ],
)
def test_forms_of_source_and_target(text: str, spec: FileSpec) -> None:
    assert FileSpec.parse(text) == spec


@pytest.mark.parametrize("text", ["", ":x", "demo:", "a/b/c:x", "ns/:x"])
def test_forms_that_are_none(text: str) -> None:
    with pytest.raises(UsageError):
        FileSpec.parse(text)


@pytest.mark.parametrize(("source", "target"), [("a", "b"), ("p:a", "q:b"), ("-", "-")])
def test_one_of_them_is_in_a_pod(source: str, target: str) -> None:
    with pytest.raises(UsageError, match="one of src or dest"):
        parse_files(CpRequest(source=source, target=target))


def test_a_tree_both_ways(copy: Copy, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tree = make_tree(tmp_path / "tree")
    assert copy(str(tree), f"demo:{tmp_path}/there", checksum=True) == 0
    assert copy(f"default/demo:{tmp_path}/there", str(tmp_path / "back"), checksum=True, retries=3) == 0
    assert listing(tree) == listing(tmp_path / "back")
    assert capfd.readouterr() == ("", "")


def test_into_the_container_that_is_named_or_annotated(copy: Copy, pods: EmbeddedCluster, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"f")
    assert copy(str(tmp_path / "f"), "annotated:here") == 0
    assert copy(str(tmp_path / "f"), "two:here", container="second") == 0
    assert copy(str(tmp_path / "f"), "other/elsewhere:here", preserve=False) == 0
    for pod, container, namespace in (
        ("annotated", "second", "default"), ("two", "second", "default"), ("elsewhere", "main", "other"),
    ):  # fmt: skip
        assert (pods.directory(pod, container, namespace) / "here").read_bytes() == b"f"


def test_archives_on_stdin_and_stdout(copy: Copy, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "f").write_bytes(b"f" * 100_000)
    assert copy(f"demo:{tmp_path}/src", "-") == 0
    archive = tmp_path / "src.tar"
    archive.write_bytes(capfdbinary.readouterr().out)
    (tmp_path / "there").mkdir()
    saved = os.dup(0)
    given = os.open(archive, os.O_RDONLY)
    try:
        os.dup2(given, 0)
        assert copy("-", f"demo:{tmp_path}/there") == 0
    finally:
        os.dup2(saved, 0)
        os.close(saved)
        os.close(given)
    assert (tmp_path / "there" / "src" / "f").read_bytes() == b"f" * 100_000


def test_what_is_refused_is_said_and_the_code_is_1(
    copy: Copy, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "src").mkdir()
    os.mkfifo(tmp_path / "src" / "fi\x1bfo")
    os.symlink("/etc/passwd", tmp_path / "src" / "link")
    (tmp_path / "src" / "f").write_bytes(b"f")
    assert copy(f"demo:{tmp_path}/src", str(tmp_path / "back")) == 1
    said = capfd.readouterr().err
    assert "warning: not copied: './src/link': a symbolic link to an absolute path" in said
    assert "not copied: './src/fi\\x1bfo'" in said
    assert "\x1b" not in said
    assert sorted(os.listdir(tmp_path / "back")) == ["f"]


def test_errors(copy: Copy, tmp_path: Path) -> None:
    with pytest.raises(CopyError, match="exit code 2"):
        copy(f"demo:{tmp_path}/nothing", str(tmp_path / "x"))
    with pytest.raises(UsageError, match="completed pod"):
        copy("done:x", str(tmp_path / "x"))
    with pytest.raises(UsageError, match="container third is not valid"):
        copy("two:x", str(tmp_path / "x"), container="third")


def test_the_bar_shows_names_without_harm(capfd: pytest.CaptureFixture[str]) -> None:
    async def main() -> None:
        async with transfer_bar(True) as tell:
            assert tell is not None
            tell(CopyProgress(512, 1024, 1, "[red]odd\x1b\udcff name"))

    anyio.run(main)
    shown = capfd.readouterr().err
    assert "0.5/1.0 KiB" in shown
    assert "[red]odd?? name" in shown
    assert "odd\x1b" not in shown


def test_no_bar_without_a_terminal() -> None:
    async def main() -> None:
        async with transfer_bar(None) as tell:
            assert tell is None

    anyio.run(main)
