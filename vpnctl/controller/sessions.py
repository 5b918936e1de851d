"""What an operator does with the PEs' sessions, beside the policy: nothing of it is a revision."""

from __future__ import annotations

from vpnctl.controller.queries import Queries
from vpnctl.errors import UsageError


class Sessions(Queries):
    """A controller's sessions, acted upon."""

    async def reset_session(self, peer: str) -> tuple[str, ...]:
        """Let the session of a PE begin anew, also one that its guard has shut down."""
        await self._peers.begin_anew(self._known_pe(peer))
        return (peer,)

    async def drain(self, peer: str, draining: bool) -> tuple[str, ...]:
        """Make a PE's routes the last choice (RFC 8326), or end that.

        Raises `UsageError` where the policy itself drains the PE.
        """
        if self._network.pes[self._known_pe(peer)].drain and not draining:
            raise UsageError(
                f"the policy drains {peer}", hint="take 'drain' out of network.yaml and apply that"
            )
        self._peers.drain(peer, draining=draining)
        return (peer,)

    async def rekey(self) -> tuple[str, ...]:
        """Read every session's key again and go on with it; the PEs whose key changed.

        What cannot be read is among the problems of `status`, and the former key stays.
        """
        return await self._peers.rekey()
