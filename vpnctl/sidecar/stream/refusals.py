"""What cannot be migrated through a sidecar, told before a guest is touched.

Ask QEMU's monitor every `Query` of `QUERIES`, collect the answers under the queries' names, and
give them to `refusals`.  The names of capabilities, parameters and machine types are QEMU's own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: What a migration through a sidecar needs turned on: without the return path the source says
#: "completed" before the destination has begun to run.
NEEDED_CAPABILITIES = ("return-path",)

#: Capabilities that leave the stream as it is, or do not change what can pass.
_HARMLESS_CAPABILITIES = {
    "auto-converge",
    "dirty-limit",
    "events",
    "late-block-activate",
    "pause-before-switchover",
    "return-path",
    "switchover-ack",
    "validate-uuid",
    "zero-blocks",
}

_CAPABILITIES_REFUSED = {
    "background-snapshot": "it saves a snapshot, in another order than a migration",
    "block": "it sends disks beside the memory; move them with a mirror instead",
    "compress": "it hides pages from the sidecar, which compresses better itself",
    "dirty-bitmaps": "it sends bitmaps beside the memory",
    "mapped-ram": "it writes a file with holes, which is no stream",
    "multifd": "it sends pages over connections of its own",
    "postcopy-preempt": "it sends pages over a second connection",
    "postcopy-ram": "a link that fails after the switch would lose the guest",
    "rdma-pin-all": "RDMA does not pass through a socket",
    "release-ram": "it gives memory up at the source before the guest has arrived",
    "x-colo": "two running copies are no migration",
    "x-ignore-shared": "it leaves memory out that the other host does not have",
    "xbzrle": "it hides pages from the sidecar, which sends differences itself",
    "zero-copy-send": "it needs multifd",
}

_ARCHITECTURES = {"x86_64", "i386"}
_OLDEST_MACHINE = (2, 4)
_MACHINE_VERSION = re.compile(r"^pc-(?:i440fx-|q35-)?(\d+)\.(\d+)")
#: Devices whose state is sent while the guest runs, in sections without a length.
_DEVICES_REFUSED = re.compile(r"^(vfio-|x-vfio-)")

# QEMU before 9.0 loses dirty pages under TCG when the size of a RAM block is such a multiple.
_TCG_MENDED_IN = (9, 0)
_TCG_TRAP = 256 * 1024


@dataclass(frozen=True)
class Query:
    """A QMP command whose answer is needed."""

    name: str
    command: str
    arguments: Mapping[str, str] = field(default_factory=dict)


QUERIES = (
    Query("version", "query-version"),
    Query("target", "query-target"),
    Query("kvm", "query-kvm"),
    Query("memory", "query-memory-size-summary"),
    Query("capabilities", "query-migrate-capabilities"),
    Query("parameters", "query-migrate-parameters"),
    Query("machine", "qom-get", {"path": "/machine", "property": "type"}),
    Query("devices", "qom-list", {"path": "/machine/peripheral"}),
    Query("unnamed-devices", "qom-list", {"path": "/machine/peripheral-anon"}),
)


@dataclass(frozen=True)
class Refusal:
    """One reason why this guest cannot be migrated through a sidecar.

    ``name``: the capability, parameter, device or machine type, or a word for the trap.
    """

    name: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}; {self.remedy}"


def refusals(answers: Mapping[str, Any]) -> tuple[Refusal, ...]:
    """Every reason against a migration; none if it can begin.

    ``answers``: by `Query.name`, what QEMU answered.
    """
    return (
        *_of_capabilities(answers["capabilities"]),
        *_of_parameters(answers["parameters"]),
        *_of_machine(answers["target"], answers["machine"]),
        *_of_devices([*answers["devices"], *answers["unnamed-devices"]]),
        *_of_emulation(answers["version"], answers["kvm"], answers["memory"]),
    )


def _of_capabilities(capabilities: list[dict[str, Any]]) -> Iterator[Refusal]:
    on = {each["capability"] for each in capabilities if each["state"]}
    for name in sorted(on - _HARMLESS_CAPABILITIES):
        reason = _CAPABILITIES_REFUSED.get(name, "a capability that is not known here")
        yield Refusal(name, reason, _turn(name, on=False))
    for name in NEEDED_CAPABILITIES:
        if name not in on:
            yield Refusal(
                name,
                "without it the source cannot know that the guest arrived",
                _turn(name, on=True),
            )


def _turn(capability: str, *, on: bool) -> str:
    return f"turn it {'on' if on else 'off'} with migrate-set-capabilities: {capability}"


def _of_parameters(parameters: dict[str, Any]) -> Iterator[Refusal]:
    if parameters.get("tls-creds"):
        yield Refusal(
            "tls-creds",
            "QEMU would encrypt the stream, and pages could not be recognised",
            "set it to '' with migrate-set-parameters; the sidecars' connection is encrypted",
        )
    if (mode := parameters.get("mode", "normal")) != "normal":
        yield Refusal(
            "mode",
            f"mode {mode!r} sends no memory to another host",
            "set it to 'normal' with migrate-set-parameters",
        )


def _of_machine(target: dict[str, Any], machine: str) -> Iterator[Refusal]:
    if (architecture := target["arch"]) not in _ARCHITECTURES:
        yield Refusal(
            architecture,
            "pages of another size than 4 KiB are not understood",
            "migrate it without a sidecar",
        )
    name = machine.removesuffix("-machine")
    found = _MACHINE_VERSION.match(name)
    if found and (int(found[1]), int(found[2])) < _OLDEST_MACHINE:
        yield Refusal(
            name,
            "machine types before 2.4 do not mark where sections end",
            "restart the guest with a newer machine type",
        )


def _of_devices(devices: list[dict[str, Any]]) -> Iterator[Refusal]:
    for device in devices:
        kind = device["type"].removeprefix("child<").removesuffix(">")
        if _DEVICES_REFUSED.match(kind):
            yield Refusal(
                kind,
                f"device {device['name']!r} sends state of unknown length while the guest runs",
                f"detach it first: device_del {device['name']}",
            )


def _of_emulation(
    version: dict[str, Any], kvm: dict[str, Any], memory: dict[str, int]
) -> Iterator[Refusal]:
    numbers = version["qemu"]
    if kvm["enabled"] or (numbers["major"], numbers["minor"]) >= _TCG_MENDED_IN:
        return
    sizes = (memory["base-memory"], memory.get("plugged-memory", 0))
    if any(size and size % _TCG_TRAP == 0 for size in sizes):
        odd = sizes[0] // 1024 - 8
        yield Refusal(
            "tcg-256k",
            f"QEMU {numbers['major']}.{numbers['minor']} without KVM corrupts a migrated guest "
            "whose RAM is a multiple of 256 KiB",
            f"use QEMU 9.0 or newer, or KVM, or restart the guest with -m {odd}K",
        )
