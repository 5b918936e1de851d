"""What a load of the policy knows, kept for the next one so that it looks at changes only."""

from __future__ import annotations

from dataclasses import dataclass, field

from immutables import Map

from vpnctl.model import Vpn
from vpnctl.ruleset.allocation import Register
from vpnctl.ruleset.claims import Claims
from vpnctl.ruleset.draft import Draft
from vpnctl.ruleset.network import NetworkView
from vpnctl.yamltree.mistake import Mistake


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A VPN's file: its bytes, and the draft made of them."""

    content: bytes
    draft: Draft


@dataclass(slots=True, eq=False)
class State:
    """What a load leaves for the next one.  Never changed once its load is over."""

    view: NetworkView
    network_content: bytes
    entries: Map[str, Entry] = field(default_factory=Map)
    #: Of the VPNs' files, by name of the VPN.
    paths: Map[str, str] = field(default_factory=Map)
    #: By VPN, the paths of the files that declare an extranet with it.
    declarers: Map[str, frozenset[str]] = field(default_factory=Map)
    claims: Claims = field(default_factory=Claims)
    register: Register = field(default_factory=Register)
    vpns: dict[str, Vpn] = field(default_factory=dict)
    #: Mistakes of the network file; none once the load is over.
    mistakes: tuple[Mistake, ...] = ()
    #: Whether the register agrees with the VPNs.
    begun: bool = False

    def copy(self) -> State:
        return State(
            self.view,
            self.network_content,
            self.entries,
            self.paths,
            self.declarers,
            self.claims.copy(),
            self.register.copy(),
            self.vpns.copy(),
            begun=self.begun,
        )

    def enter(self, path: str, entry: Entry) -> None:
        self.entries = self.entries.set(path, entry)
        for name in entry.draft.partners:
            declarers = self.declarers.get(name, frozenset()) | {path}
            self.declarers = self.declarers.set(name, declarers)

    def take_out(self, path: str) -> Draft:
        former = self.entries[path].draft
        self.entries = self.entries.delete(path)
        self.paths = self.paths.delete(former.name)
        for name in former.partners:
            declarers = self.declarers[name] - {path}
            if declarers:
                self.declarers = self.declarers.set(name, declarers)
            else:
                self.declarers = self.declarers.delete(name)
        self.claims.remove(former.claims)
        return former

    def declared_with(self, name: str) -> list[Draft]:
        """The drafts whose files declare an extranet with a VPN, in the order of files."""
        return [self.entries[path].draft for path in sorted(self.declarers.get(name, ()))]

    def draft(self, name: str) -> Draft | None:
        """The draft of the VPN of that name."""
        path = self.paths.get(name)
        return None if path is None else self.entries[path].draft
