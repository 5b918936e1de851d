"""A session's requests, and what they are about."""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from vpnctl.lab.junos.faults import Phase
from vpnctl.lab.junos.notation_xml import local_name
from vpnctl.lab.junos.router import Router, Session


@dataclass(slots=True)
class Dialogue:
    """One session's requests.  ``standard``: it is a router of RFC 6241 and no Junos."""

    router: Router
    session: Session
    standard: bool
    ended: bool = False

    def phase(self, request: etree._Element) -> Phase:
        """What a request asks for, as faults count it."""
        name = local_name(request)
        words = {local_name(one) for one in request.iter(tag=etree.Element)}
        match name:
            case "lock" | "lock-configuration" | "open-configuration":
                return Phase.ASK if "running" in words else Phase.LOCK
            case "unlock" | "unlock-configuration" | "close-configuration":
                return Phase.ASK if "running" in words else Phase.UNLOCK
            case "edit-config":
                return Phase.LOAD
            case "load-configuration":
                number = request.get("rollback")
                return (
                    Phase.LOAD
                    if number is None
                    else Phase.DISCARD
                    if number == "0"
                    else Phase.CANCEL
                )
            case "get-configuration" if request.get("compare"):
                return Phase.DIFF
            case "validate":
                return Phase.CHECK
            case "commit" | "commit-configuration":
                if "check" in words:
                    return Phase.CHECK
                if "confirmed" in words:
                    return Phase.COMMIT
                if self.router.unconfirmed is None:
                    return Phase.COMMIT
                return Phase.CANCEL if self.router.modified else Phase.CONFIRM
            case "cancel-commit":
                return Phase.CANCEL
            case "discard-changes":
                return Phase.DISCARD
            case "close-session":
                return Phase.CLOSE
            case "get-commit-information":
                return Phase.ASK
        return Phase.READ if self.router.unconfirmed is None else Phase.VERIFY
