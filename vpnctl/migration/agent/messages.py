"""What agents, coordinator and operators say to each other, as checked values."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from vpnctl.migration.definition import Definition, Name
from vpnctl.migration.ledger import Peer

#: Version of every answer.
SCHEMA = "vpnctl/1"
#: The phases after which nothing happens any more.
ENDS = ("done", "failed", "cancelled")

MigrationName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Rate = Annotated[int, Field(ge=64_000, le=1_000_000_000_000)]


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AttachRequest(_Message):
    """Take over a machine that somebody started: its definition and its monitor's path."""

    definition: Definition
    qmp: Annotated[str, Field(max_length=107)]


class Together(_Message):
    """``count`` machines that go on at the same moment; ``name`` is what they have in common."""

    name: MigrationName
    count: Annotated[int, Field(ge=1, le=1000)]


class Moment(_Message):
    """Something that happened outside of the sites; ``at`` in seconds since 1970."""

    at: float
    what: Annotated[str, Field(max_length=500)]


class MomentsRequest(_Message):
    """Write these into the timeline of a migration."""

    moments: Annotated[tuple[Moment, ...], Field(max_length=100)]


class MigrateRequest(_Message):
    """Move a machine; ``rate`` in bits per second; ``together``: with others; then it waits for
    `release` before the pause.

    ``max_pause_s``: the longest pause that is allowed; ``throttle``: QEMU may slow the guest down
    for that; ``hold``: wait for `release` though it is alone; ``moments``: what was done for it
    already.
    """

    migration: MigrationName
    machine: Name
    to: Peer
    rate: Rate | None = None
    max_pause_s: Annotated[float, Field(gt=0, le=3600)] | None = None
    throttle: bool = False
    hold: bool = False
    together: Together | None = None
    moments: Annotated[tuple[Moment, ...], Field(max_length=100)] = ()


class ReachRequest(_Message):
    """Can the agent talk to that one?"""

    to: Peer


class RateRequest(_Message):
    """Another limit, in bits per second; None for none."""

    rate: Rate | None


class PauseRequest(_Message):
    """Another longest pause, None for any."""

    max_pause_s: Annotated[float, Field(gt=0, le=3600)] | None


class Nothing(_Message):
    """An answer that says no more than that it was done."""


class ArrivalRequest(_Message):
    """Make ready for a machine; ``sizes``: octets of each of its disks; ``together``: it goes on
    together with others."""

    migration: MigrationName
    definition: Definition
    epoch: Annotated[int, Field(ge=1)]
    sizes: tuple[Annotated[int, Field(ge=0, le=1 << 50)], ...]
    together: Together | None = None


class ArrivalReady(_Message):
    """Where the source's sidecar connects to, and the senders of its disks (empty: none)."""

    listen: str
    disks: str = ""


class OfferAnswer(_Message):
    """``accepted``: the machine runs there; otherwise it never will under this migration.

    ``resumed_at``: when it went on, by that site's clock; None when nobody saw it.
    """

    accepted: bool
    resumed_at: float | None = None


class ReplicaRequest(_Message):
    """Keep a copy of a machine's disks; ``sizes``: octets of each."""

    definition: Definition
    sizes: tuple[Annotated[int, Field(ge=0, le=1 << 50)], ...]


class ReplicaReady(_Message):
    """Where the senders of the disks connect to."""

    disks: str


class ReplicateRequest(_Message):
    """Replicate a machine's disks to a site; ``rate`` in bits per second."""

    machine: Name
    to: Peer
    rate: Rate | None = None


class ReplicationView(_Message):
    """How far the replication of a machine's disks is.

    ``phase``: copying, following, cut off; ``since``: when that began, in seconds since 1970;
    ``left``: octets that the mirrors have still to look at, None when nobody knows; ``disk``,
    ``wire``, ``kept``: octets that the mirrors wrote, that were sent, and that the other site had
    already, since the last cut.
    """

    machine: str
    from_site: str
    to_site: str
    phase: str
    since: float
    left: int | None
    disk: int
    wire: int
    kept: int
    cuts: int
    limit: int | None
    error: str


