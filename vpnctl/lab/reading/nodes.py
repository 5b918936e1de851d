"""The nodes of a topology file, with what its defaults, kinds and groups add to them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from vpnctl.lab.images import LABELLED_ROLES, ROLE_LABEL, role_of_image
from vpnctl.lab.reading.fields import SUBSET, Fields, unsupported
from vpnctl.lab.topology import Bind, Node, Role
from vpnctl.yamltree import tree as yaml
from vpnctl.yamltree.mistake import Mistake, quote, suggestion

#: Longest name of a node: it is part of the names of namespaces and files.
LONGEST_NODE = 40
_SYSCTL = re.compile(r"^net(\.[a-zA-Z0-9_/-]+)+\Z")
NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9._-]*\Z")
_VARIABLE = re.compile(r"^[^=\s]+\Z")

_NODE_KEYS = (
    *("kind", "image", "group", "binds", "exec", "cmd", "env", "labels", "sysctls"),
    "network-mode",
)
#: Of use to containerlab only, and harmless where it does not run.
_IGNORED_NODE_KEYS = ("mgmt-ipv4", "mgmt-ipv6", "image-pull-policy", "restart-policy", "cap-add")
_KINDS = ("linux", "bridge")
#: Virtual machines and containers of Junos, for those who have the image.
_FOREIGN_KINDS = (
    *("juniper_vjunosrouter", "juniper_vjunosswitch", "juniper_vjunosevolved"),
    *("juniper_vmx", "juniper_crpd"),
)


@dataclass
class _Settings:
    """What one level (defaults, a kind, a group, a node) says; ``texts`` by key."""

    texts: dict[str, yaml.Scalar] = field(default_factory=dict)
    binds: tuple[Bind, ...] = ()
    execs: tuple[tuple[str, ...], ...] = ()
    maps: dict[str, dict[str, str]] = field(default_factory=dict)
    unsupported: tuple[Mistake, ...] = ()

    def over(self, below: _Settings) -> _Settings:
        """This level on top of ``below``: texts replace, lists add up, mappings are merged."""
        return _Settings(
            {**below.texts, **self.texts},
            below.binds + self.binds,
            below.execs + self.execs,
            {
                key: {**below.maps.get(key, {}), **self.maps.get(key, {})}
                for key in (*below.maps, *self.maps)
            },
            below.unsupported + self.unsupported,
        )


class NodeReader:
    """Reads ``topology.nodes``."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    def nodes(self, sections: yaml.Mapping) -> dict[str, Node]:
        """The nodes by name, in the file's order."""
        defaults = self.fields.mapping(sections, "defaults")
        base = _Settings() if defaults is None else self._settings(defaults)
        levels = {key: self._levels(sections, key) for key in ("kinds", "groups")}
        found = self.fields.mapping(sections, "nodes", required=True)
        nodes: dict[str, Node] = {}
        for name, (key, value) in () if found is None else found.entries.items():
            if not NAME.match(name) or len(name) > LONGEST_NODE:
                self.fields.wrong(
                    key,
                    f"{quote(name)} cannot be a node's name",
                    f"at most {LONGEST_NODE} letters, digits, '-', '_' and '.',"
                    " the first a letter or digit",
                )
                continue
            if isinstance(value, yaml.Mapping):
                own = self._settings(value)
            else:
                own = _Settings()
                if value.raw() is not None:
                    self.fields.wrong(
                        value, "a node is keys and values", "write `kind: linux`, say"
                    )
            nodes[name] = self._node(name, key, own, base, levels)
        return nodes

    def _levels(self, sections: yaml.Mapping, key: str) -> dict[str, _Settings]:
        found = self.fields.mapping(sections, key)
        if found is None:
            return {}
        return {
            name: self._settings(value)
            for name, (_, value) in found.entries.items()
            if isinstance(value, yaml.Mapping)
        }

    def _node(
        self,
        name: str,
        key: yaml.Scalar,
        own: _Settings,
        base: _Settings,
        levels: Mapping[str, Mapping[str, _Settings]],
    ) -> Node:
        kind, group = ((own.texts.get(word) or base.texts.get(word)) for word in ("kind", "group"))
        if kind is None:
            self.fields.of_node(key, f"the node {name!r} has no kind", "write `kind: linux`")
        elif kind.text not in (*_KINDS, *_FOREIGN_KINDS):
            self.fields.wrong(
                kind,
                f"the kind {quote(kind.text)} is not supported"
                + suggestion(kind.text, (*_KINDS, *_FOREIGN_KINDS)),
                f"'vpnctl lab' runs the kinds {' and '.join(_KINDS)}; {SUBSET}",
            )
        merged = base
        for section, chosen in (("kinds", kind), ("groups", group)):
            level = levels[section].get(chosen.text) if chosen is not None else None
            if level is not None:
                merged = level.over(merged)
        merged = own.over(merged)
        return self._built(name, key, merged)

    def _built(self, name: str, key: yaml.Scalar, said: _Settings) -> Node:
        kind = said.texts["kind"].text if "kind" in said.texts else "linux"
        image = said.texts["image"].text if "image" in said.texts else ""
        role = self._role(key, kind, image, said)
        if role is not Role.FOREIGN:
            self.fields.mistakes += said.unsupported
        if kind == "linux" and not image:
            self.fields.of_node(
                key, f"the node {name!r} has no image", "write `image: alpine:3`, for a plain host"
            )
        command = said.texts.get("cmd")
        return Node(
            name=name,
            kind=kind,
            image=image,
            role=role,
            place=key.place,
            group=said.texts["group"].text if "group" in said.texts else "",
            binds=said.binds,
            execs=said.execs,
            command=() if command is None else self._words(command),
            environment=said.maps.get("env", {}),
            labels=said.maps.get("labels", {}),
            sysctls=said.maps.get("sysctls", {}),
        )

    def _role(self, key: yaml.Scalar, kind: str, image: str, said: _Settings) -> Role:
        if kind == "bridge":
            return Role.BRIDGE
        if kind != "linux":
            return Role.FOREIGN
        label = said.maps.get("labels", {}).get(ROLE_LABEL)
        if label is None:
            return role_of_image(image)
        if label not in LABELLED_ROLES:
            self.fields.of_node(
                key,
                f"the label {ROLE_LABEL} of {key.text!r} is {quote(label)}"
                + suggestion(label, LABELLED_ROLES),
                f"it may be {' or '.join(LABELLED_ROLES)}",
            )
        return LABELLED_ROLES.get(label, Role.FOREIGN)

    def _settings(self, mapping: yaml.Mapping) -> _Settings:
        settings = _Settings()
        refused: list[Mistake] = []
        for key, (written, value) in mapping.entries.items():
            if key in ("kind", "image", "group", "cmd"):
                self.fields.text(value, "one text")
                if isinstance(value, yaml.Scalar) and value.text:
                    settings.texts[key] = value
            elif key == "binds":
                settings.binds = tuple(self._binds(value))
            elif key == "exec":
                commands = self.fields.texts(value, "commands")
                settings.execs = tuple(words for one in commands if (words := self._words(one)))
            elif key in ("env", "labels", "sysctls"):
                settings.maps[key] = self._map(value)
                if key == "env" and isinstance(value, yaml.Mapping):
                    self._check_variables(value)
                if key == "sysctls" and isinstance(value, yaml.Mapping):
                    refused += _not_of_a_namespace(value)
            elif key in _IGNORED_NODE_KEYS:
                self.fields.ignored[f"{key}: for containerlab only"] = None
            elif key != "network-mode" or value.raw() != "none":
                known = (*_NODE_KEYS, *_IGNORED_NODE_KEYS)
                refused.append(unsupported(mapping, written, known, SUBSET))
        settings.unsupported = tuple(refused)
        return settings

    def _map(self, value: yaml.Node) -> dict[str, str]:
        if not isinstance(value, yaml.Mapping):
            self.fields.wrong(value, "keys and values are expected here", "write `KEY: VALUE`")
            return {}
        return {key: self.fields.text(each, "a value") for key, (_, each) in value.entries.items()}

    def _check_variables(self, value: yaml.Mapping) -> None:
        for name, (written, _) in value.entries.items():
            if not _VARIABLE.match(name) or not name.isprintable():
                self.fields.wrong(
                    written,
                    f"{quote(name)} cannot be the name of a variable",
                    "write NAME: VALUE, without blanks and '=' in the name",
                )

    def _binds(self, value: yaml.Node) -> Iterable[Bind]:
        for item in self.fields.texts(value, "binds"):
            source, _, rest = item.text.partition(":")
            target, _, mode = rest.partition(":")
            if not source or not target.startswith("/") or mode not in ("", "ro", "rw"):
                self.fields.wrong(
                    item,
                    f"{quote(item.text)} is no bind",
                    "write FILE:/PATH/IN/THE/NODE, with :ro after it for read-only",
                )
            elif "__clab" in source:
                self.fields.wrong(
                    item,
                    "containerlab's variables are not supported in binds",
                    "write the path out, relative to the topology file",
                )
            elif ".." in target.split("/") or not target.strip("/"):
                self.fields.wrong(
                    item,
                    f"nothing can be bound to {quote(target)}",
                    "write the path of a file or directory in the node, without '..'",
                )
            else:
                yield Bind(source, target.rstrip("/"), mode == "ro", item.place)

    def _words(self, command: yaml.Scalar) -> tuple[str, ...]:
        try:
            return tuple(shlex.split(command.text))
        except ValueError as error:
            self.fields.wrong(
                command, f"the command cannot be split into words: {error}", "close the quote"
            )
            return ()


def _not_of_a_namespace(sysctls: yaml.Mapping) -> list[Mistake]:
    return [
        Mistake(
            written.place,
            f"{sysctls.path}.{name}",
            f"the sysctl {quote(name)} is not one of a network namespace",
            "a node may set what begins with net., such as net.ipv4.ip_forward",
        )
        for name, (written, _) in sysctls.entries.items()
        if not _SYSCTL.match(name)
    ]
