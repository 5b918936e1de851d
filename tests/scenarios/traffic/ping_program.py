"""ICMP echo requests at a steady pace, from the host on which it runs.

``ADDRESS INTERVAL WORD``: to whom, every how many seconds, and what the requests carry.  Each
request and each reply is a `RECORD` on standard output.  A request counts also when it cannot
leave, as when nobody answers ARP; the kernel stamps the replies.  Nothing is imported but the
standard library, so that it runs anywhere at once.
"""

import contextlib
import os
import select
import socket
import struct
import sys
import time

#: Sent or received; the request's number from 1; seconds since the epoch.
RECORD = struct.Struct("<cId")
SENT, RECEIVED = b"s", b"r"

_ECHO_REPLY, _ECHO_REQUEST = 0, 8
_SO_TIMESTAMPNS = 35
_HEADER = struct.Struct("!BBHHH")
_NUMBER = struct.Struct("!I")


def main() -> None:
    address, interval, word = sys.argv[1], float(sys.argv[2]), sys.argv[3].encode()
    identifier = os.getpid() & 0xFFFF
    pinging = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    pinging.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
    pinging.setblocking(False)
    number, due = 0, time.monotonic()
    while True:
        left = due - time.monotonic()
        if left <= 0:
            number += 1
            due += interval
            _tell(SENT, number, time.time())
            with contextlib.suppress(OSError):
                pinging.sendto(_request(identifier, number, word), (address, 0))
        elif select.select([pinging], (), (), left)[0]:
            octets, ancillary, _, _ = pinging.recvmsg(2048, 64)
            message = octets[(octets[0] & 15) * 4 :]
            kind, _, _, whose, _ = _HEADER.unpack_from(message)
            if kind == _ECHO_REPLY and whose == identifier and message.endswith(word):
                seconds, nanoseconds = struct.unpack("ll", ancillary[0][2][:16])
                (answered,) = _NUMBER.unpack_from(message, _HEADER.size)
                _tell(RECEIVED, answered, seconds + nanoseconds / 1e9)


def _tell(kind: bytes, number: int, at: float) -> None:
    os.write(sys.stdout.fileno(), RECORD.pack(kind, number, at))


def _request(identifier: int, number: int, word: bytes) -> bytes:
    body = _NUMBER.pack(number) + word
    blank = _HEADER.pack(_ECHO_REQUEST, 0, 0, identifier, number & 0xFFFF) + body
    return _HEADER.pack(_ECHO_REQUEST, 0, _checksum(blank), identifier, number & 0xFFFF) + body


def _checksum(octets: bytes) -> int:
    """RFC 1071."""
    padded = octets + b"\0" * (len(octets) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


if __name__ == "__main__":
    main()
