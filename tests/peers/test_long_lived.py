"""BIRD and GoBGP as PEs that are away for longer than a graceful restart may take (RFC 9494)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemons import DaemonPeer, GoBgp, gobgp, require, wait_until
from tests.support.loopback import free_port, loopback_address
from tests.support.rawbgp import VPNV4
from tests.support.serve import Serve

pytestmark = pytest.mark.daemon

#: Seconds for a restart, and for which routes stay after that.
RESTART, LASTING = 2, 600

BIRD = """\
router id {router_id};
vpn4 table four;
protocol device {{ }}
protocol static {{
  vpn4 {{ table four; }};
  route {rd} {prefix} unreachable {{ bgp_ext_community.add((rt, 65000, {target})); }};
}}
protocol bgp reflector {{
  local {address} port {own_port} as 65000;
  neighbor {ours} port {port} as 65000;
  multihop;
  strict bind on;
  connect retry time 1;
  connect delay time 1;
  error wait time 1, 2;
  {restarts}
  vpn4 mpls {{
    table four; import all; export where source = RTS_STATIC; next hop address {hop};
  }};
}}
"""
LONG_LIVED = (
    f"graceful restart on; graceful restart time {RESTART};"
    f" long lived graceful restart on; long lived stale time {LASTING};"
)
NEITHER = "graceful restart off; long lived graceful restart off;"
#: What each announces, and LLGR_STALE as each writes it.
AT_BIRD, AT_GOBGP = "65000:1 10.1.0.0/16", "65000:2 10.2.0.0/16"
MARK = "(65535,6)"


@dataclass
class Bird:
    process: subprocess.Popen[bytes]
    directory: Path

    def communities(self) -> dict[str, str]:
        """Route -> communities of what it has from the controller."""
        control = str(self.directory / "bird.ctl")
        command = "show route table four protocol reflector all"
        done = subprocess.run(
            ["birdc", "-s", control, *command.split()], capture_output=True, text=True, timeout=20
        )
        found: dict[str, str] = {}
        name = ""
        for line in done.stdout.splitlines():
            if re.match(r"\d+:\d+ ", line):
                name = " ".join(line.split()[:2])
                found[name] = ""
            elif line.startswith("\tBGP.community:"):
                found[name] = line.partition(":")[2].strip()
        return found


@contextmanager
def bird(directory: Path, *flags: str, **settings: object) -> Iterator[Bird]:
    directory.mkdir(exist_ok=True)
    configuration = directory / "bird.conf"
    configuration.write_text(BIRD.format(**settings))
    command = ["bird", "-f", "-c", str(configuration), "-s", str(directory / "bird.ctl"), *flags]
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        yield Bird(process, directory)
    finally:
        process.kill()
        process.wait(20)


class House:
    """A controller with a BIRD and a GoBGP that know RFC 9494, and a BIRD that does not."""

    def __init__(self, directory: Path, stack: ExitStack, lasting: int) -> None:
        self.directory = directory
        self.birds: dict[str, Bird] = {}
        self.ours = loopback_address()
        self.port = free_port(self.ours)
        self.at = {name: loopback_address() for name in ("bird", "gobgp", "old")}
        policies = directory / "policies"
        policies.mkdir()
        pes = "".join(
            f"  {name}: {{address: {address}, families: [vpnv4], passive: true,"
            f" graceful_restart: {RESTART}, long_lived_graceful_restart: {lasting}}}\n"
            for name, address in self.at.items()
        )
        sites = "".join(f"  at-{name}: {{kind: enterprise, pes: [{name}]}}\n" for name in self.at)
        (policies / "network.yaml").write_text(
            "controller: {asn: 65000, router_id: 10.255.0.1,"
            f' listen: "{self.ours}:{self.port}"}}\n'
            f"sites:\n{sites}pes:\n{pes}"
        )
        lines = "".join(
            f"  - {{site: at-{name}, targets: 65000:{number}}}\n"
            for number, name in enumerate(self.at, 101)
        )
        (policies / "e1.yaml").write_text(f"vpn: E1\nservice: l3vpn\nsites:\n{lines}")
        store = f"sqlite:///{directory / 'store.sqlite'}"
        self.serve = stack.enter_context(Serve(policies, store, directory))

    def bird(self, *flags: str, name: str = "bird") -> ExitStack:
        """Begin a BIRD, which is that of its name from now on."""
        number = 1 if name == "bird" else 3
        stack = ExitStack()
        found = stack.enter_context(
            bird(
                self.directory / name,
                *flags,
                router_id=f"10.255.1.{number}",
                rd=f"65000:{number}",
                prefix=f"10.{number}.0.0/16",
                target=100 + number,
                address=self.at[name],
                own_port=free_port(self.at[name]),
                ours=self.ours,
                port=self.port,
                restarts=LONG_LIVED if name == "bird" else NEITHER,
                hop=f"192.0.2.{number}",
            )
        )
        self.birds[name] = found
        return stack

    def gobgp(self) -> ExitStack:
        stack = ExitStack()
        peer = DaemonPeer(
            self.ours, 65000, port=self.port, families=(VPNV4,), restart=(RESTART, LASTING)
        )
        self.speaker = stack.enter_context(
            gobgp(
                self.directory / "gobgp",
                address=self.at["gobgp"],
                port=free_port(self.at["gobgp"]),
                asn=65000,
                router_id="10.255.1.2",
                peers=[peer],
            )
        )
        words = "10.2.0.0/16 label 20 rd 65000:2 rt 65000:102 nexthop 192.0.2.2"
        self.speaker.cli("global", "rib", "add", "-a", "vpnv4", *words.split())
        return stack

    def rows(self, pe: str) -> list[str]:
        answer = self.serve.client.get("peers", pe, "rib-in")
        return [row["status"] for row in answer["routes"]]


def at_gobgp(daemon: GoBgp) -> dict[str, bool]:
    """Route of others -> whether it is marked."""
    return {
        name: '"communities":[4294901766]' in str(paths).replace("'", '"').replace(" ", "")
        for name, paths in daemon.rib("vpnv4").items()
    }


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    require("bird", "birdc", "gobgpd", "gobgp")
    with ExitStack() as stack:
        yield stack


def test_routes_of_a_pe_that_stays_away_are_marked_and_the_mark_goes_when_it_is_back(
    tmp_path: Path, stack: ExitStack
) -> None:
    house = House(tmp_path, stack, LASTING)
    stack.enter_context(house.bird(name="old"))
    stack.enter_context(house.gobgp())
    bird_runs = stack.enter_context(house.bird())
    old = house.birds["old"]
    name_at_gobgp = "65000:1:10.1.0.0/16"

    def marked_at_gobgp() -> bool | None:
        return at_gobgp(house.speaker).get(name_at_gobgp)

    def at_bird() -> dict[str, str]:
        return house.birds["bird"].communities()

    wait_until(lambda: marked_at_gobgp() is False, "GoBGP's routes")
    wait_until(lambda: old.communities().keys() >= {AT_BIRD, AT_GOBGP}, "the old one's")
    wait_until(lambda: AT_GOBGP in at_bird(), "BIRD's routes")

    bird_runs.close()
    wait_until(lambda: marked_at_gobgp() is True, "GoBGP to see the mark")
    wait_until(lambda: AT_BIRD not in old.communities(), "the old one to lose the route")
    words = r"long-lived stale: the PE is away, \d+ s left; accepted"
    assert re.fullmatch(words, house.rows("bird")[0])
    peers = house.serve.client.get("peers")["peers"]
    [stale] = [peer["stale"] for peer in peers if peer["name"] == "bird"]
    assert re.fullmatch(r"1 vpnv4 long-lived, \d+ s left", stale[0])

    stack.enter_context(house.bird("-R"))
    wait_until(lambda: marked_at_gobgp() is False, "the mark to go")
    wait_until(lambda: AT_BIRD in old.communities(), "the old one to have it again")

    house.speaker.process.kill()
    wait_until(lambda: MARK in at_bird().get(AT_GOBGP, ""), "BIRD to see the mark")
    wait_until(lambda: AT_GOBGP not in old.communities(), "the old one to lose the route")


def test_and_they_go_when_that_is_over(tmp_path: Path, stack: ExitStack) -> None:
    # Long enough for BIRD to be asked meanwhile.
    house = House(tmp_path, stack, lasting=8)
    stack.enter_context(house.gobgp())
    stack.enter_context(house.bird())
    bird = house.birds["bird"]
    wait_until(lambda: AT_GOBGP in bird.communities(), "BIRD's routes")
    house.speaker.process.kill()
    wait_until(lambda: MARK in bird.communities().get(AT_GOBGP, ""), "BIRD to see the mark")
    wait_until(lambda: AT_GOBGP not in bird.communities(), "the route to go")
    assert house.rows("gobgp") == []
