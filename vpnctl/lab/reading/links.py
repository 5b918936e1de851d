"""The links of a topology file."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from vpnctl.lab.reading.fields import SUBSET, Fields
from vpnctl.lab.topology import LONGEST_INTERFACE, Endpoint, Link, Node, Wan
from vpnctl.lab.wan.figures import WanFigures, parse_loss, parse_rate, parse_time
from vpnctl.model import Place
from vpnctl.yamltree import tree as yaml
from vpnctl.yamltree.mistake import choices, quote, suggestion

# A `%` makes the kernel choose a name by itself.
_INTERFACE = re.compile(r"^[^\s/:%]+\Z")
_RESERVED = ("lo", ".", "..")
_MTU = range(68, 65536)
_LINK_KEYS = ("endpoints", "mtu", "vars", "labels", "type")
_WAN_FIGURES: Mapping[str, Callable[[str], float]] = {
    "rate": parse_rate,
    "delay": parse_time,
    "jitter": parse_time,
    "loss": parse_loss,
}
_WAN_KEYS = ("name", *_WAN_FIGURES)


class LinkReader:
    """Reads ``topology.links``."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    def links(self, sections: yaml.Mapping, nodes: Mapping[str, Node]) -> tuple[Link, ...]:
        """The links in the file's order."""
        found = sections.entries.get("links")
        if found is None:
            return ()
        if not isinstance(found[1], yaml.Sequence):
            self.fields.wrong(found[1], "a list of links is expected here", "begin each with -")
            return ()
        links = []
        taken: dict[Endpoint, Place] = {}
        names: dict[str, Place] = {}
        for item in found[1].items:
            if not isinstance(item, yaml.Mapping):
                self.fields.wrong(
                    item, "a link is keys and values", 'write `endpoints: ["a:eth1", ...]`'
                )
                continue
            link = self._link(item, nodes, taken)
            if link is None:
                continue
            if link.wan is not None:
                if (first := names.get(link.wan.name)) is not None:
                    self.fields.wrong(
                        item,
                        f"the WAN link's name {link.wan.name!r} is taken by the one in line"
                        f" {first.line}",
                        "give it another with `vars: {wan: {name: ...}}`",
                    )
                names.setdefault(link.wan.name, item.place)
            links.append(link)
        return tuple(links)

    def _link(
        self, item: yaml.Mapping, nodes: Mapping[str, Node], taken: dict[Endpoint, Place]
    ) -> Link | None:
        kind = item.entries.get("type")
        if kind is not None and kind[1].raw() != "veth":
            self.fields.wrong(
                kind[1],
                f"links of type {quote(str(kind[1].raw()))} are not supported",
                "the namespace runner joins two nodes: `type: veth`",
            )
            return None
        self.fields.only(item, _LINK_KEYS, SUBSET)
        ends = self._endpoints(item, nodes, taken)
        mtu = self._mtu(item)
        wan = self._wan(item, ends)
        return None if len(ends) != 2 else Link((ends[0], ends[1]), mtu, wan, item.place)

    def _endpoints(
        self, item: yaml.Mapping, nodes: Mapping[str, Node], taken: dict[Endpoint, Place]
    ) -> list[Endpoint]:
        found = item.entries.get("endpoints")
        if found is None or not isinstance(found[1], yaml.Sequence):
            self.fields.wrong(
                item if found is None else found[1],
                "a link needs a list of two endpoints",
                'write `endpoints: ["pe1:eth1", "core:eth1"]`',
            )
            return []
        written = found[1].items
        if len(written) != 2:
            number = "1 endpoint" if len(written) == 1 else f"{len(written)} endpoints"
            self.fields.wrong(
                found[1],
                f"a link has two endpoints, this one has {number}",
                "for more than two, add a node of `kind: bridge` and link each to it",
            )
        ends = []
        for value in written:
            end = self._endpoint(value)
            if end is None:
                continue
            if end.node not in nodes:
                self.fields.wrong(
                    value,
                    f"no node is called {end.node!r}{suggestion(end.node, nodes)}",
                    choices(nodes, "nodes"),
                )
            elif end in taken:
                self.fields.wrong(
                    value,
                    f"the interface {end} is linked already, in line {taken[end].line}",
                    "an interface has one link: choose another name for it",
                )
            taken.setdefault(end, value.place)
            ends.append(end)
        return ends

    def _endpoint(self, value: yaml.Node) -> Endpoint | None:
        if isinstance(value, yaml.Mapping):
            self.fields.only(value, ("node", "interface"), SUBSET)
            node, interface = (
                self.fields.text(value.entries[key][1], f"a {key}") if key in value.entries else ""
                for key in ("node", "interface")
            )
        else:
            node, _, interface = self.fields.text(value, "NODE:INTERFACE").partition(":")
        if not node or not interface:
            self.fields.wrong(
                value, "this is no endpoint", "write NODE:INTERFACE, such as pe1:eth1"
            )
            return None
        octets = len(interface.encode())
        if not _INTERFACE.match(interface) or octets > LONGEST_INTERFACE or interface in _RESERVED:
            self.fields.wrong(
                value,
                f"{quote(interface)} cannot be the name of an interface",
                f"at most {LONGEST_INTERFACE} octets without blank, '/', ':' and '%', and not 'lo'",
            )
            return None
        return Endpoint(node, interface)

    def _mtu(self, item: yaml.Mapping) -> int | None:
        found = item.entries.get("mtu")
        if found is None:
            return None
        text = self.fields.text(found[1], "a number of octets")
        if text.isdecimal() and int(text) in _MTU:
            return int(text)
        if text:
            self.fields.wrong(
                found[1],
                f"{quote(text)} is no MTU",
                f"write a number of octets, {_MTU.start} to {_MTU.stop - 1}",
            )
        return None

    def _wan(self, item: yaml.Mapping, ends: list[Endpoint]) -> Wan | None:
        variables = self.fields.mapping(item, "vars")
        said = None if variables is None else self.fields.mapping(variables, "wan")
        if said is None:
            return None
        self.fields.only(said, _WAN_KEYS, f"a WAN link has {', '.join(_WAN_KEYS)}")
        figures: dict[str, Any] = {}
        for key, parse in _WAN_FIGURES.items():
            if key in said.entries:
                value = said.entries[key][1]
                try:
                    figures[key] = parse(self.fields.text(value, f"a {key}"))
                except ValueError as error:
                    self.fields.wrong(value, str(error))
        named = said.entries.get("name")
        name = self.fields.text(named[1], "a name") if named else (ends[0].node if ends else "")
        try:
            return Wan(name, WanFigures(**figures))
        except ValueError as error:
            self.fields.wrong(said, str(error))
            return None
