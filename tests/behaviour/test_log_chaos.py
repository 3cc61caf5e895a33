"""Everything at once and at random: connections cut, ended and silent, answers cut soon, outages, restarts, lines of all sizes.

What must hold: no line twice, none out of order, and none missing without a word.
"""

from __future__ import annotations

import random
import sys

import anyio
import anyio.to_thread
import pytest

if sys.platform == "win32":
    pytest.skip("the embedded cluster is POSIX only", allow_module_level=True)

from kubex_stream import ClientOptions, LogEvent, Pods
from kubex_stream.testing import Behaviour, EmbeddedCluster, EmbeddedPod
from tests.behaviour.following import OUTAGE
from tests.conftest import MakeClient

pytestmark = pytest.mark.anyio

ROUNDS = 50
PATIENCE = 60.0


class Chaos:
    """A cluster that writes numbered lines and suffers."""

    def __init__(self, cluster: EmbeddedCluster, chance: random.Random) -> None:
        self._cluster = cluster
        self._chance = chance
        self.written = 0

    async def run(self) -> None:
        """Write, suffer, recover, and say so."""
        for _ in range(ROUNDS):
            self._write()
            await self._suffer()
            await anyio.sleep(self._chance.choice((0, 0.001, 0.02, 0.1)))
        self._cluster.behaviour = Behaviour()
        self._cluster.write_log(b"end\n")

    def _write(self) -> None:
        chance, first = self._chance, self.written
        self.written += chance.randint(0, 40)
        sizes = (0, 0, 3, 500, 20_000 if chance.random() < 0.05 else 1)
        data = b"".join(b"%d %s\n" % (number, b"x" * chance.choice(sizes)) for number in range(first, self.written))
        middle = chance.randint(0, len(data))
        self._cluster.write_log(data[:middle])
        if chance.random() < 0.15:
            self._fail()
        self._cluster.write_log(data[middle:])

    def _fail(self) -> None:
        self._cluster.fail_logs(self._chance.choice(("cut", "end", "silence")))

    async def _suffer(self) -> None:
        value = self._chance.random()
        if value < 0.15:
            self._fail()
        elif value < 0.2:
            self._cluster.behaviour = OUTAGE
            self._cluster.fail_logs("cut")
        elif value < 0.3:
            self._cluster.behaviour = Behaviour(log_cut_after_bytes=self._chance.choice((200, 5000)))
        elif value < 0.5:
            self._cluster.behaviour = Behaviour()
        elif value < 0.58:
            await anyio.to_thread.run_sync(self._cluster.restart_container)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_nothing_comes_twice_and_nothing_is_missing_without_a_word(make_client: MakeClient, seed: int) -> None:
    chance, events, seen = random.Random(seed), list[LogEvent](), list[int]()
    async with EmbeddedCluster([EmbeddedPod("demo", restart_policy="Always")], quiet=True) as cluster:
        options = ClientOptions(retries=0, stream_buffer_size=chance.choice((500, 20_000, 1_000_000)))
        async with make_client(cluster.configuration, options) as client:
            log = Pods(client).logs.stream("demo", follow=True, inactivity=0.25, on_event=events.append)
            chaos = Chaos(cluster, chance)
            cluster.write_log(b"begin\n")
            with anyio.fail_after(PATIENCE):
                async with log, anyio.create_task_group() as tasks:
                    assert (await anext(log)).data == b"begin"
                    tasks.start_soon(chaos.run)
                    async for line in log:
                        if line.data == b"end":
                            break
                        seen.append(int(line.data.split()[0]))
                        if chance.random() < 0.01:
                            await anyio.sleep(0.01)
    assert seen == sorted(set(seen))
    if seen != list(range(chaos.written)):
        assert "gap" in {event.kind for event in events}
