"""Settings of a stage: frozen pydantic models that travel as ``--set key=value`` flags."""

import json
import re
import reprlib
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationError,
    model_validator,
)

from galaxymill.errors import UserError, unknown_name

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)]
"""What a user calls a survey, a labelled set, a model or a release."""


def _split_commas(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    return value.split(",") if value else ()


Names = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]
"""Several names; on the command line they are separated by commas."""

Numbers = Annotated[tuple[float, ...], BeforeValidator(_split_commas)]
"""Several numbers; on the command line they are separated by commas."""


def parse_json(value: Any) -> Any:
    """Read a value that the command line gives as JSON, an empty list as nothing; others pass."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value or "[]")
    except (ValueError, RecursionError) as error:
        raise ValueError("is not JSON") from error


Pairs = Annotated[dict[str, str], BeforeValidator(parse_json)]
"""Names given to names; on the command line a JSON object."""


def without_nulls(plain: Any) -> Any:
    """Leave out the keys of a mapping that have no value: null is the same as not given."""
    if not isinstance(plain, Mapping):
        return plain
    return {key: value for key, value in plain.items() if value is not None}


class Strict(BaseModel):
    """A frozen model that refuses unknown keys: the base of every piece of the config.

    A key that is null has its default, as if it were not there.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, plain: Any) -> Any:
        return without_nulls(plain)


class Settings(Strict):
    """Settings of a stage: written in the config, passed to the command as ``--set`` flags.

    Those that are ``operational`` change no product (where a server or a folder is): a workflow
    passes them apart, so that changing them runs nothing again.
    """

    operational: ClassVar[frozenset[str]] = frozenset()

    def to_flags(self, option: str = "--set") -> str:
        """Spell what changes the product as command-line flags, sorted and quoted for a shell.

        Only what differs from its default is spelled: a new key changes no flags, and so runs
        nothing again. Whoever changes a default raises the version of its stage.
        """
        return self._flags(option, set(type(self).model_fields) - self.operational)

    def operational_flags(self) -> str:
        """Spell what changes no product."""
        return self._flags("--set", self.operational)

    def _flags(self, option: str, names: Collection[str]) -> str:
        words: list[str] = []
        chosen = self.model_dump(include=set(names), exclude_defaults=True)
        for key, value in sorted(chosen.items()):
            words += [option, f"{key}={spell(value)}"]
        return shlex.join(words)

    def product_settings(self) -> dict[str, Any]:
        """Plain form of what was chosen and changes the product, as kept in its origin."""
        return self.model_dump(mode="json", exclude=set(self.operational), exclude_defaults=True)

    @classmethod
    def from_flags(cls, flags: Sequence[str], place: str) -> Self:
        """Parse the ``key=value`` words that ``place``, a command, has received.

        Raises
        ------
        UserError
            When a word has no ``=``, a key is unknown or a value is not allowed.
        """
        plain: dict[str, str] = {}
        for flag in flags:
            key, equals, value = flag.partition("=")
            if not equals:
                raise UserError(f"{place}: --set {flag!r} is not of the form key=value")
            plain[key] = value
        return cls.parse(plain, place)

    @classmethod
    def parse(cls, plain: Mapping[str, Any], place: str) -> Self:
        """Check what ``place`` has received; a `UserError` says what of it is not allowed."""
        try:
            return cls.model_validate(plain)
        except ValidationError as error:
            raise UserError(f"{place}: {explain(error, cls)}") from error


class Choice(Strict):
    """A name from ``registry``, under ``key``, together with the settings that go with it."""

    key: ClassVar[str]
    registry: ClassVar[Mapping[str, Any]]

    settings: Settings

    def to_flags(self) -> str:
        """Spell what changes the product for the command line."""
        return f"--{self.key} {getattr(self, self.key)} {self.settings.to_flags()}"

    @model_validator(mode="before")
    @classmethod
    def _from_registry(cls, plain: Any) -> Any:
        return cls.pick(plain)

    @classmethod
    def pick(cls, plain: Any) -> Any:
        """Split a plain form in the name and the settings that go with it."""
        key, registry = cls.key, cls.registry
        if not isinstance(plain, dict) or key not in plain:
            raise ValueError(f"key {key} is required; allowed: {', '.join(sorted(registry))}")
        if isinstance(plain.get("settings"), Settings):
            return plain
        plain = without_nulls(plain)
        name = plain[key]
        if name not in registry:
            raise ValueError(str(unknown_name(key, str(name), registry, key)))
        model: type[Settings] = registry[name].settings
        try:
            settings = model.model_validate({k: v for k, v in plain.items() if k != key})
        except ValidationError as error:
            raise ValueError(explain(error, model)) from error
        return {key: name, "settings": settings}


_USER_INFO = re.compile(r"//[^/\s]*@")
"""A user and a password in an address: they must not be repeated in a message."""


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 200, 200
short_repr = _SHORT.repr
"""Spell a value for a message: a few of its members, whatever a file holds."""


def spell(value: Any) -> str:
    """Write the value of a setting as the command line takes it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict) or (
        isinstance(value, tuple | list) and any(isinstance(item, dict) for item in value)
    ):
        return json.dumps(value, sort_keys=True)
    if isinstance(value, tuple | list):
        return ",".join(str(item) for item in value)
    return str(value)


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Put a validation error in one line: place, value, what is wrong, allowed keys."""
    parts = []
    for detail in error.errors(include_url=False):
        place = ".".join(str(step) for step in detail["loc"])
        if detail["type"] == "extra_forbidden":
            allowed = _allowed_keys(model, detail["loc"])
            parts.append(f"{place}: unknown key; allowed: {', '.join(allowed)}")
        elif detail["type"] == "missing":
            parts.append(f"{place}: this key is required")
        else:
            message = detail["msg"].removeprefix("Value error, ")
            value = detail["input"]
            quoted = "" if isinstance(value, dict) else f" (given: {short_repr(value)})"
            quoted = _USER_INFO.sub("//***@", quoted)
            parts.append(f"{place}: {message}{quoted}" if place else message)
    return "; ".join(parts)


def _allowed_keys(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Keys of the innermost model on the way to ``location``."""
    current: Any = model
    for step in location[:-1]:
        fields = getattr(current, "model_fields", {})
        current = fields[step].annotation if step in fields else _member(current, step)
    return sorted(getattr(_member(current, ""), "model_fields", {}))


def _member(annotation: Any, step: int | str) -> Any:
    """Find the model inside ``dict[str, M]``, ``M | None`` or a union tagged by ``step``."""
    models = [item for item in _nested(annotation) if hasattr(item, "model_fields")]
    for item in models:
        tags = [info.default for info in item.model_fields.values()]
        if step in tags:
            return item
    return models[0] if models else annotation


def _nested(annotation: Any) -> Iterator[Any]:
    """List an annotation and those inside it."""
    yield annotation
    for inner in getattr(annotation, "__args__", ()):
        yield from _nested(inner)
