"""A PE that sends what it must not, a hundred thousand times and more.

``python -m lab.bench.hostile [--updates N] [--sent N] [--seed N] [--out FILE]``

UPDATEs are mutated from well-formed ones of every family and from captures of real routers
(``tests/attack/captures``).  First the engine alone takes ``--updates`` of them, then ``vpnctl
serve`` as a whole ``--sent`` over TCP.  After each it is looked at what the others were told: the
other customer's PEs nothing, ever.  It ends with status 1 when anything went wrong.
"""

from __future__ import annotations

import argparse
import gc
import random
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write
from lab.bench.stage import memory_of
from lab.bench.subjects.vpnctl import children
from tests.attack.capture import captured
from tests.attack.field import Field, announce
from tests.routing import wire
from tests.routing.consistency import check
from tests.routing.test_hostile import SEEDS, mutated
from tests.routing.test_membership import ask, asked, unask
from tests.support.rulesets import Policy, VpnIntent, build
from vpnctl.model import EVPN, FAMILIES, VPLS, VPNV4, VPNV6, Family, RouteTarget, Service
from vpnctl.routing.engine import Engine
from vpnctl.routing.inspect import rib_out
from vpnctl.routing.rewrite import compile_rules

#: What RFC 7606 leaves a session to be reset for: (code, subcode).
RESETS = {(3, 1), (3, 9), (3, 10)}
#: How many are asked for, and how many of those that end the session the daemon is sent.
_ENOUGH, _FATAL_SHARE = 100_000, 0.02
_PAGE = 4096
_TWO, _OTHER_TWO = (("pe1",), ("pe2",)), (("pe0",), ("pe3",))
#: E1 is at pe1 and pe2; E2 at pe3 and at pe0, which is hostile.
POLICY = Policy(
    {
        1: VpnIntent(Service.L3VPN, _TWO),
        2: VpnIntent(Service.VPLS, _TWO),
        3: VpnIntent(Service.EVPN, _TWO),
        4: VpnIntent(Service.L3VPN, _OTHER_TWO),
        5: VpnIntent(Service.VPLS, _OTHER_TWO),
        6: VpnIntent(Service.EVPN, _OTHER_TWO),
    }
)
#: Targets of the hostile PE's own endpoints; those of `SEEDS` are E1's, which it forges.
_OWN = {VPNV4: "65000:4001", VPNV6: "65000:4001", VPLS: "65000:5001", EVPN: "65000:6001"}
#: What pe3 may be told: the import targets of its endpoints.
_ALLOWED = {f"65000:{vpn}011" for vpn in (4, 5, 6)}
_E1_NLRI: dict[Family, tuple[str, bytes]] = {
    VPNV4: ("65000:1001", wire.vpnv4(10, b"\x0a\x01\x02")),
    VPLS: ("65000:2001", wire.vpls(20, 1)),
    EVPN: ("65000:3001", wire.evpn_mac(30, b"\2\0\0\0\0\1", address=b"\x0a\0\0\1")),
}
HOSTILE = 1
#: Families in which path identifiers are agreed on, and how many paths to one destination.
PATHS: dict[Family, int] = {VPNV4: 3, VPNV6: 3}


