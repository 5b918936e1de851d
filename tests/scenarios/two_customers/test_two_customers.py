"""Two customers with the same addresses and the same MACs, at the same clouds, throughout."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.scenarios.figures import Figures
from tests.scenarios.stage import CLOUDNET, Staging, foreign_frames
from tests.support.lab import Sniffer

pytestmark = pytest.mark.daemon

HOST = "02:00:00:00:00:01"
#: What each customer's packets carry, to know whose they are.
WORDS = {"e1": "of-customer-e1", "e2": "of-customer-e2"}
PLACES = ("host", "vm1", "vm2")


def test_two_customers_stay_apart(staging: Staging, figures: Figures) -> None:
    with staging(CLOUDNET) as stage, ExitStack() as stack:
        sniffers = {
            f"{customer}-{place}": stack.enter_context(stage.sniff(f"{customer}-{place}", "eth1"))
            for customer in WORDS
            for place in PLACES
        }
        at_cloud1, at_cloud2 = (
            {
                customer: stack.enter_context(
                    stage.pinging(f"{customer}-host", address, interval=0.01, word=word)
                )
                for customer, word in WORDS.items()
            }
            for address in ("10.1.0.2", "10.1.0.3")
        )
        begun = max(ping.first() for ping in at_cloud1.values())

        # Both head offices ask for the same address; it is there for E1 alone, then for both.
        for ping in at_cloud2.values():
            ping.unanswered()
        extended = stage.extend("E1", "cloud2")
        at_cloud2["e1"].first()
        at_cloud2["e2"].unanswered(extended)
        assert foreign_frames(sniffers["e2-vm2"], HOST) == []
        stage.extend("E2", "cloud2")
        both = max(ping.first() for ping in at_cloud2.values())

        # E1 leaves, and E2 does not notice.
        stage.retract("E1", "cloud2")
        left = at_cloud2["e1"].last()
        stayed = at_cloud2["e2"].first_after(left)
        figures.add(
            "E2 at cloud2: longest gap while E1 comes and goes",
            at_cloud2["e2"].longest_gap(both, stayed),
        )
        stage.retract("E2", "cloud2")
        at_cloud2["e2"].last()
        for customer, ping in at_cloud1.items():
            figures.add(
                f"{customer.upper()} at cloud1: longest gap throughout",
                ping.longest_gap(begun, ping.first_after(stayed)),
            )

        # Each sniffer saw packets of its customer, and none of the other one.
        assert {name: heard(sniffer) for name, sniffer in sniffers.items()} == {
            name: {word}
            for name in sniffers
            for customer, word in WORDS.items()
            if name.startswith(customer)
        }


def heard(sniffer: Sniffer) -> set[str]:
    """The words in the frames that were seen."""
    return {
        word
        for word in WORDS.values()
        if any(word.encode() in frame.octets for frame in sniffer.frames())
    }
