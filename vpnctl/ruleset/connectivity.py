"""Who hears whom: the directed graph of a VPN's sites.

A node is a `SiteOfVpn`; an edge leads from the speaker to the hearer.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

import networkx as nx

from vpnctl.model import SiteOfVpn

Link = tuple[SiteOfVpn, SiteOfVpn]


def full_mesh(members: Iterable[SiteOfVpn]) -> nx.DiGraph[SiteOfVpn]:
    """Everybody hears everybody else."""
    everybody = list(members)
    return explicit(everybody, permutations(everybody, 2))


def hub_and_spoke(members: Iterable[SiteOfVpn], hubs: Iterable[SiteOfVpn]) -> nx.DiGraph[SiteOfVpn]:
    """Hubs hear everybody, each other included; everybody else hears the hubs only."""
    graph: nx.DiGraph[SiteOfVpn] = nx.DiGraph()
    everybody = list(members)
    graph.add_nodes_from(everybody)
    for hub in hubs:
        for other in everybody:
            if other != hub:
                graph.add_edge(hub, other)
                graph.add_edge(other, hub)
    return graph


def explicit(members: Iterable[SiteOfVpn], pairs: Iterable[Link]) -> nx.DiGraph[SiteOfVpn]:
    """Exactly the links given."""
    graph: nx.DiGraph[SiteOfVpn] = nx.DiGraph()
    graph.add_nodes_from(members)
    graph.add_edges_from(pairs)
    return graph


def links(graph: nx.DiGraph[SiteOfVpn]) -> frozenset[Link]:
    """The edges of the graph, (speaker, hearer)."""
    return frozenset(graph.edges)


def crossing(speakers: Iterable[SiteOfVpn], hearers: Iterable[SiteOfVpn]) -> frozenset[Link]:
    """Every speaker is heard by every hearer: an extranet in one direction."""
    everybody = list(hearers)
    return frozenset((speaker, hearer) for speaker in speakers for hearer in everybody)
