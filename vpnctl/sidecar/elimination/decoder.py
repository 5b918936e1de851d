"""The destination's half: payloads back to the octets of the migration stream."""

from __future__ import annotations

import numpy as np

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.elimination import kernel
from vpnctl.sidecar.elimination.allocation import keep_freed_memory
from vpnctl.sidecar.elimination.batch import (
    MAX_EVENTS,
    U8,
    U64,
    Columns,
    How,
    What,
    addresses_of,
    sums,
    unpack,
)
from vpnctl.sidecar.elimination.compression import MAX_BATCH, Batch, Decompressor, Form
from vpnctl.sidecar.elimination.memory import Memory, Sent
from vpnctl.sidecar.elimination.options import Options
from vpnctl.sidecar.elimination.site import SiteView
from vpnctl.sidecar.elimination.spelling import Reader
from vpnctl.sidecar.elimination.statistics import Statistics
from vpnctl.sidecar.stream.events import Event, Opaque, Pages
from vpnctl.sidecar.stream.format import FLAG_MASK, HEADER_SIZE, PAGE_SIZE, RamFlag
from vpnctl.sidecar.stream.writer import octets_of


class Decoder:
    """Payloads in, octets out.

    Whatever is fed, memory stays within `Options.memory` and a few batches; what no `Encoder` makes
    raises `SidecarProtocolError`, after which the decoder must not be used again.
    """

    def __init__(self, options: Options, site: SiteView | None = None) -> None:
        keep_freed_memory()
        self.options = options
        self.statistics = Statistics()
        self._decompressor = Decompressor(options)
        self._reader = Reader()
        self._memory = Memory(options, site)
        self._epoch = site.epoch if site is not None else 0
        self._forms = {
            form
            for form in Form
            if (options.compress or not form.compressed)
            and (options.needs_pages or not form.has_columns)
            and (options.text or not form.spelled)
        }

    def decode(self, payload: bytes | memoryview) -> memoryview:
        """The octets of the stream that ``payload`` stands for."""
        return self.rebuild(self.decompress(payload))

    def finish(self) -> None:
        """The stream ended as it should."""
        if self._memory.site is not None:
            self._memory.site.finish()

    def decompress(self, payload: bytes | memoryview) -> Batch:
        """First half of `decode`; payloads in order, each once."""
        batch = self._decompressor.batch(payload)
        if batch.form not in self._forms:
            raise SidecarProtocolError(f"a payload of form {batch.form.name} was not agreed on")
        self.statistics.wire += len(payload)
        return batch

    def rebuild(self, batch: Batch) -> memoryview:
        """Second half of `decode`."""
        (body,) = batch.parts
        if batch.form.spelled:
            body = self._reader.read(body, batch.size)
        if batch.form.has_columns:
            octets = memoryview(b"".join(map(octets_of, self._events(unpack(body, self._epoch)))))
        else:
            octets = memoryview(body)
        self.statistics.stream += len(octets)
        return octets

    def _events(self, columns: Columns) -> list[Event]:
        expect(len(columns.flags) == len(columns.steps), "records have flags")
        expect(len(columns.flags) * (HEADER_SIZE + 1) <= MAX_BATCH, "a batch is small")
        expect(len(columns.events) <= MAX_EVENTS, "a batch has few events")
        headers = addresses_of(columns.steps, columns.far) | columns.flags
        is_full = (headers & np.uint64(RamFlag.PAGE)) != 0
        shape = columns.events.tolist()
        names = _names(columns.names, sum(length & 1 for length in shape))
        full = int(is_full.sum())
        expect(sum(n >> 1 for n in shape if n & 1) == len(headers), "events have records")
        expect(sum(n >> 1 for n in shape if not n & 1) == len(columns.opaque), "octets have events")
        expect(len(headers) - full == len(columns.fills), "records are filled")
        expect(full == len(columns.how), "pages have contents")
        expect(bool((columns.flags <= FLAG_MASK).all()), "flags are flags")
        expect(
            full * PAGE_SIZE + len(headers) * (HEADER_SIZE + 1) + 256 * len(names) <= MAX_BATCH,
            "a batch is small",
        )

        fulls = np.concatenate(([0], np.cumsum(is_full)))
        keys = []
        position = 0
        for name, records in zip(names, (n >> 1 for n in shape if n & 1), strict=True):
            expect(records > 0, "a run of pages has pages")
            part = headers[position : position + records][is_full[position : position + records]]
            keys.append(self._memory.numbers.keys(name, part))
            position += records
        contents = self._contents(np.concatenate(keys) if keys else np.empty(0, np.uint64), columns)

        events: list[Event] = []
        fills = columns.fills.tobytes()
        opaque = columns.opaque.data
        record = octet = 0
        waiting = iter(names)
        for length in shape:
            count = length >> 1
            if length & 1:
                end = record + count
                first, last = int(fulls[record]), int(fulls[end])
                events.append(
                    Pages(
                        next(waiting),
                        headers[record:end],
                        fills[record - first : end - last],
                        contents[first:last],
                    )
                )
                record = end
            else:
                events.append(Opaque(opaque[octet : octet + count]))
                octet += count
        return events

    def _contents(self, keys: U64, columns: Columns) -> U8:
        """All pages of the batch, shape ``(n, 4096)``, remembered."""
        deltas = columns.how == How.DELTA
        count = int(deltas.sum())
        expect(bool((columns.how <= max(How)).all()), "pages go in a known way")
        expect(len(columns.counts) == count and len(columns.runs) % 2 == 0, "deltas have runs")
        versions = self._memory.versions(keys)
        rows = versions[deltas]
        expect(bool((rows >= 0).all()), "deltas refer to pages that went before")
        contents = np.empty((len(keys), PAGE_SIZE), np.uint8)
        if count:
            expect(self._memory.references is not None, "deltas were agreed on")
            assert self._memory.references is not None
            pages = self._memory.references.pages[rows]
            expect(
                kernel.delta_apply(
                    pages, columns.counts, columns.runs.reshape(-1, 2), columns.changed
                ),
                "deltas stay in their pages",
            )
            contents[deltas] = pages
        else:
            expect(not len(columns.runs) and not len(columns.changed), "deltas have pages")
        blocks, literals = self._blocks(len(keys) - count, columns)
        contents[~deltas] = blocks.reshape(-1, PAGE_SIZE)
        self._memory.remember(keys, versions, contents, Sent(~deltas, columns.what, literals))
        return contents

    def _blocks(self, pages: int, columns: Columns) -> tuple[U8, U8]:
        """Contents of pages that do not go as deltas, in blocks; those of them that are literal."""
        what, size = columns.what, self.options.block_size
        expect(len(what) == pages * self.options.sub_blocks, "pages have blocks")
        expect(bool((what <= max(What)).all()), "blocks go in a known way")
        literal, recent, site = (what == way for way in (What.LITERAL, What.RECENT, What.SITE))
        expect(len(columns.literals) == int(literal.sum()) * size, "literal blocks are there")
        expect(len(columns.recent) == int(recent.sum()), "blocks have indexes")
        expect(len(columns.site) == int(site.sum()), "blocks have numbers")
        literals = columns.literals.reshape(-1, size)
        if len(literals) == len(what):
            return literals, literals
        blocks = np.empty((len(what), size), np.uint8)
        blocks[literal] = literals
        blocks[what == What.ZERO] = 0
        if len(columns.recent):
            references = self._memory.references
            expect(references is not None, "references to pages were agreed on")
            assert references is not None
            numbers = sums(columns.recent)
            filled = references.filled * self.options.sub_blocks
            expect(bool((numbers < filled).all()), "indexes are in the cache")
            blocks[recent] = references.pages.reshape(-1, size)[numbers]
        if len(columns.site):
            view = self._memory.site
            expect(view is not None, "references to the site's cache were agreed on")
            assert view is not None
            numbers = sums(columns.site)
            expect(bool((numbers < view.count).all()), "numbers are in the site's cache")
            blocks[site] = view.fetch(numbers)
        return blocks, literals


def expect(holds: bool, rule: str) -> None:
    """Raises `SidecarProtocolError` unless a rule that every encoder keeps holds."""
    if not holds:
        raise SidecarProtocolError(f"a batch breaks a rule: {rule}")


def _names(column: U8, count: int) -> list[bytes]:
    """The names of RAM blocks of ``count`` runs of pages."""
    octets = column.tobytes()
    names, position = [], 0
    for _ in range(count):
        expect(position < len(octets), "runs of pages have names")
        end = position + 1 + octets[position]
        names.append(octets[position + 1 : end])
        position = end
    expect(position == len(octets) and all(names), "names are whole")
    return names
