"""The commands of ``vpnctl migrate``, one file each."""
