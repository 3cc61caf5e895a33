"""An embedded cluster as a command: the kubeconfig's path on stdout, then it serves until it is told to end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from typing import TextIO

from kubex_stream.testing.cluster import EmbeddedCluster

__all__ = ("serve",)

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def _signals_to_pipe() -> Iterator[int]:
    """A file descriptor that becomes readable when one of the signals comes."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def tell(number: int, _frame: object) -> None:
        with contextlib.suppress(BlockingIOError):
            os.write(writer, bytes((number,)))

    before = {number: signal.signal(number, tell) for number in _SIGNALS}
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def serve(cluster: EmbeddedCluster, output: TextIO) -> None:
    """Run ``cluster`` until SIGINT, SIGTERM or SIGHUP.  Call it in the main thread.

    The first line written to ``output`` is the path of the kubeconfig; when it is there, the cluster takes requests.  When this
    function returns, every process and file of the cluster is gone.
    """
    with _signals_to_pipe() as told, cluster:
        print(cluster.kubeconfig, file=output, flush=True)
        os.read(told, 1)
