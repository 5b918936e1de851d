"""What OPENs say about restarts (RFC 4724, RFC 8538, RFC 9494), in ExaBGP's terms.

ExaBGP's own graceful restart cannot be written for the families that we give it, and it has no
long-lived graceful restart at all.
"""

from __future__ import annotations

from typing import Any

from exabgp.bgp.message.open.capability import Capabilities, Capability
from exabgp.bgp.message.open.capability.graceful import Graceful

LONG_LIVED_GRACEFUL_RESTART = 71
#: Our own name for it among a neighbor's capabilities.
LONG_LIVED = "long-lived-graceful-restart"
_RESTART = "graceful-restart"
#: Octets for each family: AFI, SAFI, flags, seconds (RFC 9494 section 3.1).
_ENTRY = 7
_FORWARDING_STATE = 0x80
#: The N bit among the flags of graceful restart (RFC 8538 section 2).
_GRACEFUL_NOTIFICATION = 0x4


# ExaBGP's decorators and classes have no types that mypy could see.
@Capability.register()
class LongLivedGraceful(Capability, dict[tuple[int, int], tuple[bool, int]]):  # type: ignore[misc]
    """AFI and SAFI -> whether forwarding went on, and seconds for which routes are to stay.

    ``legible``: whether it has a length that it may have; if not it is as if it was not there.
    """

    ID = LONG_LIVED_GRACEFUL_RESTART
    legible = True

    def extract(self) -> list[bytes]:
        """The octets of the capability's value."""
        return [
            b"".join(
                int(afi).to_bytes(2, "big")
                + bytes((int(safi), _FORWARDING_STATE if preserved else 0))
                + seconds.to_bytes(3, "big")
                for (afi, safi), (preserved, seconds) in self.items()
            )
        ]

    @staticmethod
    def unpack_capability(
        instance: LongLivedGraceful, octets: bytes, _code: object = None
    ) -> LongLivedGraceful:
        """Read the value; of several instances the last one counts."""
        instance.clear()
        instance.legible = len(octets) % _ENTRY == 0
        if instance.legible:
            for at in range(0, len(octets), _ENTRY):
                family = int.from_bytes(octets[at : at + 2], "big"), octets[at + 2]
                preserved = bool(octets[at + 3] & _FORWARDING_STATE)
                instance[family] = preserved, int.from_bytes(octets[at + 4 : at + _ENTRY], "big")
        return instance

    def __str__(self) -> str:
        return f"Long-Lived Graceful Restart {dict(self)}"


def received(capabilities: Any) -> tuple[Any, LongLivedGraceful | None]:
    """What a peer's OPEN says of graceful restart and long-lived graceful restart.

    Without the former the latter counts for nothing (RFC 9494 section 4.1).
    """
    graceful = capabilities.get(Capability.CODE.GRACEFUL_RESTART)
    long_lived = capabilities.get(LONG_LIVED_GRACEFUL_RESTART)
    if graceful is None or long_lived is None or not long_lived.legible:
        return graceful, None
    return graceful, long_lived


def graceful_notification(graceful: Any) -> bool:
    """Whether a peer that offers graceful restart has set the N bit (RFC 8538 section 2)."""
    return bool(graceful.restart_flag & _GRACEFUL_NOTIFICATION)


def install() -> None:
    """Let our OPENs say it, too."""
    Graceful.extract = _graceful_octets
    Capabilities._graceful = _offer


def _graceful_octets(capability: Graceful) -> list[bytes]:
    """The capability of RFC 4724 section 3; ExaBGP's own fails on its families."""
    head = capability.restart_flag << 12 | capability.restart_time
    families = (
        int(afi).to_bytes(2, "big") + bytes((int(safi), flags))
        for (afi, safi), flags in capability.items()
    )
    return [head.to_bytes(2, "big") + b"".join(families)]


def _offer(capabilities: Any, neighbor: Any, restarted: bool) -> None:
    """Offer both for all families, and that routes outlive NOTIFICATIONs (RFC 8538 section 4).

    We forward no packets, so no forwarding state is ever lost with us; a restart time of 0 is one,
    where long-lived graceful restart begins at once.
    """
    seconds = neighbor["capability"][_RESTART]
    if seconds is False:
        return
    families = [(afi, safi, Graceful.FORWARDING_STATE) for afi, safi in neighbor.families()]
    flags = _GRACEFUL_NOTIFICATION | (Graceful.RESTART_STATE if restarted else 0)
    capabilities[Capability.CODE.GRACEFUL_RESTART] = Graceful().set(flags, seconds, families)
    lasting = neighbor["capability"].get(LONG_LIVED)
    if lasting:
        offered = LongLivedGraceful()
        offered.update({(int(afi), int(safi)): (True, lasting) for afi, safi, _ in families})
        capabilities[LONG_LIVED_GRACEFUL_RESTART] = offered
