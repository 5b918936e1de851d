"""The rules of the house that no type checker knows."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "vpnctl"

# What each part may import, besides itself.  Arrows run one way: errors, model <- flowspec,
# yamltree <- ruleset <- routing <- planning <- controller <- api, cli.
ALLOWED = {
    "errors": set(),
    "model": {"errors"},
    "flowspec": {"model"},
    "yamltree": {"model"},
    "ruleset": {"errors", "model", "flowspec", "yamltree"},
    "routing": {"errors", "model", "flowspec", "ruleset"},
    "planning": {"errors", "model", "ruleset", "routing"},
    "bgp": {"errors", "model"},
    "store": {"errors", "model"},
    "sidecar": {"errors"},
    "provisioning": {"errors", "model"},
    "pki": {"errors"},
    "migration": {"errors", "model", "yamltree", "sidecar", "pki", ""},
    "policyfiles": {"errors", "model", "yamltree", "ruleset"},
    "controller": {
        "errors", "model", "yamltree", "ruleset", "routing", "planning", "bgp", "store",
        "policyfiles", "provisioning", "",
    },
    "api": {"errors", "model", "ruleset", "routing", "planning", "controller", ""},
    "cli": {
        "errors", "model", "yamltree", "ruleset", "routing", "planning", "policyfiles",
        "controller", "api", "sidecar", "pki", "migration", "demo", "lab", "",
    },
    "demo": {"errors", "model", "cli", ""},
    "lab": {"errors", "model", "flowspec", "yamltree", "ruleset", "bgp", "cli"},
}  # fmt: skip

# Parts that are values and functions only: no sockets, files, processes, threads or clocks.
PURE = {"errors", "model", "flowspec", "yamltree", "ruleset", "routing", "planning"}
# Of a part that touches the machine, what does not.
PURE_WITHIN = (
    "provisioning/blocks.py", "provisioning/documents.py", "provisioning/intent.py",
    "provisioning/inuse.py", "provisioning/paths.py", "provisioning/profile.py",
    "provisioning/refusal.py", "provisioning/rendering.py", "provisioning/semantics",
    "provisioning/templates.py",
    "lab/images.py", "lab/plan.py", "lab/reading/", "lab/topology.py", "sidecar/stream/",
    "migration/commit.py", "migration/definition.py", "migration/disk/blocks.py",
    "migration/disk/frames.py", "migration/network.py", "migration/prechecks.py",
    "migration/smartstop.py",
)  # fmt: skip
IMPURE_MODULES = {
    "asyncio", "http", "io", "multiprocessing", "os", "pathlib", "random", "select", "shutil",
    "signal", "socket", "ssl", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip


def part_of(module: Path) -> str:
    """The top-level part a module belongs to; "" for the package itself."""
    name = module.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if name in ("__init__", "__main__") else name


def imports(module: Path) -> Iterator[str]:
    """Absolute names of everything a module imports, also inside functions."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: relative import"
            yield node.module or ""
            if node.module == "vpnctl":
                yield from (f"vpnctl.{alias.name}" for alias in node.names)


def is_pure(module: Path) -> bool:
    """Whether a module is of the core, or of the core of its part."""
    return part_of(module) in PURE or str(module.relative_to(PACKAGE)).startswith(PURE_WITHIN)


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(module: Path) -> None:
    part = part_of(module)
    if part == "":
        return
    for name in imports(module):
        if name.split(".")[0] != "vpnctl":
            continue
        other = [*name.split("."), ""][1]
        if other == "__version__":
            other = ""
        assert other == part or other in ALLOWED[part], f"{part} may not import {name}"


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_exabgp_has_one_importer(module: Path) -> None:
    if module.name.startswith("exabgp_"):
        return
    assert not any(name.split(".")[0] == "exabgp" for name in imports(module))


@pytest.mark.parametrize(
    "module",
    [module for module in MODULES if is_pure(module)],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_the_core_is_pure(module: Path) -> None:
    used = {name.split(".")[0] for name in imports(module)}
    assert not used & IMPURE_MODULES


def test_every_part_is_known() -> None:
    assert {part_of(module) for module in MODULES} - {""} <= ALLOWED.keys()
