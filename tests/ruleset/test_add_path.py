"""How many paths to one destination a PE is sent and may send, as it is written."""

from __future__ import annotations

import pytest

from vpnctl.errors import PolicyError
from vpnctl.model import AddPath
from vpnctl.ruleset import load

NETWORK = """\
controller: {asn: 65000, router_id: 10.0.0.100, listen: 10.0.0.100}
sites: {}
pes:
  pe-a: {address: 10.0.0.1}
  pe-b:
    address: 10.0.0.2
    add_path: %s
"""


def at_pe_b(text: str) -> AddPath:
    network = load({"network.yaml": (NETWORK % text).encode()}, ()).ruleset.network
    assert network.pes["pe-a"].add_path == AddPath(0, 0)
    return network.pes["pe-b"].add_path


def test_each_direction_stands_for_itself() -> None:
    assert at_pe_b("{send: 4, receive: 16}") == AddPath(4, 16)
    assert at_pe_b("{receive: 2}") == AddPath(0, 2)


def test_where_there_is_nothing_to_offer_it_is_a_mistake() -> None:
    text = NETWORK % "{send: 4}\n    families: [evpn, vpls]"
    with pytest.raises(PolicyError) as found:
        load({"network.yaml": text.encode()}, ())
    [mistake] = found.value.mistakes
    assert mistake.message.startswith("pe-b speaks vpls, evpn")
    assert (mistake.place.line, mistake.path) == (7, "pes.pe-b.add_path")


@pytest.mark.parametrize(
    ("text", "where"),
    [("{send: 17}", "send"), ("{receive: many}", "receive"), ("{sent: 4}", "sent")],
)
def test_what_cannot_be_is_refused_with_its_place(text: str, where: str) -> None:
    with pytest.raises(PolicyError) as found:
        at_pe_b(text)
    [mistake] = found.value.mistakes
    assert mistake.place.line == 7
    assert mistake.path.endswith(where)
