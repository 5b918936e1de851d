"""Records what real routers announce: ``python -m tests.attack.capture`` writes ``captures/*.hex``.

One UPDATE a line, header included, as each daemon sent it to an iBGP peer with every family.  The
files are committed, so that mutating them needs no daemon.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.support.daemons import DaemonPeer, exabgp, frr, gobgp
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import RawPeer

DIRECTORY = Path(__file__).parent / "captures"
ASN = 65000
_GOBGP = (
    "vpnv4 10.1.1.0/24 label 10 rd 65000:11 rt 65000:1200 nexthop 192.0.2.1",
    "vpnv4 10.1.2.0/24 label 11 rd 65000:11 rt 65000:1200 65000:7 med 5 community 65000:9",
    "vpnv6 2001:db8:1::/48 label 12 rd 65000:11 rt 65000:1200",
    "evpn macadv 02:00:00:00:00:01 10.0.0.1 etag 0 label 100 rd 65000:12 rt 65000:2200 encap vxlan",
    "evpn multicast 192.0.2.1 etag 0 rd 65000:12 rt 65000:2200 encap vxlan",
    "evpn prefix 10.9.0.0/16 etag 0 rd 65000:12 rt 65000:2200",
    "evpn a-d esi 0 etag 7 label 5 rd 65000:12 rt 65000:2200",
    "evpn esi 192.0.2.1 esi ARBITRARY 1 rd 65000:12 rt 65000:2200",
)
_EXABGP = (
    "announce vpls rd 65000:13 endpoint 5 base 5000 offset 1 size 8 next-hop 192.0.2.5"
    " extended-community [ target:65000:3200 l2info:19:0:1500:0 ]",
    "announce route 10.5.1.0/24 rd 65000:11 next-hop 192.0.2.5 label 5001"
    " extended-community [ target:65000:1200 ] large-community [ 1:2:3 ] as-path [ 64512 64513 ]",
)
_FRR = (
    "configure terminal",
    f"router bgp {ASN}",
    "address-family ipv4 vpn",
    "network 10.2.1.0/24 rd 65000:11 label 2001 route-map RT",
    "network 10.2.2.0/24 rd 65000:11 label 2002 route-map RT",
)
_FRR_MAP = "exit\nroute-map RT permit 10\n set extcommunity rt 65000:1200\n set metric 9\n"


def captured(name: str = "*") -> list[bytes]:
    """The UPDATEs of one daemon, or of all."""
    return [
        bytes.fromhex(line)
        for path in sorted(DIRECTORY.glob(f"{name}.hex"))
        for line in path.read_text().splitlines()
    ]


def _updates(name: str, directory: Path) -> Iterator[bytes]:
    local, address = loopback_address(), loopback_address()
    with ExitStack() as stack:
        peer = stack.enter_context(
            RawPeer(local=local, remote=(address, 0), asn=ASN, router_id="10.255.0.9")
        )
        port = peer.listen()
        common = {
            "address": address,
            "port": free_port(address),
            "asn": ASN,
            "router_id": "10.255.0.2",
            "peers": [DaemonPeer(local, ASN, port=port)],
        }
        wanted = 0
        if name == "gobgp":
            daemon = stack.enter_context(gobgp(directory, **common))  # type: ignore[arg-type]
            for words in _GOBGP:
                family, *rest = words.split()
                daemon.cli("global", "rib", "add", "-a", family, *rest)
                wanted += 1
        elif name == "frr":
            bgpd = stack.enter_context(frr(directory, extra=_FRR_MAP, **common))  # type: ignore[arg-type]
            bgpd.vtysh(*_FRR)
            wanted = 1
        else:
            stack.enter_context(exabgp(directory, routes=_EXABGP, **common))  # type: ignore[arg-type]
            wanted = len(_EXABGP)
        peer.accept().wait_established()
        # An End-of-RIB is an UPDATE of 29 or 30 octets.
        peer.wait(lambda: sum(len(each) > 30 for each in peer.updates) >= wanted, "routes")
        yield from (each for each in peer.updates if len(each) > 30)


def main() -> None:
    DIRECTORY.mkdir(exist_ok=True)
    for name in ("exabgp", "frr", "gobgp"):
        with tempfile.TemporaryDirectory() as directory:
            lines = [octets.hex() for octets in _updates(name, Path(directory))]
        (DIRECTORY / f"{name}.hex").write_text("\n".join(lines) + "\n")
        print(f"{name}: {len(lines)} UPDATEs")


if __name__ == "__main__":
    main()
