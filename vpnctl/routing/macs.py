"""Which MAC addresses UPDATEs are about (EVPN MAC/IP routes, RFC 7432 section 7.2)."""

from __future__ import annotations

from collections.abc import Container, Iterator

from vpnctl.model import EVPN
from vpnctl.routing.nlri import NlriFramingError, split
from vpnctl.routing.update import HEADER_OCTETS, SessionResetError, parse

_UPDATE, _MAC_IP = 2, 2
#: In an NLRI, behind its type, length, RD, Ethernet segment and tag, and the address's own length.
_MAC = slice(25, 31)


def macs_in(messages: bytes, wanted: Container[bytes]) -> Iterator[tuple[bool, bytes]]:
    """Every MAC address of ``wanted`` (6 octets each) that whole BGP ``messages`` announce (True)
    or withdraw (False); what cannot be read is passed over."""
    at = 0
    while at + HEADER_OCTETS <= len(messages):
        size = int.from_bytes(messages[at + 16 : at + 18], "big")
        if size < HEADER_OCTETS:
            return
        if messages[at + 18] == _UPDATE:
            yield from _of_update(messages[at + HEADER_OCTETS : at + size], wanted)
        at += size


def _of_update(body: bytes, wanted: Container[bytes]) -> Iterator[tuple[bool, bytes]]:
    try:
        found = parse(body)
        fields = [
            (announced, field[-1])
            for announced, field in ((False, found.unreach), (True, found.reach))
            if field is not None and field[0] == EVPN.octets
        ]
        for announced, field in fields:
            for nlri in split(EVPN, field):
                if nlri[0] == _MAC_IP and nlri[_MAC] in wanted:
                    yield announced, nlri[_MAC]
    except (SessionResetError, NlriFramingError):
        return
