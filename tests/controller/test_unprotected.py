"""TCP-AO where the kernel has none: refused before a session could be there without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.controller.stage import Stage
from vpnctl.bgp import tcp_ao
from vpnctl.controller.impossible import refuse_unprotected, unprotected
from vpnctl.errors import PolicyError
from vpnctl.ruleset import load

POLICY = b"""\
controller: {asn: 65000, router_id: 10.0.0.100, listen: 10.0.0.100}
sites: {}
pes:
  pe-a: {address: 10.0.0.1}
  pe-b:
    address: 10.0.0.2
    guard: {tcp_ao: [{send: 1, receive: 2, file: /etc/vpnctl/tcp-ao/pe-b}]}
"""


def test_the_pe_and_its_line_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    network = load({"network.yaml": POLICY}, ()).ruleset.network
    monkeypatch.setattr(tcp_ao, "unavailable", lambda: "")
    refuse_unprotected(network)
    monkeypatch.setattr(tcp_ao, "unavailable", lambda: "Protocol not available")
    with pytest.raises(PolicyError) as refused:
        refuse_unprotected(network)
    assert refused.value.mistakes == unprotected(network)
    [mistake] = unprotected(network)
    assert str(mistake.place) == "network.yaml:6"
    assert "pe-b cannot have TCP-AO on this machine: Protocol not available" in mistake.message
    assert "CONFIG_TCP_AO" in mistake.hint


@pytest.mark.daemon
@pytest.mark.anyio
async def test_a_policy_is_not_applied_that_would_end_a_session_for_good(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.start()
    await stage.connect("pe-c")
    key = tmp_path / "key"
    key.write_text("secret\n")
    key.chmod(0o600)
    guard = f", guard: {{tcp_ao: [{{send: 1, receive: 1, file: '{key}'}}]}}"
    stage.write("network.yaml", stage.network(more=guard))
    monkeypatch.setattr(tcp_ao, "unavailable", lambda: "Protocol not available")
    with pytest.raises(PolicyError) as refused:
        await stage.apply()
    assert "the session of pe-c cannot have TCP-AO" in str(refused.value.mistakes[0])
    assert not stage.pes["pe-c"].raw.closed
    assert (await stage.peer("pe-c")).protection == ()
