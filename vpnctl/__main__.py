"""``python -m vpnctl``."""

from vpnctl.cli.main import main

main()
