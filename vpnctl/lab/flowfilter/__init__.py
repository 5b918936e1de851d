"""Enforces flow routes beside a PE that has them and cannot: a BGP speaker and nftables.

FRR takes flow routes of SAFI 133 into its table and passes them on, and filters no bridge.  Run as
``python -m vpnctl.lab.flowfilter --vpn E1 --asn 65000 --router 10.0.0.1 eth2`` in the PE's network
namespace, as root, this is a client of its own router: it hears the flow routes from ``--router``,
which has to have ``--address`` (``127.0.0.2``) as a passive neighbor and route reflector client,
and filters what crosses the bridge at these customer ports.

It stays in the foreground, logs to standard error, ends on SIGTERM or SIGINT with exit code 0 and
leaves no filter behind.  ``--directory`` (default: a temporary one) gets ExaBGP's files and
``status.json``, which is replaced whenever something changes::

    {"sessions": {"10.0.0.1": "up"},
     "vpns": {"E1": {"flows": ["flow4/destination=10.1.0.0/16,protocol=6,port=22"],
                     "refused": [{"route": "...", "neighbor": "10.0.0.1", "why": "..."}]}}}

Flow routes of SAFI 133 have no targets, so there is one VPN.  While the router cannot be heard
nothing is filtered.
"""
