"""What goes into the source's codec comes out of the destination's, or is never let through."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.sidecar.stream.samples import SAMPLES, sample
from vpnctl.errors import SidecarError, SidecarProtocolError, StreamRefusedError
from vpnctl.sidecar.elimination import MAX_PAYLOAD, Effort, Options, SiteCache
from vpnctl.sidecar.elimination.compression import HEADER, Form
from vpnctl.sidecar.elimination.site import segment
from vpnctl.sidecar.run.agreement import Agreed, SourceAgreement, answer_to
from vpnctl.sidecar.run.decoding import Decoding
from vpnctl.sidecar.run.encoding import Encoding
from vpnctl.sidecar.run.tasks import LIGHT
from vpnctl.sidecar.wan.messages import (
    SOURCE_SAYS,
    Check,
    Message,
    MessageReader,
    Payload,
    encode,
)

MIB = 1 << 20
SMALL = {"cache_size": MIB, "window_log": 20}
OPTIONS = {
    "all": Options(site=False, **SMALL),
    "zstd": Options.zstd_long(),
    "none": Options.pass_through(),
}


def encoded(
    encoding: Encoding,
    octets: bytes,
    chance: random.Random,
    efforts: Sequence[Effort] = tuple(Effort),
) -> list[Payload | Check]:
    """Messages for ``octets``, in pieces of any size, flushed now and then."""
    messages, begin = [], 0
    while begin < len(octets):
        end = begin + chance.choice((1, 100, 5000, 100_000))
        work = [encoding.eliminate(octets[begin:end], chance.choice(efforts))]
        if chance.random() < 0.2:
            work.append(encoding.flush())
        for one in work:
            messages += encoding.compress(one).messages
        begin = end
    messages += encoding.compress(encoding.finish()).messages
    return [arrived(one) for one in messages]


def arrived(message: Message) -> Payload | Check:
    """A message as the destination has it: in one piece."""
    ((found),) = MessageReader(SOURCE_SAYS, MAX_PAYLOAD).feed(b"".join(encode(message)))
    assert isinstance(found, Payload | Check)
    return found


def let_through(decoding: Decoding, messages: list[Payload | Check]) -> Iterator[memoryview]:
    for message in messages:
        yield from decoding.rebuild(decoding.decompress(message))


def decoded(decoding: Decoding, messages: list[Payload | Check]) -> bytes:
    return b"".join(let_through(decoding, messages))


@pytest.mark.parametrize("stages", OPTIONS)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_real_stream_comes_out_as_it_went_in(stages: str, name: str) -> None:
    agreed = Agreed(OPTIONS[stages], None)
    octets = sample(name)
    messages = encoded(Encoding(agreed), octets, random.Random(name))
    assert decoded(Decoding(agreed), messages) == octets


def test_without_effort_octets_go_at_once_and_keep_their_order() -> None:
    agreed, octets = Agreed(OPTIONS["all"], None), sample(SAMPLES[0])
    encoding, third = Encoding(agreed), len(octets) // 3
    work = [
        encoding.eliminate(octets[:third], Effort.NONE),
        encoding.eliminate(octets[third : 2 * third], Effort.ALL),
        encoding.eliminate(octets[2 * third :], Effort.NONE),
        encoding.finish(),
    ]
    # An item that is not whole is held back.
    assert third - 8192 < work[0].stream <= third
    # Behind what waits for company, nothing passes.
    assert work[1].stream == work[2].stream == 0
    messages = [message for one in work for message in encoding.compress(one).messages]
    assert decoded(Decoding(agreed), [arrived(one) for one in messages]) == octets


def test_what_takes_long_goes_to_another_thread() -> None:
    agreed, octets = Agreed(OPTIONS["all"], None), sample(SAMPLES[0])
    encoding, decoding = Encoding(agreed), Decoding(agreed)
    assert not encoding.is_light(bytes(LIGHT + 1), Effort.ALL)
    assert encoding.is_light(bytes(LIGHT + 1), Effort.NONE)
    half = len(octets) // 2
    for effort, part in ((Effort.ALL, octets[:half]), (Effort.NONE, octets[half:])):
        is_light = effort is Effort.NONE
        work = [encoding.eliminate(part, effort), encoding.flush()]
        assert all(one.is_light for one in work) is is_light
        (payload,) = (
            arrived(message)
            for one in work
            for message in encoding.compress(one).messages
            if isinstance(message, Payload)
        )
        assert decoding.arrives_plain(payload) is is_light
        batch = decoding.decompress(payload)
        assert decoding.is_light(batch) is (batch.size <= LIGHT or is_light)
        decoding.rebuild(batch)


@pytest.mark.parametrize("stages", OPTIONS)
def test_nothing_wrong_is_let_through(stages: str) -> None:
    """A payload exchanged for another one: what is let through is a beginning of the stream."""
    agreed, octets = Agreed(OPTIONS[stages], None), sample(SAMPLES[0])
    for seed in range(40):
        chance = random.Random(seed)
        messages = encoded(Encoding(agreed), octets, chance)
        payloads = [at for at, one in enumerate(messages) if isinstance(one, Payload)]
        at = chance.choice(payloads)
        changed = bytearray(messages[at].octets)  # type: ignore[union-attr]
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        messages[at] = Payload(bytes(changed))
        got: list[memoryview] = []
        with pytest.raises(SidecarProtocolError):
            got.extend(let_through(Decoding(agreed), messages))
        assert octets.startswith(b"".join(got))
        assert sum(map(len, got)) < len(octets)


def test_octets_without_a_check_are_not_collected_for_ever() -> None:
    agreed = Agreed(Options.pass_through(), None)
    encoding, decoding = Encoding(agreed), Decoding(agreed)
    (payload,) = map(arrived, encoding.compress(encoding.eliminate(bytes(MIB))).messages)
    assert isinstance(payload, Payload)
    assert decoded(decoding, 31 * [payload]) == b""
    with pytest.raises(SidecarProtocolError, match="33554432 octets, without a check"):
        decoding.rebuild(decoding.decompress(payload))


def test_what_is_no_migration_stream_is_refused_where_pages_are_looked_at() -> None:
    with pytest.raises(StreamRefusedError):
        Encoding(Agreed(OPTIONS["all"], None)).eliminate(b"GET / HTTP/1.1\r\n")


def test_two_sites_with_a_cache_agree(tmp_path: Path) -> None:
    here, there = (SiteCache(tmp_path / name, 64 * MIB) for name in ("here", "there"))
    options = Options(**SMALL)
    octets = sample(SAMPLES[0])
    sizes = []
    for _ in range(2):
        source = SourceAgreement(options, here)
        answer, at_destination = answer_to(source.offer, 64 * MIB, there)
        at_source = source.agree(answer)
        encoding, decoding = Encoding(at_source), Decoding(at_destination)
        # The cache's disk may take its time: never in the loop.
        assert not encoding.is_light(b"", Effort.ALL)
        messages = encoded(encoding, octets, random.Random(1), [Effort.ALL])
        assert decoded(decoding, messages) == octets
        decoding.finish()
        for agreed in (at_source, at_destination):
            agreed.close()
        sizes.append(sum(len(one.octets) for one in messages if isinstance(one, Payload)))
    assert sizes[1] < sizes[0] / 2


def test_a_site_without_a_cache_does_without(tmp_path: Path) -> None:
    source = SourceAgreement(Options(**SMALL), SiteCache(tmp_path / "here", 64 * MIB))
    answer, at_destination = answer_to(source.offer, 64 * MIB, None)
    assert source.agree(answer) == at_destination == Agreed(Options(site=False, **SMALL), None)


def test_a_source_that_wants_too_much_memory_is_refused() -> None:
    options = Options(site=False)
    offer, takes = SourceAgreement(options, None).offer, options.memory >> 20
    answer_to(offer, options.memory, None)
    with pytest.raises(SidecarError, match=f"take {takes} MiB of memory.* are allowed there"):
        answer_to(offer, options.memory - 1, None)


GOOD = SourceAgreement(Options(site=False), None).offer


@pytest.mark.parametrize(
    "codec",
    [
        {},
        {"options": GOOD["options"]},
        GOOD | {"more": 1},
        GOOD | {"options": "all"},
        GOOD | {"options": {}},
        GOOD | {"options": GOOD["options"] | {"level": "1"}},
        GOOD | {"options": GOOD["options"] | {"level": 99}},
        GOOD | {"site": {}},
    ],
)
def test_an_agreement_that_makes_no_sense_is_refused(codec: dict[str, object]) -> None:
    with pytest.raises(SidecarProtocolError):
        answer_to(codec, 1 << 40, None)
    with pytest.raises(SidecarProtocolError):
        SourceAgreement(Options(site=False), None).agree(codec)


def test_an_answer_with_other_stages_is_refused() -> None:
    other = SourceAgreement(Options.zstd_long(), None).offer
    with pytest.raises(SidecarProtocolError, match="other stages than were offered"):
        SourceAgreement(Options(site=False), None).agree(other)


def test_pieces_of_nothing_are_not_taken_for_ever() -> None:
    decoding = Decoding(Agreed(OPTIONS["none"], None))
    nothing = Payload(HEADER.pack(Form.OCTETS, 0))
    with pytest.raises(SidecarProtocolError, match="pieces of the guest's stream, 0 octets"):
        decoded(decoding, 100_000 * [nothing])


def test_a_site_cache_on_a_full_disk_says_so_and_the_stream_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = (SiteCache(tmp_path / name, 64 * MIB) for name in ("here", "there"))
    source = SourceAgreement(Options(**SMALL), here)
    answer, at_destination = answer_to(source.offer, 64 * MIB, there)
    at_source = source.agree(answer)
    encoding, decoding = Encoding(at_source), Decoding(at_destination)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(segment, "_write", full)
    octets = sample(SAMPLES[0])
    messages = encoded(encoding, octets, random.Random(1), [Effort.ALL])
    assert decoded(decoding, messages) == octets
    for agreed, directory in ((at_source, "here"), (at_destination, "there")):
        said: list[str] = []
        agreed.close(said.append)
        assert said == [
            f"site cache: nothing more is stored in {tmp_path / directory}: No space left on device"
        ]
