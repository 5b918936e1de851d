"""Real libvirt daemons, each with files of its own in a mount namespace of its own; needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.guest_image import MissingError

PATIENCE = 60.0
_DAEMON = "libvirtd"
#: Of the QEMU that is installed; another version, asked for all that it has, ends at them.
_MODULES = ("/usr/lib/x86_64-linux-gnu/qemu",)
#: What the daemon writes to, and what it is told by.
_OWN = ("/run/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt",
        "/etc/libvirt", *_MODULES)  # fmt: skip
#: As on a machine without virtlogd, systemd's cgroups and a security module.
_QEMU_CONF = """\
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
"""
#: The daemon asks for the user whom its package makes, even where it is told of another.
_SCRIPT = """\
set -e
mount --make-rprivate /
for each in $OWN; do mkdir -p "$each"; mount -t tmpfs none "$each"; done
for each in passwd group; do
  cp "/etc/$each" "$DIRECTORY/$each"
  mount --bind "$DIRECTORY/$each" "/etc/$each"
done
grep -q '^kvm:' /etc/group || echo 'kvm:x:64055:' >>/etc/group
grep -q '^libvirt-qemu:' /etc/group || echo 'libvirt-qemu:x:64056:' >>/etc/group
grep -q '^libvirt-qemu:' /etc/passwd ||
  echo 'libvirt-qemu:x:64055:64055::/var/lib/libvirt:/usr/sbin/nologin' >>/etc/passwd
cp "$DIRECTORY/qemu.conf" /etc/libvirt/qemu.conf
exec "$DAEMON" --config "$DIRECTORY/libvirtd.conf" --pid-file /run/libvirt/libvirtd.pid
"""


@contextlib.contextmanager
def libvirtd(directory: Path) -> Iterator[str]:
    """The URI of a daemon whose socket is in ``directory``, whose path is a short one.

    Raises `MissingError` where it is not installed, or we are not root.
    """
    daemon = shutil.which(_DAEMON)
    if daemon is None or shutil.which("virsh") is None:
        raise MissingError("libvirt-daemon, libvirt-daemon-driver-qemu, libvirt-clients are needed")
    if os.geteuid() != 0:
        raise MissingError("a libvirt daemon of our own needs root")
    directory.mkdir()
    (directory / "qemu.conf").write_text(_QEMU_CONF)
    (directory / "libvirtd.conf").write_text(
        f'unix_sock_dir = "{directory}"\nauth_unix_rw = "none"\n'
    )
    environment = os.environ | {
        "OWN": " ".join(_OWN), "DIRECTORY": str(directory), "DAEMON": daemon,
    }  # fmt: skip
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "bash", "-c", _SCRIPT],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    uri = f"qemu:///system?socket={directory}/libvirt-sock"
    try:
        _until_up(uri, process, directory / "log")
        yield uri
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


def _until_up(uri: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while virsh(uri, "list").returncode:
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, log.read_text()
        time.sleep(0.1)


def virsh(uri: str, *words: str) -> subprocess.CompletedProcess[str]:
    """What an operator sees."""
    return subprocess.run(
        ["virsh", "--quiet", "--connect", uri, *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
