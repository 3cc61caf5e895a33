"""Connections that tell when they have taken something in.

aiohttp's protocol tells the queue of a WebSocket's messages, in the middle of its parsing, and whoever reads from the queue goes on one turn of
the event loop later.  One of its own that tells when it is done with a piece lets the reader go on at that moment.

aiohttp makes its protocols with an attribute of the connector that it does not document.  Should it be renamed, the protocols are aiohttp's own:
one turn later, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import aiohttp
from aiohttp.client_proto import ResponseHandler

__all__ = ("TellingHandler", "telling")

T = TypeVar("T", bound=aiohttp.BaseConnector)


class TellingHandler(ResponseHandler):
    """aiohttp's protocol of one connection.

    :ivar told: called when bytes have been taken in, or the end
    """

    told: Callable[[], None] | None = None

    def data_received(self, data: bytes) -> None:
        """Bytes have come."""
        super().data_received(data)
        if self.told is not None:
            self.told()

    def connection_lost(self, exc: BaseException | None) -> None:
        """The connection is gone."""
        super().connection_lost(exc)
        if self.told is not None:
            self.told()


def telling(connector: T) -> T:
    """Make a connector's connections tell."""
    owner: Any = connector
    made = getattr(owner, "_factory", None)
    if isinstance(made, partial) and made.func is ResponseHandler:
        owner._factory = partial(TellingHandler, *made.args, **made.keywords)
    return connector
