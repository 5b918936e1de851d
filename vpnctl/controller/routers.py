"""The routers that the controller configures itself: what they have, and work left at them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from vpnctl.controller.impossible import TEMPLATES
from vpnctl.controller.progress import Announcement
from vpnctl.controller.work import KIND, OpenRouter, Undo, Work, begin, taken_up
from vpnctl.errors import (
    NotFoundError,
    OutcomeUnknownError,
    ProvisioningError,
    RenderError,
    VpnctlError,
)
from vpnctl.model import Network, Pe, Ruleset
from vpnctl.provisioning.driver import Driver
from vpnctl.provisioning.intent import RouterIntent, intents
from vpnctl.provisioning.journal import Phase, RouterChange
from vpnctl.provisioning.numbers import Taking, numbers
from vpnctl.provisioning.profile import Profile, Profiles
from vpnctl.provisioning.rendered import Rendered
from vpnctl.provisioning.transaction import Patience
from vpnctl.store import Store


def open_by_access(pe: Pe, form: str) -> Driver:
    """A session by what the policy says about access; not connected yet."""
    # Imported late: the libraries cost memory, and a controller without such routers needs none.
    from vpnctl.provisioning.drivers import open_driver

    return open_driver(pe, form)


class Routers:
    """What every managed router has of ours, and how it gets something else.

    A network without managed routers costs nothing here but looking whether it has some.
    ``on_unfinished`` is called when there is work to be resumed, ``undo`` when routers were brought
    back from what a revision had given them.
    """

    def __init__(
        self,
        store: Store,
        policies: Path,
        open_router: OpenRouter,
        *,
        clock: Callable[[], int],
        on_unfinished: Callable[[], None],
        undo: Undo,
        patience: Patience | None = None,
    ) -> None:
        self._store = store
        self._templates = policies / TEMPLATES
        self._open = open_router
        self._clock = clock
        self._on_unfinished = on_unfinished
        self._undo = undo
        self._patience = patience or Patience()
        self._have: dict[str, RouterIntent] = {}
        self._pes: dict[str, Pe] = {}
        self._seen: tuple[Network | None, bool] = (None, False)
        self.unfinished: list[Work] = []

    # What they have

    def take_up(self, ruleset: Ruleset) -> None:
        """Go on from the routers having what a ruleset says; whether they do shows the drift."""
        if self._manages(ruleset.network):
            self._have = dict(intents(ruleset))
            self._pes = {name: ruleset.network.pes[name] for name in self._have}

    def warm_up(self) -> None:
        """Load what sessions and rendering need, before somebody waits for it: half a second."""
        if self._have:
            self.renderer()
            for pe in {pe.platform: pe for pe in self._pes.values()}.values():
                with suppress(VpnctlError):  # it is told when the session is needed
                    self._open(pe, "")

    def _manages(self, network: Network) -> bool:
        if self._seen[0] is not network:
            self._seen = network, any(pe.managed for pe in network.pes.values())
        return self._seen[1]

    def intents(self, ruleset: Ruleset) -> Mapping[str, RouterIntent]:
        """What every managed router of a ruleset shall have."""
        return intents(ruleset) if self._manages(ruleset.network) else {}

    def renderer(self) -> Callable[[RouterIntent | None, RouterIntent | None], Rendered]:
        """What gives an intent, and what there was before it, in the router's own language.

        It knows the platforms as they are on disk now, and raises `RenderError`.
        """
        from vpnctl.provisioning.profile_files import read_profiles  # late, as the drivers are
        from vpnctl.provisioning.rendering import render

        profiles = read_profiles(self._templates)
        return lambda shall, before: render(shall, before, profiles)

    def profile(self, pe: Pe) -> Profile:
        """What a router's platform can do; raises `NotFoundError`."""
        from vpnctl.provisioning.profile_files import read_profiles

        platform = read_profiles(self._templates).get(pe.platform)
        if platform is None:
            raise NotFoundError(
                f"{pe.name}: there are no router templates for {pe.platform!r}",
                hint="router_templates/README.md says how to add a platform",
            )
        return platform.profile

    def open(self, pe: Pe, form: str) -> Driver:
        """A session with a router, not connected yet; ``form`` as in `Rendered`."""
        return self._open(pe, form)

    # Giving them something else

    def concerned(self, network: Network) -> bool:
        """Whether a change to ``network`` may be one to routers; costs nothing where none is."""
        return bool(self._have) or self._manages(network)

    def work(self, ruleset: Ruleset) -> Work | None:
        """What has to be done so that the routers have what ``ruleset`` says, if anything.

        Raises `RenderError` where a router cannot have it.  A router that is not managed any more
        keeps what it has; one that is not in the network any more loses what was ours.
        """
        network = ruleset.network
        shall = self.intents(ruleset)
        left_alone = {name for name in self._have if name in network.pes and name not in shall}
        differing = [
            name
            for name in sorted({*self._have, *shall} - left_alone)
            if self._have.get(name) != shall.get(name)
        ]
        if not differing:
            return None
        from vpnctl.provisioning.profile_files import read_profiles
        from vpnctl.provisioning.rendering import render_each

        profiles = read_profiles(self._templates)
        render = self.renderer()
        have = {name: _possible(render, self._have.get(name)) for name in differing}
        differing = [
            name for name in differing if shall.get(name) is not None or have[name] is not None
        ]
        if not differing:
            return None
        after = render_each(((shall.get(name), have[name]) for name in differing), profiles)
        before = render_each(((have[name], shall.get(name)) for name in differing), profiles)
        changes = [
            RouterChange(
                name,
                shall_be,
                had,
                self._new(name, have[name], shall_be, had),
                _taking(shall.get(name), have[name], profiles),
            )
            for name, shall_be, had in zip(differing, after, before, strict=True)
        ]
        pes = {name: network.pes[name] if name in shall else self._pes[name] for name in differing}
        return begin(
            self._store,
            changes,
            pes,
            {name: shall.get(name) for name in differing},
            self._open,
            undo=self._undo,
            clock=self._clock,
            patience=self._patience,
        )

    def _new(
        self, router: str, possible: RouterIntent | None, after: Rendered, before: Rendered
    ) -> tuple[str, ...]:
        """The nodes that a change makes and that were not ours before it."""
        if router in self._have and possible is None:
            return ()  # what it has of ours cannot be told any more
        ours = set(before.owned)
        return tuple(path for path in after.owned if path not in ours)

    def intent(self, router: str) -> RouterIntent | None:
        """What a router should have by now."""
        return self._have.get(router)

    def work_at(self, pe: Pe) -> Work:
        """What has to be done so that one router has what it should have already."""
        shall = self._have[pe.name]
        rendered = self.renderer()(shall, None)
        taking = Taking(tuple(sorted(numbers(shall))), self.profile(pe))
        change = RouterChange(pe.name, rendered, rendered, taking=taking)
        return begin(
            self._store,
            [change],
            {pe.name: pe},
            {pe.name: shall},
            self._open,
            undo=self._undo,
            clock=self._clock,
            patience=self._patience,
        )

    def announced_by(self, work: Work) -> Mapping[str, list[Announcement]]:
        """What every router announces of the endpoints that a work creates there."""
        created: dict[str, list[Announcement]] = {}
        for name, intent in work.shall.items():
            if intent is not None:
                had = self._have.get(name)
                known = {one.name for one in had.attachments} if had is not None else set()
                for one in intent.attachments:
                    if one.name not in known:
                        targets = tuple(target.octets for target in one.export_targets)
                        announcement = Announcement(f"{one.vpn} at {one.site}", targets)
                        created.setdefault(name, []).append(announcement)
        return created

    def deciding(self, work: Work, up: Container[str]) -> Mapping[str, float]:
        """The routers from which a route has to come before a change is kept, and within how long.

        Those that get a new endpoint of a platform that announces one as soon as it is configured
        (`Profile.announces`), over a session that is ``up`` and is not changed itself: of any
        other, silence tells nothing about the change.  In seconds, and without those of which the
        policy says 0.
        """
        found: dict[str, float] = {}
        for name in self.announced_by(work):
            shall, had, pe = work.shall[name], self._have.get(name), work.pes[name]
            access = pe.netconf or pe.frr
            if (
                name in up
                and shall is not None
                and had is not None
                and replace(shall, attachments=()) == replace(had, attachments=())
                and access is not None
                and access.timeouts.route > 0
                and self.profile(pe).announces
            ):
                found[name] = access.timeouts.route
        return found

    def refuse_in_doubt(self, work: Work) -> None:
        """Refuse work at a router of which nobody knows what it has."""
        doubtful = sorted(self.in_doubt.keys() & work.routers)
        if doubtful:
            raise OutcomeUnknownError(
                f"in doubt since an earlier change: {', '.join(doubtful)}",
                hint=f"asked again every few seconds; 'vpnctl doctor {' '.join(doubtful)}' tells "
                "what is wrong. What is gone for good is left alone without `netconf:` or `frr:` "
                "in network.yaml",
            )

    def took(self, work: Work, network: Network) -> None:
        """The routers have what a work gave them."""
        for name, intent in work.shall.items():
            if intent is None:
                self._have.pop(name, None)
                self._pes.pop(name, None)
            else:
                self._have[name] = intent
        for name in list(self._have):
            pe = network.pes.get(name)
            if pe is not None and pe.managed:
                self._pes[name] = pe
            else:  # left to somebody else from now on
                del self._have[name], self._pes[name]

    # What was left undone

    async def find_unfinished(self) -> None:
        """Take up what an earlier controller has begun at routers and not ended."""
        for operation in await asyncio.to_thread(self._store.pending):
            if operation.kind == KIND:
                work = await asyncio.to_thread(
                    taken_up,
                    self._store,
                    operation,
                    self._open,
                    undo=self._undo,
                    patience=self._patience,
                )
                self.unfinished.append(work)

    def keep_an_eye_on(self, work: Work) -> None:
        """Resume a work later if it was begun and has not ended."""
        begun = work.transaction.phase is not None
        if begun and not work.transaction.finished and work not in self.unfinished:
            work.left = True
            self.unfinished.append(work)
            self._on_unfinished()

    async def resume(self) -> list[Work]:
        """Try once to end everything that is unfinished; gives what ended."""
        ended = []
        for work in list(self.unfinished):
            if work.transaction.phase is not Phase.DECIDED:
                # It is repeated until all is settled, and changes wait meanwhile.
                work.transaction.be_brief()
            try:
                await work.transaction.resume()
            except ProvisioningError:
                pass  # it is on its way back then, and why is told with the revision
            if work.transaction.finished:
                self.unfinished.remove(work)
                ended.append(work)
        return ended

    @property
    def doubt(self) -> str:
        """The routers in doubt, and why, in words; empty where there are none."""
        doubtful = self.in_doubt
        named = "; ".join(f"{name} ({why})" for name, why in sorted(doubtful.items()))
        return f"in doubt, and asked again until it answers: {named}" if named else ""

    @property
    def in_doubt(self) -> Mapping[str, str]:
        """Why, by router in doubt."""
        found: dict[str, str] = {}
        for work in self.unfinished:
            if work.transaction.finished:
                continue  # the journal says so since a moment ago
            # With none left, what is unfinished is the revision, or what the journal says.
            found |= dict.fromkeys(work.routers or work.pes, "a change was cut off there")
            answers = work.transaction.in_doubt
            found |= {name: error.message for name, error in answers.items()}
        return found


def _taking(
    shall: RouterIntent | None, had: RouterIntent | None, profiles: Profiles
) -> Taking | None:
    """The numbers that a router gets with a change, if any."""
    platform = profiles.get(shall.platform) if shall is not None else None
    if platform is None or not platform.profile.services:
        return None
    return Taking(tuple(sorted(numbers(shall) - numbers(had))), platform.profile)


def _possible(
    render: Callable[[RouterIntent | None, RouterIntent | None], Rendered],
    intent: RouterIntent | None,
) -> RouterIntent | None:
    """What a router may have, or None for what it can never have been given.

    A mistake in the first policy that a controller starts with would otherwise stand in the way
    of its own correction.
    """
    if intent is not None:
        try:
            render(intent, None)
        except RenderError:
            return None
    return intent
