"""YAML text as a tree of nodes that know their place; no value is interpreted.

The subset of YAML 1.1 that such files need, and nothing an operator could trip over:

- every scalar is the text that was written: ``65000:100`` is no base-60 number, ``no`` no boolean,
  ``1.10`` not 1.1;
- anchors, aliases and tags are refused before anything is expanded (an alias bomb is a few lines
  that unfold to gigabytes), and so are deep nesting, duplicate keys, and a second document;
- the tree is built from parser events with a stack of its own, so that no input can exhaust
  Python's or C's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

import yaml

from vpnctl.model import Place
from vpnctl.yamltree.lines import line_mistakes
from vpnctl.yamltree.mistake import Mistake, quote

#: Largest file that is looked at, in bytes.
MAX_FILE_SIZE = 1 << 20
#: Lists and mappings within each other; a policy needs five, a topology six.
MAX_DEPTH = 24
#: Characters of one scalar.
MAX_SCALAR = 2048

_BOM = "\ufeff"
#: libyaml where PyYAML was built with it (about ten times faster), else the same in Python.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Raw = str | list["Raw"] | dict[str, "Raw"] | None


@dataclass(slots=True, eq=False)
class Node:
    """Base of the three kinds of node.

    ``line`` and ``column`` count from 1; ``parent`` is None for the root, ``step`` the index or key
    there, None for a key itself.  ``start`` and ``end`` are offsets in the text, in characters.
    The end of a block collection is not exact: it may reach over the comments that follow.
    """

    file: str
    line: int
    column: int
    parent: Node | None
    step: str | int | None
    start: int
    end: int

    # Made when asked for: most nodes are never spoken of.

    @property
    def place(self) -> Place:
        """Where the node begins."""
        return Place(self.file, self.line, self.column)

    @property
    def path(self) -> str:
        """As the operator would say it, e.g. ``sites[1].vlan``; empty for the root."""
        if self.parent is None:
            return ""
        path = self.parent.path
        if self.step is None:
            return path
        if isinstance(self.step, int):
            return f"{path}[{self.step}]"
        return f"{path}.{self.step}" if path else self.step

    def raw(self) -> Raw:
        """The node as plain Python: `str`, `list`, `dict`, or `None` where nothing is written."""
        raise NotImplementedError


@dataclass(slots=True, eq=False)
class Scalar(Node):
    """Text; ``plain`` says that it was written without quotes."""

    text: str
    plain: bool

    def raw(self) -> Raw:
        return None if self.plain and self.text in ("", "~") else self.text


@dataclass(slots=True, eq=False)
class Sequence(Node):
    """A list; ``flow`` for ``[a, b]``, else one item per ``-``."""

    flow: bool
    items: list[Node] = field(default_factory=list)

    def raw(self) -> Raw:
        return [item.raw() for item in self.items]


@dataclass(slots=True, eq=False)
class Mapping(Node):
    """A mapping from text to nodes, with the node of every key; ``flow`` for ``{a: b}``."""

    flow: bool
    entries: dict[str, tuple[Scalar, Node]] = field(default_factory=dict)

    def raw(self) -> Raw:
        return {key: value.raw() for key, (_, value) in self.entries.items()}


def find(root: Node, loc: Iterable[str | int]) -> Node:
    """The node at ``loc``, e.g. ``("sites", 1, "vlan")``.

    Steps that the tree does not have are passed over, for the short forms: where ``targets`` is a
    single string, ``("targets", "export", 0)`` is that string.
    """
    node = root
    for step in loc:
        if isinstance(node, Mapping) and step in node.entries:
            node = node.entries[str(step)][1]
        elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
            node = node.items[step]
    return node


class DocumentError(Exception):
    """The text is no such document; ``mistakes`` says why."""

    def __init__(self, *mistakes: Mistake) -> None:
        super().__init__("; ".join(mistake.message for mistake in mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True, slots=True)
class Genre:
    """What files of one kind hold, in the words of hints.

    ``example``: a key and its value; ``whole``: the least that makes a file; ``see``: where all of
    it is described.
    """

    example: str
    whole: str
    see: str


def decode(file: str, content: bytes) -> str:
    """``content`` as text.  Raises `DocumentError` where it is too large or not UTF-8."""
    if len(content) > MAX_FILE_SIZE:
        raise DocumentError(too_large(file, len(content)))
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line_start = before.rfind(b"\n") + 1
        place = Place(
            file,
            before.count(b"\n") + 1,
            len(before[line_start:].decode("utf-8", "replace")) + 1,
        )
        raise DocumentError(
            Mistake(
                place,
                "",
                f"this is not UTF-8 text (byte 0x{content[error.start]:02x})",
                "save the file as UTF-8",
            )
        ) from None


def too_large(file: str, size: int) -> Mistake:
    """The mistake of a file of ``size`` bytes."""
    return Mistake(
        Place(file, 1),
        "",
        f"the file has {size} bytes; at most {MAX_FILE_SIZE} are read",
        "split it, or move it out of the way",
    )


def parse(file: str, content: bytes, genre: Genre) -> Mapping:
    """The tree of a file.  Raises `DocumentError` with everything that is wrong with its form."""
    return parse_text(file, decode(file, content), genre)


def parse_text(file: str, text: str, genre: Genre) -> Mapping:
    """Like `parse`, for text; offsets of the nodes count from its beginning."""
    misfits = line_mistakes(file, text)
    if misfits:
        raise DocumentError(*misfits)
    builder = _Builder(file, 1 if text.startswith(_BOM) else 0)
    try:
        for event in yaml.parse(text.removeprefix(_BOM), Loader=_LOADER):
            builder.feed(event)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Place(file, mark.line + 1, mark.column + 1) if mark else Place(file, 1)
        raise DocumentError(Mistake(place, "", *_explain(error))) from None
    except yaml.reader.ReaderError as error:
        code = ord(error.character) if isinstance(error.character, str) else error.character
        lines = text[: error.position].splitlines() or [""]
        raise DocumentError(
            Mistake(
                Place(file, len(lines), len(lines[-1]) + 1),
                "",
                f"character U+{code:04X} may not stand in YAML",
                "take it out",
            )
        ) from None
    if builder.mistakes:
        raise DocumentError(*builder.mistakes)
    root = builder.root
    if root is None or (isinstance(root, Scalar) and root.raw() is None):
        raise DocumentError(
            Mistake(
                Place(file, 1),
                "",
                "the file is empty",
                f"write {genre.whole}, or take the file away",
            )
        )
    if not isinstance(root, Mapping):
        raise DocumentError(
            Mistake(
                root.place,
                "",
                f"the file must hold keys and values (`{genre.example}`), not "
                + ("a list" if isinstance(root, Sequence) else "bare text"),
                f"see {genre.see}",
            )
        )
    return root


_EXPLANATIONS = {
    "mapping values are not allowed in this context": (
        "a second `key:` on one line, or a line that is indented too far",
        "put it on a line of its own, quote text that holds a colon and a space, or see whether"
        " the line above lacks its colon and space",
    ),
    "could not find expected ':'": (
        "a key without its colon",
        "write `key: value`, with the colon and a space",
    ),
    "did not find expected key": (
        "this line fits neither the line above nor the list or mapping around it",
        "line it up with its neighbours",
    ),
    "did not find expected '-' indicator": (
        "this line fits neither the line above nor the list around it",
        "line it up with its neighbours",
    ),
    "did not find expected ',' or ']'": (
        "the list that began before this is not closed",
        "put a comma between items and a ] at the end",
    ),
    "did not find expected ',' or '}'": (
        "the mapping that began before this is not closed",
        "put a comma between entries and a } at the end",
    ),
    "did not find expected node content": (
        "a value is missing here, or a bracket is not closed",
        "write it, close the [ or { that began before, or quote text that begins with : or [",
    ),
    "found unexpected end of stream": (
        "the file ends within a quoted text",
        "close the quote",
    ),
    "found character that cannot start any token": (
        "no value can begin with this character",
        "put the text in quotes",
    ),
    "found unexpected ':'": (
        "a colon where none can be",
        "quote text that ends with a colon",
    ),
    "did not find expected <document start>": (
        "something follows the end of the document",
        "a file holds one document: put the rest into a file of its own",
    ),
}


def _explain(error: yaml.MarkedYAMLError) -> tuple[str, str]:
    """Message and hint for a syntax error, in other words than the parser's where we have some."""
    problem = error.problem or error.context or "the YAML cannot be read"
    return _EXPLANATIONS.get(problem, (f"YAML: {problem}", "correct the syntax near this place"))


