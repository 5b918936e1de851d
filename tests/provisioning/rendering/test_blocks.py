"""FRR's configuration as blocks: ours come and go, the operator's stay."""

from __future__ import annotations

from pathlib import Path

from tests.provisioning.rendering.network import intent, profiles
from vpnctl.provisioning.blocks import (
    blocks_text,
    merge_blocks,
    owned_blocks,
    owned_blocks_text,
    parse_blocks,
)
from vpnctl.provisioning.rendering import render

RUNNING = (Path(__file__).parents[3] / "lab" / "cloudnet" / "pe-c1" / "frr.conf").read_text()
VNI = "router bgp 65000 / address-family l2vpn evpn / vni 100"


def test_a_configuration_survives_being_read() -> None:
    root = parse_blocks(RUNNING)
    assert blocks_text(parse_blocks(blocks_text(root))) == blocks_text(root)
    assert "  vni 100\n   rd 10.0.0.3:100\n" in blocks_text(root)
    assert blocks_text(root).endswith("  exit-vni\n exit-address-family\nexit\n")


def test_a_mark_says_what_is_ours() -> None:
    root = parse_blocks("router bgp 1\n+ neighbor a\n x\n+  vni 1\n    rd 1:1\n+route-map m\n")
    assert owned_blocks(root) == (
        "router bgp 1 / neighbor a",
        "router bgp 1 / x / vni 1",
        "route-map m",
    )
    assert blocks_text(root) == (
        "router bgp 1\n neighbor a\n x\n  vni 1\n   rd 1:1\n  exit-vni\n exit\nexit\nroute-map m\n"
    )


def test_ours_is_replaced_what_went_is_gone_and_the_rest_stays() -> None:
    content = (
        "router bgp 65000\n address-family l2vpn evpn\n  advertise-all-vni\n"
        "  vni 100\n   rd 10.0.0.3:7\n"
    )
    gone = "router bgp 65000 / address-family l2vpn evpn / vni 200"
    merged = merge_blocks(RUNNING, content, [VNI], [gone, "router bgp 9 / nothing"])
    assert "  vni 100\n   rd 10.0.0.3:7\n  exit-vni\n" in merged
    assert "vni 200" not in merged
    assert " neighbor 10.0.0.100 description the route server\n" in merged
    assert merged.count("advertise-all-vni") == 1


def test_merging_twice_changes_nothing() -> None:
    rendered = render(intent("frr"), None, profiles())
    once = merge_blocks(RUNNING, rendered.content, rendered.owned, rendered.delete)
    assert merge_blocks(once, rendered.content, rendered.owned, ()) == once
    assert owned_blocks_text(once, rendered.owned) == owned_blocks_text(
        rendered.content, rendered.owned
    )
    nothing = render(None, intent("frr"), profiles())
    left = merge_blocks(once, nothing.content, (), nothing.delete)
    assert owned_blocks_text(left, rendered.owned) == ""


def test_drift_is_seen_in_what_is_ours_only() -> None:
    ours = owned_blocks_text(RUNNING, [VNI])
    assert ours == (
        f"{VNI}\n{VNI} / rd 10.0.0.3:100\n"
        f"{VNI} / route-target export 65000:102\n{VNI} / route-target import 65000:102\n"
    )
    assert owned_blocks_text(RUNNING.replace("vni 200", "vni 201"), [VNI]) == ours
    assert owned_blocks_text(RUNNING.replace("10.0.0.3:100", "10.0.0.3:9"), [VNI]) != ours
