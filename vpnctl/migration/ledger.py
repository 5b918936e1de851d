"""What a site has promised, on disk before anything acts on it.

One small file per machine, departure and arrival, each replaced as a whole: after a crash at any
moment it is what it was before or what it was meant to become.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from vpnctl.errors import AgentError
from vpnctl.migration.commit import Arrival, Departure
from vpnctl.migration.definition import Definition, Name

#: Names of the directories below a ledger's.
_MACHINES = "machines"
_DEPARTURES = "departures"
_ARRIVALS = "arrivals"
_REPLICATIONS = "replications"
_REPLICAS = "replicas"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Copy(_Record):
    """A machine's process: ``incarnation`` is its own and never used again.

    ``qmp`` is the path of its monitor, ``log`` of what it says (empty when it is not ours).
    ``pid`` and ``born`` (clock ticks since the kernel started, ``proc(5)``) name one process for
    ever; they are 0 from before it is started until it is known.
    """

    incarnation: str
    qmp: str
    log: str = ""
    pid: int = 0
    born: int = 0


class Machine(_Record):
    """A machine that is, or was, at this site.

    ``owner``: it is for this site to run it; ``process``: None when it has none.
    """

    definition: Definition
    epoch: int
    owner: bool
    process: Copy | None = None


class Peer(_Record):
    """The other site's agent: ``url``, and the ``name`` in its certificate."""

    site: Name
    url: str
    name: str = ""


class DepartureRecord(_Record):
    """The owner's half of a migration; ``incarnation`` is of the copy that leaves, and ``ended``
    says that nothing is left to be done."""

    migration: str
    machine: Name
    epoch: int
    to: Peer
    state: Departure
    incarnation: str
    ended: bool = False


class ArrivalRecord(_Record):
    """The other half; ``owner`` is the name in the certificate of the agent that offers it, and
    ``process`` the copy that comes."""

    migration: str
    definition: Definition
    epoch: int
    owner: str
    state: Arrival
    process: Copy

    @property
    def machine(self) -> str:
        return self.definition.machine


class ReplicationRecord(_Record):
    """A machine whose disks are replicated to another site; ``rate`` in bits per second."""

    machine: Name
    to: Peer
    rate: int | None = None


class ReplicaRecord(_Record):
    """Disks here that are an old copy of a machine's; ``owner`` as of an arrival."""

    definition: Definition
    owner: str

    @property
    def machine(self) -> str:
        return self.definition.machine


_Kind = TypeVar("_Kind", Machine, DepartureRecord, ArrivalRecord, ReplicationRecord, ReplicaRecord)


class Ledger:
    """The directory of an agent's records; raises `AgentError` when it cannot be used."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.machines = self._load(_MACHINES, Machine)
        self.departures = self._load(_DEPARTURES, DepartureRecord)
        self.arrivals = self._load(_ARRIVALS, ArrivalRecord)
        self.replications = self._load(_REPLICATIONS, ReplicationRecord)
        self.replicas = self._load(_REPLICAS, ReplicaRecord)

    def write(self, record: _Kind) -> None:
        """Make ``record`` durable, in place of the one of its name."""
        match record:
            case Machine():
                name = record.definition.machine
                self._replace(_MACHINES, name, record)
                self.machines[name] = record
            case DepartureRecord():
                self._replace(_DEPARTURES, record.migration, record)
                self.departures[record.migration] = record
            case ArrivalRecord():
                self._replace(_ARRIVALS, record.migration, record)
                self.arrivals[record.migration] = record
            case ReplicationRecord():
                self._replace(_REPLICATIONS, record.machine, record)
                self.replications[record.machine] = record
            case ReplicaRecord():
                self._replace(_REPLICAS, record.machine, record)
                self.replicas[record.machine] = record

    def end_replication(self, machine: str) -> None:
        """The machine's disks are replicated no longer."""
        (self._directory / _REPLICATIONS / f"{machine}.json").unlink(missing_ok=True)
        self.replications.pop(machine, None)

    def forget(self, machine: str) -> None:
        """The machine is no longer known here."""
        (self._directory / _MACHINES / f"{machine}.json").unlink(missing_ok=True)
        self.machines.pop(machine, None)

    def _load(self, kind: str, model: type[_Kind]) -> dict[str, _Kind]:
        directory = self._directory / kind
        found: dict[str, _Kind] = {}
        path = directory
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for path in sorted(directory.glob("*.json")):
                found[path.stem] = model.model_validate_json(path.read_bytes())
        except OSError as error:
            raise AgentError(
                f"the records in {path} cannot be used: {error.strerror}",
                hint="give the agent a directory of its own with --state",
            ) from error
        except ValidationError as error:
            # To go on without it could start a second copy of a machine.
            raise AgentError(
                f"{path} is not what an agent has written",
                hint="restore it; or find out by hand where the machine runs, then remove the file",
            ) from error
        return found

    def _replace(self, kind: str, name: str, record: BaseModel) -> None:
        directory = self._directory / kind
        final, fresh = directory / f"{name}.json", directory / f"{name}.new"
        try:
            with fresh.open("wb") as file:
                file.write(record.model_dump_json(indent=1).encode())
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(final)
            handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError as error:
            raise AgentError(
                f"{final} cannot be written: {error.strerror}",
                hint="make room there; until then nothing moves",
            ) from error
