"""The source's work on octets, in two halves for two threads."""

from __future__ import annotations

import time
from dataclasses import dataclass

from vpnctl.sidecar.elimination import Effort, Encoder
from vpnctl.sidecar.elimination.compression import Batch
from vpnctl.sidecar.elimination.statistics import Statistics
from vpnctl.sidecar.run.agreement import Agreed
from vpnctl.sidecar.run.tasks import LIGHT
from vpnctl.sidecar.run.under_way import Pause
from vpnctl.sidecar.stream.events import Event, Opaque
from vpnctl.sidecar.stream.first_pass import FirstPass
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
        self._first_pass = FirstPass()
        self._encoder = Encoder(agreed.options, agreed.site)
        self._digest = SentDigest()
        self._has_site = agreed.site is not None
        #: Octets that were given and wait in the codec, for more or for `flush`.
        self.waiting = 0

    @property
    def pause(self) -> Pause:
        """Where the guest's pause is, as far as the stream shows it; only a parser sees it."""
        if self._parser is not None and self._parser.has_stopped:
            return Pause.BEGUN
        return Pause.FAR if self._first_pass.early else Pause.NEAR

    @property
    def statistics(self) -> Statistics:
        return self._encoder.statistics

    @property
    def holds_much(self) -> bool:
        """Whether the codec has much for `flush` to work on."""
        return self._encoder.holds and not self._is_little(self.waiting)

    def is_light(self, octets: bytes | memoryview, effort: Effort) -> bool:
        """Whether `eliminate` takes no more than a millisecond or two."""
        return self.passes_on(effort) or self._is_little(len(octets))

    def eliminate(self, octets: bytes | memoryview, effort: Effort = Effort.ALL) -> Work:
        """First half, for octets as QEMU wrote them; `StreamRefusedError` when it wrote others."""
        begun, before = time.perf_counter(), self.statistics.stream
        self.waiting += len(octets)
        events, taken = self._parsed(octets)
        if self.passes_on(effort):
            batches = self._encoder.pass_on(taken)
        else:
            batches = self._encoder.eliminate(events)
        seconds = time.perf_counter() - begun
        return Work(batches, effort, self.statistics.stream - before, seconds)

    def pass_on(self, octets: bytes | memoryview, effort: Effort) -> Work:
        """First half, of octets that go as they are: `eliminate` and `flush` in one."""
        begun, before = time.perf_counter(), self.statistics.stream
        self.waiting = 0
        _, taken = self._parsed(octets)
        batches = self._encoder.pass_on(taken)
        seconds, stream = time.perf_counter() - begun, self.statistics.stream - before
        return Work(batches, effort, stream, seconds, self._digest.check())

    def _parsed(self, octets: bytes | memoryview) -> tuple[list[Event], list[memoryview]]:
        """The events that ``octets`` complete, and the octets of them."""
        self._digest.feed(octets)
        if self._parser is None:
            events: list[Event] = [Opaque(octets)]
        else:
            events = self._parser.feed(octets)
            self._first_pass.seen(events, self._parser.blocks)
        return events, self._digest.taken(sum(event.size for event in events))

    def _is_little(self, octets: int) -> bool:
        # A site's cache is on a disk, which takes the time it likes.
        return octets <= LIGHT and not self._has_site

    def passes_on(self, effort: Effort) -> bool:
        """Whether octets go as they are at ``effort``, so that `pass_on` may take them."""
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
        payloads = [_payload(self._encoder.compress_in_parts(batch)) for batch in work.batches]
        messages: list[Message] = [*payloads]
        if work.check is not None:
            messages.append(work.check)
        wire = sum(payload.size for payload in payloads)
        return Encoded(messages, work, wire, time.perf_counter() - begun)


def _payload(parts: tuple[bytes | memoryview, ...]) -> Payload:
    return Payload(parts[0], parts[1:])
