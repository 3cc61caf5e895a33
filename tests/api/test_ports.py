"""kubectl's way of writing ports and addresses."""

from __future__ import annotations

from typing import Any

import pytest

from kubex_stream.api.ports import PortSpec, parse_addresses, parse_ports


@pytest.mark.parametrize(
    ("text", "local", "remote"),
    [
        ("5000", None, 5000),
        (5000, None, 5000),
        ("5000:6000", 5000, 6000),
        ("05000:06000", 5000, 6000),
        (":5000", 0, 5000),
        ("0:5000", 0, 5000),
        ("65535:1", 65535, 1),
        ("http", None, "http"),
        (":http", 0, "http"),
        ("8080:http-alt", 8080, "http-alt"),
        ("8080:5000tcp", 8080, "5000tcp"),
        ("1:0x50", 1, "0x50"),
    ],
)
def test_what_kubectl_takes(text: str | int, local: int | None, remote: int | str) -> None:
    assert parse_ports(text) == [PortSpec(local, remote)]
    assert parse_ports([text, "1"]) == [PortSpec(local, remote), PortSpec(None, 1)]


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "0", "5000:0", "65536", "70000:1", "65536:80", "1:65536", "a:80", "a:b", "1:2:3", "-1", "1:-1", "-1:1", " 80", "80 ",
        "1:80 ", "5000:", "+80", "8_0", "٨٠", "80:٨٠", "٨:80", "1:http_alt", "1:a.b", "1:" + "a" * 64, "-http", "http-",
    ],
)  # fmt: skip
def test_what_is_no_port_is_refused_and_named(text: str) -> None:
    with pytest.raises(ValueError, match="port"):
        parse_ports([text])


@pytest.mark.parametrize("number", [0, -1, 65536])
def test_numbers_that_are_no_ports(number: int) -> None:
    with pytest.raises(ValueError, match="port"):
        parse_ports(number)


@pytest.mark.parametrize("port", [True, None, 80.0, b"80", [b"80"], [80.5], [["80"]], [True]], ids=repr)
def test_what_is_neither_string_nor_integer(port: Any) -> None:
    with pytest.raises(TypeError):
        parse_ports(port)


@pytest.mark.parametrize("ports", [[], ()])
def test_no_ports_at_all(ports: Any) -> None:
    with pytest.raises(ValueError, match="at least one port"):
        parse_ports(ports)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("localhost", [("127.0.0.1", False), ("::1", False)]),
        ("127.0.0.1", [("127.0.0.1", True)]),
        ("::1", [("::1", True)]),
        ("0:0:0:0:0:0:0:1", [("::1", True)]),
        ("0.0.0.0", [("0.0.0.0", True)]),
        (["127.0.0.1", "127.0.0.1"], [("127.0.0.1", True)]),
        (["localhost", "::1"], [("127.0.0.1", False), ("::1", True)]),
        (["::1", "localhost"], [("::1", True), ("127.0.0.1", False)]),
        (["localhost", "10.0.0.1"], [("127.0.0.1", False), ("::1", False), ("10.0.0.1", True)]),
    ],
)
def test_addresses(given: str | list[str], expected: list[tuple[str, bool]]) -> None:
    assert parse_addresses(given) == expected


@pytest.mark.parametrize(
    "given", ["", "example.com", "127.0.0.1:80", "[::1]", "256.1.1.1", ["localhost", "nope"], [], "127.1"]
)
def test_what_is_no_address(given: str | list[str]) -> None:
    with pytest.raises(ValueError, match="address"):
        parse_addresses(given)


@pytest.mark.parametrize("given", [5, None, [5], b"\x7f\x00\x00\x01", [b"\x7f\x00\x00\x01"]], ids=repr)
def test_addresses_that_are_no_strings(given: Any) -> None:
    with pytest.raises(TypeError):
        parse_addresses(given)
