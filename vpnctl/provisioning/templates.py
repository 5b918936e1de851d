"""Filling in a platform's templates, so that no value can become configuration.

In XML every value is escaped, and a character that XML has no place for is refused; in a text
format a value is one word of plain characters.  A value that is missing is an error, never an
empty word.  The templates themselves run in Jinja2's sandbox: they see the model and nothing else.
How long they may take is a matter of who calls (`vpnctl.provisioning.confined`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sized
from functools import lru_cache
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from vpnctl.model import RouteDistinguisher, RouteTarget
from vpnctl.provisioning.blocks import FRR
from vpnctl.provisioning.intent import RouterIntent
from vpnctl.provisioning.profile import Platform

_WORD = re.compile(r"[A-Za-z0-9_.:/@-]+")
#: Characters that no XML document may have (XML 1.0 section 2.2), escaped or not.
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TWO_OCTETS = 0xFFFF
#: Of what `*` makes of a text or list.
_MOST_REPEATED = 65536


class TemplateMistakeError(Exception):
    """A template cannot be filled in; the message says where and why."""

    hint = "correct the template"


class TooMuchError(Exception):
    """A template takes more than it may have; the message says of what."""


class _ValueRefusedError(Exception):
    """A value that must not get into a configuration."""


def fill(intent: RouterIntent, platform: Platform) -> str:
    """The platform's templates, one after the other, filled in with the intent.

    A template sees ``router`` (the `RouterIntent`), ``endpoints`` (its attachments) and
    ``logical_system``.  Raises `TemplateMistakeError`.
    """
    environment = _environment(
        platform.name, platform.profile.format, tuple(platform.templates.items())
    )
    texts = []
    for name in platform.profile.templates:
        try:
            texts.append(
                environment.get_template(name).render(
                    router=intent,
                    endpoints=intent.attachments,
                    logical_system=platform.profile.logical_system,
                )
            )
        # A template can raise whatever the operators in it do; it is never the controller's fault.
        except Exception as error:
            raise TemplateMistakeError(_told(error, platform, name)) from error
    return "".join(texts)


class _Environment(ImmutableSandboxedEnvironment):
    """With limits where a few characters ask for any amount of memory, or of time."""

    intercepted_binops = frozenset(("*", "**"))

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "**":
            raise TooMuchError("there is no ** in these templates")
        for text, times in ((left, right), (right, left)):
            repeats = isinstance(text, Sized) and isinstance(times, int)
            if repeats and len(text) * times > _MOST_REPEATED:
                raise TooMuchError(f"a repetition to more than {_MOST_REPEATED} characters")
        return super().call_binop(context, operator, left, right)


@lru_cache(maxsize=64)
def _environment(platform: str, form: str, templates: tuple[tuple[str, str], ...]) -> _Environment:
    """Compiled once for the same texts, however often they are read."""
    environment = _Environment(
        loader=_Loader(platform, dict(templates)),
        undefined=StrictUndefined,
        autoescape=form != FRR,
        finalize=_word if form == FRR else _character_data,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["junos_target"] = lambda target: f"target:{_junos(target)}"
    environment.filters["junos"] = _junos
    return environment


class _Loader(BaseLoader):
    """Templates by name; errors name the file in its folder."""

    def __init__(self, platform: str, templates: Mapping[str, str]) -> None:
        self._platform = platform
        self._templates = templates

    def get_source(
        self, _environment: Any, template: str
    ) -> tuple[str, str | None, Callable[[], bool] | None]:
        source = self._templates.get(template)
        if source is None:
            raise TemplateNotFound(template)
        shown = template if "/" in template else f"{self._platform}/{template}"
        return source, shown, lambda: True


def _present(value: object) -> object:
    if value is None:
        raise _ValueRefusedError("a value that this endpoint does not have")
    return value


def _character_data(value: object) -> object:
    text = str(_present(value))
    found = _NO_XML.search(text)
    if found is not None:
        raise _ValueRefusedError(f"{text!r} has the character {found[0]!r}, which XML has not")
    return value if isinstance(value, Markup | str) else text


def _word(value: object) -> object:
    text = str(_present(value))
    if not isinstance(value, Markup) and _WORD.fullmatch(text) is None:
        raise _ValueRefusedError(f"{text[:60]!r} is no single word of plain characters")
    return value


def _junos(value: RouteTarget | RouteDistinguisher) -> str:
    """``ADMIN:NUMBER`` as Junos reads it: an AS of four octets ends in ``L``."""
    administrator, _, number = str(value).rpartition(":")
    if administrator.isdecimal() and int(administrator) > _TWO_OCTETS:
        administrator += "L"
    return f"{administrator}:{number}"


def _told(error: Exception, platform: Platform, name: str) -> str:
    where = f"{platform.name}/{name}"
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename or where}:{error.lineno}: {error.message}"
    traceback = error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if file.endswith(".j2"):
            where = f"{file}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    if isinstance(error, MemoryError):
        return f"{where}: it takes more memory than it may have"
    told = TemplateError | TooMuchError | _ValueRefusedError
    kind = "" if isinstance(error, told) else type(error).__name__
    return f"{where}: {f'{kind}: ' if kind else ''}{error}"
