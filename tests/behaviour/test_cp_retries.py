"""Connections that break in the middle of a copy, and what becomes of it."""

from __future__ import annotations

import os
import random
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from kubex_stream import ConnectionLost, CopyProgress, Pods
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedContainer, EmbeddedPod
from tests.behaviour.copies import listing, path_with
from tests.conftest import MakeClient

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

pytestmark = pytest.mark.anyio
#: So much of the answers gets through before a connection breaks: the tree then takes at least three breaks, or ten.
PIECE: Final = 750_000
SMALL_PIECE: Final = 200_000
breaks = pytest.mark.parametrize(
    ("piece", "times"), [(PIECE, 3), pytest.param(SMALL_PIECE, 10, marks=pytest.mark.volume)], ids=["a-few", "many"]
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """3 MB in files of several sizes, the larger ones larger than what gets through at once."""
    generator = random.Random(3)
    top = tmp_path / "tree"
    (top / "d" / "e").mkdir(parents=True)
    for number, size in enumerate([0, 10, 700_001, 511, 5000, 1_200_000, 40_000]):
        for folder in (top, top / "d", top / "d" / "e"):
            (folder / f"{number}-{'n' * 30 * number}").write_bytes(generator.randbytes(size // 2))
    os.symlink("d/e", top / "link")
    return top


@breaks
async def test_a_download_that_breaks_goes_on_where_it_stopped(
    make_client: MakeClient, tree: Path, tmp_path: Path, piece: int, times: int
) -> None:
    with EmbeddedCluster(behaviour=Behaviour(tcp_reset_after_bytes=piece), quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            done = await Pods(client).cp.download("demo", str(tree), tmp_path / "back", retries=30, checksum=True)
    assert listing(tmp_path / "back") == listing(tree)
    assert done.retried >= times
    assert done.resumed >= times - 1


async def test_a_single_file_likewise_into_a_file_object(make_client: MakeClient, tree: Path, tmp_path: Path) -> None:
    source = next(tree.glob("5-*"))
    with EmbeddedCluster(behaviour=Behaviour(tcp_reset_after_bytes=150_000), quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            with (tmp_path / "back").open("wb") as back:
                done = await Pods(client).cp.download("demo", str(source), back, retries=-1, checksum=True)
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert done.resumed >= 3


@breaks
async def test_the_small_programs_of_busybox_resume_too(
    make_client: MakeClient, tree: Path, tmp_path: Path, piece: int, times: int
) -> None:
    env = path_with(tmp_path / "bin", "sh", "tar", "tail", "dd", "sha256sum", busybox=True)
    pod = EmbeddedPod("small", containers=[EmbeddedContainer(env=env)])
    with EmbeddedCluster([pod], behaviour=Behaviour(tcp_reset_after_bytes=piece), quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            done = await Pods(client).cp.download("small", str(tree), tmp_path / "back", retries=30, checksum=True)
    assert listing(tmp_path / "back") == listing(tree)
    assert done.resumed >= times - 1


async def test_without_tail_it_starts_again(make_client: MakeClient, tree: Path, tmp_path: Path) -> None:
    pod = EmbeddedPod("bare", containers=[EmbeddedContainer(env=path_with(tmp_path / "bin", "sh", "tar"))])
    with EmbeddedCluster([pod], quiet=True) as cluster:
        cluster.behaviour = Behaviour(tcp_reset_after_bytes=PIECE)

        def mend(progress: CopyProgress) -> None:  # noqa: ARG001
            if len([each for each in cluster.requests if "tar" in str(each.query)]) > 2:
                cluster.behaviour = Behaviour()

        async with make_client(cluster.configuration) as client:
            done = await Pods(client).cp.download("bare", str(tree), tmp_path / "back", retries=-1, progress=mend)
    assert listing(tmp_path / "back") == listing(tree)
    assert (done.resumed, done.files) == (0, 21)
    assert done.retried >= 2


async def test_what_changes_meanwhile_is_not_mixed(make_client: MakeClient, tmp_path: Path) -> None:
    """The file that was cut is another one when the copy goes on: it is copied anew, as a whole."""
    source = tmp_path / "source"
    source.write_bytes(b"a" * 1_000_000)
    os.utime(source, (10**9, 10**9))
    with EmbeddedCluster(behaviour=Behaviour(tcp_reset_after_bytes=SMALL_PIECE), quiet=True) as cluster:

        def change(progress: CopyProgress) -> None:
            if cluster.behaviour.tcp_reset_after_bytes is not None and progress.bytes:
                cluster.behaviour = Behaviour()
                source.write_bytes(b"b" * 1_000_000)

        async with make_client(cluster.configuration) as client:
            done = await Pods(client).cp.download(
                "demo", str(source), tmp_path / "back", retries=3, progress=change, checksum=True
            )
    assert (tmp_path / "back").read_bytes() == b"b" * 1_000_000
    assert (done.retried, done.resumed, done.files) == (1, 0, 1)


async def test_without_retries_the_break_is_told_and_nothing_half_is_left(
    make_client: MakeClient, tree: Path, tmp_path: Path
) -> None:
    with EmbeddedCluster(behaviour=Behaviour(tcp_reset_after_bytes=SMALL_PIECE), quiet=True) as cluster:
        async with make_client(cluster.configuration) as client:
            with pytest.raises(ConnectionLost):
                await Pods(client).cp.download("demo", str(next(tree.glob("5-*"))), tmp_path / "back")
    assert sorted(os.listdir(tmp_path)) == ["tree"]


# Uploads -------------------------------------------------------------------------------------------------------------


class _Link:
    """A connection and the one that it is passed on to; both threads leave it, and the last one closes it."""

    def __init__(self, near: socket.socket, far: socket.socket) -> None:
        self.near, self.far = near, far
        self.passed = 0
        self.ended = threading.Event()
        self._left = threading.Semaphore(1)

    def leave(self) -> None:
        """One is ready."""
        if not self._left.acquire(blocking=False):
            self.near.close()
            self.far.close()


class CuttingRelay:
    """Passes TCP on to a server, and cuts the first connections that carry much to it, and are answered.

    Of such a connection no more than ``after`` bytes ever pass, so where what is copied is larger it never ends before it is cut; and the
    client gets to see all that has been answered, so each time it knows how far it has come.

    :param after: bytes to the server
    :param times: so many connections
    :param answers: bytes of them, after the first tenth of those; where it is 0, the cut is there at once, and a reset
    """

    def __init__(self, url: str, after: int, times: int, answers: int) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        self._server = (parts.hostname, parts.port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._listener.getsockname()[1]}"
        self._after = after
        self.times = times
        self._answers = answers
        self._threads = [threading.Thread(target=self._serve, daemon=True)]
        self._threads[0].start()
        self.cut = 0

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                link = _Link(near, socket.create_connection(self._server))
                for work in (self._up, self._down):
                    thread = threading.Thread(target=work, args=(link,), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _up(self, link: _Link) -> None:
        with suppress(OSError):
            while data := link.near.recv(65536):
                if self.cut < self.times and link.passed + len(data) > self._after:
                    if not self._answers:
                        self._end(link)
                    link.ended.wait(30)
                    break
                link.passed += len(data)
                link.far.sendall(data)
        self._finish(link)

    def _down(self, link: _Link) -> None:
        answers = 0
        with suppress(OSError):
            while data := link.far.recv(65536):
                link.near.sendall(data)
                answers += len(data) if link.passed > self._after // 10 else 0
                if self.cut < self.times and self._answers and answers >= self._answers:
                    self._end(link)
                    link.near.shutdown(socket.SHUT_WR)
                    while link.near.recv(65536):
                        pass
                    break
        self._finish(link)

    def _end(self, link: _Link) -> None:
        self.cut += 1
        link.ended.set()

    def _finish(self, link: _Link) -> None:
        link.ended.set()
        for each in (link.near, link.far):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        link.leave()

    def close(self) -> None:
        """Stop."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)


@pytest.fixture
def relay(cluster: EmbeddedCluster, request: pytest.FixtureRequest) -> Iterator[CuttingRelay]:
    """One that cuts after 700,000 bytes; the parameter says how often, and after how many bytes of answers."""
    times, answers = request.param
    made = CuttingRelay(cluster.url, 700_000, times, answers)
    yield made
    made.close()


@pytest.mark.parametrize("relay", [(2, 500), pytest.param((10, 500), marks=pytest.mark.volume)], indirect=True)
async def test_an_upload_that_breaks_goes_on_with_the_file_that_broke(
    make_client: MakeClient, cluster: EmbeddedCluster, relay: CuttingRelay, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    (tree / "d").mkdir(parents=True)
    files = 8 * (relay.times + 1)
    for number in range(files):
        (tree / "d" / f"{number:03}{'n' * 140}").write_bytes(random.Random(number).randbytes(100_000))
    async with make_client(cluster.configuration.model_copy(update={"url": relay.url})) as client:
        done = await Pods(client).cp.upload("demo", tree, str(tmp_path / "there"), retries=10, checksum=True)
    assert listing(tmp_path / "there") == listing(tree)
    assert done.resumed == done.retried == relay.times
    assert (done.files, done.bytes) == (files, files * 100_000)


@pytest.mark.parametrize("relay", [(1, 0)], indirect=True)
async def test_an_upload_without_retries_is_told(
    make_client: MakeClient, cluster: EmbeddedCluster, relay: CuttingRelay, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(bytes(8_000_000))
    async with make_client(cluster.configuration.model_copy(update={"url": relay.url})) as client:
        with pytest.raises(ConnectionLost):
            await Pods(client).cp.upload("demo", tmp_path, "/tmp/never", retries=0)
