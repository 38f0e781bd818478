"""What of a config cannot be released, found before anything is fetched."""

from collections.abc import Iterator
from pathlib import Path

from galaxymill import products
from galaxymill.config.config import Config
from galaxymill.config.known_tasks import known_task
from galaxymill.errors import UserError, unknown_name

_OF_CLASSES = "*"
"""Ends the name of columns whose classes only the file of labels has."""


def check_releases(config: Config, place: str, trees: Path) -> None:
    """Refuse releases with two columns of one name, and cuts in columns that there will not be.

    The parameters are as in `galaxymill.config.files.load_config`; the `UserError` names the column
    and whose it is.
    """
    for name, release in config.releases.items():
        owners: dict[str, str] = {}
        columns = list(_columns(config, name, trees))
        for column, owner in columns:
            taken = owners.setdefault(column.lower(), owner)
            if taken != owner:
                raise UserError(
                    f"{place}: releases.{name}: {taken} and {owner} would both give column "
                    f"{column}; release them apart, or rename a question or column"
                )
        names = [column for column, _ in columns]
        for selection, chosen in release.selections.items():
            for cut in chosen.cuts:
                key = f"{place}: releases.{name}.selections.{selection}.cuts"
                _require_column(cut.column, names, key)


def check_explorers(config: Config, place: str, trees: Path) -> None:
    """Refuse explorers of columns that their releases will not have; see `check_releases`."""
    for name, explorer in config.explorers.items():
        names = [column for column, _ in _columns(config, explorer.release, trees)]
        for column in explorer.columns:
            _require_column(column, names, f"{place}: explorers.{name}.columns")


def _require_column(column: str, names: list[str], key: str) -> None:
    begins = tuple(c.removesuffix(_OF_CLASSES) for c in names if c.endswith(_OF_CLASSES))
    if column not in names and not column.startswith(begins):
        raise unknown_name(key, column, names, "column")


def _columns(config: Config, release: str, trees: Path) -> Iterator[tuple[str, str]]:
    """Columns of a release, each with whose it is."""
    catalog = config.surveys[config.release_survey(release)].catalog
    own = [
        *products.OPTIONAL_OBJECT_COLUMNS,
        *(measure.name for measure in products.IMAGE_QUALITY),
        *("object_id", "ra", "dec", "status", "flags"),
    ]
    yield from ((column, "every release") for column in own)
    yield from ((column, "catalog.keep") for column in catalog.keep)
    for selection in config.releases[release].selections:
        yield selection, f"selection {selection}"
    for space in config.releases[release].maps:
        for name in config.spaces[space].maps:
            yield from ((column, f"maps of {space}") for column in products.map_columns(name))
    for interest in config.releases[release].interests:
        for column in products.interest_columns(interest):
            yield column, f"interest {interest}"
    for column in _detectable(config, release, trees):
        yield column, f"detectability {config.releases[release].detectability}"
    for prediction in config.releases[release].predictions:
        for labels in config.models[config.predictions[prediction].model].labels:
            for column in _predicted(config, labels, trees):
                yield column, f"prediction {prediction}"


def _detectable(config: Config, release: str, trees: Path) -> list[str]:
    """Columns of a detectability, of the answers that it names, or of all."""
    name = config.releases[release].detectability
    if name is None:
        return []
    chosen = config.detectability[name]
    if chosen.answers:
        return [products.detectable_column(answer) for answer in chosen.answers]
    near = [chosen.labels] if chosen.labels else None
    labels = near or config.models[config.predictions[str(chosen.near)].model].labels
    tasks = [known_task(config, one, trees) for one in labels]
    return [products.detectable_column(c) for task in tasks if task for c in task.columns]


def _predicted(config: Config, labels: str, trees: Path) -> list[str]:
    """Columns that a model of some labels gives."""
    task = known_task(config, labels, trees)
    if task is None:
        return [f"{getattr(config.labels[labels].settings, 'column', labels)}_{_OF_CLASSES}"]
    return [field.name for field in task.summary_fields()]
