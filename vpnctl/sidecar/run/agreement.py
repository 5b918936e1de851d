"""What the codecs of the two sides settle when they meet: stages, sizes, and the sites' caches.

The source offers its options and the segments of its site's cache; the destination answers with
the options that hold, which are the same but for a site cache that it does not have, and with its
own segments.  A reference to the site's cache means the same at both ends from then on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from vpnctl.errors import SidecarError, SidecarProtocolError
from vpnctl.sidecar.elimination import Options, SiteCache, SiteView

#: Segments of 16 MiB; their names have to fit into a greeting.
_MAX_SEGMENTS = 8192


@dataclass(frozen=True, slots=True)
class Agreed:
    """``site``: what both sites have on disk; None without the stage."""

    options: Options
    site: SiteView | None

    def close(self, notice: Callable[[str], None] = lambda _: None) -> None:
        """Let go of the site's cache; ``notice`` is told why it has not kept all, if so."""
        if self.site is not None:
            self.site.close()
            if self.site.trouble:
                notice(f"site cache: {self.site.trouble}")


class SourceAgreement:
    """The source's half.

    ``cache`` must be there if ``options`` have the stage.  Raises `SidecarError` when it holds too
    much to be offered.
    """

    def __init__(self, options: Options, cache: SiteCache | None) -> None:
        self._options = options
        self._site = cache.offer(options.block_size) if cache and options.site else None
        self.offer: dict[str, Any] = {
            "options": options.to_plain(),
            "site": _few(self._site.names) if self._site else [],
        }

    def agree(self, answer: Mapping[str, Any]) -> Agreed:
        """Raises `SidecarProtocolError` when the destination's answer makes no sense."""
        options, names = _read(answer)
        if options not in (self._options, replace(self._options, site=False)):
            raise SidecarProtocolError("the peer answered with other stages than were offered")
        site = self._site.agree(names) if self._site and options.site else None
        return Agreed(options, site)


def answer_to(
    offer: Mapping[str, Any], memory: int, cache: SiteCache | None
) -> tuple[dict[str, Any], Agreed]:
    """The destination's half: what to answer, and what that means here.

    ``memory``: octets that the codec may take.  Raises `SidecarError` when the offer cannot be
    taken, `SidecarProtocolError` when it makes no sense.
    """
    options, names = _read(offer)
    if options.memory > memory:
        raise SidecarError(
            f"the source's stages take {options.memory >> 20} MiB of memory at the destination,"
            f" {memory >> 20} MiB are allowed there",
            hint="choose smaller caches at the source, or a larger --memory at the destination",
        )
    if not options.site or cache is None:
        options = replace(options, site=False)
        return {"options": options.to_plain(), "site": []}, Agreed(options, None)
    ours = cache.offer(options.block_size)
    answer = {"options": options.to_plain(), "site": _few(ours.names)}
    return answer, Agreed(options, ours.agree(names))


def _read(codec: Mapping[str, Any]) -> tuple[Options, list[Any]]:
    plain, names = codec.get("options"), codec.get("site")
    if len(codec) != 2 or not isinstance(plain, dict) or not isinstance(names, list):
        raise SidecarProtocolError(
            "the peer did not say which stages it has",
            hint="run the same version of vpnctl at both sites",
        )
    return Options.from_plain(plain), names


def _few(names: list[str]) -> list[str]:
    if len(names) > _MAX_SEGMENTS:
        raise SidecarError(
            f"the site cache has {len(names)} segments, {_MAX_SEGMENTS} can be offered",
            hint="make it smaller with --site-size",
        )
    return names
