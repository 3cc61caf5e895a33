"""Paths in containers, and names in archives."""

from __future__ import annotations

import pytest

from kubex_stream.transfer.names import RemotePath, Unsafe, check_link, member_parts


@pytest.mark.parametrize(
    ("path", "directory", "base", "into", "whole"),
    [
        ("/var/log/x", "/var/log", "x", False, "/var/log/x"),
        ("/x", "/", "x", False, "/x"),
        ("/x/", "/", "x", True, "/x"),
        ("x", ".", "x", False, "./x"),
        ("-x/-y", "./-x", "-y", False, "./-x/-y"),
        ("/", "/", "", True, "/"),
        (".", "./.", "", True, "./."),
        ("/etc/.", "/etc/.", "", True, "/etc/."),
        ("/etc/./", "/etc/.", "", True, "/etc/."),
        ("..", "./..", "", True, "./.."),
        ("a/../b", "./a/..", "b", False, "./a/../b"),
        ("two words\n", ".", "two words\n", False, "./two words\n"),
    ],
)
def test_remote_paths(path: str, directory: str, base: str, into: bool, whole: str) -> None:
    parsed = RemotePath.parse(path)
    assert (parsed.directory, parsed.base, parsed.into, parsed.path) == (directory, base, into, whole)


@pytest.mark.parametrize(("path", "problem"), [("", "empty"), ("a\0b", "NUL"), ("\udcff", "UTF-8")])
def test_paths_that_cannot_be_sent(path: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        RemotePath.parse(path)


def test_members_lose_what_means_nothing() -> None:
    assert member_parts("./a//b/./c/") == ("a", "b", "c")
    assert member_parts(".") == ()
    assert member_parts("...") == ("...",)


@pytest.mark.parametrize("name", ["/a", "//a", "..", "a/..", "a/../b", "../a", "a\0b"])
def test_members_that_lead_elsewhere(name: str) -> None:
    with pytest.raises(Unsafe):
        member_parts(name)


@pytest.mark.parametrize(
    ("target", "depth"), [("a", 0), ("../a", 1), ("../../a/b", 2), ("./a", 0), ("..", 1), ("a/./b", 0)]
)
def test_links_that_stay(target: str, depth: int) -> None:
    check_link(target, depth)


@pytest.mark.parametrize(
    ("target", "depth"), [("/a", 3), ("..", 0), ("../../a", 1), ("a/..", 1), ("../a/../..", 5), ("./..", 0)]
)
def test_links_that_lead_out(target: str, depth: int) -> None:
    with pytest.raises(Unsafe, match="symbolic link"):
        check_link(target, depth)
