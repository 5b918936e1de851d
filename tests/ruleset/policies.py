"""Policies of the tests: a network of five sites, and files as an operator would write them."""

from __future__ import annotations

from textwrap import dedent

from vpnctl.errors import PolicyError
from vpnctl.ruleset import Compiled, Mistake, load

NETWORK = """\
controller:
  asn: 65000
  router_id: 10.0.0.100
  listen: [10.0.0.100, "2001:db8::100"]
  pools: {route_targets: 65000:100-199, vlans: 100-109, vnis: 10000-10009}
sites:
  hq: {kind: enterprise, pes: [pe-e]}
  branch: {kind: enterprise, pes: [pe-e]}
  cloud1: {kind: cloud, pes: [pe-c1]}
  cloud2: {kind: cloud, pes: [pe-c2a, pe-c2b]}
  six: {kind: enterprise, pes: [pe-6]}
pes:
  pe-e: {address: 10.0.0.1}
  pe-c1: {address: 10.0.0.2, port: ge-0/0/3}
  pe-c2a: {address: 10.0.0.3}
  pe-c2b: {address: 10.0.0.4}
  pe-6: {address: 2001:db8::1, families: [vpnv4, vpnv6]}
"""


def policy(network: str = NETWORK, **vpns: str) -> dict[str, bytes]:
    """Files by name: ``network.yaml``, and ``e1.yaml`` for the argument ``e1``."""
    files = {"p/network.yaml": network.encode()}
    return files | {f"p/{name}.yaml": dedent(text).encode() for name, text in vpns.items()}


def compiled(network: str = NETWORK, **vpns: str) -> Compiled:
    return load(policy(network, **vpns))


def mistakes(files: dict[str, bytes]) -> list[Mistake]:
    """What is wrong with the files; none where nothing is."""
    try:
        load(files)
    except PolicyError as error:
        return [mistake for mistake in error.mistakes if isinstance(mistake, Mistake)]
    return []


def rendered(files: dict[str, bytes]) -> list[str]:
    return [str(mistake) for mistake in mistakes(files)]
