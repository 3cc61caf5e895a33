"""The Status: client-go's decoder line by line, and that nothing a peer sends raises or gets lost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubex_stream.protocol.status import Cause, Exited, Failed, Garbled, Status, decode_ending, parse_status

PREFIX = "error stream protocol error: "


def failure(code: object = "7", *, reason: str = "ExitCode") -> dict[str, Any]:
    """A Status of a non-zero exit, as the v5 servers write it."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": reason, "message": code}]},
    }


def ending_of(status: object) -> object:
    return decode_ending(json.dumps(status).encode())[0]


# Decoding, in the order of client-go's decoder ------------------------------------------------------------------------


def test_an_empty_stream_is_success() -> None:
    assert decode_ending(b"") == (Exited(0), None)


@pytest.mark.parametrize("raw", [b"{", b"boom", b'{"status":"Success"', b"\xff\xfe\xfd", b"\x00", b'{"a":1}{"b":2}'])
def test_invalid_json_is_told_with_its_text(raw: bytes) -> None:
    ending, status = decode_ending(raw)
    assert isinstance(ending, Garbled)
    assert status is None
    assert ending.message.startswith(PREFIX)
    assert ending.message.endswith(f' in "{raw.decode("utf-8", "replace")}"')


@pytest.mark.parametrize("raw", [b'{"metadata":{},"status":"Success"}', b'{"status":"Success"}'])
def test_success_with_and_without_metadata(raw: bytes) -> None:
    ending, status = decode_ending(raw)
    assert ending == Exited(0)
    assert status == Status(status="Success")


@pytest.mark.parametrize("code", [0, 1, 7, 23, 137, 143, 255])
def test_an_exit_code(code: int) -> None:
    assert ending_of(failure(str(code))) == Exited(code)


@pytest.mark.parametrize(("text", "code"), [("007", 7), ("000", 0), ("000255", 255)])
def test_leading_zeros_are_taken_as_go_takes_them(text: str, code: int) -> None:
    assert ending_of(failure(text)) == Exited(code)


@pytest.mark.parametrize("text", ["256", "abc", "-1", " 7", "7 ", "+7", "1_0", "0x7", "", "٣", "²", "7.0", "9" * 5000])
def test_an_exit_code_that_is_none(text: str) -> None:
    assert ending_of(failure(text)) == Garbled(f'{PREFIX}invalid exit code value "{text[:100]}"')


def test_details_missing() -> None:
    status = failure()
    del status["details"]
    assert ending_of(status) == Garbled(f"{PREFIX}details must be set")


@pytest.mark.parametrize("details", [{}, {"causes": []}, {"causes": None}, {"name": "x"}, {"causes": "ExitCode"}])
def test_causes_missing(details: object) -> None:
    assert ending_of(failure() | {"details": details}) == Garbled(f"{PREFIX}no ExitCode cause given")


def test_a_cause_of_another_kind() -> None:
    assert ending_of(failure(reason="Signal")) == Garbled(f"{PREFIX}no ExitCode cause given")


def test_the_first_exit_code_counts_wherever_it_is() -> None:
    causes = [{"reason": "X"}, {"reason": "ExitCode", "message": "3"}, {"reason": "ExitCode", "message": "4"}]
    assert ending_of(failure() | {"details": {"causes": causes}}) == Exited(3)


@pytest.mark.parametrize("reason", ["InternalError", "NotFound", "", None])
def test_any_other_failure_is_its_message(reason: str | None) -> None:
    status = {"status": "Failure", "message": 'container not found ("main")', "reason": reason, "code": 500}
    ending, parsed = decode_ending(json.dumps(status).encode())
    assert ending == Failed('container not found ("main")')
    assert parsed is not None
    assert parsed.code == 500


@pytest.mark.parametrize("status", [{}, {"status": "Weird"}, {"status": ""}, {"status": "success"}, {"kind": "Status"}])
def test_anything_else_is_an_unknown_error(status: object) -> None:
    assert ending_of(status) == Garbled(f"{PREFIX}unknown error")


@pytest.mark.parametrize("status", [[], 7, "Success", None, True, {"status": {"phase": "Running"}}, {"status": 7}])
def test_json_of_another_kind_is_no_ending(status: object) -> None:
    ending, parsed = decode_ending(json.dumps(status).encode())
    assert isinstance(ending, Garbled)
    assert parsed is None


def test_before_v4_a_failure_is_a_text() -> None:
    text = "command terminated with non-zero exit code: error executing command [sh -c exit 7], exit code 7"
    assert decode_ending(text.encode(), json_status=False) == (Failed(f"Error executing remote command: {text}"), None)
    assert decode_ending(b"", json_status=False) == (Exited(0), None)
    assert decode_ending(b"\xff", json_status=False)[0] == Failed("Error executing remote command: �")


