"""QEMU's migration stream, cut anywhere, to events.

The stream is a row of *items*, most of them a few octets long: the file's header, a section's
header, one entry of the list of RAM blocks, one page.  Pages come in runs, see
`vpnctl.sidecar.stream.runs`.

The meaning of every octet is known up to the end of the RAM, or to the first section of a device
if that comes earlier; sections of devices have no length, so from there on everything passes as
it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from types import MappingProxyType

import numpy as np

from vpnctl.errors import StreamRefusedError
from vpnctl.sidecar.stream import preamble
from vpnctl.sidecar.stream.cursor import Cursor, NeedMoreError
from vpnctl.sidecar.stream.events import Event, Octets, Opaque, Pages
from vpnctl.sidecar.stream.format import (
    FLAG_MASK,
    PAGE_SIZE,
    RAM_FLAGS_REFUSED,
    RamFlag,
    Section,
)
from vpnctl.sidecar.stream.preamble import MACHINES_HINT, MAX_ITEM, shown
from vpnctl.sidecar.stream.runs import FILLED, FULL, read_runs

#: A machine has some ten RAM blocks, and one more for each memory module.
_MAX_BLOCKS = 4096


class Phase(Enum):
    """How far a stream is."""

    SETUP = "setup"  # up to the list of RAM blocks
    MEMORY = "memory"  # pages are being sent
    DEVICES = "devices"  # no more pages: everything passes as it is


class _State(Enum):
    """What comes next."""

    MAGIC = "the header of the stream"
    SECTION = "a section"
    CONFIGURATION = "the rest of the machine's configuration"
    SKIP = "the parameters of a command"
    RECORDS = "a page"
    BLOCKS = "the list of RAM blocks"
    FOOTER = "the footer of a section"
    OPAQUE = "the state of the devices"


class StreamParser:
    """One stream's octets to events.

    After a `StreamRefusedError` every further call raises it again.
    """

    def __init__(self) -> None:
        self._state = _State.MAGIC
        self._offset = 0
        self._tail = b""
        self._refused: StreamRefusedError | None = None
        self._skip = 0
        self._section = Section.EOF
        self._section_id: int | None = None
        self._blocks: dict[bytes, int] = {}
        self._unlisted = 0
        self._block = b""
        self._steps: dict[_State, Callable[[Cursor], list[Pages] | None]] = {
            _State.MAGIC: self._read_magic,
            _State.SECTION: self._read_section,
            _State.CONFIGURATION: self._read_configuration,
            _State.RECORDS: self._read_records,
            _State.BLOCKS: self._read_block,
            _State.FOOTER: self._read_footer,
        }

    @property
    def blocks(self) -> Mapping[bytes, int]:
        """Octets of each RAM block by name; empty until the stream has listed them."""
        return MappingProxyType(self._blocks)

    @property
    def phase(self) -> Phase:
        if self._state is _State.OPAQUE:
            return Phase.DEVICES
        return Phase.MEMORY if self._blocks and not self._unlisted else Phase.SETUP

    @property
    def has_stopped(self) -> bool:
        """Whether QEMU has paused the guest: what it sends now is what was left.

        It begins the last part of the RAM's section when the guest stands still
        (``qemu_savevm_state_complete_precopy``).
        """
        return self._section is Section.END

    @property
    def offset(self) -> int:
        """Octets of the stream that have become events."""
        return self._offset

    def feed(self, octets: Octets) -> list[Event]:
        """The events that ``octets``, the next ones of the stream, complete.

        Their sizes add up to what was fed, but for an incomplete item at the end: it is kept, and
        is at most `MAX_ITEM` octets long.  Events may be views of ``octets``.

        Raises `StreamRefusedError` if the stream is damaged or uses what is not supported.
        """
        if self._refused is not None:
            raise self._refused
        events: list[Event] = []
        view = memoryview(octets)
        begin = 0
        try:
            if self._tail:
                kept = len(self._tail)
                joined = memoryview(self._tail + bytes(view[:MAX_ITEM]))
                done = self._parse(joined, kept, events)
                if done < kept:
                    self._tail = bytes(joined)
                    return events
                begin = done - kept
            begin += self._parse(view[begin:], len(view) - begin, events)
        except StreamRefusedError as error:
            self._tail = b""
            self._refused = StreamRefusedError(
                f"{error.message} ({self._offset} octets into the stream)", hint=error.hint
            )
            raise self._refused from None
        self._tail = bytes(view[begin:])
        return events

    def finish(self) -> None:
        """Nothing more comes.  Raises `StreamRefusedError` if the stream is not whole.

        Where the state of the devices ends cannot be known: a stream cut there is not noticed.
        """
        if self._refused is not None:
            raise self._refused
        if self._state is not _State.OPAQUE:
            raise StreamRefusedError(
                f"the stream ends after {self._offset + len(self._tail)} octets, "
                f"where {self._state.value} should follow",
                hint="the migration was cancelled or failed at its source: see QEMU there",
            )

    def _parse(self, octets: memoryview, until: int, events: list[Event]) -> int:
        """Read the whole items that begin before ``until``; how many octets they are."""
        position = passed = 0
        while position < until:
            pages: list[Pages] | None = None
            if self._state is _State.OPAQUE:
                end = len(octets)
            elif self._state is _State.SKIP:
                end = min(len(octets), position + self._skip)
                self._skip -= end - position
                self._state = _State.SKIP if self._skip else _State.SECTION
            else:
                cursor = Cursor(octets, position)
                try:
                    pages = self._steps[self._state](cursor)
                except NeedMoreError:
                    break
                end = cursor.position
            if pages:
                if passed < position:
                    events.append(Opaque(octets[passed:position]))
                events.extend(pages)
                passed = end
            self._offset += end - position
            position = end
        if passed < position:
            events.append(Opaque(octets[passed:position]))
        return position

    def _read_magic(self, cursor: Cursor) -> None:
        preamble.read_magic(cursor)
        self._state = _State.SECTION

    def _read_section(self, cursor: Cursor) -> None:
        kind = cursor.u8()
        match kind:
            case Section.CONFIGURATION:
                preamble.read_machine(cursor)
                self._state = _State.CONFIGURATION
            case Section.COMMAND:
                self._skip = preamble.read_command(cursor)
                self._state = _State.SKIP if self._skip else _State.SECTION
            case Section.START:
                section_id = preamble.read_start(cursor)
                if self._section_id is not None:
                    raise StreamRefusedError("section 'ram' starts twice")
                self._section_id = section_id
                self._section, self._state = Section.START, _State.RECORDS
            case Section.PART | Section.END:
                section_id = cursor.be32()
                if section_id != self._section_id:
                    raise StreamRefusedError(f"section {section_id} goes on but never started")
                self._section, self._state = Section(kind), _State.RECORDS
            case Section.FULL:
                self._state = _State.OPAQUE
            case _:
                raise StreamRefusedError(f"a section of the unknown kind {kind:#04x}")

    def _read_configuration(self, cursor: Cursor) -> None:
        begin = cursor.position
        if cursor.u8() == Section.SUBSECTION:
            preamble.read_configuration_subsection(cursor)
        else:
            cursor.position = begin
            self._read_section(cursor)

    def _read_footer(self, cursor: Cursor) -> None:
        if cursor.u8() != Section.FOOTER or cursor.be32() != self._section_id:
            raise StreamRefusedError("section 'ram' ends without its footer", hint=MACHINES_HINT)
        self._state = _State.OPAQUE if self._section is Section.END else _State.SECTION

    def _read_block(self, cursor: Cursor) -> None:
        name, length = preamble.read_block(cursor)
        if name in self._blocks:
            raise StreamRefusedError(f"RAM block {shown(name)} is listed twice")
        if length > self._unlisted:
            raise StreamRefusedError("the RAM blocks are larger than the RAM", hint=MACHINES_HINT)
        if len(self._blocks) == _MAX_BLOCKS:
            raise StreamRefusedError(f"more than {_MAX_BLOCKS} RAM blocks")
        self._blocks[name] = length
        self._unlisted -= length
        if not self._unlisted:
            self._state = _State.RECORDS

    def _read_records(self, cursor: Cursor) -> list[Pages] | None:
        begin = cursor.position
        header = cursor.be64()
        flags = header & FLAG_MASK
        if flags in (FULL, FILLED):
            if not self._block:
                raise StreamRefusedError("a page comes before any RAM block was named")
            cursor.position = begin
            pages = read_runs(cursor, self._block)
            self._check(pages)
            return [pages]
        if flags in (RamFlag.PAGE, RamFlag.ZERO):
            return [self._read_named(header, cursor)]
        if header == RamFlag.EOS:
            self._state = _State.FOOTER
        elif flags == RamFlag.MEM_SIZE and self._section is Section.START and not self._blocks:
            self._unlisted = header - flags
            if self._unlisted:
                self._state = _State.BLOCKS
        else:
            raise _refused_record(flags)
        return None

    def _read_named(self, header: int, cursor: Cursor) -> Pages:
        """A record that names its block, to which the records after it belong as well."""
        name = cursor.counted()
        if name not in self._blocks:
            raise StreamRefusedError(f"a page of the unknown RAM block {shown(name)}")
        full = bool(header & RamFlag.PAGE)
        body = cursor.octets(PAGE_SIZE if full else 1)
        pages = Pages(
            name,
            np.array([header], np.uint64),
            b"" if full else body,
            np.frombuffer(body if full else b"", np.uint8).reshape(-1, PAGE_SIZE),
        )
        self._check(pages)
        self._block = name
        return pages

    def _check(self, pages: Pages) -> None:
        """What follows keeps a page per address: an address must lie in its block."""
        highest = int(pages.headers.max()) & ~FLAG_MASK
        if highest >= self._blocks[pages.block]:
            raise StreamRefusedError(
                f"a page at {highest:#x}, behind the end of RAM block {shown(pages.block)}"
            )


def _refused_record(flags: int) -> StreamRefusedError:
    for flag, capability in RAM_FLAGS_REFUSED.items():
        if flags & flag:
            return StreamRefusedError(
                f"the migration uses {capability}, which cannot pass",
                hint=f"turn {capability} off with migrate-set-capabilities and migrate again",
            )
    return StreamRefusedError(f"a page record with the unknown flags {flags:#05x}")