class Isolated:
    """An engine with four PEs; `take` gives it octets of the hostile one and judges.

    ``alternating``: after every reset the hostile PE either sends path identifiers (RFC 7911) in
    the families `PATHS` or does not, in turns; ``has_paths`` says which.
    """

    def __init__(self, *, alternating: bool = True) -> None:
        self._alternating = alternating
        self.has_paths = False
        self.output = wire.Peers()
        self.engine = Engine(compile_rules(build(POLICY)).rules, self.output)
        self.number = HOSTILE
        for at, name in enumerate(("pe0", "pe1", "pe2", "pe3"), HOSTILE):
            asn = 65002 if name == "pe2" else wire.LOCAL_ASN
            opened = wire.opened(at, name, asn=asn, asn4=name != "pe2")
            # The hostile one also says what it wants (RFC 4684), and its companion is told of
            # several paths.
            paths = PATHS if name == "pe3" else {}
            wants = name == "pe0"
            self.engine.session_up(replace(opened, rt_constraint=wants, paths_sent=paths))
        for family, (target, nlri) in _E1_NLRI.items():
            self.engine.updates(2, announce(family, [nlri], target))
        self._calm()
        self.e1 = self._held()
        self.outcomes: Counter[str] = Counter()
        self.problems: list[str] = []

    def take(self, octets: bytes) -> None:
        """One UPDATE of the hostile PE."""
        self.engine.updates(self.number, octets)
        for _, code, subcode, reason in self.output.resets:
            self.outcomes["session reset"] += 1
            if (code, subcode) not in RESETS:
                self._problem(f"reset {code}/{subcode}: {reason}", octets)
            self.number += 4
            self.has_paths = self._alternating and not self.has_paths
            taken = PATHS if self.has_paths else {}
            opened = wire.opened(self.number, "pe0", paths_taken=taken)
            self.engine.session_up(replace(opened, rt_constraint=True))
        self.output.resets.clear()
        session = self.engine.sessions[self.number]
        if session.last_error:
            self.outcomes["complaint"] += 1
            session.last_error = ""
        for peer in (2, 3):
            if peer in self.output.sent:
                self._problem(f"pe{peer - 1} was told of it", octets)
        for update in self.output.updates(4, PATHS):
            told = {str(RouteTarget(each)) for each in update.targets}
            self.outcomes["told on"] += 1
            if not told <= _ALLOWED and not update.withdrawn:
                self._problem(f"pe3 was told with {sorted(told)}", octets)
        self._calm()

    def finish(self) -> None:
        """Everything is as it was, for E1, and the tables agree."""
        check(self.engine)
        if self._held() != self.e1:
            self.problems.append("E1's routes changed")

    def _held(self) -> dict[tuple[str, bytes], tuple[bytes, ...]]:
        return {
            (row.family.name, row.key): row.targets
            for peer in ("pe1", "pe2")
            for row in rib_out(self.engine, peer)
        }

    def _calm(self) -> None:
        for session in self.engine.sessions.values():
            self.engine.written(session.opened.number, session.sent_octets)
        self.output.sent.clear()

    def _problem(self, words: str, octets: bytes) -> None:
        if len(self.problems) < 20:
            self.problems.append(f"{words}: {octets.hex()}")


def seeds() -> list[bytes]:
    """Well-formed UPDATEs: of every family with forged and with own targets, and captured ones."""
    own = []
    for family in FAMILIES.values():
        nlris = [nlri for known, (_, nlri) in _E1_NLRI.items() if known is family]
        nlris = nlris or [bytes((88 + 32,)) + wire.vpnv4(10, b"\x0a\x01\x02\x03")[1:]]
        own.append(announce(family, nlris, _OWN[family]))
        own.append(wire.update(wire.unreach(family, *nlris)))
    wishes = [ask(asked("65000:1001"), asked("65000:4001", 48)), unask(asked("65000:1001"))]
    return [*SEEDS, *own, *wishes, *captured()]


def seeds_with_paths() -> list[bytes]:
    """Those of the families with path identifiers, several to a destination; and all others."""
    found = []
    for family in PATHS:
        nlri = bytes((88 + 32,)) + wire.vpnv4(10, b"\x0a\x01\x02\x03")[1:]
        for ids in ((1,), (2, 3), (1, 2, 3, 4), (0xFFFFFFFF, 0)):
            nlris = [wire.path_id(number) + nlri for number in ids]
            found += [announce(family, nlris, target) for target in (_OWN[family], "65000:1001")]
            found.append(wire.update(wire.unreach(family, *nlris)))
    return [*16 * found, *seeds()]  # the others seldom: few are framed as is agreed on


