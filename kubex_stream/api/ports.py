"""kubectl's way of writing ports and addresses: ``8080:80``, ``:80``, ``80``, ``http``; ``localhost`` and IP addresses."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from kubex_stream.protocol.portforward import check_port

__all__ = ("PortSpec", "parse_addresses", "parse_ports")


@dataclass(frozen=True, slots=True)
class PortSpec:
    """A local and a remote port.

    :ivar local: 0 for any free one; None for the number of the remote one
    :ivar remote: a number, or the name of a port
    """

    local: int | None
    remote: int | str


def parse_ports(ports: str | int | Sequence[str | int]) -> list[PortSpec]:
    """``ports`` as kubectl takes them; a single one may stand without a list.

    :raises TypeError: neither strings nor integers
    :raises ValueError: none at all, or one that is no port
    """
    given = [ports] if isinstance(ports, str | int | bytes) else list(ports)  # bytes would be numbers
    if not given:
        raise ValueError("name at least one port, as '8080:80', ':80' or '80'")
    return [_parse(port) for port in given]


def _parse(text: str | int | bytes) -> PortSpec:
    if isinstance(text, int):
        return PortSpec(None, check_port(text))
    if not isinstance(text, str):
        raise TypeError(f"a port is a string or an integer, not {type(text).__name__}")
    parts = text.split(":")
    if len(parts) > 2:
        raise ValueError(f"{text!r} is no port: at most two parts, LOCAL:REMOTE")
    remote = _remote(parts[-1], text)
    if len(parts) == 1:
        return PortSpec(None, remote)
    if parts[0] == "":
        return PortSpec(0, remote)
    if not _is_number(parts[0]) or int(parts[0]) > 65535:
        raise ValueError(f"{parts[0]!r} in {text!r} is no local port: 0 to 65535")
    return PortSpec(int(parts[0]), remote)


def _remote(part: str, text: str) -> int | str:
    if _is_number(part):
        if not 0 < int(part) <= 65535:
            raise ValueError(f"{part!r} in {text!r} is no port of a pod: 1 to 65535")
        return int(part)
    named = 0 < len(part) <= 63 and all(char.isascii() and (char.isalnum() or char == "-") for char in part)
    if not named or part[0] == "-" or part[-1] == "-":
        raise ValueError(f"{text!r} names no port of a pod: write a number or a name, as '8080:80', ':http'")
    return part


def _is_number(part: str) -> bool:
    return part.isascii() and part.isdigit()


def parse_addresses(addresses: str | Sequence[str]) -> list[tuple[str, bool]]:
    """Local addresses: each with whether it must be possible to listen on it.

    ``localhost`` is 127.0.0.1 and ::1, of which one is enough.

    :raises TypeError: one is no string
    :raises ValueError: something else than ``localhost`` and IP addresses
    """
    given = [addresses] if isinstance(addresses, str | bytes) else list(addresses)
    if not given:
        raise ValueError("name at least one address, as 'localhost'")
    found: dict[str, bool] = {}
    for address in given:
        if not isinstance(address, str):
            raise TypeError(f"an address to listen on is a string, not {type(address).__name__}")
        if address == "localhost":
            for each in ("127.0.0.1", "::1"):
                found.setdefault(each, False)
            continue
        try:
            found[str(ipaddress.ip_address(address))] = True
        except ValueError:
            raise ValueError(f"{address!r} is neither 'localhost' nor an IP address to listen on") from None
    return list(found.items())
