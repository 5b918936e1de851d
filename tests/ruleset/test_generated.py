"""What is generated from the models is committed as it is generated, and fits the examples."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest
from ruamel.yaml import YAML

from vpnctl.policyfiles import read
from vpnctl.ruleset import SCHEMAS, json_schema, load, policy_reference, starter_files

REPOSITORY = Path(__file__).parent.parent.parent
POLICIES = REPOSITORY / "policies"
STORIES = sorted(path for path in POLICIES.iterdir() if path.is_dir())

REGENERATE = "run `python -m tests.ruleset.regenerate`"


@pytest.mark.parametrize("name", SCHEMAS)
def test_the_schemas_are_those_of_the_models(name: str) -> None:
    assert (POLICIES / name).read_text() == json_schema(SCHEMAS[name]), REGENERATE


def test_the_reference_is_that_of_the_models() -> None:
    committed = (REPOSITORY / "docs" / "policy-reference.md").read_text()
    assert committed == policy_reference(), REGENERATE


def test_there_are_the_stories() -> None:
    assert [story.name for story in STORIES] == [
        "access-rules",
        "directed-links",
        "dual-pe-cloud",
        "evpn",
        "extranet",
        "hub-and-spoke",
        "l3vpn",
        "managed-routers",
        "two-customers",
    ]
    index = (POLICIES / "README.md").read_text()
    for story in STORIES:
        assert f"[{story.name}]({story.name})" in index


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_every_story_is_a_policy_without_mistakes(story: Path) -> None:
    assert (story / "README.md").read_text().startswith("# ")
    compiled = load(read(story).files)
    assert compiled.ruleset.vpns
    for path in story.glob("*.yaml"):
        kind = "network" if path.name == "network.yaml" else "vpn"
        header = f"# yaml-language-server: $schema=../{kind}.schema.json"
        assert path.read_text().splitlines()[0] == header


def as_an_editor_reads_it(path: Path) -> object:
    """The file as YAML 1.2, which is what editors know."""
    return YAML(typ="safe", pure=True).load(path.read_text())


def schema_for(path: Path) -> jsonschema_rs.Validator:
    name = "network" if path.name == "network.yaml" else "vpn"
    return jsonschema_rs.validator_for((POLICIES / f"{name}.schema.json").read_text())


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_an_editor_finds_no_fault_with_the_stories(story: Path) -> None:
    for path in story.glob("*.yaml"):
        schema_for(path).validate(as_an_editor_reads_it(path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("e1.yaml", "{vpn: E1, service: vpls, sites: [a], acces: []}"),
        ("e1.yaml", "{vpn: E1, service: vpls, sites: [{site: a, vlan: 4095}]}"),
        ("e1.yaml", "{vpn: E1, service: vpls, sites: [{site: a, vlan: null}]}"),
        ("e1.yaml", "{vpn: E1, service: vlps, sites: [a]}"),
        ("e1.yaml", "{vpn: E1, service: vpls}"),
        ("e1.yaml", "{vpn: E1, service: vpls, sites: [a], topology: mesh}"),
        ("network.yaml", "{controller: {asn: 1, router_id: 1.1.1.1}, sites: {}, pes: {}}"),
    ],
)
def test_an_editor_sees_mistakes_of_shape(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(jsonschema_rs.ValidationError):
        schema_for(tmp_path / name).validate(as_an_editor_reads_it(tmp_path / name))


def test_in_the_extranet_story_the_customers_never_meet() -> None:
    vpns = load(read(POLICIES / "extranet").files).ruleset.vpns
    meetings = {(speaker.vpn, hearer.vpn) for vpn in vpns.values() for speaker, hearer in vpn.links}
    assert meetings == {
        ("E1", "E1"),
        ("E1", "shared-dns"),
        ("shared-dns", "E1"),
        ("E1", "monitoring"),
        ("E2", "E2"),
        ("E2", "shared-dns"),
        ("shared-dns", "E2"),
    }


def test_the_starter_is_two_customers_kept_apart() -> None:
    files = {f"d/{name}": text.encode() for name, text in starter_files().items()}
    ruleset = load(files).ruleset
    assert [
        (endpoint.vpn, endpoint.site, endpoint.pe, str(endpoint.export_targets[0]))
        for endpoint in ruleset.endpoints()
    ] == [
        ("E1", "e1-hq", "pe-e1", "65000:1101"),
        ("E1", "cloud1", "pe-c1", "65000:1102"),
        ("E2", "e2-hq", "pe-e1", "65000:1201"),
        ("E2", "cloud2", "pe-c2", "65000:1202"),
    ]
    assert {hearer.vpn for _, hearer in ruleset.vpns["E1"].links} == {"E1"}
    assert all(pe.passive for pe in ruleset.network.pes.values())
