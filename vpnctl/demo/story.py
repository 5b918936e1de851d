"""What the demo plays: the policy files, what each PE announces, and what each must receive.

Two customers use the same addresses.  Their VRFs announce with one target and import another, so
nobody hears anybody unless the controller rewrites: E1's VRFs export 65000:101 and import
65000:201, E2's export 65000:102 and import 65000:202.  E1 has a VRF in cloud2 already, but its
VPN does not reach there yet.  The distinguishers are those that the policy allocates.
"""

from __future__ import annotations

from vpnctl.demo.pes import Announced, Held

#: PE -> its loopback address.
ADDRESSES = {"pe-hq": "127.0.0.11", "pe-c1": "127.0.0.12", "pe-c2": "127.0.0.13"}

#: PE -> what its VRFs announce.
ANNOUNCED = {
    "pe-hq": (
        Announced("10.1.0.0/24", "127.0.0.11:1", "65000:101"),
        Announced("10.1.0.0/24", "127.0.0.11:2", "65000:102"),
    ),
    "pe-c1": (Announced("10.2.0.0/24", "127.0.0.12:1", "65000:101"),),
    "pe-c2": (
        Announced("10.2.0.0/24", "127.0.0.13:1", "65000:102"),
        Announced("10.3.0.0/24", "127.0.0.13:2", "65000:101"),
    ),
}

#: What becomes of E1's route in cloud2 is asked for, as an operator would.
NEW_ROUTE = "127.0.0.13:2:10.3.0.0/24"

#: Import target -> the customer whose VRFs import it.
IMPORTED_BY = {"65000:201": "E1", "65000:202": "E2"}

_HQ_E1 = Held("10.1.0.0/24", "127.0.0.11:1", "65000:201")
_C1_E1 = Held("10.2.0.0/24", "127.0.0.12:1", "65000:201")
_C2_E1 = Held("10.3.0.0/24", "127.0.0.13:2", "65000:201")
_HQ_E2 = Held("10.1.0.0/24", "127.0.0.11:2", "65000:202")
_C2_E2 = Held("10.2.0.0/24", "127.0.0.13:1", "65000:202")

#: PE -> what it must hold while E1 is at its headquarters and cloud1.
BEFORE = {"pe-hq": {_C1_E1, _C2_E2}, "pe-c1": {_HQ_E1}, "pe-c2": {_HQ_E2}}

#: PE -> what it must hold once E1 is at cloud2, too.
AFTER = {
    "pe-hq": {_C1_E1, _C2_E1, _C2_E2},
    "pe-c1": {_HQ_E1, _C2_E1},
    "pe-c2": {_HQ_E1, _C1_E1, _HQ_E2},
}


def policy_files(port: int) -> dict[str, str]:
    """The policy directory of the demo; the controller listens on ``port`` of 127.0.0.1."""
    pes = "\n".join(
        f"  {name}: {{address: {address}, families: [vpnv4], passive: true}}"
        for name, address in ADDRESSES.items()
    )
    return {
        "network.yaml": f"""\
# The provider's network: the controller, the sites, and the PEs (routers) at them.
# Everything is on loopback; the PEs connect by themselves (passive: the controller waits).
controller:
  asn: 65000
  router_id: 10.255.0.1
  listen: ["127.0.0.1:{port}"]

sites:
  e1-hq:  {{kind: enterprise, pes: [pe-hq]}}
  e2-hq:  {{kind: enterprise, pes: [pe-hq]}}
  cloud1: {{kind: cloud, pes: [pe-c1]}}
  cloud2: {{kind: cloud, pes: [pe-c2]}}

pes:
{pes}
""",
        "e1.yaml": """\
# Customer E1.  Its VRFs are configured with these targets; left out, they would be allocated.
vpn: E1
service: l3vpn
targets: {export: 65000:101, import: 65000:201}
sites: [e1-hq, cloud1]   # cloud2 comes next
""",
        "e2.yaml": """\
# Customer E2 uses the same addresses as E1: neither ever hears the other's routes.
vpn: E2
service: l3vpn
targets: {export: 65000:102, import: 65000:202}
sites: [e2-hq, cloud2]
""",
    }
