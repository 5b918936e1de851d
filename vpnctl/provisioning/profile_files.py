"""The platforms' folders on disk: a thin edge around `vpnctl.provisioning.profile`."""

from __future__ import annotations

import stat
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import yaml

from vpnctl.provisioning.profile import (
    Platform,
    Profile,
    ProfileError,
    Profiles,
    profile_of,
)

#: Name of the folder with one folder per platform; an operator's own stands beside the policy.
FOLDER = "router_templates"
PROFILE = "profile.yaml"
#: Templates in this folder can be imported by every platform, as ``common/NAME``.
COMMON = "common"

_MOST_OCTETS = 1 << 20


def shipped() -> Path:
    """Where vpnctl's own platforms are: in the source tree, or where an installation puts them."""
    in_tree = Path(__file__).parent.parent.parent / FOLDER
    return in_tree if in_tree.is_dir() else Path(sys.prefix, "share", "vpnctl", FOLDER)


def read_profiles(*directories: Path) -> Profiles:
    """Every platform of vpnctl's own and of these directories, which need not be there.

    A platform of a later directory takes the place of one of the same name.  Raises `ProfileError`
    with every mistake in them.
    """
    platforms: dict[str, Platform] = {}
    mistakes: list[str] = []
    common = {
        f"{COMMON}/{name}": text for name, text in _templates(shipped() / COMMON, mistakes).items()
    }
    for directory in (shipped(), *directories):
        if directory.is_dir():
            for folder in sorted(directory.iterdir()):
                if (folder / PROFILE).is_file():
                    platform = _platform(folder, common, mistakes, own=directory != shipped())
                    if platform is not None:
                        platforms[platform.name] = platform
    if mistakes:
        raise ProfileError(mistakes)
    return Profiles(platforms)


def _platform(
    folder: Path, common: Mapping[str, str], mistakes: list[str], *, own: bool
) -> Platform | None:
    where = f"{folder.name}/{PROFILE}"
    text = _text(folder / PROFILE, where, mistakes)
    if text is None:
        return None
    profile, found = _profile(text, where)
    mistakes += found
    if profile is None:
        return None
    templates = _templates(folder, mistakes)
    mistakes += [
        f"{where}: templates: there is no {name} in the folder"
        for name in profile.templates
        if name not in templates
    ]
    return Platform(folder.name, profile, {**common, **templates}, own)


@lru_cache(maxsize=64)
def _profile(text: str, where: str) -> tuple[Profile | None, tuple[str, ...]]:
    """The profile, or what is wrong with it; read for every change, and seldom another one."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        return None, (f"{where}: is no YAML: {' '.join(str(error).split())}",)
    profile, mistakes = profile_of(content, where)
    return profile, tuple(mistakes)


def _templates(folder: Path, mistakes: list[str]) -> dict[str, str]:
    templates = {}
    for file in sorted(folder.glob("*.j2")):
        text = _text(file, f"{folder.name}/{file.name}", mistakes)
        if text is not None:
            templates[file.name] = text
    return templates


def _text(path: Path, where: str, mistakes: list[str]) -> str | None:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            mistakes.append(f"{where}: is no regular file")
            return None
        if found.st_size > _MOST_OCTETS:
            mistakes.append(f"{where}: is larger than a megabyte")
            return None
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        mistakes.append(f"{where}: cannot be read: {error}")
        return None
