"""Batches to payloads and back, with zstd; each payload can be undone when it arrives."""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Sequence
from enum import IntEnum
from typing import IO, NamedTuple, TypeAlias, cast

import zstandard

from vpnctl.errors import SidecarProtocolError
from vpnctl.sidecar.elimination.options import MIB, Options
from vpnctl.sidecar.elimination.spelling import longest

#: A payload's first octets: `Form`, and the octets that it stands for.
HEADER = struct.Struct("<BI")
#: Behind it where text is spelled: the octets of the batch as it is spelled.
SPELLED = struct.Struct("<I")
#: A payload stands for no more than this, whatever it claims.
MAX_BATCH = 16 * MIB
#: What zstd may add to octets that do not compress (``ZSTD_compressBound``), and our header.
MAX_PAYLOAD = longest(MAX_BATCH) + longest(MAX_BATCH) // 256 + 1024

#: Up to this level, zstd behind other stages is cut to what a processor has close by.
_CUT_UP_TO = 3
_HASH_LOG = 15
_CHAIN_LOG = 12
_WINDOW_LOG = 18
#: A batch of so many octets loses next to nothing by being compressed without those before it.
_LONG = 128 * 1024
#: One position in so many, as a power of 2, is remembered for distant matches; zstd has 7.  What
#: shares a bucket of them is looked at one by one: 4 rather than 8.
_LDM_RATE_LOG = 9
_LDM_BUCKET_LOG = 2
#: Parts that are shorter go through zstd together with their neighbours.
_SMALL = 64 * 1024


class Form(IntEnum):
    """What a payload holds."""

    OCTETS = 0  # the stream's octets
    OCTETS_ZSTD = 1  # the stream's octets, compressed
    BATCH = 2  # a batch (`vpnctl.sidecar.elimination.batch`)
    BATCH_ZSTD = 3  # a batch, compressed
    BATCH_ALONE = 4  # a batch, compressed without those before it
    TEXT = 5  # a batch, its text spelled (`vpnctl.sidecar.elimination.spelling`)
    TEXT_ZSTD = 6  # the same, compressed
    TEXT_ALONE = 7  # the same, compressed without those before it

    @property
    def has_columns(self) -> bool:
        """Whether it is a batch, and not the stream's octets."""
        return self not in (Form.OCTETS, Form.OCTETS_ZSTD)

    @property
    def compressed(self) -> bool:
        """Whether the body went through zstd."""
        return self not in (Form.OCTETS, Form.BATCH, Form.TEXT)

    @property
    def spelled(self) -> bool:
        """Whether its text is spelled."""
        return self in (Form.TEXT, Form.TEXT_ZSTD, Form.TEXT_ALONE)

    @property
    def alone(self) -> bool:
        """Whether it was compressed without those before it."""
        return self in _ALONE.values()


_ALONE = {Form.BATCH_ZSTD: Form.BATCH_ALONE, Form.TEXT_ZSTD: Form.TEXT_ALONE}


def is_plain(payload: bytes | memoryview) -> bool:
    """Whether a payload, if it is one, was not compressed."""
    return bool(payload) and payload[0] in (Form.OCTETS, Form.BATCH, Form.TEXT)


Octets: TypeAlias = bytes | bytearray | memoryview


class Batch(NamedTuple):
    """What a payload holds: its octets in ``parts``, which are copied as late as can be.

    ``unspelled``: octets of the batch before its text was spelled, if it was.
    """

    form: Form
    parts: Sequence[Octets]
    unspelled: int = 0

    @property
    def size(self) -> int:
        """Octets of all parts, as they were before text was spelled."""
        return self.unspelled or self.length

    @property
    def length(self) -> int:
        """Octets of all parts."""
        return sum(map(len, self.parts))


class Compressor:
    """Batches to payloads; compressed ones continue the same zstd frame, or are frames themselves.

    Levels are zstd's own.  Behind other stages, up to level 3, tables are cut to what a processor
    has close by: level 3 then takes a sixth longer than level 1, and is 3 % smaller on captured
    streams.
    What the window is for, matches far away, is mostly found before where blocks are looked for;
    there the window is cut as well, which takes a fifth of the time away and adds 1 % of octets.
    Without blocks, distant matches are looked for less often.

    Where the window is cut, a long batch is a frame of its own: zstd then reads it where it is, and
    not from a ring that it copies everything into, which is a tenth faster and no larger.
    """

    def __init__(self, options: Options) -> None:
        own = zstandard.ZstdCompressionParameters.from_level(options.level)
        changed = {"window_log": options.window_log, "enable_ldm": True}
        near = False
        if options.needs_pages and options.level <= _CUT_UP_TO:
            changed |= {
                "hash_log": min(own.hash_log, _HASH_LOG),
                "chain_log": min(own.chain_log, _CHAIN_LOG),
            }
            near = options.content
            if near:
                changed |= {
                    "window_log": min(options.window_log, _WINDOW_LOG),
                    "enable_ldm": False,
                }
            else:
                changed |= {
                    "ldm_hash_rate_log": _LDM_RATE_LOG,
                    "ldm_bucket_size_log": _LDM_BUCKET_LOG,
                }
        parameters = zstandard.ZstdCompressionParameters.from_level(
            options.level, write_content_size=False, write_checksum=False, **changed
        )
        self._frame = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self._alone: zstandard.ZstdCompressor | None = None
        if near:
            parameters = zstandard.ZstdCompressionParameters.from_level(
                options.level, write_content_size=True, write_checksum=False, **changed
            )
            self._alone = zstandard.ZstdCompressor(compression_params=parameters)
        # Memory that is used again: the first use of each octet costs more than to copy it.
        self._joined = bytearray()

    def parts(self, batch: Batch) -> tuple[bytes | memoryview, ...]:
        """A whole payload; the batch has at most `MAX_BATCH` octets.

        Octets that go as they are are not copied.

        One that is to be compressed, and is long enough to be compressed alone, is.
        """
        form, parts, length = batch.form, batch.parts, batch.length
        if self._alone and length >= _LONG:
            form = _ALONE.get(form, form)
        header = HEADER.pack(form, batch.size)
        if form.spelled:
            header += SPELLED.pack(length)
        if form is Form.OCTETS:
            return header, *(memoryview(part) for part in parts)
        if not form.compressed:
            return (b"".join((header, *parts)),)
        if self._alone and form.alone:
            return (header + self._alone.compress(self._together(parts, length)),)
        begun = map(self._frame.compress, _gathered(parts))
        return (b"".join((header, *begun, self._frame.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK))),)

    def _together(self, parts: Sequence[Octets], size: int) -> memoryview:
        """All ``size`` octets of ``parts``, beside each other, until the next call."""
        if len(self._joined) < size:
            self._joined = bytearray(size)
        view, end = memoryview(self._joined), 0
        for part in parts:
            view[end : end + len(part)] = part
            end += len(part)
        return view[:end]


