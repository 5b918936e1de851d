"""What is told of a migration that has ended, and kept over restarts."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from vpnctl.cli.migrate.report_cmd import figures, passes, picture
from vpnctl.migration.agent.history import History
from vpnctl.migration.agent.messages import Mark, MigrationView, Pass


def view(migration: str = "web1-1", began: float = 1000.0) -> MigrationView:
    return MigrationView(
        migration=migration,
        machine=migration.partition("-")[0],
        from_site="cloud1",
        to_site="cloud2",
        phase="done",
        began=began,
        elapsed_s=9.5,
        passes=(Pass(at_s=2.0, left=99_000_000), Pass(at_s=7.0, left=900_000, rate=12e6)),
        guest=101_000_000,
        wire=34_400_000,
        disk=32_000_000,
        disk_wire=5_500_000,
        disk_kept=26_000_000,
        stopped_at=began + 8.0,
        paused_s=0.117,
        timeline=(Mark(at_s=8.0, what="guest stopped"), Mark(at_s=8.1, what="runs at <cloud2>")),
    )


def test_figures_passes_and_a_picture() -> None:
    told = dict(figures(view()))
    assert told["paused"] == "117 ms at most"
    assert told["memory"] == "34.4 MB for 101 MB"
    assert told["disks, already there"] == "26 MB"
    assert passes(view())[1] == ("7.000", "900 kB", "0 b/s", "96 Mb/s")
    drawn = ElementTree.fromstring(picture(view()))
    words = [text.text or "" for text in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert "web1: cloud1 -> cloud2" in words
    assert any("runs at <cloud2>" in word for word in words)


def test_history_is_kept_the_oldest_first_and_not_for_ever(tmp_path: Path) -> None:
    history = History(tmp_path / "history", most=2)
    for number in (1, 2, 3):
        history.write(view(f"web1-{number}", 1000.0 + number))
    history.write(view("db1-1", 1000.5).model_copy(update={"phase": "failed"}))
    again = History(tmp_path / "history")
    assert [one.migration for one in again] == ["db1-1", "web1-3"]
    assert again.find("web1") == view("web1-3", 1003.0)
    assert again.find("db1-1") == again.find("db1")
    assert again.find("web1-1") is None


def test_what_cannot_be_kept_is_no_reason_to_fail(tmp_path: Path) -> None:
    (tmp_path / "history").write_text("a file")
    history = History(tmp_path / "history")
    history.write(view())
    assert history.find("web1") == view()


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff"])
def test_what_cannot_be_read_is_left_out(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "1-web1.json").write_bytes(content)
    assert list(History(tmp_path)) == []
