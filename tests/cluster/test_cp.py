"""cp on a real cluster: both ways that a stream can take; the machine's tar where a pod ``tools`` has it, and busybox's small one."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from kubex_stream import CopyError, NotFound, Pods
from tests.behaviour.copies import listing, make_tree
from tests.cluster.conftest import Connect

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def scratch(pods: Pods, pod: str, namespace: str | None) -> AsyncIterator[str]:
    """A directory in a container."""
    path = f"/tmp/kubex-stream-{secrets.token_hex(4)}"
    await pods.exec.run(pod, ["mkdir", path], container="main", namespace=namespace, check=True)
    try:
        yield path
    finally:
        await pods.exec.run(pod, ["rm", "-rf", path], container="main", namespace=namespace, check=True)


async def test_a_tree_both_ways_with_a_small_tar(connect: Connect, context: str | None, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    async with connect(context) as pods, scratch(pods, "box", None) as there:
        up = await pods.cp.upload("box", tree, f"{there}/x", container="main", checksum=True)
        down = await pods.cp.download("box", f"{there}/x", tmp_path / "back", container="main", checksum=True)
    assert listing(tmp_path / "back", times=False) == listing(tree, times=False)
    files = [name for name, (mode, _, _) in listing(tree).items() if mode.startswith("0o100")]
    assert {name: listing(tree)[name] for name in files} == {name: listing(tmp_path / "back")[name] for name in files}
    assert (up.checked, up.refused) == (down.checked, down.refused) == (up.files - 1, ())


async def test_a_tree_both_ways_with_a_large_tar(connect: Connect, context: str | None, tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree")
    async with connect(context) as pods:
        try:
            await pods.get("tools", namespace="default")
        except NotFound:
            pytest.skip("no pod 'tools' in the namespace default")
        async with scratch(pods, "tools", "default") as there:
            await pods.cp.upload("tools", tree, f"{there}/x", container="main", namespace="default", checksum=True)
            await pods.cp.download(
                "tools", f"{there}/x", tmp_path / "back", container="main", namespace="default", checksum=True
            )
    assert listing(tmp_path / "back") == listing(tree)


async def test_64_MiB_both_ways(connect: Connect, context: str | None, tmp_path: Path) -> None:
    with (tmp_path / "big").open("wb") as big:
        generator = random.Random(1)
        for _ in range(64):
            big.write(generator.randbytes(1024 * 1024))
    async with connect(context) as pods, scratch(pods, "box", None) as there:
        await pods.cp.upload("box", tmp_path / "big", there, container="main", checksum=True)
        done = await pods.cp.download("box", f"{there}/big", tmp_path / "back", container="main", checksum=True)
    assert (done.checked, done.bytes) == (1, 64 * 1024 * 1024)
    assert (tmp_path / "back").read_bytes() == (tmp_path / "big").read_bytes()


async def test_what_goes_wrong(connect: Connect, context: str | None, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(10**7))
    async with connect(context) as pods:
        with pytest.raises(CopyError, match="there is no directory /nowhere"):
            await pods.cp.upload("box", tmp_path / "big", "/nowhere/x", container="main")
        with pytest.raises(CopyError, match="exit code"):
            await pods.cp.upload_tar("box", b"this is no archive" * 10**6, "/tmp", container="main")
        with pytest.raises(CopyError, match="o such file"):
            await pods.cp.download("box", "/nowhere", tmp_path / "x", container="main")
        with pytest.raises(CopyError, match="exit code"):  # its tar ends while most of its input is still on the way
            await pods.cp.upload("box", tmp_path / "big", "/proc/self/x", container="main")
    assert os.listdir(tmp_path) == ["big"]
