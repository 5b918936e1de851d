"""vpnctl: a BGP intelligent route server and VPLS/EVPN controller driven by policy YAML."""

__version__ = "0.1.0"
