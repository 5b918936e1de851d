"""A VPLS PE (RFC 4761) for the lab: ExaBGP speaks, vxlan devices are the pseudowires.

Run as ``python -m vpnctl.lab.vplspe CONFIG.yaml [--directory DIR]`` inside the PE's network
namespace, as root.  It stays in the foreground, logs to standard error, ends on SIGTERM or SIGINT
with exit code 0 and leaves no device behind; after a SIGKILL, deleting the namespace does.
``DIR`` (default: a temporary directory) gets ExaBGP's configuration and ``status.json``, which is
replaced whenever something changes::

    {"sessions": {"10.0.0.100": "up"},
     "kept": {"10.0.0.100": 0},
     "vpns": {"E1": {"bridge": "vpls-E1", "pseudowires": [
                {"ve_id": 2, "peer": "10.0.0.2", "device": "pw1002", "receive": 1002,
                 "transmit": 2001}],
              "flows": ["flow4/10.0.0.1:1/destination=10.1.0.0/16,protocol=6,port=22"],
              "refused": [{"route": "10.0.0.3:1:ve9@1", "neighbor": "10.0.0.100", "why": "..."}]}}}

``CONFIG.yaml``::

    router_id: 10.0.0.1
    address: 10.0.0.1           # BGP sessions and pseudowires begin here; default: router_id
    asn: 65000
    hold_time: 9                # seconds, default 90
    graceful_restart: 60        # offer it (RFC 4724, RFC 8538) for so many seconds; default: not
    long_lived_graceful_restart: 600   # and that for so many more (RFC 9494); default: not
    neighbors:                  # the route servers
      - {address: 10.0.0.100, asn: 65000}   # port: 179; passive: true where it connects to us
    underlay: [10.0.0.0/24]     # next hops elsewhere are refused; default: any unicast address
    vpns:
      - vpn: E1
        rd: 10.0.0.1:1
        targets: 65000:101      # or {import: [65000:101], export: [65000:102]}
        ve_id: 1
        labels: {base: 1000, offset: 1, size: 8}   # offset 1 and size 8 unless given
        interfaces: [eth1]      # customer ports, made before the PE is started
        vlan: 100               # only this VLAN of those ports; default: untagged frames
        bridge: vpls-E1         # its name unless given
        mtu: 1500               # of layer2 info; a VE with another one is refused

::

    config_file, config -> values, labels        the file, checked
    events -> memory -> selection                what was heard, and what to make of it: pure
    flow_events -> filters                       the same for flow routes (RFC 8955)
    speaker, forwarding, netfilter               ExaBGP, and the kernel
    follower -> agent -> __main__                all of it, running
"""
