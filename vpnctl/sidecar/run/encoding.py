"""The source's work on octets, in two halves for two threads."""

from __future__ import annotations

import time
from dataclasses import dataclass

from vpnctl.sidecar.elimination import Effort, Encoder
from vpnctl.sidecar.elimination.compression import Batch
from vpnctl.sidecar.elimination.statistics import Statistics
from vpnctl.sidecar.run.agreement import Agreed
from vpnctl.sidecar.run.tasks import LIGHT
from vpnctl.sidecar.stream.events import Event, Opaque
from vpnctl.sidecar.stream.parser import StreamParser
from vpnctl.sidecar.wan.digest import SentDigest
from vpnctl.sidecar.wan.messages import Check, Message, Payload


@dataclass(frozen=True, slots=True)
class Work:
    """Between the two halves.

    ``batches`` stand for ``stream`` octets and took ``seconds`` at ``effort``; ``check``: of
    everything up to here, where the codec was flushed.
    """

    batches: list[Batch]
    effort: Effort
    stream: int
    seconds: float
    check: Check | None = None

    @property
    def is_light(self) -> bool:
        """Whether nothing of it is to be compressed."""
        return not any(batch.form.compressed for batch in self.batches)


@dataclass(frozen=True, slots=True)
class Encoded:
    """After both halves: what to send, ``wire`` octets of payloads, and what it took."""

    messages: list[Message]
    work: Work
    wire: int
    seconds: float


class Encoding:
    """One migration; each half is called from one thread at a time, in order."""

    def __init__(self, agreed: Agreed) -> None:
        self._parser = StreamParser() if agreed.options.needs_pages else None
        self._encoder = Encoder(agreed.options, agreed.site)
        self._digest = SentDigest()
        self._has_site = agreed.site is not None
        #: Octets that were given and wait in the codec, for more or for `flush`.
        self.waiting = 0

    @property
    def statistics(self) -> Statistics:
        return self._encoder.statistics

    @property
    def holds_much(self) -> bool:
        """Whether the codec has much for `flush` to work on."""
        return self._encoder.holds and not self._is_little(self.waiting)

    def is_light(self, octets: bytes, effort: Effort) -> bool:
        """Whether `eliminate` takes no more than a millisecond or two."""
        return self._passes_on(effort) or self._is_little(len(octets))

    def eliminate(self, octets: bytes, effort: Effort = Effort.ALL) -> Work:
        """First half, for octets as QEMU wrote them; `StreamRefusedError` when it wrote others."""
        begun, before = time.perf_counter(), self.statistics.stream
        self.waiting += len(octets)
        self._digest.feed(octets)
        events: list[Event] = self._parser.feed(octets) if self._parser else [Opaque(octets)]
        taken = self._digest.taken(sum(event.size for event in events))
        if self._passes_on(effort):
            batches = self._encoder.pass_on(taken)
        else:
            batches = self._encoder.eliminate(events)
        seconds = time.perf_counter() - begun
        return Work(batches, effort, self.statistics.stream - before, seconds)

    def _is_little(self, octets: int) -> bool:
        # A site's cache is on a disk, which takes the time it likes.
        return octets <= LIGHT and not self._has_site

    def _passes_on(self, effort: Effort) -> bool:
        self._encoder.effort = effort
        return self._encoder.passes_on

    def flush(self) -> Work:
        """First half, when there is nothing more to read just now."""
        begun, before = time.perf_counter(), self.statistics.stream
        self.waiting = 0
        batches = self._encoder.eliminate_rest()
        stream, seconds = self.statistics.stream - before, time.perf_counter() - begun
        return Work(batches, self._encoder.effort, stream, seconds, self._digest.check())

    def finish(self) -> Work:
        """First half, when QEMU has closed: the last work; the site's cache keeps what is new."""
        last = self.flush()
        self._encoder.finish()
        return last

    def compress(self, work: Work) -> Encoded:
        """Second half."""
        begun = time.perf_counter()
        payloads = [self._encoder.compress(batch) for batch in work.batches]
        messages: list[Message] = [Payload(payload) for payload in payloads]
        if work.check is not None:
            messages.append(work.check)
        return Encoded(messages, work, sum(map(len, payloads)), time.perf_counter() - begun)
