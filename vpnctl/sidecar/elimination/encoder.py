"""The source's half: events of a migration stream to payloads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vpnctl.sidecar.elimination import kernel
from vpnctl.sidecar.elimination.allocation import keep_freed_memory
from vpnctl.sidecar.elimination.batch import (
    MAX_EVENTS,
    U8,
    U16,
    U64,
    Columns,
    How,
    What,
    differences,
    pack,
    steps_of,
)
from vpnctl.sidecar.elimination.compression import Batch, Compressor, Form
from vpnctl.sidecar.elimination.memory import Memory, Sent
from vpnctl.sidecar.elimination.options import MIB, Options
from vpnctl.sidecar.elimination.pace import Effort
from vpnctl.sidecar.elimination.references import BlockIndex
from vpnctl.sidecar.elimination.site import SiteView
from vpnctl.sidecar.elimination.site.view import SiteIndex
from vpnctl.sidecar.elimination.spelling import Speller
from vpnctl.sidecar.elimination.statistics import Statistics
from vpnctl.sidecar.stream.events import Event, Opaque, Pages
from vpnctl.sidecar.stream.format import FLAG_MASK, PAGE_SIZE
from vpnctl.sidecar.stream.writer import octets_of

#: A batch goes out when it has this many octets of the stream.
BATCH = 1 * MIB
_SPELLED = {Form.BATCH: Form.TEXT, Form.BATCH_ZSTD: Form.TEXT_ZSTD}


class _Found(NamedTuple):
    """How blocks go: column ``what``; numbers of RECENT and of SITE blocks; LITERAL blocks."""

    what: U8
    recent: NDArray[np.int64]
    site: NDArray[np.int64]
    literals: U8


class Encoder:
    """Events in, payloads out; see the package for the order in which to call what.

    ``effort`` may be changed at any time, for what has not gone out; decoders need no telling.
    """

    def __init__(self, options: Options, site: SiteView | None = None) -> None:
        keep_freed_memory()
        self.options = options
        self.effort = Effort.ALL
        self.statistics = Statistics()
        self._compressor = Compressor(options)
        self._speller = Speller(self.statistics.text)
        self._memory = Memory(options, site)
        references = self._memory.references
        self._block_index = (
            BlockIndex(references, options.block_size)
            if options.content and references is not None
            else None
        )
        self._site_index = SiteIndex(site) if site is not None else None
        self._epoch = site.epoch if site is not None else 0
        self._waiting: list[Event] = []
        self._size = 0
        # Pages of a batch beside each other, in memory that is used again: the first use of each
        # octet costs more than to copy it.
        self._staging = _room()

    def encode(self, events: Iterable[Event]) -> list[bytes]:
        """Payloads that ``events`` complete; the rest waits for more, or for `flush`."""
        return [self.compress(batch) for batch in self.eliminate(events)]

    def flush(self) -> list[bytes]:
        """Payloads of everything encoded so far; call it when nothing more is there to be read."""
        return [self.compress(batch) for batch in self.eliminate_rest()]

    def finish(self) -> list[bytes]:
        """The last payloads; nothing may follow."""
        payloads = self.flush()
        if self._memory.site is not None:
            self._memory.site.finish()
        return payloads

    def eliminate(self, events: Iterable[Event]) -> list[Batch]:
        """First half of `encode`."""
        batches = []
        for event in events:
            for part in _parts(event):
                self._waiting.append(part)
                self._size += part.size
                if self._size >= BATCH or len(self._waiting) == MAX_EVENTS:
                    batches += self.eliminate_rest()
        return batches

    def eliminate_rest(self) -> list[Batch]:
        """First half of `flush`."""
        if not self._waiting:
            return []
        events, size = self._waiting, self._size
        self._waiting, self._size = [], 0
        self.statistics.stream += size
        form = self._form
        if not form.has_columns:
            return [Batch(form, [octets_of(event) for event in events])]
        parts = pack(self._columns(events), self._epoch)
        if self.options.text and self.effort is Effort.ALL:
            spelled = self._speller.spell(parts)
            if spelled is not None:
                return [Batch(_SPELLED[form], spelled, sum(map(len, parts)))]
        return [Batch(form, parts)]

    @property
    def holds(self) -> bool:
        """Whether something waits for more, or for `flush`."""
        return bool(self._waiting)

    @property
    def passes_on(self) -> bool:
        """Whether octets go as they are, and `pass_on` is the shorter way for them."""
        return self._form is Form.OCTETS and not self._waiting

    def pass_on(self, octets: Sequence[memoryview]) -> list[Batch]:
        """What `eliminate` and `eliminate_rest` would make of the events in ``octets``, at once.

        Only while it `passes_on`; at most `MAX_BATCH` octets in all.
        """
        size = sum(map(len, octets))
        self.statistics.stream += size
        return [Batch(Form.OCTETS, octets)] if size else []

    @property
    def _form(self) -> Form:
        compress = self.options.compress and self.effort is Effort.ALL
        if self.options.needs_pages and self.effort is not Effort.NONE:
            return Form.BATCH_ZSTD if compress else Form.BATCH
        return Form.OCTETS_ZSTD if compress else Form.OCTETS

    def compress(self, batch: Batch) -> bytes:
        """Second half of `encode` and `flush`: the payload of ``batch``; in order, each once."""
        return b"".join(self.compress_in_parts(batch))

    def compress_in_parts(self, batch: Batch) -> tuple[bytes | memoryview, ...]:
        """The same; octets that go as they are are not copied."""
        parts = self._compressor.parts(batch)
        count, size, wire = self.statistics.compress, batch.length, sum(map(len, parts))
        count.tried += 1
        count.hits += wire < size
        count.octets_in += size
        count.octets_out += wire
        self.statistics.wire += wire
        return parts

    def _columns(self, events: list[Event]) -> Columns:
        pages = [event for event in events if isinstance(event, Pages)]
        headers = _joined([event.headers for event in pages])
        fills = b"".join(event.fills for event in pages)
        contents = self._staged([event.contents for event in pages])
        keys = _joined(
            [self._memory.numbers.keys(event.block, event.full_addresses) for event in pages]
        )
        self.statistics.pages += len(contents)
        self.statistics.fills += len(fills)
        steps, far = steps_of(headers & ~np.uint64(FLAG_MASK))

        versions = self._memory.versions(keys)
        counts, runs, changed = self._deltas(contents, versions)
        rest = counts < 0
        prints = self._prints(contents)
        found = self._blocks(contents, prints, rest)
        if np.may_share_memory(found.literals, contents):
            # They wait to be compressed.
            self._staging = _room()
        sent = Sent(rest, found.what, found.literals)
        rows = self._memory.remember(keys, versions, contents, sent)
        if self._block_index is not None:
            self._block_index.put(prints, rows)
        return Columns(
            far=far,
            events=np.array(
                [
                    2 * len(event.headers) + 1 if isinstance(event, Pages) else 2 * event.size
                    for event in events
                ],
                np.uint32,
            ),
            recent=differences(found.recent),
            site=differences(found.site),
            flags=(headers & np.uint64(FLAG_MASK)).astype(np.uint16),
            counts=counts[~rest].astype(np.uint16),
            runs=runs.reshape(-1),
            steps=steps,
            names=_octets(b"".join(bytes([len(e.block)]) + e.block for e in pages)),
            opaque=_octets(b"".join(e.octets for e in events if isinstance(e, Opaque))),
            fills=_octets(fills),
            how=np.where(rest, How.BLOCKS, How.DELTA).astype(np.uint8),
            what=found.what,
            changed=changed,
            literals=found.literals.reshape(-1),
        )

    def _staged(self, parts: list[U8]) -> U8:
        """All rows of ``parts``, contiguous, until the next batch."""
        count = 0
        for part in parts:
            self._staging[count : count + len(part)] = part
            count += len(part)
        return self._staging[:count]

    def _deltas(
        self, contents: U8, versions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], U16, U8]:
        """`kernel.delta_encode` of pages that went before."""
        references = self._memory.references
        if references is None or not self.options.delta:
            return np.full(len(contents), -1, np.int32), np.empty((0, 2), np.uint16), _octets(b"")
        found = kernel.delta_encode(
            contents, references.pages, versions, self.options.delta_threshold
        )
        counts, runs, changed = found
        count = self.statistics.delta
        count.tried += int((versions >= 0).sum())
        hits = int((counts >= 0).sum())
        count.hits += hits
        count.octets_in += hits * PAGE_SIZE
        count.octets_out += 2 * hits + 4 * len(runs) + len(changed)
        return found

    def _prints(self, contents: U8) -> U64:
        """Fingerprints of all blocks; none if none ask."""
        if self._block_index is None and self._site_index is None:
            return np.empty(0, np.uint64)
        return kernel.fingerprints(contents.reshape(-1, self.options.block_size))

    def _blocks(self, contents: U8, prints: U64, rest: NDArray[np.bool_]) -> _Found:
        """How each block of the pages in ``rest`` goes."""
        blocks = contents.reshape(-1, self.options.block_size)
        mine = np.repeat(rest, self.options.sub_blocks)
        what = np.full(len(blocks), What.LITERAL, np.uint8)
        if len(prints):
            suspects = np.flatnonzero((prints == 0) & mine)
            what[suspects[~blocks[suspects].any(axis=1)]] = What.ZERO
        numbers = dict.fromkeys(What, np.empty(0, np.int64))
        for way, index, count in (
            (What.SITE, self._site_index, self.statistics.site),
            (What.RECENT, self._block_index, self.statistics.content),
        ):
            if index is not None:
                left = mine & (what == What.LITERAL)
                found = index.find(blocks, prints, left)
                hits = found >= 0
                what[hits] = way
                numbers[way] = found[hits]
                count.tried += int(left.sum())
                count.hits += len(numbers[way])
                count.octets_in += len(numbers[way]) * self.options.block_size
                count.octets_out += 4 * len(numbers[way])
        literal = mine & (what == What.LITERAL)
        return _Found(
            what if rest.all() else what[mine],
            numbers[What.RECENT],
            numbers[What.SITE],
            # Rows are taken twice as fast by number as by a mask.
            blocks if literal.all() else blocks.take(np.flatnonzero(literal), axis=0),
        )


def _parts(event: Event) -> Iterator[Event]:
    """``event`` in parts of at most `BATCH` octets."""
    if event.size <= BATCH:
        yield event
    elif isinstance(event, Opaque):
        octets = memoryview(event.octets)
        for begin in range(0, len(octets), BATCH):
            yield Opaque(octets[begin : begin + BATCH])
    else:
        step = BATCH // PAGE_SIZE - 1
        full = np.concatenate(([0], np.cumsum(event.is_full)))
        for begin in range(0, len(event.headers), step):
            end = min(begin + step, len(event.headers))
            first, last = int(full[begin]), int(full[end])
            yield Pages(
                event.block,
                event.headers[begin:end],
                event.fills[begin - first : end - last],
                event.contents[first:last],
            )


def _room() -> U8:
    """For the pages of a batch: of the one that fills it, and of those before."""
    return np.empty((2 * BATCH // PAGE_SIZE, PAGE_SIZE), np.uint8)


def _joined(arrays: list[U64]) -> U64:
    """All elements of ``arrays``."""
    return np.concatenate(arrays) if arrays else np.empty(0, np.uint64)


def _octets(octets: bytes) -> U8:
    return np.frombuffer(octets, np.uint8)
