"""Exec sessions of the load server: the command's first word says what to do.

    down FRAME TOTAL     stdout, in frames of so many bytes
    up TOTAL             stdin is counted until that many bytes, or its end
    duplex FRAME TOTAL   both of them at once
    echo                 stdin comes back as stdout, until its end or the client's Close
    idle                 nothing, until the client leaves
    exit                 ends at once

Behind all but the last two a Status says Success, and a Close ends the session, in one segment as an API server sends them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from benchmarks.load.messages import ClientLeft, Messages
from benchmarks.load.wire import CLOSE, Block, Wire, frame, frames_block, header
from kubex_stream.protocol.channels import CLOSE_CHANNEL, ERROR_CHANNEL, STDIN_CHANNEL, STDOUT_CHANNEL

__all__ = ("serve_exec",)

_BLOCK: Final = 1024 * 1024
_SUCCESS: Final = b'{"metadata":{},"status":"Success"}'
ENDING: Final = frame(bytes((ERROR_CHANNEL,)) + _SUCCESS) + frame((1000).to_bytes(2, "big"), CLOSE)


@lru_cache
def _block(size: int, count: int) -> Block:
    # A server writes the head of a frame and the channel first, and then the payload.
    head = header(size + 1) + bytes((STDOUT_CHANNEL,))
    return frames_block([(head + bytes(size), len(head))] * count, size * count)


def _down(wire: Wire, size: int, total: int) -> None:
    count = max(1, _BLOCK // size)
    while total >= count * size:
        wire.send_block(_block(size, count))
        total -= count * size
    if total >= size:
        wire.send_block(_block(size, total // size))
    if total % size:
        wire.send_block(_block(total % size, 1))


def _up(messages: Messages, total: int) -> None:
    channel, ended = STDIN_CHANNEL, False
    while total > 0 and not ended:
        size = messages.next_frame()
        if size and not messages.continues:
            channel = messages.read(1)[0]
            ended = channel == CLOSE_CHANNEL
            size -= 1
        if channel == STDIN_CHANNEL:
            total -= size


def _echo(wire: Wire, messages: Messages) -> None:
    while True:
        size = messages.next_frame()
        message = messages.read(size)
        if message and message[0] == CLOSE_CHANNEL:
            return
        if size > 1 and message[0] == STDIN_CHANNEL:
            wire.send(frame(bytes((STDOUT_CHANNEL,)) + message[1:]))


def _duplex(wire: Wire, messages: Messages, size: int, total: int) -> None:
    def send() -> None:
        try:
            _down(wire, size, total)
        except OSError:
            return

    sender = threading.Thread(target=send)
    sender.start()
    try:
        _up(messages, total)
    finally:
        sender.join()


def serve_exec(wire: Wire, command: Sequence[str], early: bytes) -> None:
    """One session, behind its 101.

    :raises ClientLeft: the client did not wait for the end
    :raises OSError: likewise
    """
    messages = Messages(wire, early)
    match command:
        case ("down", size, total):
            _down(wire, int(size), int(total))
        case ("up", total):
            _up(messages, int(total))
        case ("duplex", size, total):
            _duplex(wire, messages, int(size), int(total))
        case ("echo",):
            _echo(wire, messages)
        case ("idle",):
            while True:
                messages.next_frame()
        case _:
            pass
    wire.send(ENDING)
    try:
        while True:  # until the client's Close
            messages.next_frame()
    except ClientLeft:
        return
