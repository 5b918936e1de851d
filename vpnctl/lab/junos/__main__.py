"""``python -m vpnctl.lab.junos``: Junos-like routers in one process."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import asyncssh

from vpnctl.errors import LabError, UsageError, VpnctlError
from vpnctl.lab.junos.editing import EditError
from vpnctl.lab.junos.forwarding import VplsPe
from vpnctl.lab.junos.notation_set import set_edits
from vpnctl.lab.junos.orders import SYNTAX, orders
from vpnctl.lab.junos.router import Activate, Router, RouterError
from vpnctl.lab.junos.schema import Tree
from vpnctl.lab.junos.server import Access, listen


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit code of `vpnctl.errors` if that cannot be."""
    options = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(options))
    except VpnctlError as error:
        print(error.message + (f"\n{error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vpnctl.lab.junos",
        description="Junos-like routers for tests and the lab, configured over NETCONF.  When they"
        " listen, one line of JSON tells their ports and the fingerprint of their host key.",
    )
    add = parser.add_argument
    add("--address", default="127.0.0.1", help="to listen at (%(default)s)")
    add("--port", type=int, default=830, help="of the first router (%(default)s); 0 for any")
    add("--routers", type=int, default=1, help="how many, one port each (%(default)s)")
    add("--user", default="vpnctl", help="who may log in (%(default)s)")
    add("--authorized-keys", type=Path, required=True, help="the public keys of who may log in")
    add("--host-key", type=Path, help="private key of the routers; made there if it is not there")
    add("--name", default="pe", help="the routers' name (%(default)s)")
    add("--platform", choices=("mx", "evo", "crpd"), default="mx")
    add("--standard", action="store_true", help="keep to RFC 6241 and be no Junos")
    add("--commit", type=float, default=0.0, help="seconds that a commit takes (%(default)s)")
    add("--minute", type=float, default=60.0, help="seconds of a confirmed commit's minute")
    add("--config", type=Path, help="`set` commands that are in force from the beginning")
    add("--vplspe", type=Path, metavar="DIR", help="run a VPLS PE here that does what is committed")
    add("--untagged", action="store_true", help="customers' frames at the PE's ports have no tags")
    add("--dirty", type=Path, help="`set` commands that somebody has typed and not committed")
    add(
        "--fault", action="append", default=[], metavar="FAULT",
        help=f"what goes wrong at the next request of a phase, may be repeated: {SYNTAX}",
    )  # fmt: skip
    add("--tell", action="store_true", help="a line at each commit that changes something, too")
    return parser


async def _serve(options: argparse.Namespace) -> None:
    if options.vplspe is not None and options.routers != 1:
        raise UsageError("one VPLS PE does what one router says", hint="leave --routers out")
    access = Access(_host_key(options.host_key), _read(options.authorized_keys), options.user)
    async with AsyncExitStack() as stack:
        activate: Activate | None = _tell if options.tell else None
        if options.vplspe is not None:
            options.vplspe.mkdir(parents=True, exist_ok=True)
            pe = VplsPe(options.vplspe, tagged=not options.untagged)
            stack.push_async_callback(pe.stop)
            activate = pe.activate
        names = [
            f"{options.name}{number}" if options.routers > 1 else options.name
            for number in range(options.routers)
        ]
        faults = orders(options.fault, names)
        ports = []
        for number, name in enumerate(names):
            router = Router(
                name,
                platform=options.platform,
                commit_s=options.commit,
                minute=options.minute,
                activate=activate,
            )
            if options.config is not None:
                await _begin(router, _read(options.config))
            if options.dirty is not None:
                _type(router, _read(options.dirty))
            for order in faults:
                if order.router in ("", name):
                    router.faults.set(order.phase, order.fault)
            port = options.port + number if options.port else 0
            try:
                acceptor = await listen(
                    router, access, options.address, port, standard=options.standard
                )
            except OSError as error:
                raise LabError(f"{options.address} port {port}: {error.strerror}") from error
            stack.callback(acceptor.close)
            ports.append(acceptor.get_port())
        print(
            json.dumps({"ports": ports, "host_key": access.host_key.get_fingerprint()}), flush=True
        )
        await _told_to_stop()


async def _tell(_: Tree) -> None:
    print(json.dumps({"in force": "another configuration"}), flush=True)


async def _begin(router: Router, commands: str) -> None:
    """The configuration that a router starts with."""
    try:
        router.configure(set_edits(commands, router.schema))
        await router.start()
    except EditError as error:
        raise UsageError(f"the configuration: {error.message}: {error.element}") from error
    except RouterError as error:
        raise UsageError(f"the configuration: {error.message}") from error


def _type(router: Router, commands: str) -> None:
    """What somebody else has in the candidate."""
    try:
        router.dirty(set_edits(commands, router.schema))
    except EditError as error:
        raise UsageError(f"what is not committed: {error.message}: {error.element}") from error


def _host_key(file: Path | None) -> asyncssh.SSHKey:
    if file is None:
        return asyncssh.generate_private_key("ssh-ed25519")
    if not file.exists():
        key = asyncssh.generate_private_key("ssh-ed25519")
        file.touch(0o600)
        key.write_private_key(file)
        return key
    try:
        return asyncssh.read_private_key(file)
    except (OSError, asyncssh.KeyImportError) as error:
        raise UsageError(f"{file} is no private key: {error}") from error


def _read(file: Path) -> str:
    try:
        return file.read_text()
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}") from error


async def _told_to_stop() -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await stopping.wait()


if __name__ == "__main__":
    sys.exit(main())