class _Builder:
    """Builds the tree from events; goes on after a mistake wherever that makes sense."""

    def __init__(self, file: str, offset: int) -> None:
        self._file = file
        self._offset = offset
        #: The innermost collection, and the key whose value comes next, if it is a mapping.
        self._parent: Mapping | Sequence | None = None
        self._key: Scalar | None = None
        self._outer: list[tuple[Mapping | Sequence | None, Scalar | None]] = []
        self._documents = 0
        self.root: Node | None = None
        self.mistakes: list[Mistake] = []

    def feed(self, event: yaml.Event) -> None:
        take = self._TAKE.get(type(event))
        if take is not None:
            take(self, event)

    def _alias(self, event: yaml.AliasEvent) -> None:
        self._stop(
            event,
            f"the alias *{event.anchor} is not supported",
            "write the value out: these files say everything where it is used",
        )

    def _begin_document(self, event: yaml.DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop(
                event,
                "a second document begins here",
                "a file holds one document: put this into a file of its own",
            )

    def _stop(self, event: yaml.Event, message: str, hint: str) -> None:
        mark = event.start_mark
        assert mark is not None
        place = Place(self._file, mark.line + 1, mark.column + 1)
        raise DocumentError(*self.mistakes, Mistake(place, "", message, hint))

    def _refuse_anchor_or_tag(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent) -> None:
        if event.anchor is not None:
            self._stop(
                event,
                f"the anchor &{event.anchor} is not supported",
                "write the value out: these files say everything where it is used",
            )
        self._stop(event, f"the tag {event.tag} is not supported", "take it out")

    def _step(self) -> str | int | None:
        """Index or key of the node that comes next; None for a key."""
        if isinstance(self._parent, Sequence):
            return len(self._parent.items)
        return None if self._key is None else self._key.text

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        if event.anchor is not None or event.tag is not None:
            self._refuse_anchor_or_tag(event)
        text = event.value
        if len(text) > MAX_SCALAR:
            self._stop(
                event,
                f"a text of {len(text)} characters; at most {MAX_SCALAR} are read",
                "shorten it",
            )
        mark, end = event.start_mark, event.end_mark
        assert mark is not None
        assert end is not None
        self._add(
            Scalar(
                self._file,
                mark.line + 1,
                mark.column + 1,
                self._parent,
                self._step(),
                mark.index + self._offset,
                end.index + self._offset,
                text,
                event.implicit[0],
            )
        )

    def _open(self, event: yaml.CollectionStartEvent) -> None:
        if event.anchor is not None or event.tag is not None:
            self._refuse_anchor_or_tag(event)
        if len(self._outer) >= MAX_DEPTH:
            self._stop(
                event,
                f"lists and mappings are nested more than {MAX_DEPTH} deep",
                "five or six levels are enough",
            )
        if isinstance(self._parent, Mapping) and self._key is None:
            self._stop(event, "a key must be plain text", "write `key: value`")
        mark = event.start_mark
        assert mark is not None
        start = mark.index + self._offset
        node = (Sequence if isinstance(event, yaml.SequenceStartEvent) else Mapping)(
            self._file,
            mark.line + 1,
            mark.column + 1,
            self._parent,
            self._step(),
            start,
            start,
            bool(event.flow_style),
        )
        self._add(node)
        self._outer.append((self._parent, self._key))
        self._parent, self._key = node, None

    def _close(self, event: yaml.CollectionEndEvent) -> None:
        assert self._parent is not None
        assert event.end_mark is not None
        self._parent.end = event.end_mark.index + self._offset
        self._parent, self._key = self._outer.pop()

    def _add(self, node: Node) -> None:
        parent, key = self._parent, self._key
        if parent is None:
            self.root = node
        elif isinstance(parent, Sequence):
            parent.items.append(node)
        elif key is None:
            assert isinstance(node, Scalar)
            self._key = node
        else:
            self._key = None
            if key.text not in parent.entries:
                parent.entries[key.text] = key, node
                return
            first = parent.entries[key.text][0].line
            path = parent.path
            self.mistakes.append(
                Mistake(
                    key.place,
                    f"{path}.{key.text}" if path else key.text,
                    f"the key {quote(key.text)} stands here twice, first in line {first}",
                    "keep one of them",
                )
            )

    #: What is done with each kind of event; the others are of no interest.
    _TAKE: ClassVar[dict[type[yaml.Event], Callable[..., None]]] = {
        yaml.ScalarEvent: _scalar,
        yaml.SequenceStartEvent: _open,
        yaml.MappingStartEvent: _open,
        yaml.SequenceEndEvent: _close,
        yaml.MappingEndEvent: _close,
        yaml.AliasEvent: _alias,
        yaml.DocumentStartEvent: _begin_document,
    }
