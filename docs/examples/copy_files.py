"""Copy files into a container and back: contents from memory, a tree with progress and digests, going on after a broken connection."""

import asyncio
from pathlib import Path

from kubex_stream import CopyError, CopyProgress, Pods, create_client


def show(progress: CopyProgress) -> None:
    share = "" if not progress.total else f" ({100 * progress.bytes // progress.total} %)"
    print(f"{progress.bytes} bytes{share}, {progress.files} files")


def make_site() -> None:
    Path("site/images").mkdir(parents=True)
    Path("site/index.html").write_text("<h1>hello</h1>\n")
    Path("site/images/logo.svg").write_text("<svg/>\n")


async def copy(there: str) -> None:
    async with create_client() as client:
        pods = Pods(client)
        try:
            await pods.cp.upload("demo", b"key: value\n", f"{there}.yaml")
            done = await pods.cp.upload(
                "demo", "site", there, container="main", checksum=True, retries=3, progress=show
            )
            print(f"{done.files} files and {done.directories} directories, {done.checked} of them compared")
            back = await pods.cp.download("demo", there, "back", retries=3)
        except CopyError as error:
            print(f"the copy failed: {error}")
            raise
    for refused in back.refused:
        print(f"not copied: {refused}")


if __name__ == "__main__":
    make_site()
    # An embedded cluster's containers see this machine's files.
    asyncio.run(copy(str(Path("in-the-container").absolute())))
    assert Path("back/index.html").read_text() == Path("site/index.html").read_text()
