"""The commands of ``vpnctl sidecar``, one file each."""
