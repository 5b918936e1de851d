"""A router's words, before an operator reads them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from tests.provisioning.rendering.network import intent, profiles, ruleset
from vpnctl.errors import ConnectError, LockedError, OutcomeUnknownError, RejectedError
from vpnctl.model import Frr
from vpnctl.provisioning.drivers import frr
from vpnctl.provisioning.drivers.frr import FrrDriver
from vpnctl.provisioning.rendering import render
from vpnctl.provisioning.words import legible, legible_lines

HOSTILE = "b\x9b31mob, \x1b[2J, \u202etxt\u202c"
HARMLESS = "b?31mob, ?[2J, ?txt?"


def test_words_are_on_one_line() -> None:
    assert legible("  the disk\n is   full\x85") == "the disk is full"


def test_nothing_that_a_terminal_obeys_is_left() -> None:
    assert legible(HOSTILE) == HARMLESS


def test_very_many_words_are_cut() -> None:
    told = legible("no " * 1_000_000)
    assert len(told) < 1100
    assert told.endswith("...")


def test_a_difference_keeps_its_lines_and_nothing_that_a_terminal_obeys() -> None:
    assert legible_lines(f"[edit]\r\n+\t{HOSTILE}\n") == f"[edit]\n+    {HARMLESS}\n"
    assert legible_lines("a\rb") == "a?b"
    assert legible_lines("") == ""


def test_a_difference_without_end_is_cut() -> None:
    assert legible_lines("12345\n789", 5) == "12345\n... and 4 characters more"


class Pipes:
    """An FRR router that answers what it is told to."""

    def __init__(self, *answers: object) -> None:
        self.answers = [
            one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n"
            for one in ({"ok": 1}, *answers)
        ]

    async def write(self, octets: bytes) -> None: ...

    async def readline(self) -> bytes:
        return self.answers.pop(0)

    async def close(self) -> None: ...


def session(monkeypatch: pytest.MonkeyPatch, *answers: object) -> FrrDriver:
    async def open_pipes(_: object) -> Pipes:
        return Pipes(*answers)

    monkeypatch.setattr(frr, "open_pipes", open_pipes)
    pe = ruleset().network.pes["frr"]
    return FrrDriver(replace(pe, frr=Frr(address=IPv4Address("127.0.0.1"))))


@pytest.mark.parametrize(("kind", "error"), [("refused", RejectedError), ("locked", LockedError)])
def test_what_frr_says_is_legible(
    kind: str, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        driver = session(monkeypatch, {kind: HOSTILE})
        await driver.connect()
        await driver.lock()

    with pytest.raises(error, match=r"b\?31mob, \?\[2J, \?txt\?"):
        asyncio.run(story())


def test_frrs_difference_is_legible(monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> str:
        driver = session(monkeypatch, {"ok": f"router bgp 65000\n neighbor {HOSTILE}\n"})
        await driver.connect()
        await driver.load(replace(render(intent("frr"), None, profiles()), delete=(LINE,)))
        return await driver.diff()

    assert f"- neighbor {HARMLESS}" in asyncio.run(story())


LINE = "router bgp 65000 / " + " ".join(f"neighbor {HOSTILE}".split())


@pytest.mark.parametrize(
    "answer", [b"\n", b"{\n", b"[1]\n", b"{}\n", b"7\n", b"[" * 100_000 + b"\n", b'{"ok": 1}']
)
def test_an_answer_that_is_none_ends_the_session(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(driver: FrrDriver, *, effect: bool) -> None:
        await driver.connect()
        if effect:
            await driver.confirm("ours")
        else:
            await driver.lock()

    with pytest.raises(ConnectError, match="frr did not answer `lock`: "):
        asyncio.run(story(session(monkeypatch, answer), effect=False))
    # A lie about a commit is no answer to it, either.
    with pytest.raises(OutcomeUnknownError, match="frr did not answer `confirm`: "):
        asyncio.run(story(session(monkeypatch, answer), effect=True))
