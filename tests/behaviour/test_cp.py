"""Copies to and from containers, on every backend and event loop."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import pytest

from kubex_stream import CopyError, CopyProgress, HalfCloseUnsupported, Pods
from kubex_stream.testing import OLD_PROTOCOLS, Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.behaviour.copies import listing, make_tree, path_with
from tests.conftest import MakeClient
from tests.transfer.archives import archive, directory, file, symlink

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

pytestmark = pytest.mark.anyio
Opened = Callable[[EmbeddedCluster], AsyncIterator[Pods]]
BUSYBOX = ("sh", "tar", "sha256sum", "head", "tail", "dd", "cat", "test", "wc", "ls")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "tree")


@pytest.fixture
async def pods(make_client: MakeClient, cluster: EmbeddedCluster) -> AsyncIterator[Pods]:
    async with make_client(cluster.configuration) as client:
        yield Pods(client)


async def test_a_tree_both_ways(pods: Pods, tree: Path, tmp_path: Path) -> None:
    up = await pods.cp.upload("demo", tree, str(tmp_path / "there"), checksum=True)
    down = await pods.cp.download("demo", str(tmp_path / "there"), tmp_path / "back", checksum=True)
    assert listing(tree) == listing(tmp_path / "there") == listing(tmp_path / "back")
    assert os.path.samefile(tmp_path / "back" / "file", tmp_path / "back" / "same file")
    assert up == down
    assert (up.links, up.refused, up.checked) == (2, (), up.files - 1)


async def test_a_tree_both_ways_where_servers_cannot_end_stdin(
    make_client: MakeClient, tree: Path, tmp_path: Path
) -> None:
    with EmbeddedCluster(behaviour=Behaviour(protocols=OLD_PROTOCOLS), quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            pods = Pods(client)
            await pods.cp.upload("demo", tree, str(tmp_path / "there"), checksum=True)
            await pods.cp.download("demo", str(tmp_path / "there"), tmp_path / "back", checksum=True)
            with pytest.raises(HalfCloseUnsupported):
                await pods.cp.upload_tar("demo", archive(file("x")), str(tmp_path))
    assert listing(tree) == listing(tmp_path / "there") == listing(tmp_path / "back")


async def test_the_small_tar_of_busybox(make_client: MakeClient, tree: Path, tmp_path: Path) -> None:
    env = path_with(tmp_path / "bin", *BUSYBOX, busybox=True)
    with EmbeddedCluster([EmbeddedPod("small", containers=[EmbeddedContainer(env=env)])], quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            pods = Pods(client)
            await pods.cp.upload("small", tree, str(tmp_path / "there"), checksum=True)
            await pods.cp.download("small", str(tmp_path / "there"), tmp_path / "back", checksum=True)
    # It gives links no time, and makes those that lead up last of all, when their directory has its time.
    assert listing(tree, times=False) == listing(tmp_path / "there", times=False)
    assert listing(tmp_path / "there") == listing(tmp_path / "back")


async def test_without_a_shell_tar_will_do(make_client: MakeClient, tree: Path, tmp_path: Path) -> None:
    env = path_with(tmp_path / "bin", "tar")
    with EmbeddedCluster([EmbeddedPod("bare", containers=[EmbeddedContainer(env=env)])], quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            pods = Pods(client)
            await pods.cp.upload("bare", tree, str(tmp_path / "there"))
            await pods.cp.download("bare", str(tmp_path / "there"), tmp_path / "back")
            with pytest.raises(CopyError, match="there is no directory"):
                await pods.cp.upload("bare", b"x" * 10**6, str(tmp_path / "nowhere" / "x"))
            with pytest.raises(CopyError, match="need sha256sum"):
                await pods.cp.download("bare", str(tmp_path / "there" / "file"), tmp_path / "file", checksum=True)
    assert listing(tree) == listing(tmp_path / "there") == listing(tmp_path / "back")


# Without tar ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("programs", [("sh", "cat", "wc"), ("sh", "head", "wc"), ("dd", "wc", "cat")])
async def test_single_files_without_tar(
    make_client: MakeClient, tree: Path, tmp_path: Path, programs: tuple[str, ...]
) -> None:
    env = path_with(tmp_path / "bin", *programs)
    with EmbeddedCluster([EmbeddedPod("bare", containers=[EmbeddedContainer(env=env)])], quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            pods = Pods(client)
            done = await pods.cp.upload("bare", tree / "file", str(tmp_path / "there"))
            assert (done.files, done.bytes) == (1, 128000)
            await pods.cp.upload("bare", b"", str(tmp_path / "-empty"))
            with pytest.raises(CopyError, match=r"has no tar.*single files"):
                await pods.cp.upload("bare", tree, str(tmp_path / "tree2"))
            if "cat" in programs:
                await pods.cp.download("bare", str(tmp_path / "there"), tmp_path / "back")
                assert (tmp_path / "back").read_bytes() == (tree / "file").read_bytes()
                with pytest.raises(CopyError, match=r"has no tar.*directory"):
                    await pods.cp.download("bare", str(tree), tmp_path / "tree2")
            else:
                with pytest.raises(CopyError, match="no tar and no cat"):
                    await pods.cp.download("bare", str(tmp_path / "there"), tmp_path / "back")
    assert (tmp_path / "there").read_bytes() == (tree / "file").read_bytes()
    assert (tmp_path / "-empty").read_bytes() == b""
    assert not (tmp_path / "tree2").exists()


# Where it goes -------------------------------------------------------------------------------------------------------


async def test_into_directories_and_under_new_names(pods: Pods, tmp_path: Path) -> None:
    (tmp_path / "src" / "d").mkdir(parents=True)
    (tmp_path / "src" / "d" / "f").write_bytes(b"f")
    (tmp_path / "there").mkdir(mode=0o700)
    there = str(tmp_path / "there")
    for source, target in [
        ("src", there), ("src/d/f", there), ("src", f"{there}/new"), ("src/d/f", f"{there}/g"), ("src/d", f"{there}/made/"),
        ("src/.", there), ("src/.", f"{there}/contents"),
    ]:  # fmt: skip
        await pods.cp.upload("demo", f"{tmp_path}/{source}", target)
    expected = ["contents/d/f", "d/f", "f", "g", "made/d/f", "new/d/f", "src/d/f"]
    assert sorted(str(path.relative_to(there)) for path in Path(there).rglob("*") if path.is_file()) == expected
    assert Path(there).stat().st_mode & 0o777 == 0o700, "the directory itself stays as it was"
    here = tmp_path / "here"
    here.mkdir(mode=0o700)
    locals_: list[tuple[str, str | Path]] = [
        ("src", here), ("src/d/f", here), ("src", here / "new"), ("src/d/f", here / "g"), ("src/d", f"{here}/made/"),
        ("src/.", here), ("src/.", here / "contents"), ("src/d/f", here / "a" / "b" / "c"),
    ]  # fmt: skip
    for source, local in locals_:
        await pods.cp.download("demo", f"{tmp_path}/{source}", local)
    expected = sorted([*expected, "a/b/c"])
    assert sorted(str(path.relative_to(here)) for path in here.rglob("*") if path.is_file()) == expected
    assert here.stat().st_mode & 0o777 == 0o700


async def test_links_that_are_the_source_are_followed(pods: Pods, tmp_path: Path) -> None:
    (tmp_path / "src" / "d").mkdir(parents=True)
    (tmp_path / "src" / "d" / "f").write_bytes(b"f")
    os.symlink("f", tmp_path / "src" / "d" / "l")
    os.symlink("d", tmp_path / "src" / "to-d")
    os.symlink(tmp_path / "src" / "d" / "f", tmp_path / "src" / "to-f")
    os.symlink("nothing", tmp_path / "src" / "dangling")
    for name in ("to-d", "to-f"):
        await pods.cp.download("demo", str(tmp_path / "src" / name), tmp_path / f"down-{name}", checksum=True)
        await pods.cp.upload("demo", tmp_path / "src" / name, str(tmp_path / f"up-{name}"), checksum=True)
    for way in ("down", "up"):
        assert (tmp_path / f"{way}-to-f").read_bytes() == b"f"
        assert not (tmp_path / f"{way}-to-f").is_symlink()
        assert os.readlink(tmp_path / f"{way}-to-d" / "l") == "f"
    with pytest.raises(CopyError, match="exit code"):
        await pods.cp.download("demo", str(tmp_path / "src" / "dangling"), tmp_path / "no")
    with pytest.raises(FileNotFoundError):
        await pods.cp.upload("demo", tmp_path / "src" / "dangling", str(tmp_path / "no"))


async def test_not_preserved_is_as_new(pods: Pods, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"f")
    os.chmod(tmp_path / "f", 0o700)
    os.utime(tmp_path / "f", (10**9, 10**9))
    before = (tmp_path / "f").stat().st_mtime
    await pods.cp.upload("demo", tmp_path / "f", str(tmp_path / "up"), preserve=False)
    await pods.cp.download("demo", str(tmp_path / "f"), tmp_path / "down", preserve=False)
    for name in ("up", "down"):
        assert (tmp_path / name).stat().st_mtime > before
    assert (tmp_path / "down").stat().st_mode & 0o777 == 0o666 & ~_umask()


def _umask() -> int:
    now = os.umask(0)
    os.umask(now)
    return now


# Streams -------------------------------------------------------------------------------------------------------------


async def test_contents_instead_of_paths(pods: Pods, tmp_path: Path) -> None:
    await pods.cp.upload("demo", b"bytes", str(tmp_path / "a"), checksum=True)
    source = io.BytesIO(b"skipped, and the rest")
    source.seek(9)
    await pods.cp.upload("demo", source, str(tmp_path / "b"), checksum=True)
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"bytes", b"and the rest")
    target = io.BytesIO()
    await pods.cp.download("demo", str(tmp_path / "b"), target, checksum=True)
    assert target.getvalue() == b"and the rest"
    with pytest.raises(CopyError, match="takes one file"):
        await pods.cp.download("demo", str(tmp_path), target)
    with pytest.raises(CopyError, match="is a directory"):
        await pods.cp.upload("demo", b"x", str(tmp_path))


async def test_archives_of_ones_own(pods: Pods, tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        data = archive(directory("d"), file("d/f", b"f" * 10**6), symlink("d/l", "f"))
        for start in range(0, len(data), 100_000):
            yield data[start : start + 100_000]

    await pods.cp.upload_tar("demo", pieces(), str(tmp_path))
    assert (tmp_path / "d" / "l").read_bytes() == b"f" * 10**6
    taken = bytearray()
    await pods.cp.download_tar("demo", str(tmp_path / "d"), taken.extend)
    (tmp_path / "again").mkdir()
    await pods.cp.upload_tar("demo", bytes(taken), str(tmp_path / "again"))
    assert listing(tmp_path / "again" / "d") == listing(tmp_path / "d")
    with pytest.raises(CopyError, match="exit code 2"):
        await pods.cp.upload_tar("demo", b"this is no archive" * 100_000, str(tmp_path))
    with pytest.raises(CopyError, match="no directory"):
        await pods.cp.upload_tar("demo", b"", str(tmp_path / "nowhere"))
    with pytest.raises(CopyError, match="No such file"):
        await pods.cp.download_tar("demo", str(tmp_path / "nowhere"), taken.extend)


async def test_progress(pods: Pods, tree: Path, tmp_path: Path) -> None:
    seen: list[CopyProgress] = []
    up = await pods.cp.upload("demo", tree, str(tmp_path / "there"), progress=seen.append)
    assert (seen[-1].bytes, seen[-1].files) == (seen[-1].total, up.files) == (up.bytes, up.files)
    assert [each.bytes for each in seen] == sorted(each.bytes for each in seen)
    seen.clear()
    down = await pods.cp.download("demo", str(tmp_path / "there"), tmp_path / "back", progress=seen.append)
    assert (seen[-1].bytes, seen[-1].files, seen[-1].total) == (down.bytes, down.files, None)


# What goes wrong -----------------------------------------------------------------------------------------------------


async def test_what_cannot_be_packed_is_said_and_the_rest_goes(pods: Pods, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    os.mkfifo(tmp_path / "src" / "fifo")
    (tmp_path / "src" / "good").write_bytes(b"good")
    done = await pods.cp.upload("demo", tmp_path / "src", str(tmp_path / "there"))
    assert [(each.name, each.reason) for each in done.refused] == [
        (str(tmp_path / "src" / "fifo"), "neither file, directory nor link")
    ]
    assert os.listdir(tmp_path / "there") == ["good"]
    with pytest.raises(CopyError, match="neither a file nor a directory"):
        await pods.cp.upload("demo", tmp_path / "src" / "fifo", str(tmp_path / "no"))


async def test_a_hostile_container(make_client: MakeClient, tmp_path: Path) -> None:
    evil = archive(
        directory("./src"), file("./src/good"), file("../evil"), file("/tmp/evil"), symlink("./src/l", "../.."), file("./src/l/evil"),
        symlink("./src/etc", "/etc"), file("./other"),
    )  # fmt: skip
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "evil").write_bytes(evil)
    (tmp_path / "bin" / "tar").write_text(f"#!/bin/sh\nexec cat {tmp_path}/bin/evil\n")
    (tmp_path / "bin" / "tar").chmod(0o755)
    env = {"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    (tmp_path / "in" / "side").mkdir(parents=True)
    with EmbeddedCluster([EmbeddedPod("evil", containers=[EmbeddedContainer(env=env)])], quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            done = await Pods(client).cp.download("evil", "/src", tmp_path / "in" / "side")
    assert done.refused_count == len(done.refused) == 5
    # The link was never made, so what was to go through it went into a directory of that name.
    found = sorted(str(path.relative_to(tmp_path / "in")) for path in (tmp_path / "in").rglob("*"))
    assert found == ["side", "side/src", "side/src/good", "side/src/l", "side/src/l/evil"]
    assert not (tmp_path / "in" / "side" / "src" / "l").is_symlink()


async def test_errors_say_what_to_do(pods: Pods, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(CopyError, match="there is no directory /nowhere"):
        await pods.cp.upload("demo", tree, "/nowhere/x")
    with pytest.raises(CopyError, match="is no directory"):
        await pods.cp.upload("demo", tree, str(tree / "file"))
    with pytest.raises(CopyError, match="Cannot stat"):
        await pods.cp.download("demo", str(tmp_path / "nothing"), tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        await pods.cp.upload("demo", tmp_path / "nothing", "/tmp")
    with pytest.raises(ValueError, match="path in the container is empty"):
        await pods.cp.upload("demo", tree, "")
    with pytest.raises(ValueError, match="local path is empty"):
        await pods.cp.upload("demo", "", "/tmp")
    with pytest.raises(ValueError, match="local path is empty"):
        await pods.cp.download("demo", "/tmp", "")
    with pytest.raises(ValueError, match="name a file in it"):
        await pods.cp.upload("demo", b"x", "/tmp/")
    with pytest.raises(CopyError, match="so it is not replaced"):
        await pods.cp.download("demo", str(tree / "file"), "/dev/null")


async def test_a_digest_that_differs(make_client: MakeClient, tree: Path, tmp_path: Path) -> None:
    env = path_with(tmp_path / "bin", "sh", "tar", "cat")
    (tmp_path / "bin" / "sha256sum").write_text(f"#!/bin/sh\nfor file do echo '{'0' * 64}  x'; done\n")
    (tmp_path / "bin" / "sha256sum").chmod(0o755)
    with EmbeddedCluster([EmbeddedPod("liar", containers=[EmbeddedContainer(env=env)])], quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            with pytest.raises(CopyError, match="1 of the copied files differ from their originals: 'file'") as caught:
                await Pods(client).cp.download("liar", str(tree / "file"), tmp_path / "back", checksum=True)
    assert caught.value.result.files == 1


async def test_cancelling_leaves_no_half_file(pods: Pods, cluster: EmbeddedCluster, tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as big:
        big.truncate(2**33)
    for _ in range(2):
        with anyio.CancelScope() as scope:
            await pods.cp.download("demo", str(tmp_path / "big"), tmp_path / "back", progress=lambda _: scope.cancel())
        assert scope.cancelled_caught
    assert sorted(os.listdir(tmp_path)) == ["big"]
    with anyio.CancelScope() as scope:
        await pods.cp.upload("demo", tmp_path / "big", str(tmp_path / "there"), progress=lambda _: scope.cancel())
    assert scope.cancelled_caught
    await anyio.to_thread.run_sync(cluster.wait_for, lambda: not cluster.processes("demo"))
