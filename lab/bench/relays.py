"""Two relays that do nothing: what any two programs between two QEMUs cost at the least.

``python -m lab.bench.relays here SOCKET CERTIFICATES HOST:PORT``
``python -m lab.bench.relays there SOCKET CERTIFICATES HOST``

*here* waits for QEMU at a unix socket, *there* goes to one at which QEMU waits.  Between them is
TLS as sidecars have it, one connection for each direction, as Python's TLS is for one thread.
Nothing is looked at, made smaller, checked, kept or sent again.
"""

from __future__ import annotations

import socket
import ssl
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

_PIECE = 256 * 1024
_NAMES = {"here": "cloud1.test", "there": "cloud2.test"}


def main(arguments: Sequence[str]) -> None:
    """One relay, until both sides have closed."""
    role, path, certificates, where = arguments
    host, _, port = where.partition(":")
    context = _context(role, Path(certificates))
    with socket.socket(socket.AF_UNIX) as qemu:
        if role == "here":
            qemu.bind(path)
            qemu.listen(1)
            _say(path)
            inner, _ = qemu.accept()
            away, back = (
                context.wrap_socket(
                    socket.create_connection((host, int(port))), server_hostname=_NAMES["there"]
                )
                for _ in range(2)
            )
            _relay((inner, away), (back, inner))
        else:
            with socket.create_server((host, 0)) as listener:
                _say(f"{host}:{listener.getsockname()[1]}")
                away, back = (
                    context.wrap_socket(listener.accept()[0], server_side=True) for _ in range(2)
                )
            qemu.connect(path)
            _relay((away, qemu), (qemu, back))


def _relay(*ways: tuple[socket.socket, socket.socket]) -> None:
    threads = [threading.Thread(target=_pass_on, args=way) for way in ways]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    """All octets of one direction, and its end."""
    piece = memoryview(bytearray(_PIECE))
    while count := source.recv_into(piece):
        sink.sendall(piece[:count])
    sink.shutdown(socket.SHUT_WR)
    if isinstance(source, ssl.SSLSocket):
        source.close()
    if isinstance(sink, ssl.SSLSocket):
        # What TLS had to say and nobody read would have the kernel throw away what was sent.
        while sink.recv_into(piece):
            pass


def _context(role: str, certificates: Path) -> ssl.SSLContext:
    """As `vpnctl.sidecar.wan.tls` makes it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT if role == "here" else ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates / "ca.pem")
    name = _NAMES[role]
    context.load_cert_chain(certificates / f"{name}.pem", certificates / f"{name}.key")
    return context


def _say(where: str) -> None:
    print(f"ready: {where}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
