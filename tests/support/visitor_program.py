"""Somebody who talks with a test guest: ``ADDRESS INTERVAL``; see tests/guests/services.c.

It asks every so many seconds on one connection, listens on another one, and hears the beacon. Each
thing that it hears is a `HEARD` on standard output.  It ends with an error when a connection does,
or when something comes out of order, and never connects a second time.
"""

import os
import select
import socket
import struct
import sys
import time

#: Kind, number, record written last, the backend's or the boot's nonce, when asked, when heard.
HEARD = struct.Struct("<BQQQdd")
TICK, ANSWER, BEACON = 1, 2, 3
ASK_PORT, LISTEN_PORT, BEACON_PORT = 7777, 7778, 7779
_REQUEST, _ANSWER = struct.Struct("!Q"), struct.Struct("!QQQ")


def visit(address: str, interval: float) -> None:
    beacon = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    beacon.bind(("", BEACON_PORT))
    asking = socket.create_connection((address, ASK_PORT), timeout=2)
    listening = socket.create_connection((address, LISTEN_PORT), timeout=2)
    for connection in (asking, listening):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setblocking(False)
    unsent = b""
    halves = {asking: b"", listening: b""}
    asked: dict[int, float] = {}
    last = {asking: 0, listening: 0}
    number, due = 0, time.monotonic()
    while True:
        if time.monotonic() >= due:
            due = max(due + interval, time.monotonic())
            number += 1
            asked[number] = time.time()
            unsent += _REQUEST.pack(number)
        left = max(0.0, due - time.monotonic())
        readable, writable, _ = select.select(
            (asking, listening, beacon), (asking,) if unsent else (), (), left
        )
        now = time.time()
        if writable:
            unsent = unsent[asking.send(unsent) :]
        if beacon in readable:
            count, written, nonce = _ANSWER.unpack(beacon.recv(100))
            os.write(1, HEARD.pack(BEACON, count, written, nonce, now, now))
        for connection in (asking, listening):
            if connection not in readable:
                continue
            octets = connection.recv(65536)
            if not octets:
                sys.exit("the guest closed the connection")
            octets = halves[connection] + octets
            whole = len(octets) // _ANSWER.size * _ANSWER.size
            halves[connection] = octets[whole:]
            for heard, written, backend in _ANSWER.iter_unpack(octets[:whole]):
                expected = last[connection] + 1
                if heard != expected:
                    sys.exit(f"number {heard} came where {expected} was due")
                last[connection] = heard
                kind, since = (ANSWER, asked.pop(heard)) if connection is asking else (TICK, now)
                os.write(1, HEARD.pack(kind, heard, written, backend, since, now))


if __name__ == "__main__":
    visit(sys.argv[1], float(sys.argv[2]))
