"""What an embedded cluster does that another would not: versions, the runtime's habits, and faults on purpose.

Rules of this file: data only.  A session takes the behaviour at its request and keeps it; a change concerns later requests.
The defaults are those of Kubernetes 1.36 with containerd 2.4 as measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from kubex_stream.protocol.channels import PROTOCOLS
from kubex_stream.testing.frames import BINARY

__all__ = ("ALL_PROTOCOLS", "OLD_PROTOCOLS", "Behaviour", "HttpFailure", "InjectedFrame")

#: What a current server speaks on exec and attach; the empty name stands for a client that offers nothing.
ALL_PROTOCOLS: Final = tuple(PROTOCOLS)
#: What a server up to 1.28 speaks: no v5, so no end of stdin.
OLD_PROTOCOLS: Final = tuple(name for name in PROTOCOLS if not name.startswith("v5"))


@dataclass(frozen=True, slots=True)
class HttpFailure:
    """An HTTP answer given instead of the right one.

    :ivar status: the HTTP status, as 429
    :ivar body: the body; a Status as JSON, a text, or nothing
    :ivar headers: more headers, as ``{"Retry-After": "1"}``
    :ivar times: how many requests get it, counted from when the behaviour was set; None for all
    :ivar path: only requests whose path contains this; ``"/exec"``, say
    :ivar content_length: False leaves the length out and ends the connection after the body
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    times: int | None = None
    path: str = ""
    content_length: bool = True


