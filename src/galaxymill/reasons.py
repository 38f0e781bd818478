"""Why galaxies lack something: the reasons counted, with some of the galaxies for examples."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_EXAMPLES = 3
_MOST = 5
_LISTED = 12
_VARYING = re.compile(r"'[^']*'|\"[^\"]*\"|(?<!HTTP )(?<!\d)\d[\d.×]*")
"""Names of files and numbers, which differ from galaxy to galaxy."""


@dataclass
class Reason:
    """How many galaxies have one reason, its text for the first, and the ids of some."""

    text: str
    count: int = 0
    examples: list[str] = field(default_factory=list)

    @property
    def named(self) -> str:
        """The examples, and dots when there are more."""
        more = ["..."] if self.count > len(self.examples) else []
        return ", ".join([*self.examples, *more])


class Reasons(dict[str, Reason]):
    """Reasons by their text; those that differ in a file's name or a number are one."""

    @classmethod
    def of(cls, galaxies: Iterable[tuple[str, str]]) -> "Reasons":
        """Count pairs of an id and a reason."""
        reasons = cls()
        for object_id, reason in galaxies:
            reasons.add(reason, object_id)
        return reasons

    def add(self, reason: str, object_id: str) -> None:
        """Count one galaxy."""
        found = self.setdefault(_VARYING.sub("", reason), Reason(reason))
        found.count += 1
        if len(found.examples) < _EXAMPLES:
            found.examples.append(object_id)

    @property
    def total(self) -> int:
        """Number of galaxies."""
        return sum(found.count for found in self.values())

    def common(self, most: int = _MOST) -> list[Reason]:
        """Give the most common ones, the commonest first."""
        return sorted(self.values(), key=lambda one: -one.count)[:most]

    def summary(self, of: int = 0) -> str:
        """Describe the most common ones in a line; ``of`` is the number of all galaxies."""
        share = f" of {of}" if of else ""
        lines = [f"{one.count}{share} {one.text}, e.g. {one.named}" for one in self.common()]
        if len(self) > len(lines):
            lines.append(f"{len(self) - len(lines)} more reasons")
        return "; ".join(lines)


def some(items: Iterable[str], separator: str = ", ") -> str:
    """List the first of some things, at most 12, and how many more there are."""
    listed = list(items)
    if len(listed) > _LISTED:
        listed[_LISTED:] = [f"and {len(listed) - _LISTED} more"]
    return separator.join(listed)
