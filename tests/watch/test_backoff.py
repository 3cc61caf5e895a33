"""How long a watch waits before it is opened again."""

from __future__ import annotations

import math

import pytest

from kubex_stream.watch.backoff import Backoff, Pauses


@pytest.mark.parametrize(("failures", "whole"), [(1, 0.5), (2, 1.0), (3, 2.0), (6, 16.0), (7, 30.0), (10_000, 30.0)])
def test_pauses_grow_and_are_spread(failures: int, whole: float) -> None:
    pauses = {Backoff().pause(failures) for _ in range(50)}
    assert all(whole / 2 <= pause <= whole for pause in pauses)
    assert len(pauses) > 10, "not all at once"


@pytest.mark.parametrize(("first", "longest"), [(0, 1), (-1, 1), (2, 1), (1, math.inf), (math.nan, 1)])
def test_senseless_pauses(first: float, longest: float) -> None:
    with pytest.raises(ValueError, match="Backoff"):
        Backoff(first, longest)


def test_an_end_in_order_costs_no_pause() -> None:
    pauses = Pauses(Backoff())
    assert pauses.after_end(changes=True, lived=0.1) == 0
    assert pauses.after_end(changes=False, lived=1800) == 0


def test_ends_that_come_at_once_are_no_hot_loop() -> None:
    pauses = Pauses(Backoff(1, 8))
    found = [pauses.after_end(changes=False, lived=0.01) for _ in range(5)]
    assert [0.5 <= found[0] <= 1, 1 <= found[1] <= 2, 2 <= found[2] <= 4, 4 <= found[3] <= 8, 4 <= found[4] <= 8] == [
        True
    ] * 5


def test_success_begins_anew() -> None:
    pauses = Pauses(Backoff(1, 64))
    for _ in range(5):
        last = pauses.after_failure(changes=False, lived=0, asked=None)
    assert last >= 8
    assert pauses.after_failure(changes=True, lived=0, asked=None) <= 1
    pauses.after_failure(changes=False, lived=0, asked=None)
    assert pauses.after_failure(changes=False, lived=60, asked=None) <= 1


def test_the_server_may_ask_for_more() -> None:
    assert Pauses(Backoff(1, 8)).after_failure(changes=False, lived=0, asked=20) == 20
    assert Pauses(Backoff(1, 8)).after_failure(changes=False, lived=0, asked=0) >= 0.5


def test_patience_is_for_failures_without_a_success_between_them() -> None:
    pauses = Pauses(Backoff(), patience=10)
    assert [pauses.are_over(now) for now in (100, 105)] == [False, False]
    pauses.succeeded()
    assert [pauses.are_over(now) for now in (106, 115.9, 116)] == [False, False, True]
    assert not any(Pauses(Backoff()).are_over(now) for now in (0, 1e9))