# Parsing --------------------------------------------------------------------------------------------------------------


def test_every_field_of_a_status() -> None:
    raw = {
        "kind": "Status",
        "status": "Failure",
        "message": "too many",
        "reason": "TooManyRequests",
        "code": 429,
        "details": {"retryAfterSeconds": 2, "causes": [{"reason": "R", "message": "M", "field": "F"}]},
    }
    parsed = parse_status(json.dumps(raw))
    assert parsed == Status(
        status="Failure",
        message="too many",
        reason="TooManyRequests",
        code=429,
        causes=(Cause(reason="R", message="M", field="F"),),
        details=True,
        retry_after=2,
    )
    assert parsed is not None
    assert parsed.raw == raw


def test_a_cause_may_lack_what_go_leaves_out() -> None:
    parsed = parse_status(b'{"status":"Failure","details":{"causes":[{"reason":"X"},{"message":"m"},{},7,null]}}')
    assert parsed is not None
    assert parsed.causes == (Cause(reason="X"), Cause(message="m"), Cause())


@pytest.mark.parametrize("raw", [b"", b"[]", b"null", b"7", b'"x"', b"{}", b'{"kind":"Pod","status":{"phase":"x"}}'])
def test_what_is_no_status(raw: bytes) -> None:
    assert parse_status(raw) is None


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", "1" * 500, "7.9", "true", '"7"'])
def test_odd_numbers_do_not_raise(number: str) -> None:
    raw = f'{{"status":"Failure","message":"boom","code":{number},"details":{{"retryAfterSeconds":{number}}}}}'
    parsed = parse_status(raw)
    assert parsed is not None
    assert parsed.message == "boom"
    assert isinstance(parsed.code, int)


@pytest.mark.parametrize("depth", [10, 500, 900, 950, 980, 990, 995, 1000, 2000, 100_000])
def test_deep_nesting_does_not_raise(depth: int) -> None:
    nested = "[" * depth + "]" * depth
    for raw in (nested, f'{{"status":"Failure","message":{nested}}}', f'{{"status":{nested}}}'):
        parse_status(raw)
        decode_ending(raw.encode())


def test_a_repr_does_not_show_the_raw_object() -> None:
    parsed = parse_status(b'{"status":"Failure","extra":"hidden"}')
    assert "hidden" not in repr(parsed)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
keys = st.sampled_from(["status", "kind", "message", "reason", "code", "details", "metadata", "x"])
plausible = st.sampled_from(["Success", "Failure", "NonZeroExitCode", "InternalError", "Status", "ExitCode"])
causes = st.lists(
    st.dictionaries(st.sampled_from(["reason", "message", "field"]), plausible | json_values, max_size=3) | json_values,
    max_size=3,
)
details = st.fixed_dictionaries({}, optional={"causes": causes, "retryAfterSeconds": json_values})
statuses = st.dictionaries(keys, plausible | json_values | details, max_size=7)


@given(raw=st.binary(max_size=200) | st.text(max_size=100))
def test_no_bytes_or_text_raise(raw: bytes | str) -> None:
    parse_status(raw)
    ending, _ = decode_ending(raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass"))
    assert isinstance(ending, Exited | Failed | Garbled)


@given(value=json_values | statuses)
def test_no_json_raises(value: object) -> None:
    raw = json.dumps(value).encode()
    parse_status(raw)
    assert isinstance(decode_ending(raw)[0], Exited | Failed | Garbled)


@given(message=st.text(max_size=50) | json_values, reason=st.text(max_size=20), extra=statuses)
def test_no_readable_text_gets_lost(message: object, reason: str, extra: dict[str, object]) -> None:
    raw = json.dumps(extra | {"status": "Failure", "message": message, "reason": reason})
    parsed = parse_status(raw)
    assert parsed is not None
    assert parsed.reason == reason
    if isinstance(message, str):
        assert parsed.message == message
    elif message is not None:
        assert parsed.message == json.dumps(message)
    ending, _ = decode_ending(raw.encode())
    if reason != "NonZeroExitCode":
        assert ending == Failed(parsed.message)


@given(text=st.text(max_size=8))
def test_an_exit_code_is_what_go_would_parse(text: str) -> None:
    digits = bool(text) and all(character in "0123456789" for character in text)
    expected = Exited(int(text)) if digits and int(text) <= 255 else None
    ending = ending_of(failure(text))
    assert ending == expected if expected is not None else isinstance(ending, Garbled)
