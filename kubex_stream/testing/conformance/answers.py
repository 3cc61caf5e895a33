"""Servers that answer HTTP requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kubex_stream.testing.conformance.raw import Peer, response

__all__ = ("CUT", "answers", "answers_once")


def answers(*pieces: bytes) -> Callable[[Peer], None]:
    """A server that answers each request of a connection with these, and ends it when no more come."""

    def handle(peer: Peer) -> None:
        while peer.has_request():
            peer.head()
            for piece in pieces:
                peer.send(piece)

    return handle


def answers_once(*pieces: bytes, end: Callable[[Peer], object] = Peer.finish) -> Callable[[Peer], None]:
    def handle(peer: Peer) -> None:
        peer.head()
        for piece in pieces:
            peer.send(piece)
        end(peer)
        if end is not Peer.reset:
            peer.rest()

    return handle


#: Bodies that are cut short, and how TCP ends then.
CUT = [
    pytest.param([response("200 OK", b"x" * 100)[:-1]], Peer.finish, id="length-fin"),
    pytest.param([response("200 OK", b"x" * 100)[:-1]], Peer.reset, id="length-rst"),
    pytest.param(
        [response("200 OK", None, "Transfer-Encoding: chunked"), b"5\r\nabcde\r\n"], Peer.finish, id="chunked-fin"
    ),
    pytest.param([response("200 OK", None, "Transfer-Encoding: chunked"), b"5\r\nabc"], Peer.finish, id="chunk-fin"),
]
