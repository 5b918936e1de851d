"""``vpnctl lab``: one file per command.

The lab itself is `vpnctl.lab`; what is here reads the command line and prints.
"""
