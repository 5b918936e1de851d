"""Migrations that have ended, on disk: what moved when, also after the agent was restarted."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from vpnctl.migration.agent.messages import MigrationView

#: Older ones are forgotten.
MOST_KEPT = 1000


class History:
    """One file per migration in ``directory``, named so that they sort by their beginnings.

    Nothing depends on it: what cannot be written or read is left out.
    """

    def __init__(self, directory: Path, most: int = MOST_KEPT) -> None:
        self._directory = directory
        self._most = most
        self._files: dict[str, Path] = {}
        self._views: dict[str, MigrationView] = {}
        with contextlib.suppress(OSError):
            for path in sorted(directory.glob("*.json")):
                with contextlib.suppress(OSError, ValidationError):
                    view = MigrationView.model_validate_json(path.read_bytes())
                    self._files[view.migration], self._views[view.migration] = path, view

    def __iter__(self) -> Iterator[MigrationView]:
        """The oldest first."""
        return iter(self._views.values())

    def write(self, view: MigrationView) -> None:
        """Keep a view, in place of an earlier one of the same migration."""
        path = self._directory / f"{int(view.began * 1000):016}-{view.migration}.json"
        fresh = path.with_suffix(".new")
        self._views[view.migration] = view
        self._files[view.migration] = path
        with contextlib.suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh.write_text(view.model_dump_json())
            fresh.replace(path)
        while len(self._views) > self._most:
            oldest = next(iter(self._views))
            del self._views[oldest]
            with contextlib.suppress(OSError):
                self._files.pop(oldest).unlink()

    def find(self, name: str) -> MigrationView | None:
        """The migration of that name, or the last one of the machine of that name."""
        if name in self._views:
            return self._views[name]
        return next((one for one in reversed(self._views.values()) if one.machine == name), None)
