"""A copy as a whole: where it goes, how it is made, whether it arrived."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable
from typing import BinaryIO, Final

import anyio

from kubex_stream.errors import CopyError
from kubex_stream.transfer.checking import check_digests
from kubex_stream.transfer.container import Container, Facts, look
from kubex_stream.transfer.contents import ContentPacker, ContentSink
from kubex_stream.transfer.downloading import Download, NoTar, Sink
from kubex_stream.transfer.extracting import Extractor
from kubex_stream.transfer.names import RemotePath
from kubex_stream.transfer.packing import Packer
from kubex_stream.transfer.result import CopyProgress, CopyResult, OnProgress
from kubex_stream.transfer.retrying import Retries
from kubex_stream.transfer.tree import Tree
from kubex_stream.transfer.uploading import Place, Upload, place
from kubex_stream.transfer.without_tar import download_file, upload_file

__all__ = ("DownloadTo", "UploadFrom")

_SEPARATORS: Final = ("/",) if os.sep == "/" else ("/", os.sep)


def _local_base(path: str) -> str:
    """What a local source is called where it goes; empty where what is in it is meant."""
    base = os.path.basename(path.rstrip("".join(_SEPARATORS)) or path)
    return "" if base in ("", ".", "..") else base


class UploadFrom:
    """From here into a container; the parameters are those of :meth:`~kubex_stream.api.cp.Cp.upload`."""

    def __init__(
        self,
        container: Container,
        source: str | bytes | BinaryIO,
        target: RemotePath,
        *,
        preserve: bool,
        checksum: bool,
        retries: int,
        progress: OnProgress | None,
    ) -> None:
        self._container = container
        self._given = source
        self._target = target
        self._preserve = preserve
        self._checksum = checksum
        self._retries = Retries(retries)
        self._progress = progress
        self._total: int | None = None
        self._base = _local_base(source) if isinstance(source, str) else target.base
        self._is_directory = False
        if source == "":
            raise ValueError("the local path is empty")
        if not isinstance(source, str) and (not target.base or target.into):
            raise ValueError("the target names a directory, and contents have no name of their own: name a file in it")

    async def run(self) -> CopyResult:
        """Copy."""
        if isinstance(self._given, str):
            found = await anyio.to_thread.run_sync(os.stat, self._given)
            self._is_directory = stat.S_ISDIR(found.st_mode)
            if not self._is_directory and not stat.S_ISREG(found.st_mode):
                raise CopyError(f"{self._given!a} is neither a file nor a directory")
        facts = await self._retries.insist(lambda: look(self._container, self._target.path, self._target.directory))
        if not isinstance(self._given, str) and facts.kind == "directory":
            raise CopyError(f"{self._target.path} in the container is a directory; name a file in it")
        where = place(self._target, facts, self._base, is_directory=self._is_directory)
        if facts.lacks("tar"):
            return await self._without_tar(facts, where)
        return await self._with_tar(facts, where)

    async def _with_tar(self, facts: Facts, where: Place) -> CopyResult:
        packer: Packer | ContentPacker
        if isinstance(self._given, str):
            packer = Packer(
                self._given, where.name, contents=not where.name, preserve=self._preserve, digest=self._checksum
            )
        else:
            packer = ContentPacker(self._given, where.name, digest=self._checksum)
        if self._progress is not None:
            self._total, _ = await anyio.to_thread.run_sync(packer.measure)
        upload = Upload(
            self._container,
            where.directory,
            packer,
            facts=facts,
            preserve=self._preserve,
            retries=self._retries,
            on_data=lambda: self._tell(packer.copied, packer.files, packer.name),
        )
        try:
            await upload.run()
            self._tell(packer.copied, packer.files, packer.name)
            await self._retries.insist(lambda: check_digests(self._container, where.directory, packer.digests))
        except CopyError as error:
            error.result = self._result(packer, upload)
            raise
        return self._result(packer, upload)

    def _result(self, packer: Packer | ContentPacker, upload: Upload) -> CopyResult:
        return CopyResult(
            files=packer.files,
            directories=packer.directories,
            links=packer.links,
            bytes=packer.copied,
            refused=tuple(packer.refusals.kept),
            refused_count=packer.refusals.count,
            retried=self._retries.used,
            resumed=upload.resumed,
            checked=len(packer.digests),
        )

    def _tell(self, count: int, files: int, name: str) -> None:
        if self._progress is not None:
            self._progress(CopyProgress(count, self._total, files, name))

    async def _without_tar(self, facts: Facts, where: Place) -> CopyResult:
        if self._is_directory or "/" in where.name:
            raise CopyError("the container has no tar, and without it only single files can be copied")
        path = RemotePath(where.directory, where.name, False).path
        file = await anyio.to_thread.run_sync(_opened, self._given)
        try:
            start = file.tell()
            self._total = file.seek(0, io.SEEK_END) - start
            file.seek(start)
            size = self._total
            await upload_file(self._container, path, file, size, facts, lambda sent: self._tell(sent, 0, where.name))
        finally:
            if file is not self._given:
                file.close()
        return CopyResult(files=1, bytes=size)


def _opened(given: str | bytes | BinaryIO) -> BinaryIO:
    if isinstance(given, str):
        return open(given, "rb")
    return io.BytesIO(given) if isinstance(given, bytes) else given


class DownloadTo:
    """From a container to here; the parameters are those of :meth:`~kubex_stream.api.cp.Cp.download`."""

    def __init__(
        self,
        container: Container,
        source: RemotePath,
        target: str | BinaryIO,
        *,
        preserve: bool,
        checksum: bool,
        retries: int,
        progress: OnProgress | None,
    ) -> None:
        self._container = container
        self._source = source
        self._target = target
        self._preserve = preserve
        self._checksum = checksum
        self._retries = Retries(retries)
        self._progress = progress
        if not target:
            raise ValueError("the local path is empty")

    async def run(self) -> CopyResult:
        """Copy."""
        if not isinstance(self._target, str):
            return await self._into_file(self._target)
        directory, top = await anyio.to_thread.run_sync(_local_place, self._target, self._source.base)
        tree = await anyio.to_thread.run_sync(Tree, directory)
        try:
            return await self._into(
                lambda: Extractor(tree, base=self._source.base, top=top, preserve=self._preserve, digest=self._checksum)
            )
        finally:
            tree.close()

    async def _into_file(self, target: BinaryIO) -> CopyResult:
        try:
            start = target.tell()
        except (OSError, AttributeError):
            start = None
        sinks: list[ContentSink] = []

        def make() -> ContentSink:
            if sinks:
                sinks[-1].rewind()
            sinks.append(ContentSink(target, start, digest=self._checksum))
            return sinks[-1]

        return await self._into(make)

    async def _into(self, make: Callable[[], Sink]) -> CopyResult:
        download = Download(self._container, self._source, make_sink=make, retries=self._retries, on_data=self._tell)
        try:
            try:
                await download.run()
            except NoTar:
                await download.instead(lambda sink: download_file(self._container, self._source, sink, self._tell))
            self._tell(download.sink)
            digests = self._digests(download.sink)
            await self._retries.insist(lambda: check_digests(self._container, self._source.directory, digests))
        except CopyError as error:
            error.result = self._result(download)
            raise
        return self._result(download)

    def _tell(self, sink: Sink) -> None:
        if self._progress is not None:
            self._progress(CopyProgress(sink.copied, None, sink.files, sink.name))

    def _digests(self, sink: Sink) -> dict[str, bytes]:
        prefix = (self._source.base,) if self._source.base else ()
        return {"/".join((*prefix, *parts)): digest for parts, digest in sink.digests.items()}

    def _result(self, download: Download) -> CopyResult:
        sink = download.sink
        return CopyResult(
            files=sink.files,
            directories=sink.directories,
            links=sink.links,
            bytes=sink.copied,
            refused=tuple(sink.refusals.kept),
            refused_count=sink.refusals.count,
            retried=self._retries.used,
            resumed=download.resumed,
            checked=len(sink.digests),
        )


def _local_place(target: str, base: str) -> tuple[str, str]:
    """The local directory that a copy goes into, which is made if need be, and what it is called there."""
    if not base or os.path.isdir(target) or target.endswith(_SEPARATORS):
        os.makedirs(target, exist_ok=True)
        return target, base
    # Links in what the user names are the user's own word.
    real = os.path.realpath(target)
    if os.path.lexists(real) and not os.path.isfile(real):
        raise CopyError(
            f"{target!a} is neither a file nor a directory, so it is not replaced; a stream can be written to"
        )
    directory, top = os.path.split(real)
    os.makedirs(directory, exist_ok=True)
    return directory, top
