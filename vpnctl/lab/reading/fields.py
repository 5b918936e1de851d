"""What a tree of located YAML says, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable

from vpnctl.yamltree import tree as yaml
from vpnctl.yamltree.mistake import Mistake, quote, suggestion

#: What to do about something that the runner does not know.
SUBSET = "see lab/README.md for what 'vpnctl lab' supports; containerlab itself may take it"

#: Between the words of a command that is written over several lines.
_BLANKS = "\n\t"


class Fields:
    """Takes values out of the tree; what is not as expected is added to ``mistakes``.

    ``ignored``: what is said and not heeded, in order.
    """

    def __init__(self) -> None:
        self.mistakes: list[Mistake] = []
        self.ignored: dict[str, None] = {}

    def wrong(self, node: yaml.Node, message: str, hint: str = "") -> None:
        """Add a mistake about a node of the tree."""
        self.mistakes.append(Mistake(node.place, node.path, message, hint))

    def of_node(self, key: yaml.Scalar, message: str, hint: str) -> None:
        """Add a mistake about a node of the lab."""
        path = f"topology.nodes.{key.text}"
        self.mistakes.append(Mistake(key.place, path, message, hint))

    def only(self, mapping: yaml.Mapping, known: Iterable[str], hint: str) -> None:
        """Add a mistake for every key that is not ``known``."""
        for key, (written, _) in mapping.entries.items():
            if key not in known:
                self.mistakes.append(unsupported(mapping, written, known, hint))

    def mapping(
        self, parent: yaml.Mapping, key: str, *, required: bool = False
    ) -> yaml.Mapping | None:
        """The mapping at a key; `None` where nothing is written."""
        found = parent.entries.get(key)
        if found is None:
            if required:
                self.wrong(parent, f"the key {key!r} is missing", f"write `{key}:`")
            return None
        value = found[1]
        if isinstance(value, yaml.Mapping):
            return value
        if not (isinstance(value, yaml.Scalar) and value.raw() is None):
            self.wrong(value, "keys and values are expected here", f"write `{key}: {{...}}`")
        return None

    def text(self, value: yaml.Node, what: str) -> str:
        """The text of a scalar, empty where it is none or holds control characters."""
        if isinstance(value, yaml.Scalar) and value.raw() is not None:
            unseen = [one for one in value.text if not (one.isprintable() or one in _BLANKS)]
            if not unseen:
                return value.text
            self.wrong(value, f"the character {unseen[0]!r} is not allowed", "take it out")
            return ""
        self.wrong(value, f"a text is expected here: {what}", "write one, in quotes if need be")
        return ""

    def texts(self, value: yaml.Node, what: str) -> list[yaml.Scalar]:
        """The scalars of a list."""
        if not isinstance(value, yaml.Sequence):
            self.wrong(value, f"a list of {what} is expected here", "write one per line, after -")
            return []
        return [
            item for item in value.items if self.text(item, what) and isinstance(item, yaml.Scalar)
        ]


def unsupported(
    mapping: yaml.Mapping, written: yaml.Scalar, known: Iterable[str], hint: str
) -> Mistake:
    """The mistake of a key that is not ``known``."""
    path = f"{mapping.path}.{written.text}" if mapping.path else written.text
    return Mistake(
        written.place,
        path,
        f"the key {quote(written.text)} is not supported here{suggestion(written.text, known)}",
        hint,
    )
