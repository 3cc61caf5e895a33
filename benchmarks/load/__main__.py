"""``python -m benchmarks.load [CPU]``: the load server, until its standard input ends.  Its first line says where it is, as JSON."""

from __future__ import annotations

import gc
import json
import sys

from benchmarks.load.server import LoadServer
from benchmarks.processes import pin, raise_limit


def main() -> None:
    """Serve."""
    pin(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    raise_limit()
    gc.disable()  # nothing here makes cycles, and a collection would be somebody's latency
    with LoadServer() as server:
        where = {"plain": server.plain_port, "tls": server.tls_port, "ca": server.ca_pem.decode()}
        sys.stdout.write(json.dumps(where) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()
