from __future__ import annotations

import pytest

from vpnctl.lab.wan.figures import WanFigures, parse_loss, parse_rate, parse_time


@pytest.mark.parametrize(
    ("text", "bits_per_second"),
    [
        ("465mbit", 465_000_000),
        ("465 Mb/s", 465_000_000),
        ("2.5gbit", 2_500_000_000),
        ("64kbit", 64_000),
        ("1500bit", 1500),
    ],
)
def test_a_rate_is_written_as_tc_writes_it(text: str, bits_per_second: int) -> None:
    assert parse_rate(text) == bits_per_second


@pytest.mark.parametrize("text", ["", "465", "465mbps", "-1mbit", "fast", "1e9bit", "1mbit 2"])
def test_a_rate_without_its_unit_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no rate: write 465mbit or"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("13.5ms", 0.0135), ("30s", 30.0), ("500us", 0.0005)]
)
def test_a_time_has_a_unit(text: str, seconds: float) -> None:
    assert parse_time(text) == pytest.approx(seconds)
    with pytest.raises(ValueError, match="is no time"):
        parse_time(text.rstrip("mus"))


def test_a_loss_is_a_share_or_a_percentage() -> None:
    assert parse_loss("1%") == parse_loss("0.01") == pytest.approx(0.01)
    assert parse_loss("100 %") == 1
    for text in ("101%", "1.5", "some"):
        with pytest.raises(ValueError, match="is no loss"):
            parse_loss(text)


@pytest.mark.parametrize(
    ("figures", "complaint"),
    [
        ({"rate": 0}, "a rate of 0 bit/s"),
        ({"rate": 10**12}, "a rate of 1000000000000 bit/s"),
        ({"delay": -0.1}, "a delay of -0.1 s"),
        ({"delay": float("nan")}, "a delay of nan s"),
        ({"delay": 11}, "within 0 to 10 s"),
        ({"delay": 0.001, "jitter": 0.002}, "a jitter of 2 ms is not within 0 and the delay, 1 ms"),
        ({"loss": 1.1}, "a loss of 1.1"),
    ],
)
def test_figures_that_no_line_has_are_refused(figures: dict[str, float], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint.replace(".", r"\.")):
        WanFigures(**figures)  # type: ignore[arg-type]


def test_figures_are_shown_as_an_operator_says_them() -> None:
    assert str(WanFigures(465_000_000, 0.0135, 0.0005, 0.01)) == (
        "465 Mb/s, 13.5 ms +- 500 us, 1 % lost"
    )
    assert str(WanFigures()) == "no limit, no delay"
    assert str(WanFigures(rate=1500)) == "1.5 kb/s"


def test_the_buffer_holds_50_ms_and_ten_frames_at_least() -> None:
    assert WanFigures(rate=465_000_000).buffer_octets(1600) == 465_000_000 // 8 // 20
    assert WanFigures(rate=64_000).buffer_octets(1500) == 10 * 1518
