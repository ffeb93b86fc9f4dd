"""Profiles: what a kind of box should have, as data, and how it becomes a list of items.

A profile is a YAML file with variables and items. ``${name}`` stands for a variable, a
``${name.key}`` or ``${name[other]}`` for a part of one; a value that is nothing but one such
reference takes its type. ``for_each`` repeats an item, ``when`` leaves it out.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from labctl.errors import UsageError
from labctl.paths import config_dir
from labctl.setup.resource import Resource, resource_kind

_REFERENCE = re.compile(r"\$\{([^}]*)\}")
_STEP = re.compile(r"\.([A-Za-z_]\w*)|\[([A-Za-z_]\w*)\]")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "list": (list,),
    "mapping": (dict,),
}


class Variable(BaseModel):
    """A value that the inventory or ``--set`` may give."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = Field(pattern=f"^({'|'.join(_TYPES)})$")
    default: Any
    help: str


class ProfileFile(BaseModel):
    """A profile as written."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    description: str
    variables: dict[str, Variable] = Field(default_factory=dict)
    constants: dict[str, Any] = Field(default_factory=dict)
    items: list[dict[str, Any]]


@dataclass(frozen=True)
class Profile:
    """A profile and where it comes from."""

    name: str
    path: Path
    body: ProfileFile


def profile_folders() -> list[Path]:
    """Return where profiles are looked for: the user's own first, then labctl's."""
    return [config_dir() / "profiles", Path(__file__).parent / "profiles"]


def profile_names() -> list[str]:
    """Return the names of all profiles."""
    return sorted({path.stem for folder in profile_folders() for path in folder.glob("*.yaml")})


@lru_cache(maxsize=64)
def load_profile(name: str) -> Profile:
    """Find and read the profile ``name``.

    Raises:
        UsageError: There is none, or it has mistakes.
    """
    for folder in profile_folders():
        path = folder / f"{name}.yaml"
        if path.is_file():
            return Profile(name, path, _parse(path))
    names = profile_names()
    near = difflib.get_close_matches(name, names, n=1)
    raise UsageError(
        f"no profile is called '{name}'",
        action=f"did you mean '{near[0]}'?" if near else f"there are {', '.join(names)}",
    )


def _parse(path: Path) -> ProfileFile:
    try:
        # safe_load with libyaml's parser where it is there, which is ten times as fast.
        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        data = yaml.load(path.read_text(), Loader=loader)  # noqa: S506 (both are safe loaders)
        return ProfileFile.model_validate(data)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(" ".join(str(error).split()), thing=str(path)) from error
    except ValidationError as error:
        raise UsageError(_first(error), thing=str(path)) from error


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    return f"{where}: {message}" if where else message


def build_items(
    names: Sequence[str], given: Mapping[str, object], context: Mapping[str, object]
) -> list[Resource]:
    """Return the items of the profiles ``names``, in order.

    Args:
        names: Profiles.
        given: Values for their variables (inventory, then ``--set``).
        context: What labctl itself knows: ``host``, ``login``, ``control``.

    Raises:
        UsageError: A profile, a variable or an item is not right.
    """
    profiles = [load_profile(name) for name in names]
    _check_names(profiles, given)
    items = []
    for profile in profiles:
        values = _values(profile, given, context)
        for number, entry in enumerate(profile.body.items, 1):
            place = f"{profile.path.name}, item {number}"
            items += [_item(place, spec) for spec in _expand(place, entry, values)]
    return items


def values_for(
    given: Mapping[str, object], wanted: Sequence[str], own: Sequence[str]
) -> dict[str, object]:
    """Return what of the values ``given`` to a host is meant for the profiles of this run.

    Where ``--profile`` names others than the host's own, values for its own are no mistake. A name
    that no profile has stays, so that it is found to be one.

    Args:
        given: Values for variables, from the inventory.
        wanted: Profiles of this run.
        own: Profiles of the host.
    """
    if set(own) <= set(wanted):
        return dict(given)
    meant, other = _variables(wanted), _variables(own)
    return {name: value for name, value in given.items() if name in meant or name not in other}


def _variables(names: Sequence[str]) -> set[str]:
    return {variable for name in names for variable in load_profile(name).body.variables}


def _check_names(profiles: Sequence[Profile], given: Mapping[str, object]) -> None:
    known = {name for profile in profiles for name in profile.body.variables}
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise UsageError(
                f"no profile of this host has a variable '{name}'",
                thing="vars",
                action=f"did you mean '{near[0]}'?"
                if near
                else f"there are {', '.join(sorted(known)) or 'none'}",
            )


def _values(
    profile: Profile, given: Mapping[str, object], context: Mapping[str, object]
) -> dict[str, object]:
    values = {**context, **profile.body.constants}
    for name, variable in profile.body.variables.items():
        value = given[name] if name in given else _fill(variable.default, values, profile.name)
        if not _fits(value, variable.type):
            raise UsageError(
                f"must be a {variable.type}, not {value!r}", thing=f"variable '{name}'"
            )
        values[name] = value
    return values


def _fits(value: object, kind: str) -> bool:
    if kind == "integer" and isinstance(value, bool):
        return False
    return isinstance(value, _TYPES[kind])


def _expand(
    place: str, entry: Mapping[str, Any], values: Mapping[str, object]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (kind, fields) for each item that one entry of a profile stands for."""
    control = {key: entry[key] for key in ("for_each", "as", "when") if key in entry}
    kinds = [key for key in entry if key not in control]
    if len(kinds) != 1:
        raise UsageError(
            "has one kind of resource, not " + (", ".join(kinds) or "none"), thing=place
        )
    kind = kinds[0]
    rounds: list[Mapping[str, object]] = [values]
    if "for_each" in control:
        several = _fill(control["for_each"], values, place)
        if not isinstance(several, list):
            raise UsageError("for_each needs a list", thing=place)
        name = str(control.get("as", "item"))
        rounds = [{**values, name: one} for one in several]
    for scope in rounds:
        if "when" in control and not _holds(control["when"], scope, place):
            continue
        body = _fill(entry[kind], scope, place)
        main = resource_kind(kind).main
        fields = body if isinstance(body, dict) else {main: body}
        many = fields.get(main)
        if isinstance(many, list) and main != "components":
            for one in many:
                yield kind, {**fields, main: one}
        else:
            yield kind, dict(fields)


