"""Sessions with TCP-AO (RFC 5925): what the kernel is told, and a kernel that has it."""

from __future__ import annotations

import errno
import socket
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Any

import pytest

from tests.bgp.recorder import neighbor
from tests.support.guest_image import MissingError
from tests.support.python_guest import ao_kernel, run
from vpnctl.bgp import tcp_ao
from vpnctl.bgp.protection import Protection, changes_live
from vpnctl.bgp.tcp_ao import LONGEST_KEY, key_option, replaceable
from vpnctl.bgp.wire import MasterKey, NeighborConfig
from vpnctl.model import AoAlgorithm

PEER = ip_address("192.0.2.7")
KEY = MasterKey(1, 2, AoAlgorithm.AES_CMAC, b"hunter2")
NEXT = MasterKey(3, 4, AoAlgorithm.HMAC_SHA1, b"hunter3")


def test_a_key_is_told_as_the_kernel_has_it() -> None:
    # Offsets in linux/tcp.h of struct tcp_ao_add, from a compiler.
    option = key_option(PEER, KEY, flags=3)
    assert len(option) == 288
    assert option[:8] == socket.AF_INET.to_bytes(2, "little") + b"\0\0" + PEER.packed
    assert option[128:192].rstrip(b"\0") == b"cmac(aes128)"
    assert option[192:202] == b"\0\0\0\0" + b"\3\0\0\0" + b"\0\0"
    assert tuple(option[202:208]) == (32, KEY.send, KEY.receive, 12, 0, len(KEY.key))
    assert option[208:].rstrip(b"\0") == KEY.key
    peer = ip_address("2001:db8::7")
    option = key_option(peer, MasterKey(5, 6, AoAlgorithm.HMAC_SHA256, b"k"))
    assert option[:24] == socket.AF_INET6.to_bytes(2, "little") + bytes(6) + peer.packed
    assert option[128:192].rstrip(b"\0") == b"hmac(sha256)"
    assert tuple(option[202:208]) == (128, 5, 6, 16, 0, 1)


class Socket:
    """A listening socket of a kernel that knows ``most`` keys, none where it has no TCP-AO."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.keys: dict[tuple[int, int], bytes] = {}
        self.signed: set[bytes] = set()
        self.family = socket.AF_INET

    def setsockopt(self, _level: int, name: int, value: bytes | int) -> None:
        if name == 14:
            assert isinstance(value, bytes)
            (self.signed.add if value[130] else self.signed.discard)(value[4:8])
        elif name == tcp_ao.TCP_AO_ADD_KEY:
            assert isinstance(value, bytes)
            assert (value[203], value[204]) not in self.keys
            assert value[4:8] not in self.signed
            if len(self.keys) == self.most:
                raise OSError(errno.ENOPROTOOPT, "Protocol not available")
            self.keys[value[203], value[204]] = value[208:].rstrip(b"\0")
        elif name == tcp_ao.TCP_AO_DEL_KEY:
            assert isinstance(value, bytes)
            if (value[139], value[140]) not in self.keys:
                raise OSError(errno.ENOENT, "No such file or directory")
            del self.keys[value[139], value[140]]


def guarded(**changes: Any) -> NeighborConfig:
    return neighbor("pe-1", str(PEER), "192.0.2.1", 179, **changes)


def test_keys_of_a_listening_socket_follow_the_configuration() -> None:
    sock: Any = Socket(most=2)
    protection = Protection()
    for config, keys in (
        (guarded(tcp_ao=(KEY,)), {(1, 2): KEY.key}),
        (guarded(tcp_ao=(NEXT, KEY)), {(1, 2): KEY.key, (3, 4): NEXT.key}),
        (guarded(tcp_ao=(NEXT,)), {(3, 4): NEXT.key}),
        (guarded(md5=b"key"), {}),
        (guarded(tcp_ao=(KEY,)), {(1, 2): KEY.key}),
        (guarded(), {}),
    ):
        assert protection.apply({sock: [config]}) == {}
        assert sock.keys == keys
        assert sock.signed == ({PEER.packed} if config.md5 else set())


@pytest.mark.parametrize("most", [0, 1])
def test_a_kernel_that_refuses_a_key_is_left_with_none(most: int) -> None:
    sock: Any = Socket(most)
    failed = Protection().apply({sock: [guarded(tcp_ao=(KEY, NEXT))]})
    assert failed["pe-1"].errno == errno.ENOPROTOOPT
    assert sock.keys == {}


@pytest.mark.parametrize(
    ("before", "after", "possible"),
    [
        ((KEY,), (KEY,), True),
        ((KEY,), (NEXT, KEY), True),
        ((NEXT, KEY), (NEXT,), True),
        ((KEY,), (NEXT,), True),
        ((KEY,), (), False),
        ((), (KEY,), False),
        ((KEY,), (MasterKey(1, 2, AoAlgorithm.AES_CMAC, b"other"),), False),
        ((KEY,), (KEY, MasterKey(1, 9, AoAlgorithm.AES_CMAC, b"other")), False),
    ],
)
def test_which_keys_change_while_a_session_stays(
    before: tuple[MasterKey, ...], after: tuple[MasterKey, ...], possible: bool
) -> None:
    assert replaceable(before, after) is possible
    assert changes_live(guarded(tcp_ao=before), guarded(tcp_ao=after)) is possible


def test_a_key_is_in_no_text() -> None:
    config = guarded(tcp_ao=(KEY, NEXT))
    assert "hunter" not in repr(config)
    assert "hunter" not in repr(KEY)
    assert NeighborConfig.from_json(config.to_json()).tcp_ao == (KEY, NEXT)
    for wrong in (b"", bytes(LONGEST_KEY + 1)):
        with pytest.raises(OSError, match="a key of"):
            key_option(IPv4Address("10.0.0.1"), MasterKey(1, 1, AoAlgorithm.AES_CMAC, wrong))


@pytest.mark.daemon
def test_sessions_on_a_kernel_that_has_it(tmp_path: Path) -> None:
    """Our session process and raw peers in a guest; `tests/guests/tcp_ao.py` says what they do."""
    try:
        kernel = ao_kernel()
        found = run(kernel, "tests.guests.tcp_ao", tmp_path, also="vpnctl.bgp.exabgp_session")
    except MissingError as missing:
        pytest.skip(str(missing))
    assert found == {
        "unavailable": "",
        "every_algorithm": {str(algorithm): True for algorithm in AoAlgorithm},
        "ipv6": True,
        "strangers": {
            "nothing": ["TCPAORequired"],
            "another key": ["TCPAOBad"],
            "another id": ["TCPAOKeyNotFound"],
            "md5": ["TCPMD5Unexpected"],
        },
        "we_connect": True,
        "we_connect_with_another_key": False,
        "keys_change": {"goes on": True, "closed": 0, "why": [6, 6], "with the third": True},
        "beside_others": {
            f"{name} {turn}": True for name in ("ao", "md5", "none") for turn in ("first", "then")
        },
    }
