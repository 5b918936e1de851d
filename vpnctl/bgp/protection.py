"""Options of a TCP socket by which only the right peer is heard: keys and TTLs (Linux)."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address, IPv6Address

from vpnctl.bgp import tcp_ao
from vpnctl.bgp.wire import MasterKey, NeighborConfig

#: linux/tcp.h, linux/in.h, linux/in6.h; the standard library does not name them.
TCP_MD5SIG, IP_MINTTL, IPV6_MINHOPCOUNT = 14, 21, 73
#: Octets of the longest key (TCP_MD5SIG_MAXKEYLEN).
LONGEST_KEY = 80
_FULL_TTL = 255
#: struct tcp_md5sig: the address as a sockaddr_storage, padding, length of the key, key.
_IPV4, _IPV6, _KEY = (
    struct.Struct("=HH4s120x"),
    struct.Struct("=HHI16sI100x"),
    struct.Struct("=BBHI80s"),
)


def sign(sock: socket.socket, peer: IPv4Address | IPv6Address, key: bytes | None) -> None:
    """Sign the segments to a peer with a key, and take none from it without (RFC 2385).

    On a listening socket for every connection of that peer's, on a connected one from now on;
    None ends it.  Raises `OSError`, also when the kernel cannot.
    """
    if key is not None and not 0 < len(key) <= LONGEST_KEY:
        raise OSError(errno.EINVAL, f"a key of {len(key)} octets")
    if peer.version == 4:
        address = _IPV4.pack(socket.AF_INET, 0, peer.packed)
    else:
        address = _IPV6.pack(socket.AF_INET6, 0, 0, peer.packed, 0)
    secret = key or b""
    option = address + _KEY.pack(0, 0, len(secret), 0, secret)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_MD5SIG, option)
    except OSError as error:
        if key is not None or error.errno not in (errno.ENOENT, errno.ENOPROTOOPT):
            raise


def changes_live(before: NeighborConfig, after: NeighborConfig) -> bool:
    """Whether a session can go on with the keys of another configuration (`rekey`)."""
    return tcp_ao.replaceable(before.tcp_ao, after.tcp_ao)


def rekey(sock: socket.socket, before: NeighborConfig, after: NeighborConfig) -> None:
    """Let a connection go on with other keys, where `changes_live`.  Raises `OSError`."""
    if after.tcp_ao:
        tcp_ao.replace(sock, after.peer_address, before.tcp_ao, after.tcp_ao)
    else:
        sign(sock, after.peer_address, after.md5)


def send_with_full_ttl(sock: socket.socket) -> None:
    """Send with a TTL of 255, which tells the peer how far away we are (RFC 5082 section 3)."""
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, _FULL_TTL)
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, _FULL_TTL)


def demand_near(sock: socket.socket, hops: int | None) -> None:
    """Take nothing that comes from further than ``hops`` hops away, None for any distance.

    Such a socket sends with a TTL of 255.  Raises `OSError`.
    """
    if hops is not None:
        send_with_full_ttl(sock)
    least = 0 if hops is None else _FULL_TTL + 1 - hops
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT, least)
    else:
        sock.setsockopt(socket.IPPROTO_IP, IP_MINTTL, least)


#: A key of TCP MD5, or those of TCP-AO.
_Keys = bytes | tuple[MasterKey, ...]


def _keys_of(config: NeighborConfig) -> _Keys | None:
    return config.md5 or config.tcp_ao or None


def _change(
    sock: socket.socket,
    peer: IPv4Address | IPv6Address,
    before: _Keys | None,
    after: _Keys | None,
) -> None:
    """Other keys for a peer on a listening socket; none when that fails with an `OSError`."""
    if isinstance(before, tuple):
        stays = after if isinstance(after, tuple) else ()
        tcp_ao.remove(sock, peer, [key for key in before if key not in stays])
    elif before is not None and not isinstance(after, bytes):
        sign(sock, peer, None)
    if isinstance(after, bytes):
        sign(sock, peer, after)
    elif after is not None:
        new = [key for key in after if not isinstance(before, tuple) or key not in before]
        try:
            tcp_ao.add(sock, peer, new)
        except OSError:
            with contextlib.suppress(OSError):
                tcp_ao.remove(sock, peer, after)
            raise


class Protection:
    """The keys and TTLs of listening sockets, for the peers that may connect to each."""

    def __init__(self) -> None:
        self._signed: dict[socket.socket, dict[IPv4Address | IPv6Address, _Keys]] = {}

    def forget(self, sock: socket.socket) -> None:
        """A socket listens no more."""
        self._signed.pop(sock, None)

    def apply(
        self, listening: Mapping[socket.socket, Sequence[NeighborConfig]]
    ) -> dict[str, OSError]:
        """Let each socket take those peers as they are configured, and no others' keys.

        The names of the peers for which that failed, and why.
        """
        failed: dict[str, OSError] = {}
        for sock, configs in listening.items():
            before = self._signed.setdefault(sock, {})
            for address in before.keys() - {c.peer_address for c in configs if _keys_of(c)}:
                _change(sock, address, before.pop(address), None)
            for config in configs:
                address, keys = config.peer_address, _keys_of(config)
                try:
                    if keys and before.get(address) != keys:
                        _change(sock, address, before.pop(address, None), keys)
                        before[address] = keys
                    if config.hops is not None:
                        send_with_full_ttl(sock)
                except OSError as error:
                    failed[config.name] = error
            # Where all peers are near, nobody far away gets as far as a connection.
            distances = [config.hops for config in configs if config.hops is not None]
            near = bool(configs) and len(distances) == len(configs)
            demand_near(sock, max(distances) if near else None)
        return failed
