"""FRR's configuration as blocks of lines: which are ours, and a whole configuration with them.

``show running-config`` tells the block that a line is in by its indentation.  A template marks a
line or block that is ours by a ``+`` in the first column; what has no mark leads there, or is
shared with others and never taken away::

    router bgp 65000
    + neighbor 10.0.0.100 remote-as 65000
     address-family l2vpn evpn
      advertise-all-vni
    +  vni 100
        rd 10.0.0.3:100
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

FRR = "frr"

_OURS = "+"
_BETWEEN = " / "
#: Blocks within blocks; FRR has four, and what a router sends is not trusted to.
_DEEPEST = 20
#: By the first word of a block, how it ends; other blocks end in ``exit``.
_ENDS = {"address-family": "exit-address-family", "vni": "exit-vni", "vrf": "exit-vrf"}
_NO_CONTENT = frozenset(("end", "exit", *_ENDS.values()))


@dataclass(slots=True)
class Block:
    """A line, with the lines that are in it; ``ours`` by a template's mark."""

    line: str
    ours: bool = False
    lines: list[Block] = field(default_factory=list)

    def find(self, line: str) -> Block | None:
        """The block or line in this one that reads so."""
        return next((one for one in self.lines if one.line == line), None)


def parse_blocks(text: str) -> Block:
    """The blocks of a configuration, in a block without a line; comments and ends are left out."""
    root = Block("")
    stack: list[tuple[int, Block]] = [(-1, root)]
    for written in text.splitlines():
        ours = written.startswith(_OURS)
        shown = written[1:] if ours else written
        line = " ".join(shown.split())
        if not line or line.startswith(("!", "#")) or line in _NO_CONTENT:
            continue
        depth = len(shown) - len(shown.lstrip())
        while stack[-1][0] >= depth or len(stack) > _DEEPEST:
            stack.pop()
        block = Block(line, ours)
        stack[-1][1].lines.append(block)
        stack.append((depth, block))
    return root


def blocks_text(root: Block) -> str:
    """The configuration as FRR shows it, without marks."""
    return "".join(f"{line}\n" for line in _shown(root.lines, 0))


def owned_blocks(root: Block) -> tuple[str, ...]:
    """The paths of what is marked as ours."""
    return tuple(_BETWEEN.join(path) for path, block in _walk(root) if block.ours)


def merge_blocks(running: str, content: str, owned: Iterable[str], delete: Iterable[str]) -> str:
    """The whole configuration that a router has once it has ours.

    What is in ``delete`` goes, what is ``owned`` becomes what it is in ``content``, the rest of
    ``content`` is added where it is missing, and everything else stays.
    """
    result = parse_blocks(running)
    for path in delete:
        *above, last = path.split(_BETWEEN)
        parent = _at(result, above)
        if parent is not None:
            parent.lines = [one for one in parent.lines if one.line != last]
    _merge(result, parse_blocks(content), (), frozenset(owned))
    return blocks_text(result)


def owned_blocks_text(running: str, owned: Iterable[str]) -> str:
    """The owned lines of a configuration, each with the blocks it is in, sorted."""
    root = parse_blocks(running)
    lines: set[str] = set()
    for path in owned:
        steps = path.split(_BETWEEN)
        block = _at(root, steps)
        if block is not None:
            lines.add(path)
            lines.update(_BETWEEN.join((path, *below)) for below, _ in _walk(block))
    return "".join(f"{line}\n" for line in sorted(lines))


def _merge(into: Block, content: Block, path: tuple[str, ...], owned: frozenset[str]) -> None:
    for block in content.lines:
        here = (*path, block.line)
        present = into.find(block.line)
        if present is None:
            into.lines.append(block)
        elif _BETWEEN.join(here) in owned:
            present.lines = block.lines
        else:
            _merge(present, block, here, owned)


def _at(root: Block, steps: Sequence[str]) -> Block | None:
    block: Block | None = root
    for line in steps:
        if block is None:
            return None
        block = block.find(line)
    return block


def _walk(root: Block) -> Iterator[tuple[tuple[str, ...], Block]]:
    for block in root.lines:
        yield (block.line,), block
        for path, below in _walk(block):
            yield (block.line, *path), below


def _shown(blocks: list[Block], depth: int) -> Iterator[str]:
    for block in blocks:
        yield " " * depth + block.line
        if block.lines:
            yield from _shown(block.lines, depth + 1)
            word = block.line.split()[0]
            yield " " * depth + _ENDS.get(word, "exit")