class ReplicationList(_Message):
    """The replications of a site's machines."""

    replications: tuple[ReplicationView, ...]


class MachineView(_Message):
    """A machine of a site; ``state``: QEMU's word, or stopped, leaving, arriving, gone."""

    name: str
    app: str | None
    state: str
    owner: bool
    epoch: int
    memory_kib: int
    cpus: int
    type: str
    disks: tuple[str, ...]
    console: str
    qmp: str


class DiskFact(_Message):
    """A disk as its site sees it; ``size`` in octets, None when the file is not there."""

    file: str
    shared: bool
    size: int | None


class MachineFacts(_Message):
    """What prechecks want to know of a machine; ``refusals``: what a sidecar cannot pass."""

    definition: Definition
    state: str
    disks: tuple[DiskFact, ...]
    refusals: tuple[tuple[str, str, str], ...]
    busy: str


class SiteFacts(_Message):
    """What prechecks want to know of a site; sizes in octets; ``driver``: what starts its machines;
    ``vpn_bridges``: its bridges by VPN, for nics that name a VPN alone."""

    site: str
    driver: str = "qemu"
    tls: bool
    qemu: tuple[int, ...]
    machine_types: tuple[str, ...]
    cpus: tuple[str, ...]
    kvm: bool
    memory_free: int
    disk_free: int
    images: tuple[str, ...]
    shared: tuple[str, ...]
    bridges: tuple[str, ...]
    vpn_bridges: dict[str, str] = {}
    machines: tuple[MachineView, ...]
    jobs: tuple[str, ...]


class Mark(_Message):
    """A moment of a migration, in seconds since its beginning."""

    at_s: float
    what: str


class Pass(_Message):
    """A pass over the memory: octets left when it began, and seconds since the beginning of the
    migration; ``dirty_rate``, ``rate``: octets per second that the guest changed and that left
    QEMU, of late."""

    at_s: float
    left: int
    dirty_rate: float = 0.0
    rate: float = 0.0


class MigrationView(_Message):
    """How far a migration is.

    ``phase``: preparing, disk, memory, held, pausing, committing, in doubt, done, failed,
    cancelled.  ``left``: octets of memory still to send; ``dirty_rate``, ``guest_rate``,
    ``wire_rate``: octets per second; ``disk``, ``disk_wire``, ``disk_kept``: octets that the
    mirrors wrote, that were sent, and that the other site had already; ``pause_s``: predicted
    while it moves, ``paused_s``: what it was, at most; ``stopped_at``, ``resumed_at``: when the
    machine was paused and went on, by the clocks of the sites where that was.
    """

    migration: str
    machine: str
    from_site: str
    to_site: str
    phase: str
    began: float
    elapsed_s: float
    passes: tuple[Pass, ...] = ()
    left: int | None = None
    dirty_rate: float = 0.0
    guest: int = 0
    guest_rate: float = 0.0
    wire: int = 0
    wire_rate: float = 0.0
    limit: float | None = None
    cuts: int = 0
    disk_left: int | None = None
    disk: int = 0
    disk_wire: int = 0
    disk_kept: int = 0
    disk_cuts: int = 0
    pause_s: float | None = None
    paused_s: float | None = None
    stopped_at: float | None = None
    resumed_at: float | None = None
    advice: str = ""
    eta_s: float | None = None
    error: str = ""
    hint: str = ""
    timeline: tuple[Mark, ...] = ()
    stages: dict[str, Any] = {}

    @property
    def ended(self) -> bool:
        return self.phase in ENDS


class MigrationList(_Message):
    """The migrations of the machines that left, or shall leave, a site."""

    migrations: tuple[MigrationView, ...]
