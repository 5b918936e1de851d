"""The first process of a guest whose kernel has TCP-AO: whole BGP sessions on its loopback.

It answers with what it saw, and the test that started the guest judges.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import json
import socket
import struct
import traceback
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from tests.bgp.recorder import Recorder, established, listen, neighbor, running_speaker
from tests.support.rawbgp import RawPeer, update
from vpnctl.bgp import speaker as speaking
from vpnctl.bgp import tcp_ao
from vpnctl.bgp.protection import sign
from vpnctl.bgp.speaker import Speaker
from vpnctl.bgp.wire import MasterKey, NeighborConfig
from vpnctl.model import AoAlgorithm

LOCAL, PORT, SETTLED = "127.0.0.1", 1790, 1.5
FIRST = MasterKey(1, 2, AoAlgorithm.AES_CMAC, b"\0first \xff\n")
SECOND = MasterKey(3, 4, AoAlgorithm.HMAC_SHA1, b"second")
Prepare = Callable[[socket.socket], None]
_IFF_UP, _SIOCSIFFLAGS = 1, 0x8914


def theirs(key: MasterKey) -> MasterKey:
    """A key as the other end has it."""
    return MasterKey(key.receive, key.send, key.algorithm, key.key)


def having(*keys: MasterKey, peer: str = LOCAL) -> dict[str, Any]:
    """Options with which a `RawPeer` connects."""
    their = [theirs(key) for key in keys]
    return {"prepare": lambda sock: tcp_ao.add(sock, ip_address(peer), their, begin=True)}


def counted() -> dict[str, int]:
    """What the kernel has counted of TCP-AO and TCP MD5."""
    names, values = [
        line.split()
        for line in Path("/proc/net/netstat").read_text().splitlines()
        if line.startswith("TcpExt:")
    ]
    both = zip(names[1:], values[1:], strict=True)
    return {name: int(value) for name, value in both if name.startswith(("TCPAO", "TCPMD5"))}


class Cases:
    """One session process for all of them: starting it takes the guest the most time."""

    def __init__(self, speaker: Speaker, seen: Recorder) -> None:
        self._speaker, self._seen = speaker, seen

    async def _have(self, *neighbors: NeighborConfig, local: str = LOCAL) -> None:
        configured = await self._speaker.configure(neighbors, [listen(local, PORT)])
        assert configured.problems == (), configured.problems

    async def rest(self) -> None:
        """Nobody is a neighbor any more."""
        await self._have()
        await self._seen.until(lambda: not self._seen.up, "the end of every session")

    async def _heard(self, name: str, peer: RawPeer) -> bool:
        """An UPDATE of the peer arrives."""
        session = await self._seen.session(name)
        before = len(self._seen.octets[session])
        await asyncio.to_thread(peer.send, update(before))
        await self._seen.until(lambda: len(self._seen.octets[session]) > before, "an UPDATE")
        return True

    async def _session_with(
        self, key: MasterKey, address: str = "127.0.0.2", local: str = LOCAL
    ) -> bool:
        await self._have(neighbor("pe-1", address, local, PORT, tcp_ao=(key,)), local=local)
        with RawPeer(local=address, remote=(local, PORT)) as peer:
            await established(peer, **having(key, peer=local))
            found = tcp_ao.protects(peer.sock) and await self._heard("pe-1", peer)
        await self.rest()
        return found

    async def every_algorithm(self) -> dict[str, bool]:
        return {
            str(algorithm): await self._session_with(MasterKey(7, 8, algorithm, b"a key"))
            for algorithm in AoAlgorithm
        }

    async def ipv6(self) -> bool:
        return await self._session_with(FIRST, "::1", "::1")

    def _stranger(self, prepare: Prepare) -> list[str]:
        """What the kernel counts when somebody connects; "connected" where he may."""
        before = counted()
        with socket.socket() as sock:
            prepare(sock)
            sock.bind(("127.0.0.2", 0))
            sock.settimeout(SETTLED)
            try:
                sock.connect((LOCAL, PORT))
                found = {"connected"}
            except OSError:
                found = set()
        return sorted(found | {name for name, value in counted().items() if value > before[name]})

    async def strangers(self) -> dict[str, list[str]]:
        await self._have(neighbor("pe-1", "127.0.0.2", LOCAL, PORT, tcp_ao=(FIRST,)))
        wrong = MasterKey(FIRST.send, FIRST.receive, FIRST.algorithm, b"wrong")
        cases: dict[str, Prepare] = {
            "nothing": lambda _: None,
            "another key": having(wrong)["prepare"],
            "another id": having(SECOND)["prepare"],
            "md5": lambda sock: sign(sock, ip_address(LOCAL), FIRST.key),
        }
        found = {name: await asyncio.to_thread(self._stranger, how) for name, how in cases.items()}
        assert not self._seen.up
        return found

    async def we_connect(self) -> bool:
        return await self._we_connect_with(FIRST, 20.0)

    async def we_connect_with_another_key(self) -> bool:
        try:
            return await self._we_connect_with(SECOND, SETTLED)
        except TimeoutError:
            return False

    async def _we_connect_with(self, key: MasterKey, patience: float) -> bool:
        with RawPeer(local="127.0.0.2", remote=(LOCAL, 0)) as peer:
            there = peer.listen(
                prepare=lambda sock: tcp_ao.add(sock, ip_address(LOCAL), [theirs(FIRST)])
            )
            config = neighbor(
                "pe-1", "127.0.0.2", LOCAL, 179, passive=False, peer_port=there, tcp_ao=(key,)
            )
            await self._have(config)
            await asyncio.to_thread(peer.accept, patience)
            await asyncio.to_thread(peer.wait_established)
            return await self._heard("pe-1", peer)

    async def keys_change(self) -> dict[str, Any]:
        """From the first key over both to the second, in one session; then another of its id."""
        third = MasterKey(SECOND.send, SECOND.receive, SECOND.algorithm, b"third")

        async def keys(*keys: MasterKey) -> None:
            await self._have(neighbor("pe-1", "127.0.0.2", LOCAL, PORT, tcp_ao=keys))

        found: dict[str, Any] = {}
        closed = len(self._seen.closed)
        await keys(FIRST)
        with RawPeer(local="127.0.0.2", remote=(LOCAL, PORT)) as peer:
            await established(peer, **having(FIRST))
            session = await self._seen.session("pe-1")
            tcp_ao.add(peer.sock, ip_address(LOCAL), [theirs(SECOND)])
            await keys(SECOND, FIRST)
            # An exchange tells each end which key the other wants.
            await self._heard("pe-1", peer)
            self._speaker.send(session, update(7))
            await asyncio.to_thread(peer.wait_updates, 1)
            await self._heard("pe-1", peer)
            tcp_ao.remove(peer.sock, ip_address(LOCAL), [theirs(FIRST)], then=theirs(SECOND))
            await keys(SECOND)
            found["goes on"] = await self._heard("pe-1", peer)
            self._speaker.send(session, update(8))
            await asyncio.to_thread(peer.wait_updates, 2)
            found["closed"] = len(self._seen.closed) - closed
            await keys(third)
            await self._seen.until(lambda: not self._seen.up, "the end of the session")
            found["why"] = self._seen.closed[-1][1].sent
        with RawPeer(local="127.0.0.2", remote=(LOCAL, PORT)) as peer:
            await established(peer, **having(third))
            found["with the third"] = await self._heard("pe-1", peer)
        return found

    async def beside_others(self) -> dict[str, bool]:
        """One listening socket with TCP-AO, MD5 and neither; then these change places."""
        ao, md5, none = "127.0.0.2", "127.0.0.3", "127.0.0.4"
        found = {}
        for turn in ("first", "then"):
            await self._have(
                neighbor(f"ao {turn}", ao, LOCAL, PORT, tcp_ao=(FIRST,)),
                neighbor(f"md5 {turn}", md5, LOCAL, PORT, md5=b"a key"),
                neighbor(f"none {turn}", none, LOCAL, PORT),
            )
            ways: list[tuple[str, str, dict[str, Any]]] = [
                (f"ao {turn}", ao, having(FIRST)),
                (f"md5 {turn}", md5, {"prepare": lambda s: sign(s, ip_address(LOCAL), b"a key")}),
                (f"none {turn}", none, {}),
            ]
            for name, address, how in ways:
                with RawPeer(local=address, remote=(LOCAL, PORT)) as peer:
                    await established(peer, **how)
                    found[name] = await self._heard(name, peer)
            ao, md5, none = md5, none, ao
        return found


CASES = (
    "every_algorithm", "ipv6", "strangers", "we_connect", "we_connect_with_another_key",
    "keys_change", "beside_others",
)  # fmt: skip


async def collect() -> dict[str, Any]:
    found: dict[str, Any] = {"unavailable": tcp_ao.unavailable()}
    async with running_speaker() as (speaker, seen):
        cases = Cases(speaker, seen)
        for name in CASES:
            try:
                found[name] = await getattr(cases, name)()
                await cases.rest()
            except Exception:
                found[name] = traceback.format_exc()
    return found


def main() -> None:
    """Loopback up, /proc mounted, all cases, then the answer."""
    ctypes.CDLL(None).mount(b"proc", b"/proc", b"proc", 0, None)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))
    # What takes a second elsewhere takes longer in software emulation.
    speaking.START_TIME = 120.0
    answer = asyncio.run(collect())
    print(f"\nanswer {json.dumps(answer)}", flush=True)


if __name__ == "__main__":
    main()
