"""Raw Ethernet frames in and out of an interface of a network namespace."""

from __future__ import annotations

import socket
from typing import Self

from tests.support.namespaces import within

#: An EtherType for local experiments (IEEE 802), which no kernel answers to.
EXPERIMENT = 0x88B5
#: Seconds until waiting for a frame is given up.
PATIENCE = 20.0
BROADCAST = b"\xff" * 6
#: socket(7); Python has no name for it.
_SO_RCVBUFFORCE = 33


class Port:
    """``mac``: what its frames come from; use as a context manager."""

    def __init__(self, namespace: str, interface: str, mac: bytes = b"\x02\0\0\0\0\x01") -> None:
        self.mac = mac
        self.socket = within(namespace, lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 8 * 1024 * 1024)
        self.socket.bind((interface, EXPERIMENT))
        self.socket.settimeout(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, payload: bytes, *, to: bytes = BROADCAST, tag: bytes = b"") -> None:
        self.socket.send(to + self.mac + tag + EXPERIMENT.to_bytes(2, "big") + payload)

    def receive(self) -> bytes:
        """The payload of the next frame, without padding."""
        return self.socket.recv(65536)[14:].rstrip(b"\0")

    def until(self, last: bytes) -> list[bytes]:
        """What comes in up to and with ``last``: frames do not overtake each other."""
        got = [self.receive()]
        while got[-1] != last:
            got.append(self.receive())
        return got

    def waiting(self) -> list[bytes]:
        """What has come in so far."""
        got = []
        self.socket.setblocking(False)
        try:
            while True:
                got.append(self.receive())
        except BlockingIOError:
            return got
        finally:
            self.socket.settimeout(PATIENCE)
