"""A sidecar's progress for Prometheus, on loopback."""

from __future__ import annotations

import contextlib
import ipaddress
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from vpnctl.errors import UsageError
from vpnctl.sidecar.run.progress import Phase, Progress
from vpnctl.sidecar.wan.address import Address


class SidecarCollector(Collector):
    """Asks for the progress whenever it is scraped."""

    def __init__(self, progress: Callable[[], Progress]) -> None:
        self._progress = progress

    def collect(self) -> Iterator[Metric]:
        """The metrics, one family after the other."""
        now = self._progress()
        names = ["migration", "role"]
        labels = [now.migration, now.role]
        for name, text, value in (
            ("guest_octets", "Octets of the guest's migration stream", now.guest),
            ("wire_octets", "Octets of records sent and received", now.wire),
            ("resent_octets", "Octets sent again after cuts", now.resent),
            ("cuts", "Connections lost", now.cuts),
            ("cut_seconds", "Seconds without a connection", now.cut_s),
        ):
            counter = CounterMetricFamily(f"vpnctl_sidecar_{name}", text, labels=names)
            counter.add_metric(labels, value)
            yield counter
        limit = GaugeMetricFamily(
            "vpnctl_sidecar_limit_octets_per_second", "Limit, 0 for none", labels=names
        )
        limit.add_metric(labels, now.limit or 0.0)
        yield limit
        phase = GaugeMetricFamily(
            "vpnctl_sidecar_phase", "1 for the present phase", labels=[*names, "phase"]
        )
        for one in Phase:
            phase.add_metric([*labels, one.value], float(one is now.phase))
        yield phase
        for name, text in (("saved", "Octets a stage saved"), ("hits", "What a stage found")):
            stage = CounterMetricFamily(
                f"vpnctl_sidecar_stage_{name}", text, labels=[*names, "stage"]
            )
            for which, done in now.stages.items():
                stage.add_metric([*labels, which], done.saved if name == "saved" else done.hits)
            yield stage


@contextlib.contextmanager
def scraped(progress: Callable[[], Progress], address: Address) -> Iterator[None]:
    """Serve ``/metrics`` at ``address`` while the block runs.

    Raises `UsageError` beyond loopback, and when the address cannot be had.
    """
    if not address.is_loopback:
        raise UsageError(
            f"metrics are not served on {address}: they are not encrypted",
            hint="give a loopback address, e.g. 127.0.0.1:9310",
        )
    registry = CollectorRegistry()
    registry.register(SidecarCollector(progress))
    host = "127.0.0.1" if address.host == "localhost" else str(ipaddress.ip_address(address.host))
    try:
        server, thread = start_http_server(address.port, host, registry)
    except OSError as error:
        raise UsageError(
            f"metrics cannot be served on {address}: {error.strerror or error}",
            hint="choose another address or port with --metrics",
        ) from error
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
