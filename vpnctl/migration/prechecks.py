"""May a machine move to a site at all?  Facts of both sides in, failures with remedies out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from vpnctl.migration.agent.messages import MachineFacts, SiteFacts
from vpnctl.migration.hypervisor.taps import no_bridge_remedy

#: What a QEMU takes besides its guest's memory, and what the other side of the data path keeps.
_OVERHEAD = 768 << 20


@dataclass(frozen=True, slots=True)
class Failure:
    """``check``: its name; ``problem``: what is wrong; ``remedy``: what to do about it."""

    check: str
    problem: str
    remedy: str


def check(
    machine: MachineFacts,
    source: SiteFacts,
    target: SiteFacts,
    there: str = "",
    back: str = "",
) -> tuple[Failure, ...]:
    """Everything that keeps ``machine`` from moving from ``source`` to ``target``.

    ``there``, ``back``: why the agent of ``source`` cannot talk to that of ``target``, and the
    other way; empty if it can.
    """
    found = [
        *_state(machine, source, target),
        *_driver(source, target),
        *_processor(machine, target),
        *_room(machine, target),
        *_files(machine, target),
        *_network(machine, target),
        *_link(source, target, there, back),
    ]
    return tuple(found)


def _state(machine: MachineFacts, source: SiteFacts, target: SiteFacts) -> Iterator[Failure]:
    name = machine.definition.machine
    if machine.state != "running":
        yield Failure(
            "state", f"{name} is {machine.state} at {source.site}", "let it run, then move it"
        )
    if machine.busy:
        yield Failure(
            "leftover jobs",
            f"{name} is in the migration {machine.busy}",
            f"wait for it, or 'vpnctl migrate cancel {name}'",
        )
    for refusal, reason, remedy in machine.refusals:
        yield Failure("what can pass", f"{refusal}: {reason}", remedy)
    if any(one.name == name and one.owner for one in target.machines):
        yield Failure(
            "name",
            f"{target.site} has a machine {name} of its own",
            f"stop or rename one of them: 'vpnctl agent stop {name}'",
        )


def _driver(source: SiteFacts, target: SiteFacts) -> Iterator[Failure]:
    if source.driver != target.driver:
        # libvirt gives a machine's devices other places, which its memory would not fit.
        yield Failure(
            "driver",
            f"machines are started by {source.driver} at {source.site}, by {target.driver} at"
            f" {target.site}",
            "start both agents with --libvirt, or both without",
        )


def _processor(machine: MachineFacts, target: SiteFacts) -> Iterator[Failure]:
    definition = machine.definition
    if definition.type not in target.machine_types:
        version = ".".join(map(str, target.qemu))
        yield Failure(
            "machine type",
            f"QEMU {version} at {target.site} has no machine type {definition.type}",
            f"install a newer QEMU at {target.site}, or start the machine with an older type",
        )
    model = definition.cpu.partition(",")[0]
    if model in ("host", "max"):
        yield Failure(
            "CPU model",
            f"the CPU model {model} is whatever the host has",
            "start the machine with cpu: of a named model that all sites have",
        )
    elif model not in target.cpus:
        yield Failure(
            "CPU model",
            f"QEMU at {target.site} has no CPU model {model}",
            "start the machine with cpu: of a model that all sites have",
        )
    if definition.accelerator == "kvm" and not target.kvm:
        yield Failure(
            "accelerator",
            f"the agent of {target.site} cannot use /dev/kvm",
            "load the module kvm there, and let the agent's user into the group kvm",
        )


def _room(machine: MachineFacts, target: SiteFacts) -> Iterator[Failure]:
    needed = machine.definition.memory * 1024 + _OVERHEAD
    if needed > target.memory_free:
        yield Failure(
            "memory",
            f"{target.site} has {target.memory_free >> 20} MiB free, {needed >> 20} are needed",
            f"move something else away from {target.site} first",
        )


def _files(machine: MachineFacts, target: SiteFacts) -> Iterator[Failure]:
    boot = machine.definition.boot
    for image in (boot.kernel, boot.initrd) if boot else ():
        if image is not None and image not in target.images:
            yield Failure(
                "boot",
                f"{target.site} has no {image}",
                "bring it into the directory that its agent was given with --images",
            )
    for disk in machine.disks:
        if disk.shared and disk.file not in target.shared:
            yield Failure(
                "disk",
                f"{target.site} does not see the shared disk {disk.file}",
                "mount the shared directory there; its agent knows it by --shared",
            )
    needed = sum(disk.size or 0 for disk in machine.disks if not disk.shared)
    if needed > target.disk_free:
        yield Failure(
            "disk",
            f"{target.site} has {target.disk_free >> 20} MiB of disk free,"
            f" {needed >> 20} are needed",
            "make room in the directory that its agent was given with --disks",
        )


def _network(machine: MachineFacts, target: SiteFacts) -> Iterator[Failure]:
    for nic in machine.definition.nics:
        bridge = nic.bridge or target.vpn_bridges.get(nic.vpn or "")
        if bridge is None:
            yield Failure(
                "network",
                f"the agent of {target.site} knows no bridge for the VPN {nic.vpn}",
                no_bridge_remedy(nic.vpn or ""),
            )
        elif bridge not in target.bridges:
            yield Failure(
                "network",
                f"{target.site} has no bridge {bridge}",
                f"extend the VPN to {target.site} ('vpnctl extend'), and make its bridge there",
            )


def _link(source: SiteFacts, target: SiteFacts, there: str, back: str) -> Iterator[Failure]:
    if source.tls != target.tls:
        without = target.site if source.tls else source.site
        yield Failure(
            "certificates",
            f"the agent of {without} has no certificates, the other one has",
            "start both agents with --cert, --key and --ca, of one CA",
        )
    for near, far, trouble in ((source, target, there), (target, source, back)):
        if trouble:
            yield Failure(
                "connectivity",
                f"{near.site} does not reach {far.site}: {trouble}",
                f"open the way, and let {near.site} in with --peer at the agent of {far.site}",
            )
