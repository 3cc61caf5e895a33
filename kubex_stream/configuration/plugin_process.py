"""Running a credential plugin, once.

It runs in a worker thread, so that it works on every event loop, in every thread of the program and on every system, and never holds up
the loop.  The thread looks up twenty times a second whether it is still wanted; when the caller is cancelled the process is killed, and
the caller returns when it is gone.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from dataclasses import dataclass, field

import anyio
from anyio import to_thread

from kubex_stream.configuration.exec_plugin import Answer, ClusterInfo, ExecPlugin, parse_answer, question
from kubex_stream.errors import ConfigurationError

__all__ = ("run_plugin",)

#: Seconds between two looks at whether the caller is still there.
_POLL = 0.05
#: How much of a plugin's stderr an error shows: the last bytes of it.
_STDERR_LIMIT = 2000

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


async def run_plugin(plugin: ExecPlugin, cluster: ClusterInfo, user: str) -> Answer:
    """Ask the plugin for credentials.

    Cancellation kills the process.

    :param user: how errors call the entry that names the plugin
    :raises ConfigurationError: no credentials; the text says why
    """
    run = _Run(plugin, cluster, f"{user}: the credential plugin {plugin.command!r}")
    try:
        # A limiter of its own: a login may take minutes, and must not take a thread from everything else.
        return await to_thread.run_sync(run, abandon_on_cancel=True, limiter=anyio.CapacityLimiter(1))
    except BaseException:
        if run.stop():
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(run.ended.wait, limiter=anyio.CapacityLimiter(1))
        raise


@dataclass(slots=True)
class _Run:
    """One run, called in a thread; ``stop`` is for the other side."""

    plugin: ExecPlugin
    cluster: ClusterInfo
    name: str
    ended: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)
    started: bool = False
    stopped: bool = False

    def stop(self) -> bool:
        """End the run, or see to it that it never begins.  True when there is something to wait for."""
        with self.lock:
            self.stopped = True
            return self.started

    def __call__(self) -> Answer:
        with self.lock:
            if self.stopped:
                raise self._stopped()
            self.started = True
        try:
            interactive = self._is_interactive()
            with self._open(self._find(), interactive=interactive) as process:
                stdout, stderr = self._communicate(process)
        finally:
            self.ended.set()
        if process.returncode != 0:
            raise ConfigurationError(self._failure(process.returncode, stderr))
        return parse_answer(self.plugin, stdout, self.name)

    def _is_interactive(self) -> bool:
        mode = self.plugin.interactive_mode
        if mode == "Never":
            return False
        terminal = _stdin_is_terminal()
        if mode == "Always" and not terminal:
            raise ConfigurationError(
                f"{self.name} must ask a user (interactiveMode Always), but standard input is not a terminal; "
                "run this from a terminal, or use credentials that need none"
            )
        return terminal

    def _find(self) -> str:
        command = self.plugin.command
        found = shutil.which(command)
        if found is not None:
            return found
        if os.path.exists(command) and os.path.basename(command) != command:
            raise ConfigurationError(f"{self.name} is not executable; make it so (chmod +x), or correct exec.command")
        text = f"{self.name} was not found; install it, put it on PATH, or correct exec.command"
        if self.plugin.install_hint:
            text += f"\n{_printable(self.plugin.install_hint)}"
        raise ConfigurationError(text)

    def _open(self, path: str, *, interactive: bool) -> subprocess.Popen[bytes]:
        info = question(self.plugin, self.cluster, interactive=interactive)
        try:
            return subprocess.Popen(
                [path, *self.plugin.args],
                stdin=None if interactive else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=None if interactive else subprocess.PIPE,
                env={**os.environ, **self.plugin.env, "KUBERNETES_EXEC_INFO": info},
            )
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "its arguments or environment hold a null character"
            raise ConfigurationError(f"{self.name} cannot be started ({reason}); run it by hand to see why") from None

    def _communicate(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes]:
        try:
            while not self.stopped:
                try:
                    stdout, stderr = process.communicate(timeout=_POLL)
                except subprocess.TimeoutExpired:
                    continue
                return stdout, stderr or b""
            raise self._stopped()
        finally:
            process.kill()  # nothing to do for one that has ended

    def _stopped(self) -> ConfigurationError:
        return ConfigurationError(f"{self.name} was stopped, because nobody waits for it any more")

    def _failure(self, code: int, stderr: bytes) -> str:
        how = f"exit code {code}" if code > 0 else f"signal {_signal_name(-code)}"
        said = _printable(stderr[-_STDERR_LIMIT:].decode(errors="replace")).strip()
        text = f"{self.name} failed with {how}"
        return f"{text}; it said: {said}" if said else f"{text} and said nothing; run it by hand to see why"


def _stdin_is_terminal() -> bool:
    try:
        return os.isatty(0)
    except OSError:  # closed
        return False


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


def _printable(text: str) -> str:
    """Without what could do something to a terminal."""
    return _CONTROL.sub("", text)
