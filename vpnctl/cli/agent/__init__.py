"""The commands of ``vpnctl agent``, one file each."""