def rss() -> float:
    """Resident memory of this process in MB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE / 1e6


def engine_alone(count: int, seed: int) -> tuple[list[Row], list[str]]:
    """The engine takes ``count`` mutated UPDATEs."""
    chance, found, isolated = random.Random(seed), seeds(), Isolated()
    with_paths = seeds_with_paths()
    longest, spent, settled = 0.0, 0.0, 0.0
    for turn in range(count):
        octets = mutated(chance.choice(with_paths if isolated.has_paths else found), chance)
        begun = time.perf_counter()
        isolated.take(octets)
        took = time.perf_counter() - begun
        longest, spent = max(longest, took), spent + took
        if turn == count // 5:
            gc.collect()
            settled = rss()
    gc.collect()
    isolated.finish()
    shares = ", ".join(f"{name} {times:,}" for name, times in sorted(isolated.outcomes.items()))
    grown = rss() - settled
    rows = [
        Row("engine/UPDATEs taken", "vpnctl", count, "UPDATEs"),
        Row("engine/speed", "vpnctl", count / spent, "UPDATEs/s"),
        Row("engine/longest", "vpnctl", longest * 1000, "ms"),
        Row("engine/memory grown", "vpnctl", grown, "MB", "< 5 MB", grown < 5),
        _faults("engine/leaks, defects, wrong resets", isolated.problems),
    ]
    rows[0].note = f"outcomes: {shares}"
    if count >= _ENOUGH:
        rows[0].mark, rows[0].holds = f">= {_ENOUGH:,}", True
    rows[3].note = "from a fifth of the way on"
    return rows, isolated.problems


def _mostly_harmless(chance: random.Random) -> Iterator[bytes]:
    """Mutated UPDATEs, few of which end the session: what follows such a one is never read."""
    found, scratch = seeds(), Isolated(alternating=False)
    while True:
        octets = mutated(chance.choice(found), chance)
        before = scratch.outcomes["session reset"]
        scratch.take(octets)
        if scratch.outcomes["session reset"] == before or chance.random() < _FATAL_SHARE:
            yield octets


def whole_daemon(count: int, seed: int) -> tuple[list[Row], list[str]]:
    """``vpnctl serve`` takes ``count`` mutated UPDATEs over TCP while E1 goes on."""
    chance, problems = random.Random(seed), []
    updates = _mostly_harmless(chance)
    sent = resets = 0
    memory = 0.0
    with tempfile.TemporaryDirectory(prefix="vpnctl-bench-") as where, Field(Path(where)) as field:
        pids = (field.serve.process.pid, *children(field.serve.process.pid))
        field.converge("pe-1")
        held = {name: field.held(name) for name in ("pe-1", "pe-2")}
        while sent < count:
            for _ in range(50):
                sent += 1
                try:
                    field.hostile.send(next(updates))
                except OSError:
                    break
            if field.hostile.closed:
                resets += 1
                if field.hostile.notification not in RESETS:
                    problems.append(f"NOTIFICATION {field.hostile.notification}")
                field.connect("pe-x")
            if memory == 0.0 and sent > count // 5:
                field.converge("pe-1")
                memory = memory_of(pids).rss
        field.connect("pe-x")
        for name in ("pe-x", "pe-1", "pe-s"):
            field.converge(name)
        grown = memory_of(pids).rss - memory
        problems += [
            f"{name} was reset" for name in ("pe-1", "pe-2", "pe-s") if field.pes[name].closed
        ]
        if {name: field.held(name) for name in held} != held:
            problems.append("E1's routes changed")
    rows = [
        Row("daemon/UPDATEs sent", "vpnctl", sent, "UPDATEs"),
        Row("daemon/memory grown", "vpnctl", grown, "MB", "< 10 MB", grown < 10),
        _faults("daemon/leaks, wrong resets", problems),
    ]
    rows[0].note = f"{resets} sessions reset"
    return rows, problems


def _faults(case: str, problems: list[str]) -> Row:
    row = Row(case, "vpnctl", len(problems), "", "none", not problems)
    row.note = "; ".join(problem[:200] for problem in problems[:3])
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Send, judge, print, write; 1 when anything went wrong."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.hostile", description=__doc__)
    parser.add_argument("--updates", type=int, default=300_000, help="for the engine alone")
    parser.add_argument("--sent", type=int, default=20_000, help="over TCP; 0: not at all")
    parser.add_argument("--seed", type=int, default=7606)
    parser.add_argument("--out", type=Path, help="write the rows here (default: results/)")
    options = parser.parse_args(arguments)
    began_at = commit()
    rows, problems = engine_alone(options.updates, options.seed)
    if options.sent:
        more, further = whole_daemon(options.sent, options.seed)
        rows, problems = rows + more, problems + further
    command = shlex.join(["python", "-m", "lab.bench.hostile", *(arguments or sys.argv[1:])])
    write(options.out or RESULTS / "hostile.json", rows, command, began_at)
    told = [[row.case, number(row.figure), row.unit, row.mark, row.note[:80]] for row in rows]
    print(grid(["case", "figure", "unit", "mark", "note"], told))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems or missing(rows) else 0


if __name__ == "__main__":
    sys.exit(main())