def _holds(condition: object, scope: Mapping[str, object], place: str) -> bool:
    if not isinstance(condition, dict):
        return bool(_fill(condition, scope, place))
    value = _fill(condition.get("value"), scope, place)
    if "in" in condition:
        return value in condition["in"]
    if "not_in" in condition:
        return value not in condition["not_in"]
    raise UsageError("when: needs 'in' or 'not_in' beside 'value'", thing=place)


def _item(place: str, spec: tuple[str, dict[str, Any]]) -> Resource:
    kind, fields = spec
    try:
        return resource_kind(kind).model_validate(fields)
    except ValidationError as error:
        raise UsageError(f"{kind}: {_first(error)}", thing=place) from error


def _fill(value: object, scope: Mapping[str, object], place: str) -> object:
    """Return ``value`` with its references replaced."""
    if isinstance(value, dict):
        return {key: _fill(part, scope, place) for key, part in value.items()}
    if isinstance(value, list):
        return [_fill(part, scope, place) for part in value]
    if not isinstance(value, str):
        return value
    whole = _REFERENCE.fullmatch(value)
    if whole:
        return _look_up(whole.group(1), scope, place)
    return _REFERENCE.sub(lambda match: str(_look_up(match.group(1), scope, place)), value)


def _look_up(expression: str, scope: Mapping[str, object], place: str) -> object:
    name = re.match(r"[A-Za-z_]\w*", expression)
    if not name or name.group() not in scope:
        raise UsageError(f"there is no variable '{expression}'", thing=place)
    value = scope[name.group()]
    rest = expression[name.end() :]
    while rest:
        part = _STEP.match(rest)
        if not part:
            raise UsageError(f"'${{{expression}}}' is not a reference", thing=place)
        key = part.group(1) if part.group(1) else scope.get(part.group(2))
        if not isinstance(value, dict) or key not in value:
            there = f"there are {', '.join(map(str, value))}" if isinstance(value, dict) else ""
            raise UsageError(f"'{expression}' has no part '{key}'", thing=place, action=there)
        value = value[key]
        rest = rest[part.end() :]
    return value
