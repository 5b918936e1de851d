"""What libraries raise, as what an operator can act on: the router, the request, its words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from lxml import etree
from ncclient.operations import RPCError, TimeoutExpiredError
from ncclient.transport.errors import AuthenticationError, SSHUnknownHostError
from paramiko import BadHostKeyException, PasswordRequiredException

from vpnctl.errors import (
    ConnectError,
    DirtyCandidateError,
    LockedError,
    OutcomeUnknownError,
    ProvisioningError,
    RejectedError,
)
from vpnctl.model import Netconf
from vpnctl.provisioning.drivers.login import stranger
from vpnctl.provisioning.drivers.ssh import Connection
from vpnctl.provisioning.words import legible, legible_lines

#: Characters of somebody's changes that an error shows.
_LONGEST_CHANGE = 2000


@dataclass(frozen=True, slots=True)
class Refusal:
    """An ``<rpc-error>`` (RFC 6241 section 4.3); ``session``: the lock's, -1 if not said."""

    tag: str
    message: str
    path: str = ""
    element: str = ""
    session: int = -1
    warning: bool = False

    def __str__(self) -> str:
        words = [self.path, self.message, f"(at {self.element})" if self.element else ""]
        return " ".join(word for word in words if word)


def refusals(reply: etree._Element) -> tuple[Refusal, ...]:
    """Every ``<rpc-error>`` in a reply."""
    return tuple(_refusal(one) for one in reply.iter() if _name(one) == "rpc-error")


def _refusal(error: etree._Element) -> Refusal:
    texts = {_name(one): legible(one.text or "") for one in error.iter()}
    session = texts.get("session-id", "")
    return Refusal(
        tag=texts.get("error-tag", ""),
        message=texts.get("error-message", "") or texts.get("error-tag", "no reason given"),
        path=texts.get("error-path", ""),
        element=texts.get("bad-element", ""),
        session=int(session) if session.isdigit() else -1,
        warning=texts.get("error-severity") == "warning",
    )


def _name(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


class RefusedError(Exception):
    """A router's no, before it is known what it means for the request."""

    def __init__(self, found: tuple[Refusal, ...], fallback: str) -> None:
        errors = [one for one in found if not one.warning] or list(found)
        self.found = tuple(errors)
        self.words = legible("; ".join(map(str, errors)) or fallback)
        super().__init__(self.words)


@contextmanager
def asking(router: str, request: str, *, effect: bool = False) -> Iterator[None]:
    """Around a request: whatever is raised in it leaves as a `ProvisioningError`.

    ``request``: as the operator knows it, "commit".  ``effect``: no answer means that the router
    may have done it.
    """
    try:
        yield
    except ProvisioningError:
        raise
    except RefusedError as error:
        raise rejected(router, request, error) from error
    except RPCError as error:
        raise rejected(router, request, refused(error)) from error
    except Exception as error:
        slow = (
            isinstance(error, TimeoutError | TimeoutExpiredError)
            or "Timeout" in type(error).__name__
        )
        why = "did not answer in time" if slow else f"went away: {_words(error)}"
        if effect:
            raise OutcomeUnknownError(
                f"{router} {why}, at `{request}`",
                router=router, hint="see `vpnctl doctor`",
            ) from error  # fmt: skip
        raise ConnectError(
            f"{router} {why}, at `{request}`", router=router,
            hint="see `vpnctl doctor`; `timeouts:` in network.yaml says how long to wait",
        ) from error  # fmt: skip


def refused(error: RPCError) -> RefusedError:
    """What ncclient has made of a reply with errors."""
    found = refusals(error.xml) if error.xml is not None else ()
    return RefusedError(found, str(error))


def rejected(router: str, request: str, error: RefusedError) -> ProvisioningError:
    """What a router's no means."""
    for one in error.found:
        if one.tag == "lock-denied" and "modified" in one.message:
            return dirty(router, one.message)
        if one.tag in ("lock-denied", "in-use") or "locked by" in one.message:
            who = (
                f" (session {one.session})"
                if one.session > 0 and str(one.session) not in one.message
                else ""
            )
            return LockedError(
                f"{router} is being configured by somebody else: {one.message}{who}",
                router=router, hint="whoever it is should finish or log out; then try again",
            )  # fmt: skip
        if "database modified" in one.message:
            return dirty(router, one.message)
        if one.tag == "access-denied" or "permission denied" in one.message.lower():
            return RejectedError(
                f"{router} does not let us `{request}`: {error.words}",
                router=router, hint="give the user the right to configure; see `vpnctl doctor`",
            )  # fmt: skip
    return RejectedError(
        f"{router} refuses `{request}`: {error.words}",
        router=router, hint="nothing is in force there; see what the router complains about",
    )  # fmt: skip


def dirty(router: str, what: str) -> DirtyCandidateError:
    """Somebody else's changes are in the candidate."""
    return DirtyCandidateError(
        f"{router} has uncommitted changes of somebody else: "
        + legible_lines(what.strip(), _LONGEST_CHANGE),
        router=router,
        hint="they are left as they are; commit or discard them there, then try again",
    )  # fmt: skip


@contextmanager
def connecting(router: str, host: str, access: Netconf, connection: Connection) -> Iterator[None]:
    """Around making a session."""
    where = f"{router} ({host} port {access.port})"
    try:
        yield
    except ProvisioningError:
        raise
    except (SSHUnknownHostError, BadHostKeyException) as error:
        raise stranger(router, where, access.host_key, connection.host_key) from error
    except (AuthenticationError, PasswordRequiredException) as error:
        key = f"the key {access.key}" if access.key else "any key of the SSH agent"
        raise ConnectError(
            f"{where} does not let {access.user} in with {key}", router=router,
            hint="the key must be without passphrase or in the agent, and known to the router",
        ) from error  # fmt: skip
    except TimeoutError as error:
        raise ConnectError(
            f"{where} did not answer within {access.timeouts.connect:g} s", router=router,
            hint="is the address right, and NETCONF over SSH switched on there?",
        ) from error  # fmt: skip
    except Exception as error:
        raise ConnectError(
            f"{where} cannot be reached: {_words(error)}", router=router,
            hint="is the address right, and NETCONF over SSH switched on there?",
        ) from error  # fmt: skip


def _words(error: BaseException) -> str:
    kind = type(error).__name__
    said = legible(str(error))[:200]
    # What PyEZ says of a lost session is the name of a class.
    return "the session was lost" if said.startswith(kind) else said or kind
