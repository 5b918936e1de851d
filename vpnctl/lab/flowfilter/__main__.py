"""``python -m vpnctl.lab.flowfilter``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from vpnctl.errors import LabError, VpnctlError
from vpnctl.lab.flowfilter.agent import Agent, Client
from vpnctl.lab.vplspe.follower import place_for, stop_signals
from vpnctl.lab.vplspe.values import Filtered

_OURS = IPv4Address("127.0.0.2")


def main(arguments: Sequence[str] | None = None) -> int:
    """Filter until told to stop; the exit code of `vpnctl.errors` if that cannot be done."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    client = Client(
        asn=options.asn,
        address=options.address,
        router=options.router,
        hold_time=options.hold_time,
        vpn=Filtered(options.vpn, None, tuple(options.ports)),
    )
    try:
        if os.geteuid() != 0:
            raise LabError("filters are made in the kernel", hint="run it as root")
        with stop_signals() as stopping, place_for(options.directory, "flowfilter-") as directory:
            Agent(client, directory).run(stopping)
    except VpnctlError as error:
        print(error.message + (f"\n{error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vpnctl.lab.flowfilter",
        description="Enforce the flow routes (SAFI 133) of this PE's router at customer ports.",
    )
    parser.add_argument("ports", nargs="+", metavar="PORT", help="customer ports in a bridge")
    parser.add_argument("--vpn", required=True, help="whose they are")
    parser.add_argument("--asn", type=int, required=True, help="AS of the router, and ours")
    parser.add_argument(
        "--address", type=IPv4Address, default=_OURS, help=f"our end, and router id ({_OURS})"
    )
    parser.add_argument(
        "--router", type=IPv4Address, required=True, help="an address of the router, not in 127/8"
    )
    parser.add_argument("--hold-time", type=int, default=9, help="seconds (default: 9)")
    parser.add_argument(
        "--directory",
        type=Path,
        help="for status.json and ExaBGP's files (default: a temporary one)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
