"""Is the library that we reach into still the one that we know?"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

from vpnctl.errors import SessionProcessError


@dataclass(frozen=True, slots=True)
class PatchPoint:
    """Something of another library that is replaced, or that a replacement stands on.

    ``parameters``: names of its parameters, in order; ``uses``: names that its code must mention,
    the part of its behaviour that is relied on.
    """

    owner: Any
    name: str
    parameters: tuple[str, ...]
    uses: frozenset[str] = frozenset()

    def difference(self) -> str:
        """How the library differs here, empty when it does not."""
        where = f"{getattr(self.owner, '__name__', self.owner)}.{self.name}"
        found = inspect.getattr_static(self.owner, self.name, None)
        if isinstance(found, classmethod | staticmethod):
            found = found.__func__
        if not inspect.isfunction(found):
            return f"{where} is no function"
        parameters = tuple(inspect.signature(found).parameters)
        if parameters != self.parameters:
            return f"{where} takes ({', '.join(parameters)}), not ({', '.join(self.parameters)})"
        missing = self.uses - {*found.__code__.co_names, *found.__code__.co_freevars}
        if missing:
            return f"{where} does not use {', '.join(sorted(missing))}"
        return ""


def check_patch_points(points: tuple[PatchPoint, ...]) -> None:
    """Raises `SessionProcessError` that names every point that is not as it was."""
    differences = [difference for point in points if (difference := point.difference())]
    if differences:
        raise SessionProcessError(
            "ExaBGP is not built as expected: " + "; ".join(differences),
            hint="install the pinned version: pip install exabgp==5.0.15",
        )
