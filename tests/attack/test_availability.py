"""A hostile PE, and strangers, try to take the service away from E1."""

from __future__ import annotations

import random
import socket

import pytest

from tests.attack.field import Field, announce
from tests.routing import wire
from tests.routing.test_hostile import SEEDS, mutated
from tests.support.loopback import loopback_address
from vpnctl.model import VPNV4

pytestmark = pytest.mark.daemon

#: What RFC 7606 leaves a session to be reset for.
_RESETS = {(3, 1), (3, 9), (3, 10)}


def test_mutated_updates_reset_no_session_but_their_own(field: Field) -> None:
    chance = random.Random(7606)
    others = {name: field.pes[name] for name in ("pe-1", "pe-2", "pe-s")}
    held = {name: field.held(name) for name in ("pe-1", "pe-2")}
    for _ in range(40):
        for _ in range(50):
            try:
                field.hostile.send(mutated(chance.choice(SEEDS), chance))
            except OSError:
                break
        if field.hostile.closed:
            assert field.hostile.notification in _RESETS
            field.connect("pe-x")
    field.connect("pe-x")
    for name in ("pe-x", "pe-1", "pe-s"):
        field.converge(name)
    assert not any(pe.closed for pe in others.values())
    assert {name: field.held(name) for name in held} == held


def test_update_longer_than_negotiated_is_refused_by_its_header(field: Field) -> None:
    padding = wire.attribute(0xC0, 200, bytes(65000))
    long = announce(VPNV4, [wire.vpnv4(1200, b"\x0a\1\1")], "65000:1200", more=padding)
    field.hostile.send(long[:100])
    assert field.hostile.wait_closed() == (1, 2)
    field.connect("pe-x")
    field.converge("pe-1")


def test_strangers_are_refused_one_and_all(field: Field) -> None:
    address = loopback_address()
    strangers = []
    for _ in range(200):
        sock = socket.create_connection((field.address, field.port), 20.0, (address, 0))
        strangers.append(sock)
    try:
        for sock in strangers:
            assert sock.recv(100)[18:21] == b"\3\6\5"
    finally:
        for sock in strangers:
            sock.close()
    field.converge("pe-1")