def _gathered(parts: Sequence[Octets]) -> Iterator[bytes | memoryview]:
    """``parts`` with neighbours that are small made one.

    Each call of zstd lets go of the interpreter's lock and then waits for it.
    """
    small: list[Octets] = []
    for part in parts:
        if len(part) < _SMALL:
            small.append(part)
            continue
        if small:
            yield b"".join(small)
            small = []
        yield memoryview(part)
    if small:
        yield b"".join(small)


class _TruncatedError(Exception):
    """The decompressor asked for more than the peer sent."""


class _Source:
    """The octets of payloads, as a file that is only ever read when something must be there."""

    def __init__(self) -> None:
        self._waiting: deque[memoryview] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def put(self, octets: memoryview) -> None:
        """Have ``octets`` ready."""
        if octets:
            self._waiting.append(octets)

    def read(self, _size: int = -1) -> memoryview:
        """All that is ready; `_TruncatedError` when that is nothing."""
        if not self._waiting:
            raise _TruncatedError
        return self._waiting.popleft()


class Decompressor:
    """Payloads to batches; memory is bounded by `MAX_BATCH` and the window, whoever the peer is."""

    def __init__(self, options: Options) -> None:
        self._source = _Source()
        self._frame = zstandard.ZstdDecompressor(
            max_window_size=1 << options.window_log
        ).stream_reader(cast("IO[bytes]", self._source))
        self._alone = zstandard.ZstdDecompressor(max_window_size=1 << options.window_log)

    def batch(self, payload: bytes | memoryview) -> Batch:
        """What ``payload`` holds; raises `SidecarProtocolError` for anything else than a payload.

        After an error the context is undefined and the migration over.
        """
        view = memoryview(payload)
        if len(view) < HEADER.size or len(view) > MAX_PAYLOAD:
            raise SidecarProtocolError(f"a payload of {len(view)} octets is none")
        kind, size = HEADER.unpack_from(view)
        if kind not in Form._value2member_map_:
            raise SidecarProtocolError(f"a payload is of form {kind}, which is unknown")
        if size > MAX_BATCH:
            raise SidecarProtocolError(
                f"a payload claims to stand for {size} octets, the limit is {MAX_BATCH}"
            )
        form, rest = Form(kind), view[HEADER.size :]
        if not form.spelled:
            return Batch(form, (self._body(form, rest, size),))
        if len(rest) < SPELLED.size:
            raise SidecarProtocolError(f"a payload of {len(view)} octets has no room for its text")
        (longer,) = SPELLED.unpack_from(rest)
        if not size or longer > longest(size):
            raise SidecarProtocolError(
                f"a payload claims to have {longer} octets of spelled text for {size},"
                f" the limit is {longest(size)}"
            )
        return Batch(form, (self._body(form, rest[SPELLED.size :], longer),), size)

    def _body(self, form: Form, octets: memoryview, size: int) -> bytes | memoryview:
        """The ``size`` octets that were compressed, or not."""
        if form.alone:
            return self._frame_of(octets, size)
        if form.compressed:
            return self._decompress(octets, size)
        if len(octets) != size:
            raise SidecarProtocolError(
                f"a payload claims {size} octets and has {len(octets)} of them"
            )
        return octets

    def _frame_of(self, octets: memoryview, size: int) -> bytes:
        """The ``size`` octets of a frame of its own, which says itself how many they are."""
        try:
            claimed = zstandard.frame_content_size(octets)
            if claimed != size:
                raise SidecarProtocolError(
                    f"a payload claims {size} octets and its frame {claimed}"
                )
            return self._alone.decompress(octets, allow_extra_data=False)
        except zstandard.ZstdError as error:
            raise SidecarProtocolError(f"compressed octets are damaged: {error}") from error

    def _decompress(self, octets: memoryview, size: int) -> memoryview:
        body = bytearray(size)
        self._source.put(octets)
        view, have = memoryview(body), 0
        try:
            while have < size:
                count = self._frame.readinto(view[have:])
                if not count:
                    raise _TruncatedError
                have += count
        except _TruncatedError:
            raise SidecarProtocolError(
                f"a payload claims to stand for {size} octets and ends after {have}"
            ) from None
        except zstandard.ZstdError as error:
            raise SidecarProtocolError(f"compressed octets are damaged: {error}") from error
        if self._source:
            raise SidecarProtocolError(f"a payload goes on behind the {size} octets it claims")
        return view
