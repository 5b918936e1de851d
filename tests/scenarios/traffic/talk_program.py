"""One TCP connection: ``serve PORT`` sends back what ``call ADDRESS PORT INTERVAL`` says.

The caller writes a numbered line every so many seconds and a `RECORD` to standard output for
each one that comes back.  Either ends with an error when the connection does, and neither opens a
second one.
"""

import os
import select
import socket
import struct
import sys
import time

#: The line's number from 1; seconds since the epoch.
RECORD = struct.Struct("<Id")
_LINE = struct.Struct("!I")


def serve(port: int) -> None:
    with socket.create_server(("0.0.0.0", port)) as listening:
        print("ready", flush=True)
        connection, _ = listening.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while octets := connection.recv(65536):
        connection.sendall(octets)
    sys.exit("the caller is gone")


def call(address: str, port: int, interval: float) -> None:
    connection = socket.create_connection((address, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setblocking(False)
    written, heard, back, unsent = 0, 0, b"", b""
    due = time.monotonic()
    while True:
        if time.monotonic() >= due:
            due = max(due + interval, time.monotonic())
            written += 1
            unsent += _LINE.pack(written)
        left = max(0.0, due - time.monotonic())
        readable, writable, _ = select.select(
            [connection], [connection] if unsent else (), (), left
        )
        if writable:
            unsent = unsent[connection.send(unsent) :]
        if readable:
            octets = connection.recv(65536)
            if not octets:
                sys.exit("the server is gone")
            back += octets
            while len(back) >= _LINE.size:
                (number,) = _LINE.unpack_from(back)
                heard += 1
                if number != heard:
                    sys.exit(f"line {number} came back where {heard} was due")
                os.write(sys.stdout.fileno(), RECORD.pack(number, time.time()))
                back = back[_LINE.size :]


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        call(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
