"""What is kept of a session stands for everything that was said, however it was made less of."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st

from vpnctl.bgp.record import Records, pieces

#: Words on routes: "a1" announces route a in its first form, "a-" withdraws it.
WORDS = st.sampled_from([f"{route}{form}".encode() for route in "abc" for form in "12-"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("hear"), WORDS),
        st.tuples(st.just("tell"), WORDS),
        st.tuples(st.sampled_from(["look", "piece", "lost"]), st.just(b"")),
    ),
    max_size=60,
)


def result(words: Iterable[bytes]) -> dict[bytes, bytes]:
    """What is left when all has been said; pieces may hold several words."""
    left: dict[bytes, bytes] = {}
    said = b"".join(words)
    for at in range(0, len(said), 2):
        route, form = said[at : at + 1], said[at + 1 : at + 2]
        if form == b"-":
            left.pop(route, None)
        else:
            left[route] = form
    return left


class Controller:
    """Answers each request for an image route by route, while routes go on changing."""

    def __init__(self, **limits: int) -> None:
        self.records = Records(self.asked, **limits)
        self.records.open(1)
        self.said: dict[str, list[bytes]] = {"hear": [], "tell": []}
        self.left: list[tuple[str, bytes]] | None = None

    def asked(self, number: int) -> None:
        assert number == 1
        assert self.left is None, "one image at a time"
        self.left = [(half, route) for half in ("hear", "tell") for route in (b"a", b"b", b"c")]

    def step(self, what: str, word: bytes) -> None:
        if what in self.said:
            self.said[what].append(word)
            (self.records.hear if what == "hear" else self.records.tell)(1, word)
        elif what == "look":
            self.records.look()
        elif what == "piece" and self.left is not None:
            self.piece(self.left)
        elif what == "lost":
            self.records.abandoned()
            self.left = None

    def piece(self, left: list[tuple[str, bytes]]) -> None:
        if not left:
            self.records.settle(1)
            self.left = None
            return
        half, route = left.pop(0)
        form = result(self.said[half]).get(route)
        if form is not None:
            self.records.imaged(1, route + form, heard=half == "hear")

    def check(self) -> None:
        record = self.records[1]
        if record.complete:
            assert result(record.heard) == result(self.said["hear"])
            assert result(record.told) == result(self.said["tell"])


@given(STEPS)
def test_an_image_and_what_came_since_say_the_same_as_everything(
    steps: list[tuple[str, bytes]],
) -> None:
    controller = Controller(enough=1, most=1 << 20)
    for what, word in steps:
        controller.step(what, word)
        controller.check()


@given(STEPS)
def test_a_session_that_is_kept_no_more_is_told_apart_until_there_is_an_image(
    steps: list[tuple[str, bytes]],
) -> None:
    controller = Controller(enough=1, most=8)
    for what, word in steps:
        controller.step(what, word)
        controller.check()
        complete = controller.records[1].complete
        if what == "lost":
            assert controller.records.abandoned() == (() if complete else (1,))


def test_images_are_asked_for_where_there_is_most_to_gain() -> None:
    asked: list[int] = []
    records = Records(asked.append, enough=10)
    for number, octets in ((1, 4), (2, 8), (3, 2)):
        records.open(number)
        records.hear(number, bytes(octets))
    records.look()
    assert asked == [2]
    records.look()
    assert asked == [2]
    records.settle(2)
    records.look()  # what is left is little
    assert asked == [2]


def test_a_session_that_ends_while_its_image_is_made_leaves_nothing() -> None:
    asked: list[int] = []
    records = Records(asked.append, enough=1)
    records.open(1)
    records.hear(1, b"ab")
    records.look()
    records.close(1)
    records.imaged(1, b"a", heard=True)
    records.settle(1)
    records.open(2)
    records.hear(2, b"cd")
    records.look()
    assert asked == [1, 2]


def test_what_was_said_counts_no_more_until_there_is_an_image() -> None:
    asked: list[int] = []
    records = Records(asked.append)
    records.open(1)
    records.hear(1, b"a1")
    records.spoil(1)
    assert records.abandoned() == (1,)
    records.look()
    records.hear(1, b"b1")
    records.spoil(1)  # the image on its way may be older than that
    records.settle(1)
    assert records.abandoned() == (1,)
    records.look()
    records.imaged(1, b"c1", heard=True)
    records.settle(1)
    assert asked == [1, 1]
    assert records.abandoned() == ()
    assert list(records[1].heard) == [b"c1"]


def test_pieces_are_the_same_octets() -> None:
    messages = [bytes((n,)) * 10 for n in range(100)]
    cut = list(pieces(messages, 25))
    assert b"".join(cut) == b"".join(messages)
    assert {len(piece) for piece in cut} == {30, 10}
