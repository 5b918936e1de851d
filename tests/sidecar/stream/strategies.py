"""Random migration streams, and random ways of cutting them."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from tests.support import streams

BLOCKS = {b"pc.ram": 64 * streams.PAGE, b"pc.bios": 4 * streams.PAGE}

contents = st.one_of(
    st.binary(min_size=1, max_size=1),
    st.integers(0, 255).map(lambda octet: bytes([octet]) * streams.PAGE),
    st.binary(min_size=64, max_size=64).map(lambda octets: octets * (streams.PAGE // 64)),
)


@st.composite
def records(draw: st.DrawFn) -> list[bytes]:
    """Records of both blocks: a name where the block changes, sometimes where it does not."""
    found = []
    current = None
    for _ in range(draw(st.integers(0, 12))):
        block = draw(st.sampled_from(sorted(BLOCKS)))
        named = block != current or draw(st.integers(0, 5)) == 0
        current = block
        for _ in range(draw(st.integers(1, 6))):
            address = draw(st.integers(0, BLOCKS[block] // streams.PAGE - 1)) * streams.PAGE
            found.append(streams.page(address, draw(contents), block if named else None))
            named = False
    return found


@st.composite
def whole_streams(draw: st.DrawFn) -> bytes:
    """A stream from its header to the state of the devices."""
    commands = draw(
        st.lists(
            st.sampled_from(
                [streams.command(1), streams.command(2, b"ping"), streams.command(99, bytes(700))]
            ),
            max_size=3,
        )
    )
    parts = []
    for index in range(draw(st.integers(1, 3))):
        body = draw(records())
        # The block of a record without a name is that of the record before, in an earlier part.
        if index == 0 and not body:
            body = [streams.page(0, b"\0", b"pc.ram")]
        parts.append(streams.part(body))
    return b"".join(
        [
            streams.magic(),
            streams.machine(),
            draw(st.sampled_from([b"", streams.subsection(b"configuration/uuid", bytes(16))])),
            *commands[:1],
            streams.setup(BLOCKS),
            *commands[1:],
            *parts,
            streams.last_part(draw(records())),
            streams.devices(),
        ]
    )


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    """``octets`` in pieces, cut at ``places``."""
    bounds = [0, *sorted(place % (len(octets) + 1) for place in places), len(octets)]
    return [octets[low:high] for low, high in pairwise(bounds)]
