"""What prechecks want to know of a site and of a machine; nothing is touched."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vpnctl.errors import MigrationError
from vpnctl.migration.agent.messages import DiskFact, MachineFacts, SiteFacts
from vpnctl.migration.agent.site import Site
from vpnctl.migration.hypervisor.driver import Guest
from vpnctl.sidecar.stream.refusals import QUERIES, refusals

_MOST_NAMES = 4096


async def site_facts(site: Site, jobs: Sequence[str]) -> SiteFacts:
    """What this site has; ``jobs``: the migrations under way."""
    settings = site.settings
    qemu = await site.driver.abilities()
    return SiteFacts(
        site=settings.site,
        driver=site.driver.kind,
        tls=settings.certificates is not None,
        qemu=qemu.version,
        machine_types=qemu.machine_types,
        cpus=qemu.cpus,
        kvm=os.access("/dev/kvm", os.R_OK | os.W_OK),
        memory_free=_memory_free(),
        disk_free=shutil.disk_usage(settings.disks).free,
        images=_names(settings.images),
        shared=_names(settings.shared),
        bridges=_bridges(),
        vpn_bridges=dict(settings.bridges),
        machines=tuple([await site.view(name) for name in sorted(site.ledger.machines)]),
        jobs=tuple(jobs),
    )


async def machine_facts(site: Site, name: str) -> MachineFacts:
    """What is to be known of a machine before it moves."""
    machine, qemu = site.machine(name), site.qemu(name)
    disks = machine.definition.disks
    nodes = await qemu.ask("query-named-block-nodes", flat=True)
    sizes = {node["node-name"]: int(node["image"]["virtual-size"]) for node in nodes}
    named = [await qemu.node(index) for index in range(len(disks))]
    return MachineFacts(
        definition=machine.definition,
        state=await qemu.status(),
        disks=tuple(
            DiskFact(file=disk.file, shared=disk.shared, size=sizes.get(node))
            for disk, node in zip(disks, named, strict=True)
        ),
        refusals=tuple(
            (one.name, one.reason, one.remedy) for one in refusals(await _answers(qemu))
        ),
        busy=site.ledger_busy(name),
    )


async def _answers(qemu: Guest) -> dict[str, Any]:
    found = {}
    for query in QUERIES:
        arguments: dict[str, Any] = dict(query.arguments)
        found[query.name] = await qemu.ask(query.command, **arguments)
    # We turn it on ourselves before the memory moves.
    for capability in found["capabilities"]:
        if capability["capability"] == "return-path":
            capability["state"] = True
    return found


def _memory_free() -> int:
    """Octets that programs can have without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    raise MigrationError("/proc/meminfo does not say how much memory is free")


def _names(directory: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(entry.name for entry in os.scandir(directory))[:_MOST_NAMES])
    except OSError:
        return ()


def _bridges() -> tuple[str, ...]:
    return tuple(sorted(path.parent.name for path in Path("/sys/class/net").glob("*/bridge")))
