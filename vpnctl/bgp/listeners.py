"""The addresses where peers connect, and which peer it is that does."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address

from vpnctl.bgp import tcp_ao
from vpnctl.bgp.messages import notification
from vpnctl.bgp.protection import Protection, demand_near
from vpnctl.bgp.report import report
from vpnctl.bgp.wire import IPAddress, NeighborConfig, Problem
from vpnctl.model import Listen

#: Connections accepted at once from one listening socket.
_ACCEPT_BATCH = 64
#: Seconds until connections are accepted again after the system refused to.
_PAUSE = 1.0
_ANY = (IPv4Address(0), IPv6Address(0))


class Listeners:
    """The listening sockets; ``bind`` makes one and raises `OSError` when that cannot be.

    ``resume_at``: not before then is anything accepted, CLOCK_MONOTONIC in seconds.
    """

    def __init__(self, bind: Callable[[Listen], socket.socket]) -> None:
        self._bind = bind
        self._sockets: dict[Listen, socket.socket] = {}
        self._by_fd: dict[int, Listen] = {}
        self._protection = Protection()
        self.resume_at = 0.0

    @property
    def addresses(self) -> tuple[Listen, ...]:
        return tuple(self._sockets)

    @property
    def fds(self) -> Iterable[int]:
        return self._by_fd.keys()

    def close_others(self, wanted: Sequence[Listen]) -> Iterator[int]:
        """Listen nowhere but at ``wanted``; the descriptors of others, just before they close."""
        for listen in [listen for listen in self._sockets if listen not in wanted]:
            sock = self._sockets.pop(listen)
            self._protection.forget(sock)
            del self._by_fd[sock.fileno()]
            yield sock.fileno()
            sock.close()

    def open(self, wanted: Sequence[Listen], problems: list[Problem]) -> None:
        """Listen at the addresses ``wanted``, too."""
        for listen in dict.fromkeys(wanted):
            if listen in self._sockets:
                continue
            try:
                sock = self._bind(listen)
            except OSError as error:
                problems.append(_listen_problem(listen, error))
                continue
            self._sockets[listen] = sock
            self._by_fd[sock.fileno()] = listen

    def protect(self, wanted: Sequence[NeighborConfig]) -> dict[str, OSError]:
        """Give the sockets the keys and TTLs of the peers; whom that failed for."""
        return self._protection.apply(
            {
                sock: [config for config in wanted if _reaches(config, listen)]
                for listen, sock in self._sockets.items()
            }
        )

    def accept(
        self, fd: int, configs: Iterable[NeighborConfig], now: float
    ) -> Iterator[tuple[str, socket.socket]]:
        """New connections at one descriptor with the names of the peers; others are refused."""
        listen = self._by_fd[fd]
        listening = self._sockets[listen]
        configs = tuple(configs)
        for _ in range(_ACCEPT_BATCH):
            try:
                sock, remote = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Most likely out of file descriptors; the connection stays in the queue.
                report(f"cannot accept on {listen}: {error.strerror}")
                self.resume_at = now + _PAUSE
                return
            sock.setblocking(False)
            local = Listen(_address(sock.getsockname()), listen.port)
            config = _peer_of(configs, _address(remote), local)
            if config is None:
                refuse(sock, 6, 5)  # Connection Rejected, RFC 4486
                continue
            if config.tcp_ao and not tcp_ao.protects(sock):
                # It came before the listening socket had the keys.
                refuse(sock, 6, 5)
                continue
            if config.hops is not None:
                try:
                    demand_near(sock, config.hops)
                except OSError as error:
                    report(f"{config.name}: its TTL cannot be demanded: {error.strerror}")
                    refuse(sock, 6, 5)
                    continue
            yield config.name, sock


def _peer_of(
    configs: Iterable[NeighborConfig], remote: IPAddress, local: Listen
) -> NeighborConfig | None:
    for config in configs:
        if config.peer_address == remote and _reaches(config, local):
            return config
    return None


def _reaches(config: NeighborConfig, listen: Listen) -> bool:
    """Whether a peer may connect to a listening address."""
    return config.listen_port == listen.port and (
        config.local_address == listen.address
        or (
            (config.local_address in _ANY or listen.address in _ANY)
            and config.peer_address.version == listen.address.version
        )
    )


def refuse(sock: socket.socket, code: int, subcode: int) -> None:
    """Say why, as far as the socket takes it at once, and close."""
    with contextlib.suppress(OSError):
        sock.send(notification(code, subcode))
        sock.shutdown(socket.SHUT_WR)
    sock.close()


def _address(pair: tuple[str, int]) -> IPAddress:
    return ip_address(pair[0].partition("%")[0])


def distinct(neighbors: Iterable[NeighborConfig], problems: list[Problem]) -> list[NeighborConfig]:
    """Those that can be told apart, by name and when they connect."""
    names: set[str] = set()
    ends: dict[tuple[IPAddress, IPAddress, int], str] = {}
    found = []
    for config in neighbors:
        subject = f"neighbor {config.name}"
        end = config.peer_address, config.local_address, config.listen_port
        if config.name in names:
            problems.append(Problem(subject, "another neighbor has this name", "rename one"))
        elif end in ends:
            message = (
                f"{config.peer_address} to {Listen(config.local_address, config.listen_port)} "
                f"is neighbor {ends[end]} already"
            )
            hint = "give one of them another address or another port to connect to"
            problems.append(Problem(subject, message, hint))
        else:
            found.append(config)
            names.add(config.name)
            ends[end] = config.name
    return found


_LISTEN_HINTS = {
    errno.EADDRINUSE: "another program listens there: stop it, or choose another port or address",
    errno.EADDRNOTAVAIL: "no interface of this machine has that address",
    errno.EACCES: (
        "ports below 1024 need root or CAP_NET_BIND_SERVICE: grant it to the service, "
        "or choose a higher port"
    ),
}


def _listen_problem(listen: Listen, error: OSError) -> Problem:
    number = error.errno or 0
    words = os.strerror(number) if number else str(error)
    return Problem(f"listen {listen}", f"cannot listen: {words}", _LISTEN_HINTS.get(number, ""))
