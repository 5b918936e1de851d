"""Filling in a platform's templates, so that no value can become configuration.

In XML every value is escaped, and a character that XML has no place for is refused; in a text
format a value is one word of plain characters.  A value that is missing is an error, never an
empty word.  The templates themselves run in Jinja2's sandbox: they see the model and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from jinja2 import BaseLoader, StrictUndefined, TemplateError, TemplateNotFound, TemplateSyntaxError
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


class TemplateMistakeError(Exception):
    """A template cannot be filled in; the message says where and why."""

    hint = "correct the template"


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


@lru_cache(maxsize=64)
def _environment(
    platform: str, form: str, templates: tuple[tuple[str, str], ...]
) -> ImmutableSandboxedEnvironment:
    """Compiled once for the same texts, however often they are read."""
    environment = ImmutableSandboxedEnvironment(
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
    kind = "" if isinstance(error, TemplateError | _ValueRefusedError) else type(error).__name__
    return f"{where}: {f'{kind}: ' if kind else ''}{error}"
