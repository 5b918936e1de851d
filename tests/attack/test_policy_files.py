"""Policy files made to keep the controller busy, or to bury the operator in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpnctl import policyfiles
from vpnctl.errors import PolicyError
from vpnctl.ruleset import connectivity, draft, load
from vpnctl.ruleset.loading import MOST_MISTAKES

NETWORK = b"""\
controller: {asn: 65000, router_id: 10.0.0.1, listen: 127.0.0.1}
sites: {a: {kind: enterprise, pes: p}, b: {kind: enterprise, pes: p}, c: {kind: enterprise, pes: p}}
pes: {p: {address: 127.0.0.2}}
"""


def _refused(vpn: str) -> PolicyError:
    with pytest.raises(PolicyError) as refused:
        load({"network.yaml": NETWORK, "v.yaml": vpn.encode()})
    return refused.value


def test_thousands_of_unknown_sites_make_no_links(monkeypatch: pytest.MonkeyPatch) -> None:
    meshed = []
    original = connectivity.full_mesh

    def recording(members):  # type: ignore[no-untyped-def]
        meshed.append(len(members))
        return original(members)

    monkeypatch.setattr(connectivity, "full_mesh", recording)
    sites = ", ".join(["a", "b", *(f"s{number}" for number in range(3000))])
    error = _refused(f"vpn: V\nservice: l3vpn\nsites: [{sites}]\n")
    assert meshed == [2]
    assert error.message.startswith("3000 mistakes")


@pytest.mark.parametrize(
    ("topology", "links"),
    [("full-mesh", 6), ("{hub-and-spoke: {hubs: [a]}}", 6)],
)
def test_more_links_than_can_be_kept_are_refused(
    monkeypatch: pytest.MonkeyPatch, topology: str, links: int
) -> None:
    vpn = f"vpn: V\nservice: l3vpn\nsites: [a, b, c]\ntopology: {topology}\n"
    monkeypatch.setattr(draft, "MOST_LINKS", links)
    load({"network.yaml": NETWORK, "v.yaml": vpn.encode()})
    monkeypatch.setattr(draft, "MOST_LINKS", links - 1)
    (mistake,) = _refused(vpn).mistakes
    assert f"would be {links} links; at most {links - 1} are kept" in str(mistake)


def test_a_file_of_garbage_is_reported_in_part_and_counted_in_full() -> None:
    error = _refused("vpn: V\n" * 5000)
    assert len(error.mistakes) == MOST_MISTAKES
    assert error.message.startswith("4999 mistakes, of which these are the first 1000,")


@pytest.mark.parametrize("name", ["\x1b[2Jx.yaml", "a\nb.yaml", "\udcff.yaml"])
def test_a_name_that_would_drive_the_terminal_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("vpn: V\n")
    with pytest.raises(PolicyError) as refused:
        policyfiles.read(tmp_path)
    (mistake,) = map(str, refused.value.mistakes)
    assert mistake.replace("\n", "").isprintable()
    assert repr(name)[1:-1] in mistake
