"""Which code makes a stage's product: a change of it needs a new version, or a new record.

``make stages`` records the code as it is; `tests/unit/test_stage_sources.py` compares.
"""

import ast
import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxymill.stages import STAGES

PACKAGE = Path(__file__).resolve().parent
RECORD = Path("tests/unit/stage_sources.json")

NO_PART = {"errors", "needs", "progress", "stages"}
"""Modules that check settings or report on the work, and make nothing of a product."""


@dataclass(frozen=True)
class Change:
    """A stage whose source is not what is on record.

    ``recorded`` is its version on record (0: none), ``version`` today's; ``modules`` are paths,
    within the package, of modules that have changed, came or went.
    """

    stage: str
    recorded: int
    version: int
    modules: tuple[str, ...]

    def __str__(self) -> str:
        """What has changed, and what to do about it."""
        message = f"{self.stage}: {', '.join(self.modules) or 'its version'} changed"
        if self.version != self.recorded:
            return f"{message}; version {self.version} is not on record yet: `make stages`"
        return (
            f"{message} since version {self.version} was recorded. If its products would differ, "
            f"raise {self.stage!r} in src/galaxymill/stages.py to {self.version + 1}. Then, or if "
            "they would not, `make stages` records the source as it is"
        )


def changes(record: Mapping[str, Any]) -> list[Change]:
    """Compare every stage's source and version with those on record."""
    found = []
    for name, stage in STAGES.items():
        recorded = record.get(name, {"version": 0, "sources": {}})
        today, old = sources(name), recorded["sources"]
        modules = tuple(sorted(m for m in {*today, *old} if today.get(m) != old.get(m)))
        if modules or stage.version != recorded["version"]:
            found.append(Change(name, recorded["version"], stage.version, modules))
    return found


def sources(stage: str) -> dict[str, str]:
    """Digest each module of a stage's source, by its path within the package."""
    left, seen = [_path(name) for name in STAGES[stage].entry_modules], dict[Path, str]()
    while left:
        path = left.pop()
        if path in seen:
            continue
        tree = ast.parse(path.read_text(encoding="utf-8"))
        seen[path] = hashlib.sha256(json.dumps(_plain(tree)).encode()).hexdigest()[:12]
        left += _imported(tree)
    rooms = {path.parent for path in seen}
    # Templates and pages: page.html, README.md.j2, scripts.
    kinds = ("*.html", "*.j2", "*.js", "*.css")
    for page in [page for room in rooms for kind in kinds for page in room.glob(kind)]:
        seen[page] = hashlib.sha256(page.read_bytes()).hexdigest()[:12]
    return {str(path.relative_to(PACKAGE)): seen[path] for path in sorted(seen)}


def _path(name: str) -> Path:
    return PACKAGE.joinpath(*name.split(".")).with_suffix(".py")


def _imported(tree: ast.AST) -> Iterator[Path]:
    """Files of the package that a module imports, wherever in it."""
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            package, _, inner = name.partition(".")
            if package == PACKAGE.name and inner not in NO_PART and _path(inner).is_file():
                yield _path(inner)


def _plain(node: Any) -> Any:
    """Spell a syntax tree without comments, places, docstrings and what is empty.

    What is empty is left out because versions of Python differ in it.
    """
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if value not in (None, [])}
    if isinstance(fields.get("body"), list):
        fields["body"] = [one for one in fields["body"] if not _is_text(one)]
    if isinstance(node, ast.JoinedStr):
        fields["values"] = [one for one in node.values if getattr(one, "value", None) != ""]
    return [type(node).__name__, {name: _plain(value) for name, value in fields.items()}]


def _is_text(node: Any) -> bool:
    """Whether a statement is but a string, as docstrings are."""
    return isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)


def read_record(path: Path) -> dict[str, Any]:
    """Read what is on record; nothing when there is no such file."""
    record: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return record


def write_record(path: Path) -> None:
    """Put every stage's source on record as it is."""
    record = {
        name: {"version": stage.version, "sources": sources(name)} for name, stage in STAGES.items()
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


def main(path: Path = RECORD) -> None:
    """Record, and print what that means for each stage that has changed."""
    for change in changes(read_record(path)):
        what = "output unchanged" if change.version == change.recorded else "a new version"
        modules = ", ".join(change.modules) or "no module changed"
        sys.stderr.write(f"{change.stage} {change.version}: {what}: {modules}\n")
    write_record(path)


if __name__ == "__main__":
    main()
