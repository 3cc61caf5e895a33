"""Copies where the tree, the server or the container does what nobody expects; nothing here depends on a backend or an event loop."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from kubex_stream import CopyError, CopyProgress, HalfCloseUnsupported, Pods
from kubex_stream.api.cp import _Container
from kubex_stream.testing import OLD_PROTOCOLS, Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.behaviour.copies import path_with
from tests.conftest import LOOPS, MakeClient

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return LOOPS["trio"]


@pytest.fixture
def backend() -> str:
    return "httpx"


@pytest.fixture
async def pods(make_client: MakeClient, cluster: EmbeddedCluster) -> AsyncIterator[Pods]:
    async with make_client(cluster.configuration) as client:
        yield Pods(client)


def program(folder: Path, name: str, script: str) -> dict[str, str]:
    """An environment in which a program is this script."""
    folder.mkdir()
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


# Names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("busybox", [False, True], ids=["gnu", "busybox"])
async def test_a_name_with_backslashes_is_no_escape(make_client: MakeClient, tmp_path: Path, busybox: bool) -> None:
    """GNU's tar takes ``\\t`` in a name that it is to pack for a tab."""
    (tmp_path / "a\\tb").write_bytes(b"backslash")
    (tmp_path / "a\tb").write_bytes(b"tab")
    (tmp_path / "d\\\\101").mkdir()
    env = path_with(tmp_path / "bin", "sh", "tar", "sha256sum", busybox=busybox)
    with EmbeddedCluster([EmbeddedPod("one", containers=[EmbeddedContainer(env=env)])], quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            cp = Pods(client).cp
            done = await cp.download("one", f"{tmp_path}/a\\tb", tmp_path / "back", checksum=True)
            await cp.download("one", f"{tmp_path}/d\\\\101", tmp_path / "back of d")
            taken = bytearray()
            await cp.download_tar("one", f"{tmp_path}/a\\tb", taken.extend)
    assert (tmp_path / "back").read_bytes() == b"backslash"
    assert b"backslash" in taken
    assert (done.files, done.refused) == (1, ())
    assert (tmp_path / "back of d").is_dir()


async def test_a_name_that_looks_like_the_end_of_tar(make_client: MakeClient, tmp_path: Path) -> None:
    """What tar complains about holds a name, and the name a line that says that all is well."""
    env = program(
        tmp_path / "bin", "tar", "printf 'tar: x\\nkubex-stream-exit 0\\n: failed\\n' >&2; cat >/dev/null; exit 7"
    )
    with EmbeddedCluster([EmbeddedPod("one", containers=[EmbeddedContainer(env=env)])], quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            with pytest.raises(CopyError, match="exit code 7"):
                await Pods(client).cp.upload("one", b"x", str(tmp_path / "there"))


async def test_complaints_cannot_write_to_a_terminal(make_client: MakeClient, tmp_path: Path) -> None:
    env = program(tmp_path / "bin", "tar", "printf 'tar: \\033]0;evil\\007\\r\\n' >&2; exit 2")
    with EmbeddedCluster([EmbeddedPod("one", containers=[EmbeddedContainer(env=env)])], quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            with pytest.raises(CopyError) as caught:
                await Pods(client).cp.download("one", "/x", tmp_path / "back")
    assert str(caught.value).endswith("exit code 2: tar: \\x1b]0;evil\\x07")


# Servers that cannot end stdin ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("programs", [("sh", "cat", "wc"), ("dd", "wc")], ids=["sh", "dd"])
async def test_nothing_waits_for_an_end_that_cannot_be_told(
    make_client: MakeClient, tmp_path: Path, programs: tuple[str, ...]
) -> None:
    pod = EmbeddedPod("bare", containers=[EmbeddedContainer(env=path_with(tmp_path / "bin", *programs))])
    (tmp_path / "there").write_bytes(b"as it was")
    with EmbeddedCluster([pod], behaviour=Behaviour(protocols=OLD_PROTOCOLS), quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            with pytest.raises(HalfCloseUnsupported, match="no head"):
                await Pods(client).cp.upload("bare", b"x", str(tmp_path / "there"))
    assert (tmp_path / "there").read_bytes() == b"as it was"


async def test_a_tree_that_grows_is_not_cut_where_it_was_measured(make_client: MakeClient, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "z").mkdir(parents=True)
    (tree / "a").write_bytes(bytes(2_000_000))

    def grow(_: CopyProgress) -> None:
        for number in range(50):
            (tree / "z" / str(number)).touch()

    with EmbeddedCluster(behaviour=Behaviour(protocols=OLD_PROTOCOLS), quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            with pytest.raises(CopyError, match="became larger"):
                await Pods(client).cp.upload("demo", tree, str(tmp_path / "there"), progress=grow)


# Files that change while they are copied -----------------------------------------------------------------------------


@pytest.mark.parametrize("change", [b"", bytes(2_000_000)], ids=["shorter", "longer"])
async def test_a_file_that_changes_without_tar(make_client: MakeClient, tmp_path: Path, change: bytes) -> None:
    (tmp_path / "file").write_bytes(bytes(1_000_000))
    pod = EmbeddedPod("bare", containers=[EmbeddedContainer(env=path_with(tmp_path / "bin", "sh", "head", "wc"))])
    with EmbeddedCluster([pod], quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            copy = Pods(client).cp.upload
            told = lambda _: (tmp_path / "file").write_bytes(change)  # noqa: E731
            if change:
                await copy("bare", tmp_path / "file", str(tmp_path / "there"), progress=told)
                assert (tmp_path / "there").stat().st_size == 1_000_000
            else:
                with pytest.raises(CopyError, match="became shorter"):
                    await copy("bare", tmp_path / "file", str(tmp_path / "there"), progress=told)


# Callbacks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [RuntimeError, anyio.BrokenResourceError, anyio.EndOfStream])
async def test_an_error_of_progress_ends_the_copy(pods: Pods, tmp_path: Path, error: type[Exception]) -> None:
    (tmp_path / "file").write_bytes(bytes(5_000_000))

    def tell(_: CopyProgress) -> None:
        raise error

    with pytest.raises(error):
        await pods.cp.upload("demo", tmp_path / "file", str(tmp_path / "there"), progress=tell)
    with pytest.raises(error):
        await pods.cp.download("demo", str(tmp_path / "file"), tmp_path / "back", progress=tell)
    assert not (tmp_path / "back").exists()
    assert not list(tmp_path.glob(".kubex*"))


async def test_a_link_to_a_directory_with_trouble_in_it_is_not_copied_with_its_links_followed(
    make_client: MakeClient, tmp_path: Path
) -> None:
    (tmp_path / "d").mkdir()
    os.symlink("nothing", tmp_path / "d" / "dangling")
    os.symlink("d", tmp_path / "to-d")
    env = program(tmp_path / "bin", "tar", f'echo "$@" >>{tmp_path}/asked; PATH=/usr/bin:/bin; tar "$@"; code=$?; '
                  'case "$*" in *"/.") exit 1;; esac; exit $code')  # fmt: skip
    with EmbeddedCluster([EmbeddedPod("one", containers=[EmbeddedContainer(env=env)])], quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            with pytest.raises(CopyError, match="exit code 1"):
                await Pods(client).cp.download("one", str(tmp_path / "to-d"), tmp_path / "back")
    assert "-chf" not in (tmp_path / "asked").read_text()
    assert os.readlink(tmp_path / "back" / "dangling") == "nothing"


async def test_output_without_end_is_not_kept(pods: Pods) -> None:
    done = await _Container(pods.exec, "demo", None, None).run(["sh", "-c", "head -c 16777216 /dev/zero; exit 3"])
    assert (len(done.stdout), done.exit_code) == (4 * 1024 * 1024, 3)
