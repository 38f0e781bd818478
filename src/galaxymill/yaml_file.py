"""Read a user's YAML file: bounded, safe, and no key given twice."""

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BeforeValidator, StrictInt, StrictStr

from galaxymill.errors import UserError

MAX_YAML_BYTES = 1_000_000


def _in_quotes(value: Any) -> Any:
    if isinstance(value, int | float):
        raise ValueError(
            "put it in quotes, as in '1', 'yes' or '16.10': YAML reads 1 as a number, yes and no "
            "as true and false, 16.10 as 16.1"
        )
    return value


Text = Annotated[StrictStr, BeforeValidator(_in_quotes)]
"""A text of a YAML file; what YAML takes for something else is refused with the way out."""

TextOrIndex = Annotated[
    StrictStr | StrictInt,
    BeforeValidator(lambda value: value if type(value) is int else _in_quotes(value)),
]


class _UniqueKeys(yaml.SafeLoader):
    """YAML's safe loader, but a key given twice is an error: the first would be lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Build one mapping."""
        keys = [key.value for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.YAMLError(f"given twice: {', '.join(twice)}")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path, kind: str) -> dict[Any, Any]:
    """Parse a YAML file; ``kind`` is what it should be, for errors: ``a tree``.

    Raises
    ------
    UserError
        When it cannot be read, is above ``MAX_YAML_BYTES``, is no YAML, or has no keys.
    """
    try:
        size = path.stat().st_size
        if size > MAX_YAML_BYTES:
            raise UserError(
                f"{path}: {size} bytes is too large for {kind} (at most {MAX_YAML_BYTES})"
            )
        plain = _UniqueKeys(path.read_text(encoding="utf-8")).get_single_data()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(plain, dict) or not plain:
        raise UserError(f"{path}: is empty or has no keys at its top level; {kind} is expected")
    return plain
