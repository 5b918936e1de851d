"""What the drivers over NETCONF have in common: one session, one thread, and its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import ClassVar, TypeVar

from ncclient.manager import Manager

from vpnctl.errors import (
    ConnectError,
    DirtyCandidateError,
    LockedError,
    OutcomeUnknownError,
    ProvisioningError,
    RejectedError,
)
from vpnctl.model import Netconf, Pe
from vpnctl.provisioning.driver import CommitState, Probe
from vpnctl.provisioning.drivers.refusals import asking, connecting, dirty
from vpnctl.provisioning.drivers.ssh import Connection
from vpnctl.provisioning.drivers.verifying import unverified
from vpnctl.provisioning.drivers.worker import Worker
from vpnctl.provisioning.rendered import Rendered
from vpnctl.provisioning.words import legible, legible_lines

T = TypeVar("T")
#: Seconds for a farewell; a router that does not answer it has the connection cut.
_FAREWELL = 2.0


class SessionDriver(ABC):
    """`vpnctl.provisioning.driver.Driver` on ncclient; what a router understands is in subclasses,
    whose methods run in the session's thread and may block.
    """

    #: ncclient's name for what kind of router it is.
    device: ClassVar[str]

    def __init__(self, pe: Pe) -> None:
        access = pe.netconf
        assert access is not None, f"{pe.name} has no NETCONF access"
        self._router = pe.name
        self._access: Netconf = access
        self._host = str(access.address or pe.address)
        self._connection = Connection(pe.name, self._host, access, self.device)
        self._worker = Worker(f"netconf-{pe.name}", self._connection.abort)
        self._session: Manager | None = None
        self._over = False
        self._locked = False
        #: Whether the candidate has what we loaded, and nothing else.
        self._loaded = False
        #: The nodes that what is loaded makes or takes away, and what they are like with it.
        self._touched: tuple[str, ...] = ()
        self._wanted = ""

    # Driver

    async def connect(self) -> None:
        with connecting(self._router, self._host, self._access, self._connection):
            self._session = await self._worker.call(self._open, limit=self._access.timeouts.connect)

    async def lock(self) -> None:
        await self._ask("lock", self._lock)
        self._locked = True

    async def load(self, rendered: Rendered) -> None:
        self._touched = (*rendered.owned, *rendered.delete)
        await self._ask("load", lambda: self._load(rendered))
        # Read now: some forget on the way to the commit what they have taken.
        self._wanted = await self._ask("show candidate", lambda: self._candidate(self._touched))

    async def diff(self) -> str:
        return legible_lines(await self._ask("compare", self._diff))

    async def check(self) -> None:
        await self._ask("commit check", self._check, patience=self._access.timeouts.commit)

    async def commit_confirmed(self, persist: str, timeout_s: int) -> None:
        await self._ask_effect("commit confirmed", lambda: self._commit(persist, timeout_s))
        self._loaded = False

    async def verify(self) -> None:
        there = await self.running(self._touched)
        if there != self._wanted:
            raise unverified(self._router, self._wanted, there)

    async def confirm(self, persist: str) -> None:
        await self._ask_effect("confirm", lambda: self._confirm(persist))

    async def cancel(self, persist: str) -> None:
        await self._ask_effect("cancel", lambda: self._cancel(persist))
        self._loaded = False

    async def discard(self) -> None:
        if self._loaded:
            await self._ask("discard", self._discard)
            self._loaded = False

    async def unlock(self) -> None:
        if self._locked:
            await self._ask("unlock", self._unlock)
            self._locked = False

    async def pending(self, persist: str) -> CommitState:
        return await self._ask("show commits", lambda: self._pending(persist))

    async def running(self, owned: tuple[str, ...]) -> str:
        return await self._ask("show configuration", lambda: self._running(owned))

    async def configuration(self) -> str:
        return await self._ask("show configuration", self._configuration)

    async def probe(self) -> Probe:
        version = legible(await self._ask("show version", self._version))
        capabilities = tuple(str(one) for one in self._manager.server_capabilities)
        obstacle = await self._obstacle()
        return Probe(
            host_key=self._connection.host_key,
            version=version,
            capabilities=capabilities,
            rights=not isinstance(obstacle, RejectedError),
            obstacle=obstacle,
            missing=tuple(
                f":{name}:{'|'.join(versions)}"
                for name, versions in self._needed()
                if not any(self._says(capabilities, name, one) for one in versions)
            ),
        )  # fmt: skip

    async def close(self) -> None:
        if self._session is not None and not self._over:
            self._over = True
            with suppress(Exception):
                await self._worker.call(self._say_goodbye, limit=_FAREWELL)
        self._over = True
        self._connection.abort()
        with suppress(Exception):
            await self._worker.call(self._connection.close, limit=_FAREWELL)
        self._worker.stop()

    # How requests are made

    async def _ask(
        self,
        request: str,
        work: Callable[[], T],
        *,
        effect: bool = False,
        patience: float | None = None,
    ) -> T:
        """Do it in the session's thread; ``patience``: seconds for each answer."""
        if self._over or self._session is None:
            raise ConnectError(f"the session with {self._router} is over", router=self._router)
        self._session.timeout = patience or self._access.timeouts.rpc

        def there() -> T:
            with asking(self._router, request, effect=effect), self._translating():
                return work()

        try:
            return await self._worker.call(there)
        except (ConnectError, OutcomeUnknownError) as error:
            self._over = True
            complaint = self._connection.complaint
            if not complaint:
                raise
            raise type(error)(
                f"{self._router} {complaint}, at `{request}`",
                router=self._router,
                hint="no router does that: find out who answers there",
            ) from error

    async def _ask_effect(self, request: str, work: Callable[[], T]) -> T:
        return await self._ask(request, work, effect=True, patience=self._access.timeouts.commit)

    @staticmethod
    def _says(capabilities: tuple[str, ...], name: str, version: str) -> bool:
        return any(f":capability:{name}:{version}" in one for one in capabilities)

    async def _obstacle(self) -> ProvisioningError | None:
        """Why the candidate cannot be taken just now; a lock is taken and given back for it."""
        held = self._locked
        try:
            if not held:
                await self.lock()
            change = "" if self._loaded else await self.diff()
        except (LockedError, DirtyCandidateError, RejectedError) as error:
            return error
        if not held:
            await self.unlock()
        return dirty(self._router, change) if change else None

    @property
    def _manager(self) -> Manager:
        assert self._session is not None
        return self._session

    def _open(self) -> Manager:
        manager = self._connection.open()
        manager.huge_tree = True
        self._opened(manager)
        return manager

    def _say_goodbye(self) -> None:
        self._manager.timeout = _FAREWELL
        if self._loaded:
            self._discard()
        if self._locked:
            self._unlock()
        self._manager.close_session()

    @contextmanager
    def _hold(self) -> Iterator[None]:
        """Within it the candidate is locked, by whoever had it before or for this only."""
        if self._locked:
            yield
            return
        self._lock()
        try:
            yield
        finally:
            with suppress(Exception):
                self._unlock()

    # What a kind of router does in its own way, in the session's thread

    def _opened(self, manager: Manager) -> None:  # noqa: B027  # most have nothing to do
        """There is a session now."""

    @abstractmethod
    def _translating(self) -> AbstractContextManager[None]:
        """Around requests: the library's own exceptions as those that `asking` knows."""

    @abstractmethod
    def _needed(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Names and versions of the capabilities without which it does not go."""

    @abstractmethod
    def _lock(self) -> None: ...
    @abstractmethod
    def _unlock(self) -> None: ...
    @abstractmethod
    def _load(self, rendered: Rendered) -> None: ...
    @abstractmethod
    def _diff(self) -> str: ...
    @abstractmethod
    def _check(self) -> None: ...
    @abstractmethod
    def _commit(self, persist: str, timeout_s: int) -> None: ...
    @abstractmethod
    def _confirm(self, persist: str) -> None: ...
    @abstractmethod
    def _cancel(self, persist: str) -> None: ...
    @abstractmethod
    def _discard(self) -> None: ...
    @abstractmethod
    def _pending(self, persist: str) -> CommitState: ...
    @abstractmethod
    def _candidate(self, owned: tuple[str, ...]) -> str: ...
    @abstractmethod
    def _running(self, owned: tuple[str, ...]) -> str: ...
    @abstractmethod
    def _configuration(self) -> str: ...
    @abstractmethod
    def _version(self) -> str: ...
