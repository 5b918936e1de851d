"""What must hold between the engine's tables at any moment between two calls."""

from __future__ import annotations

from vpnctl.routing.engine import Engine
from vpnctl.routing.long_lived import is_stale
from vpnctl.routing.nlri import KEY_OF
from vpnctl.routing.rewrite import rewrite
from vpnctl.routing.table import Path, candidates

_Owner = tuple[str, int]


def _route(engine: Engine, path: Path, routes: dict[tuple[str, bytes], list[_Owner]]) -> None:
    for key, nlri in path.nlris.items():
        assert KEY_OF[path.family](nlri) == key
        assert path in candidates(engine.ribs[path.family].entries[key])
        routes.setdefault((path.family.name, key), []).append((path.peer, path.slot))


def check(engine: Engine) -> None:
    """Every table says the same of every route."""
    routes: dict[tuple[str, bytes], list[_Owner]] = {}
    groups = set()
    for session in engine.sessions.values():
        assert engine.by_peer[session.opened.peer] is session
        for identity, path in session.paths.items():
            assert path.identity == identity
            assert path.peer == session.opened.peer
            assert path.nlris
            assert path in path.group.paths
            assert engine.groups[path.group.identity] is path.group
            groups.add(path.group)
            _route(engine, path, routes)
        assert not session.stale & set(session.paths.values())
        for octets, slots in session.slots.items():
            announced, stale = (
                {
                    (key, path.slot)
                    for path in paths
                    if path.rib.octets == octets
                    for key in path.nlris
                }
                for paths in (session.paths.values(), session.stale)
            )
            taken = {
                (key, slot)
                for key, path_ids in slots._taken.items()
                for slot, path_id in enumerate(path_ids)
                if path_id
            }
            # During a refresh the paths that were not sent again yet have theirs.
            assert announced <= taken <= announced | stale
    stale = [path for each in engine.stale.values() for path in each.paths]
    for path in (*stale, *(path for each in engine.sessions.values() for path in each.stale)):
        assert path.nlris
        assert engine.groups[path.group.identity] is path.group
        assert not path.outlived or path.group.stale
        groups.add(path.group)
        _route(engine, path, routes)
    assert set(engine.groups.values()) == groups
    assert engine._tables.stale == {group for group in groups if group.stale}
    for group in groups:
        assert all(is_stale(path.attributes) is group.stale for path in group.paths)
    for group in groups:
        verdict = rewrite(engine.rules, group.peer, group.family, group.targets)
        assert group.allowed == verdict
        assert group.verdict == engine._tables.audience.of(verdict, stale=group.stale)
    for family, rib in engine.ribs.items():
        assert not rib.touched
        assert not rib.gone
        assert not rib.relabelled
        assert not rib.plural
        for key, entry in rib.entries.items():
            peers = [(path.peer, path.slot) for path in candidates(entry)]
            assert sorted(peers) == sorted(routes.pop((family.name, key)))
            assert len(peers) == len(set(peers))
            assert (key in rib.contested) is (len(peers) > 1)
    assert not routes
