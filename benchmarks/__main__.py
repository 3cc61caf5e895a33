"""``python -m benchmarks``: measure, compare, report."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.clients import PROGRAMS, add
from benchmarks.cluster import cluster_pod
from benchmarks.cluster_scenarios import cluster_chains
from benchmarks.environment import environment
from benchmarks.figures import outcomes, standings
from benchmarks.plan import Chain, select
from benchmarks.profiling import profile
from benchmarks.report import Report, write
from benchmarks.runner import Settings, run
from benchmarks.scenarios import chains, with_peer
from benchmarks.tables import terminal
from benchmarks.targets import Target, load_server

_REPORT: Final = Path(__file__).parent.parent / "docs" / "benchmarks"


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this library beside the libraries underneath, and beside other clients.",
    )
    parser.add_argument("--only", metavar="REGEX", help="scenarios or figures whose name this finds")
    parser.add_argument("--rounds", type=int, metavar="N", help="repetitions of each scenario; a bar needs 15")
    parser.add_argument(
        "--short", action="store_true", help="a quarter of the volume, few repetitions: under three minutes"
    )
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="where the report goes; a whole run's: docs/benchmarks"
    )
    parser.add_argument("--list", action="store_true", help="say what there is, measure nothing")
    parser.add_argument(
        "--profile",
        metavar="SCENARIO/CLIENT",
        help="run one measurement under a profiler and print where its time goes",
    )
    parser.add_argument("--cluster", action="store_true", help="measure on the cluster that KUBECONFIG names, instead")
    parser.add_argument("--kubeconfig", metavar="FILE", help="the same, with this kubeconfig")
    parser.add_argument("--context", help="a context of it")
    parser.add_argument("--namespace", help="instead of the context's")
    parser.add_argument("--pod", help="one that is there, instead of making one; it needs busybox's programs")
    parser.add_argument(
        "--image", default="busybox:1.36", help="of the pod that is made; a busybox (default: %(default)s)"
    )
    parser.add_argument("--kubectl", metavar="PROGRAM", help="instead of kubectl")
    parser.add_argument("--client-go", metavar="PROGRAM", help="what benchmarks/client-go was built to")
    parser.add_argument(
        "--peer", action="append", default=[], metavar="NAME=MODULE:CLASS",
        help="measure another client too: a subclass of benchmarks.clients.base.Client",
    )  # fmt: skip
    return parser


def say(line: str) -> None:
    """Tell of progress."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


@contextmanager
def target_of(given: argparse.Namespace) -> Generator[Target, None, None]:
    """What is measured against."""
    if not on_cluster(given):
        with load_server() as load:
            yield load
        return
    kubeconfig = given.kubeconfig or os.environ.get("KUBECONFIG") or str(Path("~/.kube/config").expanduser())
    with cluster_pod(
        kubeconfig, context=given.context, namespace=given.namespace, pod=given.pod, image=given.image
    ) as cluster:
        yield cluster


def on_cluster(given: argparse.Namespace) -> bool:
    """Whether it is the second command."""
    return bool(given.cluster or given.kubeconfig or given.context)


def chosen(given: argparse.Namespace) -> list[Chain]:
    """The chains to run."""
    peers = [peer.partition("=") for peer in given.peer]
    for name, _, place in peers:
        add(name, place)
    found = cluster_chains() if on_cluster(given) else chains()
    for name, _, _ in peers:
        found = [with_peer(chain, name) for chain in found]
    return select(found, given.only)


def listed(found: Sequence[Chain], settings: Settings) -> str:
    """The chains, a line each."""
    lines = (
        f"{chain.name:<24} {settings.repetitions(chain):>2} x {', '.join(link.key for link in chain.links)}\n"
        for chain in found
    )
    return "".join(lines)


def shown_command(words: Sequence[str]) -> str:
    """How the report was made, without what is private: values of options that name files, contexts or objects."""
    kept, private = (
        [],
        ("--output", "--kubeconfig", "--context", "--namespace", "--pod", "--image", "--kubectl", "--client-go"),
    )
    skipping = False
    for word in words:
        if skipping:
            skipping = False
        elif word.partition("=")[0] in private:
            skipping = "=" not in word
            kept += [] if word.startswith("--output") else [word.partition("=")[0], "…"]
        else:
            kept.append(shlex.quote(word))
    return " ".join(["python -m benchmarks", *kept])


def main() -> int:
    """Run the command."""
    given = arguments().parse_args()
    signal.signal(
        signal.SIGTERM, signal.default_int_handler
    )  # ends children and takes back what was made, as Ctrl-C does
    for variable, program in zip(PROGRAMS, (given.kubectl, given.client_go), strict=True):
        if program:
            os.environ[variable] = program
    settings, found = Settings(rounds=given.rounds, short=given.short), chosen(given)
    if given.list:
        sys.stdout.write(listed(found, settings))
        return 0
    with target_of(given) as target:
        if given.profile:
            return profile(found, given.profile, target)
        measured = run(found, target, settings, say, cluster=on_cluster(given))
    done = outcomes(found, measured)
    sys.stdout.write(terminal(done, standings(done, cluster=on_cluster(given))))
    whole = not (given.only or given.short or measured.interrupted)
    folder = given.output or ((_REPORT / "cluster" if on_cluster(given) else _REPORT) if whole else None)
    if folder is not None and measured.rows:
        report = Report(found, measured, settings, environment(), shown_command(sys.argv[1:]), on_cluster(given))
        for path in write(report, folder):
            say(f"wrote {os.path.relpath(path)}")
    return 130 if measured.interrupted else 0


if __name__ == "__main__":
    sys.exit(main())
