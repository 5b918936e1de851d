"""The command line: one module per group of commands (``*_cmd.py``), and what they share.

Data goes to standard output, messages to standard error.  Heavy modules are imported inside the
commands that need them, because ``vpnctl --help`` and completion have to be quick.

- `vpnctl.cli.main`: the program; `vpnctl.cli.command`: how a command is declared and guarded.
- `vpnctl.cli.settings`: which controller to talk to; `vpnctl.cli.client`: talks to it.
- `vpnctl.cli.output`: tables, JSON, YAML, colour; `vpnctl.cli.text`: plans and timelines.
- `vpnctl.cli.graphs`: pictures of VPNs and targets.
"""
