"""A platform that an operator adds beside the policy is provisioned like any other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.provisioning.commands.bed import Bed
from vpnctl.errors import RenderError

pytestmark = [pytest.mark.anyio, pytest.mark.daemon]

PROFILE = """\
format: junos-xml
services: [vpls]
families: [vpls]
templates: [vpls.xml.j2]
"""
TEMPLATE = """\
{% import 'common/junos.j2' as junos %}
<configuration>
  {{ junos.group(router) }}
  {% for endpoint in endpoints %}
  <interfaces>
    {{ junos.unit(endpoint, 'vlan-vpls', 'vpls') }}
  </interfaces>
  <routing-instances>
    <instance replace="replace">
      <name>acme-{{ endpoint.name }}</name>
      <instance-type>vpls</instance-type>
      <interface><name>{{ endpoint.interface }}</name></interface>
      <route-distinguisher><rd-type>{{ endpoint.rd | junos }}</rd-type></route-distinguisher>
      {{ junos.targets(endpoint) }}
      <protocols>
        <vpls>
          <site-range>{{ endpoint.site_range }}</site-range>
          <site>
            <name>{{ endpoint.site }}</name>
            <site-identifier>{{ endpoint.ve_id }}</site-identifier>
            <interface><name>{{ endpoint.interface }}</name></interface>
          </site>
        </vpls>
      </protocols>
    </instance>
  </routing-instances>
  {% endfor %}
</configuration>
"""


def use_acme(bed: Bed, template: str = TEMPLATE) -> None:
    """Let the managed routers be of the operator's own platform."""
    folder = bed.policies / "router_templates" / "acme"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "profile.yaml").write_text(PROFILE)
    (folder / "vpls.xml.j2").write_text(template)
    network = bed.policies / "network.yaml"
    network.write_text(
        network.read_text().replace("platform: junos-mx", "platform: acme, families: vpls")
    )


async def test_it_needs_a_folder_and_a_word_in_the_policy(beds: Callable[[int], Bed]) -> None:
    bed = beds(1)
    use_acme(bed)
    await bed.start()
    await bed.change("extend")
    (router,) = bed.routers.values()
    assert "routing-instances acme-E1_cloud instance-type vpls" in router.running
    await bed.change("retract")
    assert not any("acme-E1" in line for line in router.running)
    assert bed.left_behind() == []


async def test_a_mistake_in_it_is_told_and_nothing_happens(beds: Callable[[int], Bed]) -> None:
    bed = beds(1)
    use_acme(bed, TEMPLATE.replace("endpoint.ve_id", "endpoint.veid"))
    await bed.start()
    with pytest.raises(RenderError) as caught:
        await bed.change("extend")
    assert "acme/vpls.xml.j2:20: " in str(caught.value.mistakes[0])
    assert bed.have() == set()
    # The templates are read again for every change.
    use_acme(bed)
    await bed.change("extend")
    assert bed.have() == set(bed.names)
