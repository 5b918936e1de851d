"""What other people's clients say to the router, and what it answers them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from jnpr.junos import Device
from jnpr.junos.exception import CommitError, ConfigLoadError, LockError, RpcError, UnlockError
from jnpr.junos.utils.config import Config
from ncclient import manager
from ncclient.operations import RPCError

from tests.support.junos import Fleet, Running, fleet, make_keys
from vpnctl.lab.junos.faults import FULL_DISK, refuse
from vpnctl.lab.junos.router import Router

NAME = "set system host-name renamed"


@pytest.fixture(scope="module")
def routers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    with fleet(make_keys(tmp_path_factory.mktemp("keys"))) as found:
        yield found


@pytest.fixture
def router(routers: Fleet) -> Running:
    return routers.start(Router("pe", minute=3600))


@contextmanager
def pyez(router: Running) -> Iterator[Config]:
    device = Device(
        "127.0.0.1", port=router.port, user="vpnctl", gather_facts=False,
        ssh_private_key_file=str(router.keys.client), look_for_keys=False, allow_agent=False,
    )  # fmt: skip
    with device:
        yield Config(device)


def ncclient(router: Running, device: str = "default") -> manager.Manager:
    return manager.connect(
        host="127.0.0.1", port=router.port, username="vpnctl", hostkey_verify=False,
        key_filename=str(router.keys.client), look_for_keys=False, allow_agent=False,
        device_params={"name": device},
    )  # fmt: skip


def test_pyez_configures_exclusively(router: Running) -> None:
    with pyez(router) as config:
        config.lock()
        config.load(NAME, format="set")
        assert "+   host-name renamed;" in config.diff()
        assert config.commit_check()
        config.commit(confirm=1, comment="for a minute")
        assert "system host-name renamed" in router.running
        history = config.rpc.get_commit_information()
        assert history.findtext("commit-history/log").strip() == "for a minute"
        assert "rollback in 1mins" in history.findtext("commit-history/comment")
        assert history.findtext("commit-history/commit-confirmed") == "rollback pending"
        config.commit_check()
        history = config.rpc.get_commit_information()
        assert "rollback in 1mins" in history.findtext("commit-history/comment")
        assert history.find("commit-history/commit-confirmed") is None, "a check confirms"
        config.commit()
        assert config.diff() is None
        config.rollback(2)
        config.unlock()
    assert router.ask(lambda it: it.modified), "unlocking does not discard"


def test_pyez_configures_privately(router: Running) -> None:
    with pyez(router) as config, Config(config._dev, mode="private") as private:
        private.load("system { host-name renamed; }", format="text", merge=True)
        private.commit()
    assert "system host-name renamed" in router.running
    assert router.left_behind == []


def test_pyez_replaces_and_overrides(router: Running) -> None:
    with pyez(router) as config:
        config.load("<configuration><system replace='replace'/></configuration>", format="xml")
        config.load("interfaces { replace: ge-0/0/1 { mtu 9000; } }", format="text")
        config.commit()
        assert "interfaces ge-0/0/1 mtu 9000" in router.running
        assert not any("flexible" in line or "host-name" in line for line in router.running)
        config.load("system { host-name alone; }", format="text", overwrite=True)
        config.commit()
    assert router.running == {"system host-name alone"}


def test_pyez_is_told_what_is_wrong(router: Running) -> None:
    with pyez(router) as config, pyez(router) as other:
        config.lock()
        with pytest.raises(LockError):
            other.lock()
        with pytest.raises(UnlockError):
            other.unlock()
        with pytest.raises(ConfigLoadError, match="syntax error"):
            config.load("set system host-nam x", format="set")
        config.load("set routing-instances a instance-type vpls", format="set")
        with pytest.raises(CommitError, match="route-distinguisher is missing"):
            config.commit_check()
        with pytest.raises(RpcError):
            config.rpc.request_reboot()


def test_half_a_load_stays_in_the_candidate(router: Running) -> None:
    with pyez(router) as config, pytest.raises(ConfigLoadError):
        config.load(f"{NAME}\nset nonsense", format="set")
    assert "system host-name renamed" in router.candidate - router.running


def test_minutes_and_seconds(router: Running) -> None:
    """Junos' own request counts minutes, the standard's counts seconds."""

    def window(it: Router) -> float:
        assert it.unconfirmed is not None
        return it.history[0].minutes

    with ncclient(router, "junos") as client:
        client.load_configuration(action="set", config=[NAME])
        client.commit(confirmed=True, timeout="120")
        assert router.ask(window) == 2
    with ncclient(router) as client:
        client.commit(confirmed=True, timeout="120")
        assert router.ask(window) == 2


def test_ncclient_keeps_to_the_standard(routers: Fleet) -> None:
    router = routers.start(Router("pe"), standard=True)
    content = (
        '<config><configuration xmlns="http://yang.juniper.net/junos/conf/root">'
        "<system><host-name>renamed</host-name></system></configuration></config>"
    )
    with ncclient(router) as client:
        assert ":base:1.1" in client.server_capabilities
        with client.locked("candidate"):
            client.edit_config(content, target="candidate")
            client.validate("candidate")
            client.commit(confirmed=True, timeout="60", persist="x")
            with pytest.raises(RPCError, match="persist-id"):
                client.commit()
            client.cancel_commit(persist_id="x")
            client.edit_config(content, target="candidate")
            client.discard_changes()
        found = client.get_config(
            "running", filter=("subtree", "<configuration><system/></configuration>")
        )
        assert "host-name" in found.data_xml
        assert "interfaces" not in found.data_xml
    assert "system host-name pe" in router.running
    assert router.left_behind == []


def test_a_router_of_the_standard_is_no_junos(routers: Fleet) -> None:
    router = routers.start(Router("pe"), standard=True)
    with pyez(router) as config, pytest.raises(LockError):
        config.lock()


def test_a_fault_is_met_as_often_as_it_is_ordered(router: Running) -> None:
    router.fault("check", refuse(FULL_DISK, times=2))
    with pyez(router) as config:
        for _ in range(2):
            with pytest.raises(CommitError, match="No space left"):
                config.commit_check()
        assert config.commit_check()
    assert router.ask(lambda it: it.faults.met) == 2
