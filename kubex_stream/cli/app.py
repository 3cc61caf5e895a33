"""The command line: what there is to say, and what follows from it.

The parser only parses; what a verb does is run after it, so that a remote exit code is never mistaken for one of the parser's, and none of
its handlers stands between an error and the user.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from kubex_stream import __version__
from kubex_stream.api.forwarder import PortForwardProtocol
from kubex_stream.cli.backends import list_backends
from kubex_stream.cli.cluster import serve_cluster
from kubex_stream.cli.durations import parse_duration
from kubex_stream.cli.exec import exec_command
from kubex_stream.cli.failures import say
from kubex_stream.cli.portforward import PortForwardCommand
from kubex_stream.cli.running import FAILED, guarded, run_async
from kubex_stream.cli.settings import ExecRequest, PortForwardRequest, Settings, UsageError

__all__ = ("run",)

PROTOCOLS: Final[tuple[PortForwardProtocol, ...]] = ("auto", "tunnel", "legacy")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kubex-stream {__version__}")
        raise typer.Exit


# The parser's library looks annotations up among the module's names.
_Version = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Tell the version and end.")
]
_Pod = Annotated[str, typer.Argument(metavar="POD -- COMMAND [ARGUMENT]...", hidden=True)]
_Container = Annotated[
    str | None,
    typer.Option("--container", "-c", metavar="NAME", help="Use this container instead of the pod's default one."),
]
_Stdin = Annotated[bool, typer.Option("--stdin", "-i", help="Pass local stdin, and its end, to the command.")]
_Addresses = Annotated[
    list[str] | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Listen on these addresses: localhost or IP addresses, separated by commas.  [default: localhost]",
    ),
]
_Patience = Annotated[
    str,
    typer.Option("--pod-running-timeout", metavar="TIME", help="Wait this long for a pod to run, as 30s, 2m, 1m30s."),
]
_Protocol = Annotated[
    str,
    typer.Option(
        "--protocol",
        metavar="auto|tunnel|legacy",
        help="Carry connections in tunnels (Kubernetes 1.30 and later), or in one WebSocket each; auto finds out.",
    ),
]
_Share = Annotated[
    bool,
    typer.Option("--share", help="Use one tunnel for all connections; one that nobody reads then stalls the others."),
]
_Embedded = Annotated[
    bool,
    typer.Option(
        "--embedded", help="Use an embedded cluster with a ready pod `demo`; its commands run on this machine."
    ),
]
_Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", metavar="FILE", help="Use this file instead of $KUBECONFIG or ~/.kube/config."),
]
_Context = Annotated[str | None, typer.Option("--context", metavar="NAME", help="Use this context of the kubeconfig.")]
_Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", metavar="NS", help="Use this namespace instead of the context's.")
]
_Backend = Annotated[
    str | None, typer.Option("--backend", metavar="NAME", help="Use this backend; `backends` lists them.")
]
_Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, show_default=False, help="Tell on stderr what happens; twice tells more."
    ),
]


class _CommandLine:
    """One command line while it is parsed.

    :ivar words: what came after ``--``, which no parser may touch; None where there was no ``--``
    :ivar action: what to do; None where the parser has answered already
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        before = list(arguments)
        self.words: tuple[str, ...] | None = None
        if "--" in before:
            place = before.index("--")
            self.words = tuple(before[place + 1 :])
            del before[place:]
        self.arguments = before
        self.settings = Settings()
        self.action: Callable[[], int] | None = None

    def settle(self, behind: Settings) -> Settings:
        """Take the settings that stand behind the verb, over those before it, and give all of them."""
        self.settings = behind.over(self.settings)
        return self.settings


def run(arguments: Sequence[str]) -> int:
    """Do what ``arguments`` say.

    :returns: the exit code
    """
    line = _CommandLine(arguments)
    try:
        _application(line)(args=line.arguments or ["--help"], prog_name="kubex-stream")
    except SystemExit as end:
        if line.action is None:
            return FAILED if end.code else 0  # as kubectl's, where the parser's is 2
    except UsageError as error:
        say(f"error: {error}")
        return FAILED
    return guarded(line.action, line.settings.verbosity) if line.action is not None else 0


def _application(line: _CommandLine) -> typer.Typer:
    app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    _add_global_options(app, line)
    _add_exec(app, line)
    _add_port_forward(app, line)
    _add_cluster(app, line)
    _add_backends(app, line)
    return app


def _add_global_options(app: typer.Typer, line: _CommandLine) -> None:
    @app.callback()
    def options(
        embedded: _Embedded = False,
        kubeconfig: _Kubeconfig = None,
        context: _Context = None,
        namespace: _Namespace = None,
        backend: _Backend = None,
        verbose: _Verbose = 0,
        version: _Version = False,
    ) -> None:
        """Kubernetes exec and port-forward over the WebSocket library of your choice.

        The options below may stand before or after the verb.
        """
        del version
        line.settings = Settings(
            embedded=embedded,
            kubeconfig=kubeconfig,
            context=context,
            namespace=namespace,
            backend=backend,
            verbosity=verbose,
        )


