"""Many PEs in one process: what each announces, what each was sent, and when.

A hundred processes on a machine of two cores would measure its scheduler.  All PEs share one
loop; chunks of octets are recorded with the time of their arrival and read when nothing more
comes.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import selectors
import signal
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from lab.bench.assault import assault
from lab.bench.rawbgp import KEEPALIVE_MESSAGE, SessionLostError, establish
from lab.bench.workload import ASN, message, route_target

#: Routes of one customer at one PE, and PEs that share their customers.
PER_CUSTOMER, CELL = 100, 4
HOLD_TIME = 90
_CHUNK = 1 << 18
_WIDE_RD, _WIDE_EXPORT, _WIDE_IMPORT = 5_000_000, 90_000_000, 10_000_000
_ANNEX_RD, _ANNEX_EXPORT = 6_000_000, 95_000_000
_MOBILE = 97_000_000
#: Seconds after which the hostile PE drops its session, to come again.
_ASSAULT = 2.0
_NLRI_OCTETS = 16
_NEXT_HOP = bytes(8) + bytes((10, 99, 0, 1))
_FIXED = bytes.fromhex("40010100") + bytes.fromhex("400200") + bytes.fromhex("40050400000064")


@dataclass(frozen=True)
class Workload:
    """``peers`` PEs of ``routes`` VPNv4 routes each.

    PEs are in cells of `CELL`, which share customers of `PER_CUSTOMER` routes at each PE.  One
    more customer is at every PE; its routes are those of the first one, where there is also an
    annex: a VPN of its own, which one line opens to that customer and closes again.  The hostile
    PE and one beside it have an EVPN, too.
    """

    peers: int
    routes: int

    @property
    def per_cell(self) -> int:
        """Customers of one cell."""
        return self.routes // PER_CUSTOMER

    @property
    def hostile(self) -> int:
        """The PE that turns hostile; it is in the last cell."""
        return self.peers - CELL + 2

    @property
    def customers(self) -> range:
        return range(self.per_cell * -(-self.peers // CELL))

    def address(self, peer: int) -> str:
        return f"127.1.{peer // 250}.{peer % 250 + 1}"

    def at(self, customer: int) -> range:
        """The PEs of a customer."""
        first = customer // self.per_cell * CELL
        return range(first, min(first + CELL, self.peers))

    def target(self, customer: int, peer: int) -> int:
        """Number of the target of a customer at a PE, also of its route distinguisher."""
        return 100_000 + customer * CELL + peer % CELL

    def wide_import(self, peer: int, version: int) -> int:
        """Number of the target that the customer of all PEs imports at one."""
        return _WIDE_IMPORT * (version % 7 + 1) + peer

    def wide_file(self, version: int) -> str:
        """The policy of the customer that is at every PE."""
        sites = "".join(
            f"  - {{site: s{peer}, rd: '{ASN}:{_WIDE_RD + peer}', "
            f"targets: {{export: {ASN}:{_WIDE_EXPORT + peer}, "
            f"import: {ASN}:{self.wide_import(peer, version)}}}}}\n"
            for peer in range(self.peers)
        )
        return f"vpn: WIDE\nservice: l3vpn\nsites:\n{sites}"

    def annex_file(self, *, is_open: bool) -> str:
        """The policy of the annex."""
        line = "extranet: [{to: WIDE, direction: to}]\n" if is_open else ""
        return (
            "vpn: ANNEX\nservice: l3vpn\nsites:\n"
            f"  - {{site: s0, rd: '{ASN}:{_ANNEX_RD}', targets: {ASN}:{_ANNEX_EXPORT}}}\n{line}"
        )

    def files(self, listen: str) -> dict[str, str]:
        """The whole policy directory."""
        sites = "".join(f"  s{n}: {{kind: enterprise, pes: [pe{n}]}}\n" for n in range(self.peers))
        pes = "".join(
            f"  pe{n}: {{address: {self.address(n)}, passive: true, hold_time: {HOLD_TIME}, "
            f"families: [vpnv4{', evpn' if n in self.mobile else ''}]}}\n"
            for n in range(self.peers)
        )
        mobile = "".join(
            f"  - {{site: s{n}, rd: '{ASN}:{_MOBILE + n}', targets: {ASN}:{_MOBILE + n}}}\n"
            for n in self.mobile
        )
        found = {
            "network.yaml": f"controller: {{asn: {ASN}, router_id: 10.255.0.1, "
            f'listen: "{listen}"}}\nsites:\n{sites}pes:\n{pes}',
            "wide.yaml": self.wide_file(0),
            "annex.yaml": self.annex_file(is_open=False),
            "mobile.yaml": f"vpn: MOBILE\nservice: evpn\nsites:\n{mobile}",
        }
        for customer in self.customers:
            lines = "".join(
                f"  - {{site: s{peer}, rd: '{ASN}:{self.target(customer, peer)}', "
                f"targets: {ASN}:{self.target(customer, peer)}}}\n"
                for peer in self.at(customer)
            )
            found[f"c{customer:05}.yaml"] = f"vpn: C{customer:05}\nservice: l3vpn\nsites:\n{lines}"
        return found

    @property
    def mobile(self) -> tuple[int, int]:
        """The two PEs with an EVPN."""
        return self.hostile, self.hostile + 1

    def assault(self, peer: int) -> bytes:
        """What a PE sends over and over when it is hostile."""
        own = [self.target(customer, peer) for customer in self.of(peer)]
        first = [self.target(customer, 0) for customer in self.of(0)]
        others = [*first, *(_WIDE_EXPORT + each for each in range(CELL)), _ANNEX_EXPORT]
        return assault(own, others, _MOBILE + peer, self.table(peer))

    def table(self, peer: int) -> bytes:
        """What a PE announces: one NLRI per UPDATE, then End-of-RIB."""
        parts = []
        for customer in self.customers:
            if peer in self.at(customer):
                number = self.target(customer, peer)
                parts += [_update(number, number, at) for at in range(PER_CUSTOMER)]
        if peer == 0:
            parts += [_update(_WIDE_RD, _WIDE_EXPORT, at) for at in range(PER_CUSTOMER)]
            parts += [_update(_ANNEX_RD, _ANNEX_EXPORT, at) for at in range(PER_CUSTOMER)]
        parts.append(message(2, struct.pack("!HHBBBHB", 0, 6, 0x80, 15, 3, 1, 128)))
        return b"".join(parts)

    def heard(self, peer: int) -> int:
        """How many routes a PE has in the end."""
        others = sum(len(self.at(customer)) - 1 for customer in self.of(peer))
        return (others + (peer != 0)) * PER_CUSTOMER

    def of(self, peer: int) -> list[int]:
        first = peer // CELL * self.per_cell
        return list(range(first, first + self.per_cell))

    def expected(self, peer: int, distinguisher: int, version: int) -> bytes:
        """The target with which a PE is to get the routes of a route distinguisher."""
        if distinguisher >= _WIDE_RD:
            return route_target(self.wide_import(peer, version))
        customer = (distinguisher - 100_000) // CELL
        return route_target(self.target(customer, peer)) if peer in self.at(customer) else b""


def _update(distinguisher: int, target: int, index: int) -> bytes:
    nlri = struct.pack("!B3sHHI", 120, b"\x00\x01\x01", 0, ASN, distinguisher)
    nlri += struct.pack("!BBH", 10, 1, index)
    reach = struct.pack("!HBB", 1, 128, len(_NEXT_HOP)) + _NEXT_HOP + b"\x00" + nlri
    attributes = bytes((0x80, 14, len(reach))) + reach + _FIXED
    attributes += bytes((0xC0, 16, 8)) + route_target(target)
    return message(2, struct.pack("!HH", 0, len(attributes)) + attributes)


@dataclass(frozen=True)
class Heard:
    """What came of what was expected.

    ``complete_at``: PE -> when its last route came (CLOCK_MONOTONIC, ns); ``missing``: PE ->
    routes that did not come; ``wrong``: routes with a target that they must not have, or of
    somebody else's; ``withdrawn``: how many were.
    """

    complete_at: dict[int, int]
    missing: dict[int, int]
    wrong: int
    withdrawn: int


@dataclass
class _Pe:
    number: int
    link: socket.socket | None = None
    chunks: list[tuple[int, bytes]] = field(default_factory=list)
    rest: bytes = b""
    out: memoryview = field(default_factory=lambda: memoryview(b""))


class Crowd:
    """The process with all PEs; ended by its own id."""

    def __init__(self, workload: Workload, port: int) -> None:
        context = multiprocessing.get_context("fork")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_main, args=(theirs, workload, port), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, *words: Any, timeout: float = 600) -> Any:
        """Have something done; see `_Loop`.  Raises `SessionLostError`."""
        self._pipe.send(words)
        return self.answer(timeout)

    def tell(self, *words: Any) -> None:
        """The same; the answer is got with `answer`."""
        self._pipe.send(words)

    def answer(self, timeout: float = 600) -> Any:
        if not self._pipe.poll(timeout):
            raise SessionLostError("the crowd gives no answer")
        found = self._pipe.recv()
        if isinstance(found, str):
            raise SessionLostError(found)
        return found

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _main(pipe: Connection, workload: Workload, port: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.disable()
    try:
        _Loop(pipe, workload, port).run()
    except (EOFError, BrokenPipeError):
        return
    except (OSError, SessionLostError) as error:
        with contextlib.suppress(OSError):
            pipe.send(str(error) or type(error).__name__)


class _Loop:
    """Methods named ``do_*`` are what `Crowd.ask` asks for; what they return is the answer."""

    def __init__(self, pipe: Connection, workload: Workload, port: int) -> None:
        self._pipe, self._workload, self._port = pipe, workload, port
        self._pes = [_Pe(number) for number in range(workload.peers)]
        self._tables: dict[int, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(pipe, selectors.EVENT_READ)
        self._paused: set[int] = set()
        self._flapping: int | None = None
        self._flap_at = 0.0
        self._flaps = 0
        self._hostile: int | None = None
        self._assault = b""
        self._assaults = 0
        self._keepalive_at = 0.0
        self._last_arrival = 0
        self._expected: tuple[dict[int, int], int, float, float, bool] | None = None

    def run(self) -> None:
        while True:
            for key, events in self._selector.select(0.005):
                if key.data is None:
                    self._obey()
                else:
                    self._serve(key.data, events)
            now = time.monotonic()
            if now >= self._keepalive_at:
                self._keepalive_at = now + HOLD_TIME / 4
                for pe in self._pes:
                    if pe.link is not None and not pe.out:
                        pe.link.send(KEEPALIVE_MESSAGE)
            if self._flapping is not None and now >= self._flap_at:
                self._flap(now)
            if self._hostile is not None and now >= self._flap_at:
                self._come_again(now)
            if self._expected is not None:
                self._look(now)

    def _obey(self) -> None:
        name, *arguments = self._pipe.recv()
        answer = getattr(self, f"do_{name}")(*arguments)
        if answer is not None:
            self._pipe.send(answer)

    # -- what is asked for --

    def do_prepare(self) -> bool:
        """Build every table; nothing of it is on the clock."""
        self._tables = {pe.number: self._workload.table(pe.number) for pe in self._pes}
        return True

    def do_connect(self) -> bool:
        for pe in self._pes:
            self._connect(pe)
        return True

    def do_announce(self) -> int:
        """Have every PE begin with its table; when."""
        begun = time.monotonic_ns()
        for pe in self._pes:
            self._begin(pe)
        return begun

    def do_expect(
        self, routes: dict[int, int], version: int, settle: float, bound: float, gone: bool
    ) -> bool:
        """Expect so many routes by PE from now on; `Heard` follows when it is silent.

        ``gone``: that they are withdrawn.
        """
        for pe in self._pes:
            pe.chunks.clear()
        self._last_arrival = time.monotonic_ns()
        self._expected = routes, version, settle, time.monotonic() + bound, gone
        return True

    def do_pause(self, peer: int) -> bool:
        """Read nothing of one PE any more."""
        self._paused.add(peer)
        self._watch(self._pes[peer])
        return True

    def do_flap(self, peer: int) -> bool:
        """One PE comes with its whole table and goes again, over and over."""
        self._flapping = peer
        return True

    def do_flaps(self) -> int:
        """How often it has come."""
        return self._flaps

    def do_calm(self) -> bool:
        """No PE is slow, flaps or is hostile any more."""
        self._flapping = None
        if self._hostile is not None:
            self._drop(self._pes[self._hostile])
            self._hostile = None
        paused, self._paused = self._paused, set()
        for peer in paused:
            self._watch(self._pes[peer])
        for pe in self._pes:
            if pe.link is None:
                self._connect(pe)
                self._begin(pe)
        return True

    def do_assault(self, peer: int) -> bool:
        """One PE sends what it must not, as fast as it is taken, and drops its session at times."""
        self._assault = self._workload.assault(peer)
        self._hostile, self._assaults = peer, 0
        self._flap_at = time.monotonic() + _ASSAULT
        self._pes[peer].out = memoryview(self._assault)
        self._watch(self._pes[peer])
        return True

    def do_assaults(self) -> int:
        """Octets that the hostile PE has sent."""
        return self._assaults

    # -- sockets --

    def _connect(self, pe: _Pe) -> None:
        target = "127.0.0.1", self._port
        source = self._workload.address(pe.number)
        more = ("evpn",) if pe.number in self._workload.mobile else ()
        deadline = time.monotonic() + 60
        link, pe.rest = establish(source, target, "vpnv4", HOLD_TIME, deadline, *more)
        link.setblocking(False)
        pe.link, pe.out = link, memoryview(b"")
        self._selector.register(link, selectors.EVENT_READ, pe)

    def _begin(self, pe: _Pe) -> None:
        pe.out = memoryview(self._tables[pe.number])
        self._watch(pe)

    def _watch(self, pe: _Pe) -> None:
        if pe.link is None:
            return
        reading = 0 if pe.number in self._paused else selectors.EVENT_READ
        mask = reading | (selectors.EVENT_WRITE if pe.out else 0)
        known = pe.link.fileno() in self._selector.get_map()
        if not mask:
            if known:
                self._selector.unregister(pe.link)
        elif known:
            self._selector.modify(pe.link, mask, pe)
        else:
            self._selector.register(pe.link, mask, pe)

    def _serve(self, pe: _Pe, events: int) -> None:
        assert pe.link is not None
        if events & selectors.EVENT_WRITE:
            with contextlib.suppress(BlockingIOError):
                sent = pe.link.send(pe.out[:_CHUNK])
                pe.out = pe.out[sent:]
                if pe.number == self._hostile:
                    self._assaults += sent
                    pe.out = pe.out or memoryview(self._assault)
            if not pe.out:
                self._watch(pe)
        if events & selectors.EVENT_READ:
            chunk = pe.link.recv(_CHUNK)
            if not chunk:
                raise SessionLostError(f"pe{pe.number} was dropped")
            arrival = time.monotonic_ns()
            if self._expected is None or pe.number in self._expected[0]:
                self._last_arrival = arrival
            pe.chunks.append((arrival, chunk))

    def _flap(self, now: float) -> None:
        """Half a second there, half a second away."""
        assert self._flapping is not None
        pe = self._pes[self._flapping]
        self._flap_at = now + 0.5
        if pe.link is None:
            with contextlib.suppress(SessionLostError):
                self._connect(pe)
                self._begin(pe)
                self._flaps += 1
            return
        self._drop(pe)

    def _come_again(self, now: float) -> None:
        """The hostile PE's session flaps, too, in the middle of an UPDATE."""
        assert self._hostile is not None
        pe = self._pes[self._hostile]
        self._flap_at = now + _ASSAULT
        self._drop(pe)
        self._connect(pe)
        pe.out = memoryview(self._assault)
        self._watch(pe)

    def _drop(self, pe: _Pe) -> None:
        assert pe.link is not None
        self._selector.unregister(pe.link)
        pe.link.close()
        pe.link = None
        pe.chunks.clear()

    # -- what came --

    def _look(self, now: float) -> None:
        assert self._expected is not None
        routes, version, settle, deadline, gone = self._expected
        silent = time.monotonic_ns() - self._last_arrival > settle * 1e9
        if not silent and now < deadline:
            return
        heard = self._heard(routes, version, gone)
        if heard.missing and now < deadline:
            self._last_arrival = time.monotonic_ns()
            return
        self._expected = None
        self._pipe.send(heard)

    def _heard(self, routes: dict[int, int], version: int, expect_gone: bool) -> Heard:
        complete, missing, wrong, withdrawn = {}, {}, 0, 0
        for peer, count in routes.items():
            left, rest = count, self._pes[peer].rest
            for at, chunk in self._pes[peer].chunks:
                messages, rest = _whole(rest + chunk)
                for octets in messages:
                    good, bad, gone = self._judge(peer, octets, version)
                    left -= gone if expect_gone else good
                    wrong += bad
                    withdrawn += gone
                if left <= 0 and peer not in complete:
                    complete[peer] = at
            if left:
                missing[peer] = left
            else:
                self._pes[peer].rest = rest
        return Heard(complete, missing, wrong, withdrawn)

    def _judge(self, peer: int, body: bytes, version: int) -> tuple[int, int, int]:
        """Routes in an UPDATE's body that are right, wrong and withdrawn."""
        field_, targets, gone = b"", b"", 0
        at, end = 4, 4 + int.from_bytes(body[2:4], "big")
        while at < end:
            extended = body[at] & 0x10
            start = at + (4 if extended else 3)
            size = int.from_bytes(body[at + 2 : start], "big")
            code, value = body[at + 1], body[start : start + size]
            at = start + size
            if code == 14:
                field_ = value[4 + value[3] + 1 :]
            elif code == 15:
                gone = (len(value) - 3) // _NLRI_OCTETS
            elif code == 16:
                targets = value
        good = bad = 0
        for place in range(0, len(field_), _NLRI_OCTETS):
            distinguisher = int.from_bytes(field_[place + 8 : place + 12], "big")
            if self._workload.expected(peer, distinguisher, version) == targets:
                good += 1
            else:
                bad += 1
        return good, bad, gone


def _whole(octets: bytes) -> tuple[Iterator[bytes], bytes]:
    """Bodies of the UPDATEs in a stream, and what is left of it."""
    bodies, at, end = [], 0, len(octets)
    while end - at >= 19:
        size = int.from_bytes(octets[at + 16 : at + 18], "big")
        if end - at < size:
            break
        kind = octets[at + 18]
        if kind == 3:
            raise SessionLostError(f"NOTIFICATION {octets[at + 19]}/{octets[at + 20]}")
        if kind == 2:
            bodies.append(octets[at + 19 : at + size])
        at += size
    return iter(bodies), octets[at:]
