"""Definitions of machines that are test guests, as an operator would write them."""

from __future__ import annotations

from dataclasses import dataclass, field

import yaml

from tests.support.qemu import Shape

#: Slots for records at the beginning of each disk.
SLOTS = 2048
VPN, BRIDGE = "E1", "br-e1"


@dataclass(frozen=True)
class Guest:
    """``address``: its last octet counts for its MAC, too; ``writes``: records per second;
    ``backend``: the address of the machine that it asks before it answers; ``vpn``: whose bridge
    it is in at each site, empty where no controller is: then it is in `BRIDGE`."""

    name: str
    address: str
    shape: Shape = field(default_factory=Shape)
    writes: int = 50
    app: str = ""
    backend: str = ""
    vpn: str = VPN

    @property
    def disk(self) -> str:
        """Its disk's file."""
        return f"{self.name}.img"

    def definition(self) -> str:
        """YAML for ``vpnctl agent start``."""
        words = [
            self.shape.command_line(),
            f"writes={self.writes}",
            f"records={SLOTS}",
            f"address={self.address}",
        ]
        if self.backend:
            words.append(f"backend={self.backend}")
        number = int(self.address.rpartition(".")[2])
        network = {"vpn": self.vpn} if self.vpn else {"bridge": BRIDGE}
        nic = network | {"mac": f"52:54:00:00:00:{number:02x}"}
        described: dict[str, object] = {
            "machine": self.name,
            "memory": f"{self.shape.ram_kib}K",
            "type": self.shape.machine,
            "accelerator": "tcg",
            "boot": {"kernel": "vmlinuz", "initrd": "image.cpio", "append": " ".join(words)},
            "disks": [{"file": self.disk, "format": "raw"}],
            "nics": [nic],
        }
        if self.app:
            described["app"] = self.app
        return yaml.safe_dump(described, sort_keys=False)
