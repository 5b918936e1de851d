"""The TCP Authentication Option (RFC 5925) as Linux has it since 6.7: keys of a socket."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address

from vpnctl.bgp.wire import MasterKey
from vpnctl.model import AoAlgorithm

#: linux/tcp.h; the standard library does not name them.
TCP_AO_ADD_KEY, TCP_AO_DEL_KEY, TCP_AO_INFO = 38, 39, 40
#: Octets of the longest key (TCP_AO_MAXKEYLEN).
LONGEST_KEY = 80
#: What the kernel calls an algorithm, and the octets of its MAC.
_ALGORITHMS = {
    AoAlgorithm.AES_CMAC: (b"cmac(aes128)", 12),
    AoAlgorithm.HMAC_SHA1: (b"hmac(sha1)", 12),
    AoAlgorithm.HMAC_SHA256: (b"hmac(sha256)", 16),
}
#: The address as a sockaddr_storage.
_IPV4, _IPV6 = struct.Struct("=HH4s120x"), struct.Struct("=HHI16sI100x")
#: struct tcp_ao_add behind the address: algorithm, interface, flags, padding, prefix, SendID,
#: RecvID, octets of the MAC, flags of the key, octets of the key, key.
_ADD = struct.Struct("=64siIHBBBBBB80s")
#: struct tcp_ao_del behind the address: interface, flags, padding, prefix, SendID, RecvID,
#: the next Current_key and RNext_key, flags of the key.
_DEL = struct.Struct("=iIHBBBBBB")
#: struct tcp_ao_info_opt: flags, padding, Current_key, RNext_key, five counters.
_INFO = struct.Struct("=IHBB40x")
_libc = ctypes.CDLL(None, use_errno=True)
#: Bits of the flags: use this key from now on, ask the peer to use it.
_SET_CURRENT, _SET_RNEXT = 1, 2


def unavailable() -> str:
    """Why this machine has no TCP-AO, empty where it has."""
    with socket.socket() as sock:
        try:
            _info(sock)
        except OSError as error:
            # A socket that has no key yet is not the kernel's fault.
            return "" if error.errno == errno.ENOENT else str(error.strerror)
    return ""


def protects(sock: socket.socket) -> bool:
    """Whether a connection is authenticated."""
    try:
        _info(sock)
    except OSError:
        return False
    return True


def add(
    sock: socket.socket,
    peer: IPv4Address | IPv6Address,
    keys: Sequence[MasterKey],
    *,
    begin: bool = False,
) -> None:
    """Have a socket know these keys for a peer, and take no segment of it without one.

    ``begin``: the socket is about to connect, and does so with the first of them.
    Raises `OSError`: ENOPROTOOPT where the kernel has no TCP-AO.
    """
    for number, key in enumerate(keys):
        flags = _SET_CURRENT | _SET_RNEXT if begin and number == 0 else 0
        sock.setsockopt(socket.IPPROTO_TCP, TCP_AO_ADD_KEY, key_option(peer, key, flags))


def remove(
    sock: socket.socket,
    peer: IPv4Address | IPv6Address,
    keys: Sequence[MasterKey],
    then: MasterKey | None = None,
) -> None:
    """Take keys from a socket; a connection goes on with ``then``.  Raises `OSError`."""
    for key in keys:
        flags = 0 if then is None else _SET_CURRENT | _SET_RNEXT
        current, rnext = (0, 0) if then is None else (then.send, then.receive)
        option = _address(peer) + _DEL.pack(
            0, flags, 0, peer.max_prefixlen, key.send, key.receive, current, rnext, 0
        )
        try:
            sock.setsockopt(socket.IPPROTO_TCP, TCP_AO_DEL_KEY, option)
        except OSError as error:
            if error.errno != errno.ENOENT:
                raise


def replaceable(before: Sequence[MasterKey], after: Sequence[MasterKey]) -> bool:
    """Whether a connection can go on with other keys: those that stay do not change."""
    ids = {(key.send, key.receive): key for key in before}
    sends, receives = {key.send for key in before}, {key.receive for key in before}
    return bool(before) == bool(after) and all(
        ids.get((key.send, key.receive)) == key
        if (key.send, key.receive) in ids
        else key.send not in sends and key.receive not in receives
        for key in after
    )


def replace(
    sock: socket.socket,
    peer: IPv4Address | IPv6Address,
    before: Sequence[MasterKey],
    after: Sequence[MasterKey],
) -> None:
    """Let a connection go on with other keys, where they are `replaceable`.

    The peer is asked to use the first one (RNextKeyID), and we use what it asks for, so keys that
    both ends have change without a segment being lost.  Raises `OSError`.
    """
    add(sock, peer, [key for key in after if key not in before])
    remove(sock, peer, [key for key in before if key not in after], then=after[0])
    option = _INFO.pack(_SET_RNEXT, 0, 0, after[0].receive)
    sock.setsockopt(socket.IPPROTO_TCP, TCP_AO_INFO, option)


def key_option(peer: IPv4Address | IPv6Address, key: MasterKey, flags: int = 0) -> bytes:
    """A key for all connections with a peer, as `TCP_AO_ADD_KEY` takes it; 288 octets.

    Raises `OSError` for a key that is none.
    """
    name, length = _ALGORITHMS[key.algorithm]
    octets = len(key.key)
    if not 0 < octets <= LONGEST_KEY:
        raise OSError(errno.EINVAL, f"a key of {octets} octets")
    ids = peer.max_prefixlen, key.send, key.receive
    return _address(peer) + _ADD.pack(name, 0, flags, 0, *ids, length, 0, octets, key.key)


def _address(peer: IPv4Address | IPv6Address) -> bytes:
    if peer.version == 4:
        return _IPV4.pack(socket.AF_INET, 0, peer.packed)
    return _IPV6.pack(socket.AF_INET6, 0, 0, peer.packed, 0)


def _info(sock: socket.socket) -> None:
    """Ask for a socket's state of TCP-AO.  Raises `OSError` where it has none.

    The kernel reads what it is to fill, and refuses what is not zero there; the buffer of
    `socket.socket.getsockopt` is whatever was in memory.
    """
    buffer = ctypes.create_string_buffer(_INFO.size)
    size = ctypes.c_uint32(_INFO.size)
    found = _libc.getsockopt(
        sock.fileno(), socket.IPPROTO_TCP, TCP_AO_INFO, buffer, ctypes.byref(size)
    )
    if found != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
