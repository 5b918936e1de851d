"""The commands of ``vpnctl pki``, one file each."""
