"""``vpnctl check``: every mistake of a policy directory, without a controller."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vpnctl.cli.command import POLICY_PANEL, command
from vpnctl.cli.output import Format, Output, count, print_document, problem_lines, say
from vpnctl.cli.settings import default_policies
from vpnctl.controller.views import problems
from vpnctl.errors import PolicyError

PolicyDirectory = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        envvar="VPNCTL_POLICIES",
        default_factory=default_policies,
        show_default="./policies, or . where network.yaml is",
        help="The policy directory.",
    ),
]


def add_to(app: typer.Typer) -> None:
    @command(
        app,
        "check",
        panel=POLICY_PANEL,
        examples=[
            ("vpnctl check", "check ./policies, or the directory you are in"),
            ("vpnctl check -o json policies", "the same for an editor or a pipeline"),
        ],
    )
    def check(
        directory: PolicyDirectory,
        output: Output = Format.TABLE,
    ) -> None:
        """Check a policy directory and tell every mistake at once; needs no controller."""
        from vpnctl import policyfiles
        from vpnctl.controller.impossible import refuse_impossible, unprotected
        from vpnctl.ruleset import load

        try:
            snapshot = policyfiles.read(directory)
            ruleset = load(snapshot.files).ruleset
            refuse_impossible(ruleset, directory)
        except PolicyError as error:
            found = problems(error.mistakes)
            if not found:
                raise
            if output.for_people:
                print("\n".join(problem_lines(found)))
            else:
                print_document({"problems": [asdict(problem) for problem in found]}, output)
            say(f"{count(len(found), 'mistake')}, nothing was applied")
            raise typer.Exit(PolicyError.exit_code) from None
        # The controller may run on another machine than this.
        for each in unprotected(ruleset.network):
            say(f"note: {each.place}: {each.message}; {each.hint}")
        if not output.for_people:
            print_document({"problems": []}, output)
            return
        endpoints = sum(1 for _ in ruleset.endpoints())
        print(
            f"{directory}: no mistakes in {count(len(snapshot.files), 'file')},"
            f" {count(len(ruleset.vpns), 'VPN')}, {count(endpoints, 'endpoint')}"
        )
