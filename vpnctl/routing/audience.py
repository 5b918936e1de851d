"""Which PEs take a route that the rules let them have, by what their sessions agreed on."""

from __future__ import annotations

from vpnctl.routing.membership import Membership, restricted
from vpnctl.routing.rewrite import Verdict


class Audience:
    """What PEs whose sessions are up do not take.

    ``interests``: what those asked for that negotiated RFC 4684, by name; ``no_stale``: names of
    those that take no long-lived stale routes (RFC 9494).
    """

    __slots__ = ("interests", "no_stale")

    def __init__(self) -> None:
        self.interests: dict[str, Membership] = {}
        self.no_stale: set[str] = set()

    def of(self, verdict: Verdict, *, stale: bool) -> Verdict:
        """A verdict of the rules without the PEs that do not take such routes."""
        verdict = restricted(verdict, self.interests)
        if not stale or self.no_stale.isdisjoint(verdict.sent):
            return verdict
        kept = {
            peer: targets for peer, targets in verdict.sent.items() if peer not in self.no_stale
        }
        return Verdict(kept, verdict.refused)

    def has(self, peer: str, targets: tuple[bytes, ...], *, stale: bool) -> bool:
        """Whether a PE takes routes that would have these targets there."""
        if stale and peer in self.no_stale:
            return False
        membership = self.interests.get(peer)
        return membership is None or membership.wants(targets)
