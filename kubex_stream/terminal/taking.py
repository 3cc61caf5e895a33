"""Taking a terminal for a session, and giving it back as it was."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass

from kubex_stream.terminal.descriptors import TerminalInput, TerminalOutput
from kubex_stream.terminal.device import Terminal
from kubex_stream.terminal.raw import RawMode
from kubex_stream.terminal.signals import TerminalSignals

__all__ = ("TakenTerminal", "take")


@dataclass(frozen=True, slots=True)
class TakenTerminal:
    """A terminal while a session has it."""

    terminal: Terminal
    input: TerminalInput
    output: TerminalOutput
    signals: TerminalSignals


@contextmanager
def take(terminal: Terminal, *, raw: bool) -> Iterator[TakenTerminal]:
    """Have a terminal for the time of the block.

    :param raw: whether keys go through as they are, where there is a mode to set; otherwise the terminal is only read and written
    :raises RuntimeError: another session of this process has it
    """
    mode = RawMode(terminal.input) if raw and terminal.is_terminal else None
    sized = next((each for each in (terminal.output, terminal.input) if os.isatty(each)), None) if raw else None
    with ExitStack() as stack:
        # The handlers are there before the mode is set and after it is put back.
        signals = stack.enter_context(TerminalSignals(mode, sized))
        if mode is not None:
            stack.callback(mode.leave)
            mode.enter()
        source = stack.enter_context(closing(TerminalInput(terminal.input)))
        screen = stack.enter_context(closing(TerminalOutput(terminal.output)))
        yield TakenTerminal(terminal, source, screen, signals)
