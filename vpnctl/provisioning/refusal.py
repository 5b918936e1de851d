"""One reason why a router cannot have what the policy asks for, worded like a policy's mistake."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vpnctl.errors import RenderError
from vpnctl.model import Place
from vpnctl.provisioning.intent import Attachment, RouterIntent

_NETWORK = Place("network.yaml", 1)


@dataclass(frozen=True, slots=True, order=True)
class Refusal:
    """What is wrong (``message``), where (``place`` and ``path``), and what to do about it."""

    place: Place
    path: str
    message: str
    hint: str

    def __str__(self) -> str:
        return f"{self.place}:{self.place.column}  {self.path}: {self.message}\n  {self.hint}"


def router_refusal(intent: RouterIntent, key: str, message: str, hint: str) -> Refusal:
    """One about the router's entry in the network."""
    return Refusal(intent.place or _NETWORK, f"pes.{intent.router}.{key}", message, hint)


def endpoint_refusal(
    intent: RouterIntent, attachment: Attachment, message: str, hint: str
) -> Refusal:
    """One about an endpoint, at the place where the policy asks for it."""
    place = attachment.place or intent.place or _NETWORK
    path = f"{attachment.vpn} at {attachment.site}, {intent.router}"
    return Refusal(place, path, message, hint)


def refused(refusals: Iterable[Refusal]) -> RenderError:
    """The error that reports them all, in the order of their places."""
    found = tuple(sorted(set(refusals)))
    count = "1 mistake" if len(found) == 1 else f"{len(found)} mistakes"
    return RenderError(
        f"{count} in what the routers shall have: {found[0].message}",
        hint="correct them and try again",
        mistakes=found,
    )


def refusals(error: RenderError) -> list[Refusal]:
    """What `refused` has put into an error."""
    return [one for one in error.mistakes if isinstance(one, Refusal)]
