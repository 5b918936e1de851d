"""BIRD inside over IPv6 and outside over IPv4, in a network of their own with real addresses."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.daemons import require, wait_until
from tests.support.serve import Serve

pytestmark = pytest.mark.daemon

NAMESPACE = f"vpnctl-bird-{os.getpid()}"
WITHIN = ("ip", "netns", "exec", NAMESPACE)

NETWORK = """\
controller: {asn: 65000, router_id: 10.255.0.1, listen: ["127.0.0.1:1790", "[fd00::1]:1790"]}
sites:
  west: {kind: enterprise, pes: [inside]}
  east: {kind: enterprise, pes: [outside]}
pes:
  inside: {address: "fd00::2", platform: bird, passive: true}
  outside: {address: 127.0.0.3, asn: 4200000011, platform: bird, passive: true}
"""

OFFICE = """\
vpn: office
service: l3vpn
sites:
  - {site: west, targets: 65000:1107}
  - {site: east, targets: 65000:1108}
"""

CONFIGURATION = """\
router id {router_id};
vpn4 table four;
vpn6 table six;
protocol device {{ }}
protocol static {{
  vpn4 {{ table four; }};
  route {rd} {prefix} unreachable {{ bgp_ext_community.add((rt, 65000, {target})); }};
}}
protocol static {{
  vpn6 {{ table six; }};
  route {rd} {prefix6} unreachable {{ bgp_ext_community.add((rt, 65000, {target})); }};
}}
protocol bgp reflector {{
  local {local} as {asn};
  neighbor {remote} port 1790 as 65000;
  multihop;
  connect retry time 1;
  connect delay time 1;
  vpn4 mpls {{ table four; import all; export where source = RTS_STATIC; next hop address {hop}; }};
  vpn6 mpls {{ table six; import all; export where source = RTS_STATIC; next hop address {hop6}; }};
}}
"""


@dataclass
class Bird:
    """A running ``bird``; `routes` are those it has from the route server."""

    process: subprocess.Popen[bytes]
    directory: Path

    def ask(self, command: str) -> str:
        control = str(self.directory / "bird.ctl")
        done = subprocess.run(
            ["birdc", "-s", control, *command.split()], capture_output=True, text=True, timeout=20
        )
        return done.stdout

    def routes(self, table: str) -> dict[str, dict[str, str]]:
        """``RD PREFIX`` -> attributes as BIRD prints them."""
        found: dict[str, dict[str, str]] = {}
        name = ""
        for line in self.ask(f"show route table {table} protocol reflector all").splitlines():
            if re.match(r"\d+:\d+ ", line):
                name = " ".join(line.split()[:2])
                found[name] = {}
            elif line.startswith("\tBGP."):
                key, _, value = line.strip().removeprefix("BGP.").partition(":")
                found[name][key] = value.strip()
        return found


@contextmanager
def bird(directory: Path, text: str = CONFIGURATION, **settings: object) -> Iterator[Bird]:
    """``text``: the configuration, in which ``settings`` have their places."""
    directory.mkdir()
    configuration = directory / "bird.conf"
    configuration.write_text(text.format(**settings))
    command = ["bird", "-f", "-c", str(configuration), "-s", str(directory / "bird.ctl")]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [*WITHIN, *command, "-P", str(directory / "bird.pid")], stdout=log, stderr=log
        )
    try:
        yield Bird(process, directory)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@pytest.fixture
def namespace() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("a network namespace needs root")
    require("ip", "bird", "birdc")
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        for command in (
            "ip link set lo up",
            "ip -6 address add fd00::1/128 dev lo nodad",
            "ip -6 address add fd00::2/128 dev lo nodad",
        ):
            subprocess.run([*WITHIN, *command.split()], check=True)
        yield
    finally:
        subprocess.run(["ip", "netns", "delete", NAMESPACE], check=True)


@pytest.mark.usefixtures("namespace")
def test_bird_inside_over_ipv6_and_outside_over_ipv4(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "network.yaml").write_text(NETWORK)
    (policies / "office.yaml").write_text(OFFICE)
    with ExitStack() as stack:
        serve = stack.enter_context(
            Serve(policies, f"sqlite:///{tmp_path / 'store'}", tmp_path, WITHIN)
        )
        inside = stack.enter_context(
            bird(
                tmp_path / "inside", router_id="10.255.1.1", asn=65000, target=1107,
                local="fd00::2", remote="fd00::1", rd="65000:7",
                prefix="10.7.1.0/24", prefix6="2001:db8:7::/48", hop="192.0.2.7", hop6="fd00::2",
            )
        )  # fmt: skip
        outside = stack.enter_context(
            bird(
                tmp_path / "outside", router_id="10.255.1.2", asn=4200000011, target=1108,
                local="127.0.0.3", remote="127.0.0.1", rd="65000:8",
                prefix="10.8.1.0/24", prefix6="2001:db8:8::/48", hop="192.0.2.8", hop6="fd00::8",
            )
        )  # fmt: skip

        def both() -> bool:
            return all(
                each.routes(table) for each in (inside, outside) for table in ("four", "six")
            )

        try:
            wait_until(both, "the routes of both BIRDs")
        except AssertionError as error:
            said = [each.ask("show protocols all reflector") for each in (inside, outside)]
            raise AssertionError("\n".join([str(error), *said, serve.said()])) from error

        for table, at_inside, at_outside, hop7, hop8 in (
            ("four", "65000:8 10.8.1.0/24", "65000:7 10.7.1.0/24", "192.0.2.7", "192.0.2.8"),
            ("six", "65000:8 2001:db8:8::/48", "65000:7 2001:db8:7::/48", "fd00::2", "fd00::8"),
        ):
            ((name, route),) = inside.routes(table).items()
            assert name == at_inside
            assert route["ext_community"] == "(rt, 65000, 1107)"
            assert (route["as_path"], route["next_hop"]) == ("4200000011", hop8)
            assert "originator_id" not in route
            ((name, route),) = outside.routes(table).items()
            assert name == at_outside
            assert route["ext_community"] == "(rt, 65000, 1108)"
            assert (route["as_path"], route["next_hop"]) == ("65000", hop7)
            assert "local_pref" not in route or route["local_pref"] == "100"

        serve.change("retract", vpn="office", site="east")
        wait_until(lambda: not inside.routes("four"), "the routes to be withdrawn")
        wait_until(lambda: not outside.routes("six"), "the routes to be withdrawn")
        serve.change("rollback")
        wait_until(both, "the routes to come back")
