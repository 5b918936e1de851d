"""What an emulated WAN link does beside what it was asked to do.

``python -m lab.bench.wan [--quick] [--out FILE]``; takes root, iperf3 and ping.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lab.bench.rows import RESULTS, Row, commit, grid, missing, number, write
from vpnctl.lab import namespaces
from vpnctl.lab.wan.figures import WanFigures
from vpnctl.lab.wan.link import LinkEnd, WanLink, create

#: The paper's line, and a slow and a long one beside it.
LINES = (
    WanFigures(rate=465_000_000, delay=0.0135),
    WanFigures(rate=100_000_000, delay=0.0135),
    WanFigures(rate=100_000_000, delay=0.1),
)
MTU = 1500
#: Octets of a TCP segment with timestamps and of an iperf3 datagram, and of what is around them.
TCP_PAYLOAD, TCP_FRAME = MTU - 20 - 32, MTU + 14
UDP_PAYLOAD, UDP_FRAME = MTU - 28, MTU + 14
#: Of the rate, and seconds of a round trip.
RATE_MARK, DELAY_MARK = 0.05, 0.002
LOSS = 0.01
ADDRESSES = ("10.98.0.1", "10.98.0.2")
_TIME = re.compile(r"time=([0-9.]+) ms")


@dataclass
class Line:
    """A running link; ``here`` and ``there``: namespaces of its ends."""

    link: WanLink
    here: str
    there: str
    seconds: int

    @property
    def method(self) -> str:
        return self.link.status().method.value

    def iperf(self, *words: str) -> dict[str, Any]:
        """A run of iperf3 from here to there; what it says in the end."""
        server = subprocess.Popen(
            within(self.there, "iperf3", "-s", "-1", "-B", ADDRESSES[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        client = within(
            self.here, "iperf3", "-c", ADDRESSES[1], "-J", "-t", str(self.seconds), *words
        )
        try:
            while True:
                done = subprocess.run(client, capture_output=True, text=True, check=False)
                said = json.loads(done.stdout)
                if "error" not in said:
                    return dict(said["end"])
                if server.poll() is not None or "refused" not in said["error"]:
                    raise RuntimeError(f"iperf3: {said['error']}")
                time.sleep(0.05)
        finally:
            server.terminate()
            server.wait()

    def round_trips(self, many: int) -> list[float]:
        """Seconds of each of ``many`` pings, one every 10 ms."""
        done = subprocess.run(
            within(self.here, "ping", "-c", str(many), "-i", "0.01", ADDRESSES[1]),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        return [float(found) / 1000 for found in _TIME.findall(done.stdout)]

    def relay_cpu(self) -> float:
        """Seconds of processor that the relay has used; 0 without a relay."""
        pid = self.link.pid
        if pid is None:
            return 0.0
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def within(namespace: str, *command: str) -> list[str]:
    """``command`` as it runs in a namespace."""
    return ["ip", "netns", "exec", namespace, *command]


@contextmanager
def line(figures: WanFigures, seconds: int) -> Iterator[Line]:
    """A link of its own, gone in the end."""
    with ExitStack() as stack:
        names = [f"wan-bench-{os.getpid()}-{number}" for number in (1, 2)]
        for name in names:
            namespaces.create(name)
            stack.callback(namespaces.remove, name)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wan-bench-")))
        ends = LinkEnd(names[0], "wan"), LinkEnd(names[1], "wan")
        link = create(directory, ends, figures, mtu=MTU)
        stack.callback(link.remove)
        for name, address in zip(names, ADDRESSES, strict=True):
            with namespaces.routing(name) as netlink:
                (index,) = netlink.link_lookup(ifname="wan")
                netlink.addr("add", index=index, address=address, prefixlen=24)
        found = Line(link, names[0], names[1], seconds)
        # The first round trip is longer by that of ARP.
        found.round_trips(2)
        yield found


def measure(figures: WanFigures, seconds: int, *, marked: bool) -> list[Row]:
    """One line: its round trip when idle, its rate, and its round trip under load."""
    with line(figures, seconds) as one:
        rows = _delay(one, figures, "idle", marked=marked)
        assert figures.rate is not None
        cpu, before = one.relay_cpu(), one.link.status().directions[0].octets
        udp = one.iperf("-u", "-l", str(UDP_PAYLOAD), "-b", str(round(figures.rate * 1.05)))
        seconds_sent, cpu = udp["sum_sent"]["seconds"], one.relay_cpu() - cpu
        passed = (one.link.status().directions[0].octets - before) * 8 / seconds_sent
        row = _rate(one, figures, "udp", passed, marked=marked)
        offered = udp["sum_sent"]["bits_per_second"] * UDP_FRAME / UDP_PAYLOAD
        if offered < figures.rate:
            row.note = f"iperf3 had the processor for no more than {offered / 1e6:.0f} Mb/s"
        rows.append(row)
        rows.append(
            Row(f"relay's share of a processor, udp/{_name(figures)}", one.method,
                cpu / seconds_sent * 100, "%")
        )  # fmt: skip
        # Until it fills the line, TCP takes some round trips.
        tcp = one.iperf("-O", str(2 if seconds > 2 else 1))
        rows.append(
            _rate(one, figures, "tcp",
                  tcp["sum_received"]["bits_per_second"] * TCP_FRAME / TCP_PAYLOAD, marked=marked)
        )  # fmt: skip
        load = subprocess.Popen(
            [sys.executable, "-m", "lab.bench.wan", "--load", one.here, one.there,
             str(round(figures.rate * 0.8)), str(seconds + 2)],
            start_new_session=True, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            time.sleep(1)
            rows += _delay(one, figures, "80 % load", marked=False)
        finally:
            load.send_signal(signal.SIGTERM)
            load.wait()
        return rows


def _name(figures: WanFigures) -> str:
    return str(replace(figures, loss=0.0)).replace(", ", "/")


def _rate(one: Line, figures: WanFigures, how: str, found: float, *, marked: bool) -> Row:
    assert figures.rate is not None
    off = abs(found - figures.rate) / figures.rate
    return Row(
        f"rate, {how}/{_name(figures)}", one.method, found / 1e6, "Mb/s",
        f"within {RATE_MARK * 100:.0f} % of {figures.rate / 1e6:.0f}" if marked else "",
        off <= RATE_MARK if marked else None,
    )  # fmt: skip


def _delay(one: Line, figures: WanFigures, when: str, *, marked: bool) -> list[Row]:
    found = sorted(one.round_trips(100 * one.seconds))
    asked = 2 * figures.delay
    rows = []
    for what, figure in (
        ("median", statistics.median(found)),
        ("99 of 100", found[round(len(found) * 0.99) - 1]),
    ):
        rows.append(
            Row(
                f"round trip, {what}, {when}/{_name(figures)}", one.method, figure * 1000, "ms",
                f"within {DELAY_MARK * 1000:.0f} ms of {asked * 1000:g}" if marked else "",
                abs(figure - asked) <= DELAY_MARK if marked else None,
            )
        )  # fmt: skip
    return rows


def measure_limits(seconds: int) -> list[Row]:
    """What passes without a rate, and how much of it is lost when it shall be."""
    with line(WanFigures(), seconds) as one:
        tcp = one.iperf()["sum_received"]["bits_per_second"] * TCP_FRAME / TCP_PAYLOAD
        rows = [Row("most that passes, tcp", one.method, tcp / 1e6, "Mb/s")]
        one.link.change(WanFigures(rate=100_000_000, loss=LOSS))
        udp = one.iperf("-u", "-l", str(UDP_PAYLOAD), "-b", "50M")["sum"]
        rows.append(
            Row(f"lost of {udp['packets']} datagrams at a loss of {LOSS * 100:g} %", one.method,
                udp["lost_percent"], "%")
        )  # fmt: skip
        return rows


def _load(here: str, there: str, rate: str, seconds: str) -> int:
    """A stream of datagrams until SIGTERM, for somebody else to measure beside it."""
    server = subprocess.Popen(
        within(there, "iperf3", "-s", "-1", "-B", ADDRESSES[1]), stdout=subprocess.DEVNULL
    )
    time.sleep(0.3)
    client = subprocess.Popen(
        within(here, "iperf3", "-c", ADDRESSES[1], "-u", "-l", str(UDP_PAYLOAD),
                "-b", rate, "-t", seconds),
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        client.wait()
    except KeyboardInterrupt:
        pass
    finally:
        for process in (client, server):
            process.terminate()
            process.wait()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; 0 whatever was found, 2 where it cannot be measured."""
    options = _parser().parse_args(arguments)
    if options.load:
        return _load(*options.load)
    lacking = [program for program in ("iperf3", "ping", "ip") if shutil.which(program) is None]
    if lacking or os.geteuid() != 0:
        print(f"this takes root, and: {', '.join(lacking) or 'nothing else'}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    seconds, began_at = 1 if options.quick else 8, commit()
    rows: list[Row] = []
    try:
        for figures in LINES[:1] if options.quick else LINES:
            print(f"{figures} ...", file=sys.stderr)
            rows += measure(figures, seconds, marked=not options.quick)
        rows += measure_limits(seconds)
    except KeyboardInterrupt:
        print("interrupted; nothing was written", file=sys.stderr)
        return 130
    command = shlex.join(["python", "-m", "lab.bench.wan", *(arguments or sys.argv[1:])])
    if options.out or not options.quick:
        write(options.out or RESULTS / "wan.json", rows, command, began_at)
    told = {True: "ok", False: "MISSED", None: ""}
    print(
        grid(
            ["case", "by", "figure", "unit", "mark", ""],
            [
                [row.case, row.subject, number(row.figure), row.unit, row.mark, told[row.holds]]
                for row in rows
            ],
        )
    )
    print(f"\n{len(missing(rows))} rows miss their mark")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.bench.wan", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one line, one second each, no marks")
    parser.add_argument("--out", type=Path, help="write the rows here (default: results/)")
    parser.add_argument("--load", nargs=4, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
