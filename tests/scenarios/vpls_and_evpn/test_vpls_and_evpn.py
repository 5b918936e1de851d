"""One customer over EVPN, another over VPLS, under one controller; their hosts are twins."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import Stage, Staging

pytestmark = pytest.mark.daemon

SERVICES = {"E1": "EVPN", "E2": "VPLS"}
CLOUDS = {"E1": "cloud1", "E2": "cloud2"}
PES = {"E1": {"pe-e1", "pe-f2"}, "E2": {"pe-e2", "pe-x2"}}


def test_vpls_and_evpn(staging: Staging, figures: Figures) -> None:
    with staging(Path(__file__).parent / "topology.clab.yml") as stage, ExitStack() as stack:
        pings = {
            vpn: stack.enter_context(
                stage.pinging(f"{vpn.lower()}-host", "10.1.0.2", word=f"of-{vpn}")
            )
            for vpn in SERVICES
        }
        sniffers = {
            vpn: stack.enter_context(stage.sniff(f"{vpn.lower()}-vm", "eth1")) for vpn in SERVICES
        }
        for ping in pings.values():
            ping.unanswered()

        for vpn in SERVICES:
            # The other service's PEs are not concerned.
            assert told(stage, vpn) == PES[vpn]
            returned = stage.extend(vpn, CLOUDS[vpn])
            first = pings[vpn].first()
            figures.add(
                f"side by side, {SERVICES[vpn]}: first packet after extend returned",
                first - returned,
            )

        for vpn, sniffer in sniffers.items():
            said = b"".join(frame.octets for frame in sniffer.frames())
            assert {name for name in SERVICES if f"of-{name}".encode() in said} == {vpn}

        begun = pings["E2"].first_after(time.time())
        returned = stage.retract("E1", "cloud1")
        last = pings["E1"].last()
        figures.add("side by side, EVPN: last packet after retract returned", last - returned)
        went_on = pings["E2"].first_after(last)
        figures.add(
            "side by side, VPLS: longest gap while EVPN is retracted",
            pings["E2"].longest_gap(begun, went_on),
        )


def told(stage: Stage, vpn: str) -> set[str]:
    """The PEs that would be sent anything, were the VPN extended to its cloud."""
    said = stage.vpnctl("extend", vpn, "--site", CLOUDS[vpn], "--dry-run", "-o", "json")
    return {peer["peer"] for peer in json.loads(said)["plan"]["peers"]}