@dataclass(frozen=True, slots=True)
class InjectedFrame:
    """A WebSocket frame that a well-behaved server would not send.

    :ivar payload: the whole payload, so with its channel byte where it is to have one
    :ivar opcode: 1 text, 2 binary, 8 Close, 9 ping …
    :ivar when: after the first, empty frame, or just before the Status
    """

    payload: bytes
    opcode: int = BINARY
    fin: bool = True
    rsv: int = 0
    masked: bool = False
    when: Literal["start", "before-status"] = "start"


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """How the cluster answers.

    :ivar way: where a v5 stream ends.  ``"kubelet"`` (1.36): what the kubelet knows is an HTTP error before the 101.  ``"apiserver"``
        (1.30 to 1.35): 101 first, then an InternalError on channel 3
    :ivar protocols: the subprotocols of exec and attach; ``OLD_PROTOCOLS`` is a server without v5
    :ivar rbac: ``"admin"`` may do all; ``"reader"`` may get, but not create, so exec is a 403 without a reason; ``"nobody"`` may do nothing
    :ivar failures: HTTP answers given instead, the first that fits
    :ivar unauthorized_tokens: bearer tokens that get a 401 although they were valid, as after a rotation

    :ivar tty_output_ends_with_stdin: after the CLOSE of a tty's stdin, or on v4 and v1 without stdin, the rest of the output is dropped
    :ivar status_withheld_above: a process that ends with more than this many bytes of its stdin unread never gets a Status; None: always
        one
    :ivar stdin_buffer: bytes of stdin taken although the process does not read; once they are full, pings and Close stay unanswered.
        None: as measured, 160 KiB on v4 and v1, 8 MiB on v5
    :ivar kill_on_tcp_end: on v4 and v1 the command is killed when TCP ends without a Close frame; on v5 never
    :ivar v5_loss_after: seconds.  Once a v5 command has ended, a reader who stalls for longer loses what it has not read, under exit
        code 0.  None: nothing is lost

    :ivar http_delay: seconds before any answer
    :ivar hang_handshake: upgrades are read and never answered
    :ivar hang_requests: other requests are read and never answered
    :ivar subprotocol: answered whatever was offered; None: negotiate
    :ivar accept: the value of Sec-WebSocket-Accept; None: the right one
    :ivar omit_headers: names of headers left out of the 101, as ``("Upgrade",)``

    :ivar byte_by_byte: the answer to an upgrade, and all frames, go out one byte at a time
    :ivar no_pong: pings stay unanswered
    :ivar inject: more frames; of a port-forward those at the start only
    :ivar tcp_reset_after_bytes: RST after this many bytes of payload have been sent
    :ivar tcp_reset: RST at the Status: ``"before-status"`` or ``"after-status"``
    :ivar tcp_end_before_status: the connection ends, without Close and Status, when the process has
    :ivar close_code: a Close with this code instead of the Status, as 1001 or 1011; 1000 is the order without Status
    :ivar status_delay: seconds between the end of the process and its Status
    :ivar no_status: neither Status nor Close: the session stays open
    :ivar raw_status: the payload of channel 3 instead of the right one; may be no JSON at all

    :ivar tunnel: whether port-forward has the tunnel, ``SPDY/3.1+portforward.k8s.io``; False is a server before 1.30, which takes such a
        request for one of the older protocol that names no ports
    :ivar legacy: whether port-forward has the older protocol, ``v4.channel.k8s.io``; False refuses it with a 403
    :ivar half_close: port-forward passes the end of one direction on, both ways, as CRI-O does.  False, as containerd does it: the end of
        one direction leaves the other ``half_close_grace``, then both are cut, and neither peer is told before
    :ivar half_close_grace: seconds
    :ivar dial_delay: seconds before a forwarded connection is opened in the pod
    :ivar stall_by_stream_id: five workers serve a tunnel's streams, by id modulo five, with room for 50 frames each; one whose target does
        not read stops its worker, and then the whole tunnel.  False: every stream has all the room it needs
    :ivar drop_data_before_reply: data that comes before the stream's reply has been sent is lost
    :ivar reply_order: ``"reversed"``: of a pair that is opened in one go the second stream is accepted first
    :ivar no_reply: streams of a tunnel are neither accepted nor refused
    :ivar pair_timeout: seconds in which the second stream of a pair has to come
    :ivar header_bomb: the first reply of a tunnel has headers of 64 MiB, once they are inflated; nothing comes after it
    :ivar goaway_after_bytes: GOAWAY after this many bytes of payload have been sent through a tunnel; nothing comes after it
    :ivar reset_stream_after_bytes: each data stream of a tunnel is reset after this many bytes of payload have been sent on it
    :ivar tunnel_garbage_after_bytes: something that is no SPDY, after this many bytes of payload; nothing comes after it
    :ivar log_cut_after_bytes: every answer with a log is cut by RST after this many bytes of its body
    :ivar log_silent_after_bytes: nothing more is sent, and nothing is ended, after this many
    :ivar watch_list: whether a watch may begin with the whole state, ``sendInitialEvents``; False is a server before 1.32
    :ivar watch_timeout: seconds after which a watch ends in order, where its request names none
    :ivar watch_bookmark_interval: seconds between the bookmarks of a watch
    :ivar watch_expired: how a version that is too old is told: as the first ``"event"``, as 1.36 does it, or as the HTTP ``"status"`` 410
    :ivar watch_cut_after_bytes: every watch is cut by RST after this many bytes of its body
    :ivar watch_silent_after_bytes: nothing more is sent, and nothing is ended, after this many
    :ivar close_after_bytes: port-forward: after this many bytes of payload a Close, with ``close_code`` or 1000, and the end of TCP
    """

    way: Literal["kubelet", "apiserver"] = "kubelet"
    protocols: tuple[str, ...] = ALL_PROTOCOLS
    rbac: Literal["admin", "reader", "nobody"] = "admin"
    failures: tuple[HttpFailure, ...] = ()
    unauthorized_tokens: frozenset[str] = field(default=frozenset(), repr=False)

    tty_output_ends_with_stdin: bool = True
    status_withheld_above: int | None = 150_000
    stdin_buffer: int | None = None
    kill_on_tcp_end: bool = True
    v5_loss_after: float | None = None

    http_delay: float = 0.0
    hang_handshake: bool = False
    hang_requests: bool = False
    subprotocol: str | None = None
    accept: str | None = None
    omit_headers: tuple[str, ...] = ()

    byte_by_byte: bool = False
    no_pong: bool = False
    inject: tuple[InjectedFrame, ...] = ()
    tcp_reset_after_bytes: int | None = None
    tcp_reset: Literal["before-status", "after-status"] | None = None
    tcp_end_before_status: bool = False
    close_code: int | None = None
    status_delay: float = 0.0
    no_status: bool = False
    raw_status: bytes | None = None

    tunnel: bool = True
    legacy: bool = True
    half_close: bool = False
    half_close_grace: float = 1.0
    dial_delay: float = 0.0
    stall_by_stream_id: bool = True
    drop_data_before_reply: bool = False
    reply_order: Literal["as-is", "reversed"] = "as-is"
    no_reply: bool = False
    pair_timeout: float = 30.0
    header_bomb: bool = False
    goaway_after_bytes: int | None = None
    reset_stream_after_bytes: int | None = None
    tunnel_garbage_after_bytes: int | None = None
    close_after_bytes: int | None = None
    log_cut_after_bytes: int | None = None
    log_silent_after_bytes: int | None = None
    watch_list: bool = True
    watch_timeout: float = 1800.0
    watch_bookmark_interval: float = 60.0
    watch_expired: Literal["event", "status"] = "event"
    watch_cut_after_bytes: int | None = None
    watch_silent_after_bytes: int | None = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.protocols if name not in PROTOCOLS]
        if unknown:
            raise ValueError(f"no such subprotocol: {unknown[0]!r}; there are {', '.join(map(repr, PROTOCOLS))}")
        if self.way not in ("kubelet", "apiserver"):
            raise ValueError(f'way is "kubelet" or "apiserver", not {self.way!r}')
        if self.rbac not in ("admin", "reader", "nobody"):
            raise ValueError(f'rbac is "admin", "reader" or "nobody", not {self.rbac!r}')
        if self.reply_order not in ("as-is", "reversed"):
            raise ValueError(f'reply_order is "as-is" or "reversed", not {self.reply_order!r}')
