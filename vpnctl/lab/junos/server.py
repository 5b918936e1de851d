"""Routers on the network: SSH, the subsystem ``netconf``, and faults as they are met."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import asyncssh
from lxml import etree

from vpnctl.lab.junos.dialogue import Dialogue
from vpnctl.lab.junos.faults import Fault, Phase, Wrong
from vpnctl.lab.junos.framing import Framing, FramingError
from vpnctl.lab.junos.messages import Content, hello, reply, rpc_error, within_results
from vpnctl.lab.junos.notation_xml import local_name
from vpnctl.lab.junos.router import Router
from vpnctl.lab.junos.rpcs import answer

_BASE_11 = "urn:ietf:params:netconf:base:1.1"
_READ = 1 << 16
#: Messages come from anybody who can log in: no entities, no network, no depth without end.
_PARSER = etree.XMLParser(
    resolve_entities=False, no_network=True, remove_comments=True, remove_pis=True
)


@dataclass(frozen=True, slots=True)
class Access:
    """``host_key``: the servers'; ``authorized``: public keys, one a line, that may log in as
    ``user``.
    """

    host_key: asyncssh.SSHKey
    authorized: str
    user: str = "vpnctl"


class _Login(asyncssh.SSHServer):
    """Public keys only, of one user."""

    def __init__(self, router: Router, access: Access) -> None:
        self._router = router
        self._access = access

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        fault = self._router.faults.take(Phase.CONNECT)
        if fault is not None and fault.wrong in (Wrong.DROP, Wrong.REFUSE):
            conn.abort()
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        if username == self._access.user:
            self._connection.set_authorized_keys(
                asyncssh.import_authorized_keys(self._access.authorized)
            )
        return True

    def public_key_auth_supported(self) -> bool:
        return True


async def listen(
    router: Router, access: Access, host: str, port: int = 0, *, standard: bool = False
) -> asyncssh.SSHAcceptor:
    """Serve one router; ``port`` 0: any.  Close the acceptor to end it and its sessions."""

    async def session(process: asyncssh.SSHServerProcess[bytes]) -> None:
        if process.subsystem != "netconf":
            process.exit(1)
            return
        await _Conversation(router, process, standard=standard).run()

    return await asyncssh.listen(
        host,
        port,
        server_factory=lambda: _Login(router, access),
        server_host_keys=[access.host_key],
        process_factory=session,
        encoding=None,
        password_auth=False,
        kbdint_auth=False,
        compression_algs=None,
        login_timeout=30,
    )


class _Conversation:
    """One session: hello, then one request after the other."""

    def __init__(
        self, router: Router, process: asyncssh.SSHServerProcess[bytes], *, standard: bool
    ) -> None:
        self._router = router
        self._process = process
        self._standard = standard
        self._framing = Framing()
        self._greeted = False
        self._work: set[asyncio.Task[Content]] = set()

    async def run(self) -> None:
        user = self._process.get_extra_info("username")
        session = self._router.log_in(user)
        dialogue = Dialogue(self._router, session, self._standard)
        try:
            self._process.stdout.write(
                self._framing.wrap(hello(session.number, standard=self._standard))
            )
            while not dialogue.ended:
                octets = await self._process.stdin.read(_READ)
                if not octets:
                    break
                await self._take(octets, dialogue)
        except (asyncssh.Error, OSError, FramingError, _CutError):
            pass
        finally:
            # A commit that is under way goes on without its client.
            if self._work:
                await asyncio.wait(self._work)
            self._router.log_out(session)
            if not dialogue.ended:
                self._process.get_extra_info("connection").abort()
            else:
                self._process.exit(0)

    async def _take(self, octets: bytes, dialogue: Dialogue) -> None:
        for message in self._messages(octets):
            if not dialogue.ended:
                await self._message(message, dialogue)

    def _messages(self, octets: bytes) -> Iterable[bytes]:
        while found := self._framing.take(octets):
            octets = b""
            yield from found

    async def _message(self, message: bytes, dialogue: Dialogue) -> None:
        try:
            element = etree.fromstring(message, _PARSER)
        except etree.XMLSyntaxError as error:
            raise FramingError(str(error)) from error
        if not self._greeted:
            self._greeted = True
            theirs = {
                (one.text or "").strip()
                for one in element.iter()
                if local_name(one) == "capability"
            }
            self._framing.chunked = self._standard and _BASE_11 in theirs
            return
        requests = [one for one in element if isinstance(one.tag, str)]
        if local_name(element) != "rpc" or len(requests) != 1:
            raise FramingError("no rpc")
        content = await self._serve(requests[0], dialogue)
        self._process.stdout.write(self._framing.wrap(reply(element.get("message-id"), content)))

    async def _serve(self, request: etree._Element, dialogue: Dialogue) -> Content:
        fault = self._router.faults.take(dialogue.phase(request))
        if fault is None:
            return await self._do(request, dialogue)
        if fault.wrong is Wrong.REFUSE:
            return within_results(
                local_name(request), [rpc_error("operation-failed", fault.message)]
            )
        if fault.wrong is Wrong.PRETEND:
            self._router.discard()
            return await self._do(request, dialogue)
        if fault.wrong is Wrong.SLOW:
            return await self._do(request, dialogue, after=fault.seconds)
        await self._silence(fault, request, dialogue)
        raise _CutError

    async def _do(self, request: etree._Element, dialogue: Dialogue, after: float = 0) -> Content:
        """Do what is asked for, also when the client goes away meanwhile."""

        async def work() -> Content:
            if after:
                await asyncio.sleep(after)
            return await answer(dialogue, request)

        task = asyncio.ensure_future(work())
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return await asyncio.shield(task)

    async def _silence(self, fault: Fault, request: etree._Element, dialogue: Dialogue) -> None:
        if fault.done:
            await self._do(request, dialogue)
        if fault.wrong is Wrong.HANG:
            while await self._process.stdin.read(_READ):
                pass


class _CutError(Exception):
    """The connection shall end here."""
