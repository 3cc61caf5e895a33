"""Running a plan: a fresh process for each measurement, in turn, with progress, and none left behind.

Rules of this file:
- One measurement at a time; the load server and the clients have CPUs of their own where there are two.
- What fails or is missing is told in the report and not tried again; the rest goes on.
- Ctrl-C ends everything that was started: each process has a process group of its own, which is killed whole.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from benchmarks.clients import CLIENTS, missing
from benchmarks.plan import MIB, Chain, Link
from benchmarks.processes import cpus
from benchmarks.spec import Job, Result
from benchmarks.targets import Target

__all__ = ("Failure", "Measured", "Settings", "run")

#: Seconds after which a measurement counts as hanging.
_LIMIT = 180.0
#: Seconds that one is thought to take before there is any to go by.
_GUESS = 1.5


class Failure(Exception):
    """A measurement that did not come to its end."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How a run goes.

    :ivar rounds: repetitions of every chain, None for what the plan says
    :ivar short: the plan's short form, with a quarter of the volume
    """

    rounds: int | None = None
    short: bool = False

    def repetitions(self, chain: Chain) -> int:
        """How often a chain runs."""
        if self.rounds is not None:
            return self.rounds
        return chain.short if self.short else chain.pairs

    @property
    def volume(self) -> float:
        """What part of the volume is moved."""
        return 0.25 if self.short else 1.0


@dataclass(slots=True)
class Measured:
    """What a run gave.

    :ivar rows: for each chain's name a row for each repetition: the results by the keys of the links
    :ivar absent: clients that are not installed, and what is missing
    :ivar failed: by chain and link, why
    """

    rows: dict[str, list[dict[str, Result]]] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    interrupted: bool = False


def job_of(chain: Chain, link: Link, target: Target, settings: Settings) -> Job:
    """The job of one link."""
    scenario = chain.scenario
    volume = settings.volume if chain.scaled else 1.0
    total = max(1, round(link.mebibytes * MIB * volume / chain.frame)) * chain.frame if link.mebibytes else 0
    warm = max(chain.frame, min(total // 16, 8 * MIB) // chain.frame * chain.frame)
    counted = scenario not in ("idle", "busy") and settings.short
    return Job(
        client=CLIENTS[link.client].place,
        scenario=scenario,
        loop=link.loop,
        place=target.place(tls=chain.tls, protocol=link.protocol),
        command=target.command(scenario, chain.frame, total),
        warm=target.command("session" if scenario == "idle" else scenario, chain.frame, warm),
        total=total,
        warm_total=warm,
        count=max(1, link.count // 4) if counted else link.count,
        cpu=cpus()[0] if link.pinned else None,
    )


def measure(job: Job, target: Target) -> Result:
    """Do one measurement in a process of its own.

    :raises Failure: it did not come to its end
    """
    before = target.server_cpu()
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            out, err = process.communicate(job.to_json(), timeout=_LIMIT)
        except subprocess.TimeoutExpired:
            raise Failure(f"did not end within {_LIMIT:.0f} s") from None
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        lines = [line for line in err.splitlines() if line.strip()]
        raise Failure(lines[-1].strip(" |+-") if lines else f"exit code {process.returncode}")
    result = Result.from_json(json.loads(out))
    result.server_cpu = target.server_cpu() - before
    return result


@dataclass(slots=True)
class _Progress:
    say: Callable[[str], None]
    left: dict[tuple[str, str], int]
    durations: dict[tuple[str, str], float] = field(default_factory=dict)

    def done(self, chain: Chain, link: Link, seconds: float) -> None:
        key = (chain.name, link.key)
        self.durations[key] = seconds
        self.left[key] -= 1

    def drop(self, chain: Chain, link: Link) -> None:
        self.left[chain.name, link.key] = 0

    @property
    def seconds_left(self) -> float:
        known = list(self.durations.values())
        usual = sum(known) / len(known) if known else _GUESS
        return sum(count * self.durations.get(key, usual) for key, count in self.left.items())

    def tell(self, chain: Chain, repetition: int, of: int) -> None:
        minutes, seconds = divmod(round(self.seconds_left), 60)
        self.say(f"{repetition + 1:>3}/{of:<3} {chain.name:<28} {minutes:>3} min {seconds:02} s left")


def without_absent(chains: Sequence[Chain], measured: Measured, *, cluster: bool) -> list[Chain]:
    """The chains with what can be measured here; what cannot is noted."""
    found = []
    for chain in chains:
        if cluster and not chain.clusters:
            continue
        kept = []
        for link in chain.links:
            if link.client not in measured.absent and (lacking := missing(link.client)):
                measured.absent[link.client] = lacking
            if link.client not in measured.absent and not (cluster and not CLIENTS[link.client].clusters):
                kept.append(link.key)
        if kept:
            found.append(chain.with_links(kept))
    return found


def run(
    chains: Sequence[Chain], target: Target, settings: Settings, say: Callable[[str], None], *, cluster: bool = False
) -> Measured:
    """Measure all of it; an interruption ends it early, with what there is."""
    measured = Measured()
    plan = without_absent(chains, measured, cluster=cluster)
    times = {chain.name: settings.repetitions(chain) for chain in plan}
    progress = _Progress(say, {(chain.name, link.key): times[chain.name] for chain in plan for link in chain.links})
    try:
        for repetition in range(max(times.values(), default=0)):
            for chain in plan:
                if repetition < times[chain.name]:
                    progress.tell(chain, repetition, times[chain.name])
                    row = _row(chain, repetition, target, settings, measured, progress)
                    measured.rows.setdefault(chain.name, []).append(row)
    except KeyboardInterrupt:
        measured.interrupted = True
    return measured


def _row(
    chain: Chain, repetition: int, target: Target, settings: Settings, measured: Measured, progress: _Progress
) -> dict[str, Result]:
    row: dict[str, Result] = {}
    for link in chain.links if repetition % 2 == 0 else reversed(chain.links):
        where = f"{chain.name} {link.key}"
        if where in measured.failed:
            continue
        begun = time.monotonic()
        try:
            row[link.key] = measure(job_of(chain, link, target, settings), target)
        except Failure as failure:
            measured.failed[where] = str(failure)
            progress.drop(chain, link)
            progress.say(f"        {where}: {failure}")
        else:
            progress.done(chain, link, time.monotonic() - begun)
    return row