def _add_exec(app: typer.Typer, line: _CommandLine) -> None:
    @app.command("exec", short_help="Run a command in a container.", context_settings={"allow_extra_args": True})
    def exec_verb(
        parsed: typer.Context,
        pod: _Pod,
        container: _Container = None,
        stdin: _Stdin = False,
        embedded: _Embedded = False,
        kubeconfig: _Kubeconfig = None,
        context: _Context = None,
        namespace: _Namespace = None,
        backend: _Backend = None,
        verbose: _Verbose = 0,
    ) -> None:
        """Run a command in a container of a pod, with its output, its errors and its exit code."""
        request = _exec_request([pod, *parsed.args], line.words, container, stdin)
        settings = line.settle(
            Settings(
                embedded=embedded,
                kubeconfig=kubeconfig,
                context=context,
                namespace=namespace,
                backend=backend,
                verbosity=verbose,
            )
        )
        _check_cluster(settings)
        line.action = lambda: run_async(lambda: exec_command(settings, request), settings.backend)


def _exec_request(
    names: Sequence[str], words: tuple[str, ...] | None, container: str | None, stdin: bool
) -> ExecRequest:
    if len(names) > 1:
        raise UsageError("exec POD COMMAND is not supported; write exec POD -- COMMAND")
    if not words:
        raise UsageError("you must specify at least one command for the container")
    kind, slash, name = names[0].rpartition("/")
    if slash and kind not in ("pod", "pods", "po"):
        raise UsageError(f"only pods can be named, as NAME or pod/NAME, not {names[0]!r}")
    return ExecRequest(name, words, container, stdin)


def _add_port_forward(app: typer.Typer, line: _CommandLine) -> None:
    @app.command(
        "port-forward",
        short_help="Forward local ports to a pod.",
        options_metavar="[OPTIONS] TARGET [LOCAL:]REMOTE...",
        context_settings={"allow_extra_args": True},
    )
    def port_forward_verb(
        parsed: typer.Context,
        address: _Addresses = None,
        patience: _Patience = "1m",
        protocol: _Protocol = "auto",
        share: _Share = False,
        embedded: _Embedded = False,
        kubeconfig: _Kubeconfig = None,
        context: _Context = None,
        namespace: _Namespace = None,
        backend: _Backend = None,
        verbose: _Verbose = 0,
    ) -> None:
        """Forward local ports to a pod, until Ctrl-C.

        A connection that fails is told on stderr, and the forward goes on.  When the pod is replaced, new connections go to the new one.

        TARGET is a pod, or what has pods: NAME, svc/NAME, deploy/NAME, and so on with rs, sts, ds, rc and job.

        \b
          port-forward demo 8080:80          local port 8080 to port 80 of a pod
          port-forward svc/web 80 :https     80 to 80, and any free one to https
          port-forward deploy/web 8080:http --address 0.0.0.0
        """
        _refuse_words(line, "port-forward")
        request = _port_forward_request(parsed.args, address, patience, protocol, share)
        settings = line.settle(
            Settings(
                embedded=embedded,
                kubeconfig=kubeconfig,
                context=context,
                namespace=namespace,
                backend=backend,
                verbosity=verbose,
            )
        )
        _check_cluster(settings)
        command = PortForwardCommand(settings, request)
        line.action = lambda: run_async(command.run, settings.backend, on_signal=command.on_signal)


def _port_forward_request(
    names: Sequence[str], addresses: Sequence[str] | None, patience: str, protocol: str, share: bool
) -> PortForwardRequest:
    if len(names) < 2:
        raise UsageError("name a target and its ports, as in: kubex-stream port-forward svc/web 8080:80")
    found = next((each for each in PROTOCOLS if each == protocol), None)
    if found is None:
        raise UsageError(f"--protocol is one of {', '.join(PROTOCOLS)}, not {protocol!r}")
    return PortForwardRequest(
        target=names[0],
        ports=tuple(names[1:]),
        addresses=tuple(part for each in addresses or ["localhost"] for part in each.split(",")),
        patience=parse_duration(patience, "--pod-running-timeout"),
        protocol=found,
        share=share,
    )


def _check_cluster(settings: Settings) -> None:
    if settings.embedded and (settings.kubeconfig is not None or settings.context is not None):
        raise UsageError("--embedded brings its own cluster; leave out --kubeconfig and --context")


def _refuse_words(line: _CommandLine, verb: str) -> None:
    if line.words:
        raise UsageError(f"{verb} takes no command")


def _add_cluster(app: typer.Typer, line: _CommandLine) -> None:
    @app.command("cluster", short_help="Run an embedded cluster until Ctrl-C.")
    def cluster_verb(verbose: _Verbose = 0) -> None:
        """Run an embedded cluster until Ctrl-C; the first line on stdout is its kubeconfig's path.

        It needs no Kubernetes: its pod `demo` runs commands on this machine, as you, without isolation.
        """
        _refuse_words(line, "cluster")
        line.settle(Settings(verbosity=verbose))
        line.action = serve_cluster


def _add_backends(app: typer.Typer, line: _CommandLine) -> None:
    @app.command("backends", short_help="List the backends.")
    def backends_verb(verbose: _Verbose = 0) -> None:
        """List the backends: which can be used here, and what to install for the others."""
        _refuse_words(line, "backends")
        line.settle(Settings(verbosity=verbose))
        line.action = list_backends
