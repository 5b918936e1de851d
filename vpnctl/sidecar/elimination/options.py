"""What both ends of a migration agree on before its first octet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from vpnctl.errors import SidecarProtocolError, UsageError

MIB = 1 << 20

#: Blocks that a page may be split into for content-based redundancy.
SUB_BLOCKS = (1, 4, 16)
WINDOW_LOGS = range(17, 28)
LEVELS = range(1, 20)
#: No cache may be larger, whatever an operator or a peer asks for: slots are numbered in 32 bits.
MAX_CACHE = 64 << 30


@dataclass(frozen=True, slots=True)
class Options:
    """Which stages run, and how large what they remember is; the same at both ends.

    ``delta``: a page sent before goes as what changed in it (XOR, run-length);
    ``delta_threshold``: a longer delta is not used, in octets, of 4096.
    ``content``: a block that is in a page that went before goes as an index; ``sub_blocks``: blocks
    per page.
    ``cache_size``: octets of pages remembered for both, in their last version, first in first out.
    ``site``: the same against the blocks that both sites keep on disk from earlier migrations.
    ``text``: text in what is left goes word by word, numbers aside (`spelling`).
    ``compress``: zstd over everything, of ``level`` (see `Compressor`) and a window of
    ``2 ** window_log`` octets at most.

    Raises `UsageError` for a value out of range, all of them at once.
    """

    delta: bool = True
    content: bool = True
    site: bool = True
    text: bool = True
    compress: bool = True
    sub_blocks: int = 4
    cache_size: int = 256 * MIB
    delta_threshold: int = 3072
    window_log: int = 27
    level: int = 3

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {getattr(self, name)}, not {allowed}"
            for name, holds, allowed in (
                ("sub_blocks", self.sub_blocks in SUB_BLOCKS, "1, 4 or 16"),
                ("cache_size", MIB <= self.cache_size <= MAX_CACHE, "1 MiB to 64 GiB"),
                ("delta_threshold", 1 <= self.delta_threshold <= 4096, "1 to 4096"),
                ("window_log", self.window_log in WINDOW_LOGS, "17 to 27"),
                ("level", self.level in LEVELS, "1 to 19"),
            )
            if not holds
        ]
        if wrong:
            raise UsageError(
                "redundancy elimination: " + "; ".join(wrong),
                hint="vpnctl sidecar source --help lists what each option may be",
            )

    @classmethod
    def zstd_long(cls) -> Self:
        """Compression alone, over the octets of the stream as they are; needs no parser."""
        return cls(delta=False, content=False, site=False, text=False, level=1)

    @classmethod
    def pass_through(cls) -> Self:
        """Nothing at all: octets go as they are; needs no parser."""
        return cls(delta=False, content=False, site=False, text=False, compress=False)

    @property
    def needs_pages(self) -> bool:
        """Whether a stage looks at pages; without one, a stream may go as a single `Opaque`."""
        return self.delta or self.content or self.site or self.text

    @property
    def block_size(self) -> int:
        """Octets of a block."""
        return 4096 // self.sub_blocks

    @property
    def memory(self) -> int:
        """Octets that each end keeps in memory for these options: caches and window."""
        return (self.delta or self.content) * self.cache_size + self.compress * (
            1 << self.window_log
        )

    def to_plain(self) -> dict[str, Any]:
        """For the peer, as JSON has it."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What a peer says; raises `SidecarProtocolError` unless it is exactly `to_plain`'s."""
        kinds = {field.name: bool if field.type == "bool" else int for field in fields(cls)}
        if plain.keys() != kinds.keys() or any(
            type(plain[name]) is not kind for name, kind in kinds.items()
        ):
            raise SidecarProtocolError(
                "the other sidecar's options for redundancy elimination are not those of this one",
                hint="run the same version of vpnctl at both sites",
            )
        try:
            return cls(**plain)
        except UsageError as error:
            raise SidecarProtocolError(f"the other sidecar asks for {error.message}") from error
