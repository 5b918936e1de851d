"""`kill -9` at any moment: what was acknowledged is there, and the peers hold what it says."""

from __future__ import annotations

import functools
import random
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.controller.stage import E1, E2, ROUTES, HeldRoutes, Pe, Stage
from tests.support.daemons import wait_until
from tests.support.rawbgp import VPNV4, RawPeer
from tests.support.serve import Serve
from vpnctl.cli.client import Client
from vpnctl.errors import VpnctlError
from vpnctl.model import Allocation
from vpnctl.ruleset import load
from vpnctl.store import Store

pytestmark = pytest.mark.daemon

KILLS = 12
#: Longest time in seconds from a request to the kill; most changes take a tenth of it.
SPREAD_S = 0.06


class Asker(threading.Thread):
    """Asks for one change; ``acknowledged`` is its revision if an answer came."""

    def __init__(self, client: Client, kind: str, body: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._asked = client, kind, body
        self.acknowledged: int | None = None
        self.refused: VpnctlError | None = None
        self.start()

    def run(self) -> None:
        client, kind, body = self._asked
        try:
            answer = client.post(kind, body, wait_s=10.0)
            self.acknowledged = answer["applied"]["revision"]["number"]
        except VpnctlError as error:
            self.refused = error
        except (OSError, ValueError, EOFError):
            return


def connect(stage: Stage) -> dict[str, Pe]:
    """The PEs, each with what it says at the start of a session."""
    found = {}
    for number, (name, routes) in enumerate(ROUTES.items()):
        raw = RawPeer(
            local=stage.at[name],
            remote=(stage.address, stage.port),
            router_id=f"10.255.1.{number + 1}",
            asn=65000,
            families=(VPNV4,),
        )
        raw.connect().wait_established()
        pe = found[name] = Pe(name, raw)
        for rd, prefixes, target in routes:
            pe.announce(rd, prefixes, target)
        pe.end_of_rib()
    return found


def expected(files: dict[str, bytes], allocations: tuple[Allocation, ...]) -> dict[str, HeldRoutes]:
    """What every PE must hold with a policy: the rule of rewriting, written out plainly."""
    ruleset = load(files, allocations).ruleset
    held: dict[str, HeldRoutes] = {name: {} for name in ROUTES}
    endpoints = list(ruleset.endpoints())
    for speaker, routes in ROUTES.items():
        for rd, prefixes, target in routes:
            for source in endpoints:
                if source.pe != speaker or target not in map(str, source.export_targets):
                    continue
                for hearer in endpoints:
                    if hearer.pe != speaker and hearer.vpn == source.vpn:
                        for prefix in prefixes:
                            targets = tuple(map(str, hearer.import_targets))
                            held[hearer.pe][f"65000:{rd}:{prefix}.0/24"] = targets
    return held


class Operator:
    """Edits two policy files at a time, and remembers what it wrote last."""

    def __init__(self, stage: Stage, chance: random.Random) -> None:
        self._stage, self._chance = stage, chance
        self.wrote = {name: text.encode() for name, text in stage.files().items()}

    def edit(self) -> None:
        number = self._chance.randrange(3000, 9000)
        e1 = E1.replace("65000:1102", f"{{export: 65000:1102, import: 65000:{number}}}")
        if self._chance.random() < 0.5:
            e1 = e1.replace("  # cloud2 comes later", "  - cloud2")
        e2 = E2.replace("65000:1202", f"{{export: 65000:1202, import: 65000:{number + 10000}}}")
        for name, text in (("e1.yaml", e1), ("e2.yaml", e2)):
            self._stage.write(name, text)
            self.wrote[name] = text.encode()

    def ask(self, client: Client) -> Asker:
        """Ask for some change; not each is possible at any time."""
        kind = self._chance.choice(("extend", "retract", "apply", "apply", "rollback"))
        if kind == "apply":
            self.edit()
        where = {"vpn": "E1", "site": "cloud2"} if kind in ("extend", "retract") else {}
        return Asker(client, kind, {"author": "ada", **where})


def close(pes: dict[str, Pe]) -> None:
    for pe in pes.values():
        pe.raw.__exit__()
    pes.clear()


def changes_until_killed(daemon: Serve, operator: Operator, chance: random.Random) -> int:
    """Some changes, the last one interrupted; the last revision acknowledged, 0 for none."""
    acknowledged = 0
    for last in [False] * chance.randrange(3) + [True]:
        asker = operator.ask(daemon.client)
        asker.join(chance.uniform(0, SPREAD_S) if last else 20.0)
        if last:
            daemon.kill()
            asker.join(20.0)
        else:
            refused = asker.refused.code if asker.refused is not None else ""
            assert refused in ("", "usage", "not-found"), asker.refused
        acknowledged = asker.acknowledged or acknowledged
    return acknowledged


def nobody_there(daemon: Serve) -> bool:
    return not daemon.client.get("status")["status"]["peers_established"]


def test_no_kill_loses_or_tears_anything(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    chance = random.Random(1771)
    operator = Operator(stage, chance)
    pes: dict[str, Pe] = {}
    applied = 1
    daemon = Serve(stage.policies, stage.store_url, tmp_path)
    try:
        for _ in range(KILLS):
            pes = connect(stage)
            acknowledged = max(applied, changes_until_killed(daemon, operator, chance))
            close(pes)
            with Store.open(stage.store_url) as store:
                assert store.check() == ()
                latest = store.latest()
                assert latest is not None
                # One more than acknowledged: stored, but killed before it could say so.
                assert acknowledged <= latest.number <= acknowledged + 1
                applied = latest.number
                files, allocations = store.files(applied), store.allocations()
                before = store.files(applied - 1) if applied > 1 else files
            for name, text in stage.files().items():
                assert text.encode() in (files[name], before[name], operator.wrote[name])

            daemon = Serve(stage.policies, stage.store_url, tmp_path)
            assert daemon.client.get("status")["status"]["revision"] == applied
            for name, text in stage.files().items():
                assert text.encode() in (files[name], operator.wrote[name])
            pes = connect(stage)
            for name, held in expected(files, allocations).items():
                pe = pes[name]
                pe.raw.wait(lambda pe=pe, held=held: pe.held == held, f"the routes of {name}")  # type: ignore[misc]
            close(pes)
            # Before that is noticed, another connection is refused (RFC 4271 section 6.8).
            wait_until(functools.partial(nobody_there, daemon), "the end of the sessions")
        daemon.stop()
        with Store.open(stage.store_url) as store:
            assert store.pending() == ()
        assert applied > 1
    finally:
        close(pes)
        daemon.kill()
