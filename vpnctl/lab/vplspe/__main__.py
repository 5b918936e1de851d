"""``python -m vpnctl.lab.vplspe CONFIG.yaml``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from vpnctl.errors import LabError, PolicyError, UsageError, VpnctlError
from vpnctl.lab.vplspe.agent import Agent
from vpnctl.lab.vplspe.config import read_config
from vpnctl.lab.vplspe.follower import place_for, stop_signals
from vpnctl.lab.vplspe.forwarding import Forwarding


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a PE until it is told to stop; the exit code of `vpnctl.errors` if it cannot."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        config = read_config(str(options.config), _content(options.config))
        if options.check:
            return 0
        if os.geteuid() != 0:
            raise LabError("a PE makes network devices", hint="run it as root")
        with (
            stop_signals() as stopping,
            place_for(options.directory, "vpls-pe-") as directory,
            Forwarding(config) as forwarding,
        ):
            Agent(config, directory, forwarding).run(stopping)
    except VpnctlError as error:
        for mistake in error.mistakes if isinstance(error, PolicyError) else ():
            print(mistake, file=sys.stderr)
        print(error.message + (f"\n{error.hint}" if error.hint else ""), file=sys.stderr)
        return error.exit_code
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vpnctl.lab.vplspe",
        description="A VPLS PE (RFC 4761) in this network namespace: ExaBGP and vxlan devices.",
    )
    parser.add_argument("config", type=Path, metavar="CONFIG.yaml")
    parser.add_argument(
        "--directory",
        type=Path,
        help="for status.json and ExaBGP's files (default: a temporary one)",
    )
    parser.add_argument("--check", action="store_true", help="check the file, start nothing")
    return parser


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read: {error.strerror}", hint="name the PE's YAML file"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
