"""Metrics for Prometheus, computed from the engine when they are asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vpnctl.model import Network, RouteTarget
from vpnctl.routing import inspect
from vpnctl.routing.engine import Engine


@dataclass(frozen=True, slots=True, eq=False)
class Metrics(Collector):
    """What the engine can count at this moment.

    ``last_change``: UNIX time of the last applied change, 0 if there was none since the start.
    Counters of a peer begin again with each of its sessions.
    """

    engine: Engine
    network: Network
    last_change: float
    revision: int | None

    def text(self) -> bytes:
        """All metrics in the Prometheus text format."""
        registry = CollectorRegistry()
        registry.register(self)
        return bytes(generate_latest(registry))

    def collect(self) -> Iterator[Metric]:
        """The metrics, one family after the other."""
        yield from self._routes()
        yield from self._sessions()
        change = GaugeMetricFamily(
            "vpnctl_last_change_timestamp_seconds", "When the last change was applied"
        )
        change.add_metric([], self.last_change)
        yield change
        revision = GaugeMetricFamily("vpnctl_revision", "Number of the applied revision")
        revision.add_metric([], self.revision or 0)
        yield revision

    def _routes(self) -> Iterator[Metric]:
        counts = inspect.counts(self.engine)
        heard = GaugeMetricFamily(
            "vpnctl_routes_heard", "Routes in a peer's Adj-RIB-In", labels=["peer", "family"]
        )
        sent = GaugeMetricFamily(
            "vpnctl_routes_sent", "Routes in a peer's Adj-RIB-Out", labels=["peer", "family"]
        )
        for metric, found in ((heard, counts.heard), (sent, counts.sent)):
            for (peer, family), number in sorted(found.items()):
                metric.add_metric([peer, family.name], number)
            yield metric
        refused = GaugeMetricFamily(
            "vpnctl_refused_target_routes",
            "Routes announced with a target that the peer does not own",
            labels=["peer", "target"],
        )
        for (peer, target), number in sorted(counts.refused.items()):
            refused.add_metric([peer, str(RouteTarget(target))], number)
        yield refused
        flows = GaugeMetricFamily(
            "vpnctl_refused_flow_routes", "Flow routes that a peer announced", labels=["peer"]
        )
        for peer, number in sorted(counts.refused_flows.items()):
            flows.add_metric([peer], number)
        yield flows

    def _sessions(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("vpnctl_session_up", "1 if established", labels=["peer"])
        queue = GaugeMetricFamily(
            "vpnctl_backlog_routes",
            "Routes that wait because the peer reads slowly",
            labels=["peer"],
        )
        flight = GaugeMetricFamily(
            "vpnctl_octets_in_flight",
            "Octets sent that the peer's socket did not take yet",
            labels=["peer"],
        )
        updates = CounterMetricFamily(
            "vpnctl_updates", "UPDATE messages of this session", labels=["peer", "direction"]
        )
        malformed = CounterMetricFamily(
            "vpnctl_malformed_updates",
            "UPDATE messages treated as RFC 7606 says, of this session",
            labels=["peer"],
        )
        limit = GaugeMetricFamily(
            "vpnctl_routes_limit", "Most routes of a peer (guard.routes)", labels=["peer", "family"]
        )
        beyond = CounterMetricFamily(
            "vpnctl_routes_beyond_limit",
            "Announcements not taken in because there were too many, of this session",
            labels=["peer", "family"],
        )
        memory = GaugeMetricFamily(
            "vpnctl_routes_octets", "About what a peer's routes take in memory", labels=["peer"]
        )
        stale = GaugeMetricFamily(
            "vpnctl_stale_routes", "Routes that stay while their peer restarts", labels=["peer"]
        )
        outlived = GaugeMetricFamily(
            "vpnctl_long_lived_stale_routes",
            "Those of them whose peer is away for longer than a restart may take (RFC 9494)",
            labels=["peer"],
        )
        asked = GaugeMetricFamily(
            "vpnctl_targets_asked",
            "Route targets that a peer asked for (RFC 4684)",
            labels=["peer"],
        )
        for name, pe in sorted(self.network.pes.items()):
            for family_name, most in sorted(pe.guard.routes.items()):
                limit.add_metric([name, family_name], most)
            kinds = Counter({False: 0, True: 0})
            for path in self.engine.stale_paths(name):
                kinds[path.outlived] += len(path.nlris)
            stale.add_metric([name], kinds.total())
            outlived.add_metric([name], kinds[True])
            session = self.engine.by_peer.get(name)
            up.add_metric([name], int(session is not None))
            if session is not None:
                queue.add_metric([name], session.waiting)
                flight.add_metric([name], session.sent_octets - session.written_octets)
                updates.add_metric([name, "heard"], session.updates_heard)
                updates.add_metric([name, "sent"], session.updates_sent)
                malformed.add_metric([name], session.malformed)
                memory.add_metric([name], session.ledger.octets)
                if session.membership is not None:
                    asked.add_metric([name], len(session.membership))
                for account in session.ledger.accounts.values():
                    beyond.add_metric([name, account.family.name], account.refused)
        yield from (
            up,
            queue,
            flight,
            updates,
            malformed,
            limit,
            beyond,
            memory,
            asked,
            stale,
            outlived,
        )
