"""The rewrite engine alone: UPDATEs in, UPDATEs out, no sockets and no processes between.

``python -m lab.bench.engine [--routes N] [--sinks N] [--lag N] [--only CASE] [--profile]``

One NLRI per UPDATE, fed in pieces as the session process reads them.  Every sink takes all it is
sent at once, or ``--lag`` pieces later, which is what makes routes wait in a backlog.  What the
engine gave out is compared with what each sink must hold, after the clock.  Each case runs in a
process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import multiprocessing
import pstats
import resource
import statistics
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

from lab.bench.rawbgp import Table
from lab.bench.rows import Row, grid, number, write
from lab.bench.subjects.base import Setup
from lab.bench.subjects.vpnctl import policy_files, vpn_file, vpn_file_name
from lab.bench.workload import ASN, PER_CUSTOMER, Workload
from vpnctl.model import FAMILIES
from vpnctl.routing.engine import Engine
from vpnctl.routing.rewrite import compile_rules
from vpnctl.routing.session import Opened
from vpnctl.ruleset import load

#: Octets per read of the session process.
_PIECE = 1 << 16
_CHANGES = 101

CASES = {
    "in order": Workload("vpnv4", 0),
    "shuffled": Workload("vpnv4", 0, shuffled=True),
    "own attributes": Workload("vpnv4", 0, own_attributes=True),
    "vpls": Workload("vpls", 0),
    "evpn": Workload("evpn", 0),
}


class _Peers:
    """The engine's output: records what each session is sent, and takes it at once."""

    def __init__(self, lag: int) -> None:
        self._history: deque[dict[int, int]] = deque([{}] * lag)
        self.sent: dict[int, list[bytes]] = {}
        self.totals: dict[int, int] = {}
        self.resets: list[str] = []

    def send(self, session: int, octets: bytes) -> None:
        self.sent.setdefault(session, []).append(octets)
        self.totals[session] = self.totals.get(session, 0) + len(octets)

    def take_some(self, engine: Engine) -> None:
        """Every peer's socket took what it was sent ``lag`` calls before."""
        self._history.append(dict(self.totals))
        for session, total in self._history.popleft().items():
            engine.written(session, total)

    def take_all(self, engine: Engine) -> None:
        """Every peer's socket took what it was sent, and what was waiting for that."""
        before: dict[int, int] = {}
        while before != self.totals:
            before = dict(self.totals)
            for session, total in before.items():
                engine.written(session, total)

    def warn(self, session: int, words: str) -> None:
        self.resets.append(f"session {session}: {words}")

    def reset(self, session: int, code: int, subcode: int, reason: str) -> None:
        self.resets.append(f"session {session}: {code}/{subcode} {reason}")


def measure(workload: Workload, sinks: int, lag: int, profile: bool) -> list[Row]:
    """Load a table, then change customers' rules; raises `AssertionError` on wrong content."""
    setup = Setup(workload, sinks, 179, Path())
    files = {name: text.encode() for name, text in policy_files(setup).items()}
    compiled = load(files)
    peers = _Peers(lag)
    engine = Engine(compile_rules(compiled.ruleset).rules, peers)
    for session in range(sinks + 1):
        engine.session_up(_opened(session, workload.family))
    pieces = _pieces(workload)
    peers.sent.clear()
    gc.collect()
    gc.freeze()
    profiler = cProfile.Profile()
    if profile:
        profiler.enable()
    begun = time.perf_counter()
    for piece in pieces:
        engine.updates(0, piece)
        peers.take_some(engine)
    peers.take_all(engine)
    seconds = time.perf_counter() - begun
    profiler.disable()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6

    tables = [Table(workload) for _ in range(sinks)]
    for table in tables:
        table.expect_all({})
    _check(peers, tables)
    compile_times, changes = [], []
    for change in range(_CHANGES):
        customer = 1 + change * workload.customers // _CHANGES % workload.customers
        version = 1 + change
        files[vpn_file_name(customer)] = vpn_file(setup, customer, version).encode()
        begun = time.perf_counter()
        compiled = load(files, previous=compiled)
        rules_change = compile_rules(compiled.ruleset, engine.rules)
        decided = time.perf_counter()
        engine.apply(rules_change)
        peers.take_all(engine)
        changes.append((time.perf_counter() - decided) * 1e6)
        compile_times.append((decided - begun) * 1e6)
        for table in tables:
            table.expect_changes({customer: version})
        _check(peers, tables)
        assert all(table.announced == PER_CUSTOMER for table in tables), tables[0].announced
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("tottime").print_stats(25)
    return [
        Row("load", "vpnctl", workload.routes / seconds, "routes/s", extra={"seconds": seconds}),
        Row("peak memory", "vpnctl", peak, "MB"),
        Row("rule change", "vpnctl", statistics.median(changes), "us", runs=changes),
        Row("rule compiled", "vpnctl", statistics.median(compile_times), "us"),
    ]


def _check(peers: _Peers, tables: Sequence[Table]) -> None:
    assert not peers.resets, peers.resets[0]
    for number_, table in enumerate(tables, start=1):
        for octets in peers.sent.pop(number_, []):
            table.read(octets, 0)
        assert not table.wrong, f"{table.wrong} wrong: {table.first_difference}"
        assert not table.withdrawn
    peers.sent.clear()


def _opened(session: int, family: str) -> Opened:
    address = bytes((10, 0, 0, 1 + session))
    return Opened(
        number=session,
        peer=f"pe{session}",
        peer_address=address,
        peer_router_id=address,
        peer_asn=ASN,
        local_asn=ASN,
        router_id=bytes((10, 255, 0, 1)),
        families=frozenset((FAMILIES[family],)),
        asn4=True,
        message_size=4096,
        enhanced_refresh=False,
    )


def _pieces(workload: Workload) -> list[bytes]:
    pieces, piece, size = [], [], 0
    for update in (*workload.updates(), workload.end_of_rib()):
        piece.append(update)
        size += len(update)
        if size >= _PIECE:
            pieces.append(b"".join(piece))
            piece, size = [], 0
    pieces.append(b"".join(piece))
    return pieces


def _child(pipe: Connection, workload: Workload, sinks: int, lag: int, profile: bool) -> None:
    pipe.send(measure(workload, sinks, lag, profile))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m lab.bench.engine", description=__doc__)
    parser.add_argument("--routes", type=int, default=100_000)
    parser.add_argument("--sinks", type=int, default=4)
    parser.add_argument("--lag", type=int, default=0, help="pieces until a sink takes its routes")
    parser.add_argument("--only", action="append", choices=list(CASES))
    parser.add_argument("--profile", action="store_true", help="where the load's time goes")
    parser.add_argument("--out", type=Path, help="write the rows here, too")
    options = parser.parse_args(arguments)
    context = multiprocessing.get_context("spawn")
    rows: list[Row] = []
    body = []
    for case in options.only or CASES:
        workload = replace(CASES[case], routes=options.routes)
        ours, theirs = context.Pipe()
        child = context.Process(
            target=_child, args=(theirs, workload, options.sinks, options.lag, options.profile)
        )
        child.start()
        theirs.close()
        try:
            found: list[Row] = ours.recv()
        except EOFError:
            print(f"{case}: failed, see above", file=sys.stderr)
            return 1
        finally:
            child.join()
        body.append([case, *(number(row.figure) for row in found)])
        for row in found:
            row.case = f"{case}/{row.case}"
        rows += found
    print(grid(["case", "routes/s", "peak MB", "change us", "compile us"], body))
    if options.out:
        write(options.out, rows, "python -m lab.bench.engine")
    return 0


if __name__ == "__main__":
    sys.exit(main())
