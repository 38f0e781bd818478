"""The README of a release, for the astronomer who opens it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxymill import flags
from galaxymill.release.audit import Census
from galaxymill.release.columns import Column
from galaxymill.release.predictions import Prediction
from galaxymill.release.settings import ReleaseSettings, Selection
from galaxymill.reporting.tables import markdown_table
from galaxymill.storage.origin import Origin
from galaxymill.tasks.released import ColumnGroup


@dataclass(frozen=True)
class Facts:
    """What a release holds.

    Attributes
    ----------
    name : str
        Of the release.
    galaxies : int
        Rows of each table.
    tiles : int
        Tiles of the HATS catalog.
    census : Census
        Galaxies by status and flag.
    has_positions : bool
        Whether it is known where they are: without, there is no HATS catalog.
    """

    name: str
    galaxies: int
    tiles: int
    census: Census
    has_positions: bool = True


def write_readme(
    path: Path,
    facts: Facts,
    predictions: Sequence[Prediction],
    origin: Origin,
    columns: Sequence[Column],
    settings: ReleaseSettings,
) -> None:
    """Write ``README.md``.

    Parameters
    ----------
    path : Path
        The file.
    facts : Facts
        Counts.
    predictions : sequence of Prediction
    origin : Origin
        Of the release.
    columns : sequence of Column
        The registry.
    settings : ReleaseSettings
        What the release says of itself; with a date.
    """
    sections = [
        _introduction(facts, predictions, origin, settings),
        _warning(facts, predictions, origin),
        _selection(facts),
        _flagged(settings.selections),
        *(_model(one) for one in predictions),
        _limits(predictions),
        _columns(columns),
        _OPENING.format(lsdb=_LSDB if facts.has_positions else ""),
        _reproducing(origin),
        _citing(settings),
    ]
    path.write_text("\n\n".join(filter(None, sections)) + "\n", encoding="utf-8")


def _introduction(
    facts: Facts, predictions: Sequence[Prediction], origin: Origin, settings: ReleaseSettings
) -> str:
    domain, masked = origin.domain, ""
    if any(panel.asked for one in predictions for panel in one.task.panels()):
        cut = f"{settings.friendly_cut:.0%}"
        masked = f", or where fewer than {cut} of the volunteers would be asked the question"
    told = f"\n\n{settings.description}" if settings.description else ""
    files = _on_sky(facts, settings) if facts.has_positions else ""
    sky = "![where the galaxies are](pictures/sky.png)" if facts.has_positions else _NOT_ON_SKY
    return f"""# {settings.title or facts.name}

Version {settings.version}, {settings.date}.{told}

Visual morphology of {facts.galaxies:,} galaxies of the survey `{domain.get("survey", "?")}`, as \
predicted by neural networks that learned from labelled images:

{_summaries(predictions)}

- `friendly.parquet`: what is predicted, null where there is no usable image{masked}. Start here.
- `advanced.parquet`: all of it unmasked, with intervals, uncertainties, and the samples of the \
posterior where they were kept.
- `catalog.fits`: the advanced columns without samples as a FITS binary table; above \
ten million galaxies `catalog/`, a table a tile.
{files}- `columns.csv`: every column's type, unit, UCD and meaning.
- `provenance/`: what made this release; `galaxymill reproduce` makes it again.
- `croissant.json`, `ro-crate-metadata.json`, `CITATION.cff`, `LICENSE`: for machines and lawyers.

{sky}"""


def _summaries(predictions: Sequence[Prediction]) -> str:
    return "\n".join(f"- `{one.name}`: {one.task.release_text().summary}." for one in predictions)


_NOT_ON_SKY = """The catalogue gave no positions of the galaxies: there are no coordinates here, \
no sky map and no HATS collection, and `object_id` alone tells which galaxy is which."""


def _on_sky(facts: Facts, settings: ReleaseSettings) -> str:
    """Tell which files there are because the galaxies' positions are known."""
    return f"""- `hats/`: the advanced columns without samples as a HATS collection of \
{facts.tiles} tiles with a margin of {settings.margin_arcsec:g}", for cone searches and \
cross-matches.
- `coverage.moc.fits`, `coverage.moc.json`: where on the sky they are, as a \
multi-order coverage map.
"""


def _warning(facts: Facts, predictions: Sequence[Prediction], origin: Origin) -> str:
    shifted = facts.census.flags["domain_shift"]
    if not shifted:
        return ""
    elsewhere = [one for one in predictions if origin.domain not in one.card.domains]
    tables = "\n\n".join(_compare_domains(one, origin.domain) for one in elsewhere)
    return f"""## Warning: domain shift

{shifted:,} galaxies (flag `domain_shift`) were predicted by a model that learned from other \
images than these. How far its values and intervals can be trusted here has not been \
measured: check them against labels on this survey's own images before use.

{tables}"""


def _compare_domains(prediction: Prediction, ours: Mapping[str, Any]) -> str:
    theirs = prediction.card.domains[0]
    differing = sorted(key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key))
    return markdown_table(
        (f"images of `{prediction.name}`", "the model learned from", "this survey"),
        [(key, theirs.get(key, "unknown"), ours.get(key, "unknown")) for key in differing],
    )


def _selection(facts: Facts) -> str:
    census = facts.census
    share = 1 / facts.galaxies
    states = markdown_table(
        ("cutout status", "galaxies", "share"),
        [(state, f"{n:,}", f"{n * share:.2%}") for state, n in census.status.items()],
    )
    flagged = markdown_table(
        ("flag", "bit", "galaxies", "meaning"),
        [(f.name, f.bit, f"{census.flags[f.name]:,}", f.description) for f in flags.FLAGS],
    )
    return f"""## Selection

Every galaxy of the input catalogue has exactly one row in each table, whatever became of it; \
no other selection was made. \
{_predicted(facts)} `flags` says what is known of each image (bits add up):

{flagged}

{states}"""


def _predicted(facts: Facts) -> str:
    """Say how many galaxies have predictions, once where all predictions have the same."""
    unfit = facts.census.unfit
    same = len(set(unfit.values())) == 1
    told = {"": next(iter(unfit.values()))} if same else {f" of `{k}`": n for k, n in unfit.items()}
    return " ".join(
        f"{facts.galaxies - n:,} have predictions{of}; {n:,} have no usable image and keep their "
        "row with nulls."
        for of, n in told.items()
    )


def _flagged(selections: Mapping[str, Selection]) -> str:
    """Tell the boolean columns, each with the source of its cuts."""
    if not selections:
        return ""
    rows = [
        (
            f"`{name}`",
            chosen.description,
            "; ".join(map(str, chosen.cuts)),
            chosen.source,
            chosen.made_for,
        )
        for name, chosen in selections.items()
    ]
    warning = ""
    if any(chosen.made_for == "debiased fractions" for chosen in selections.values()):
        warning = """

Cuts that were made for **debiased** fractions take other galaxies from these, which are not: \
more at low redshift, fewer at high. Use such a column as a starting point."""
    return f"""## Selections

Boolean columns of every table, false where a value is null; the cuts are in the unmasked \
fractions of the advanced table.

{markdown_table(("column", "galaxies", "all of", "source", "made for"), rows)}{warning}"""


def _model(prediction: Prediction) -> str:
    """Describe the model of a prediction, with the figures of its evaluation."""
    card, text = prediction.card, prediction.task.release_text()
    learned = [", ".join(f"{key} {d[key]}" for key in sorted(d)) for d in card.domains]
    told = {
        "encoder": card.settings.encoder,
        **text.model,
        "learned from": "; ".join(learned),
        "labelled galaxies": ", ".join(f"{n} {split}" for split, n in card.counts.items()),
        "posterior": _posterior(prediction),
        "content digest": f"`{card.digest}`",
    }
    lines = "\n".join(f"- {key}: {value}" for key, value in told.items() if value)
    figures = text.figures(prediction.metrics)
    return "\n\n".join(filter(None, [f"## Model of `{prediction.name}`", lines, figures]))


def _posterior(prediction: Prediction) -> str:
    settings, train = prediction.settings, prediction.card.settings
    views = settings.seen_views(train)
    return (
        f"{settings.draws(train)} samples ({settings.samples} of Monte-Carlo dropout, networks: "
        f"{train.networks}, views of each image: {views})"
    )


def _columns(columns: Sequence[Column]) -> str:
    groups: dict[ColumnGroup, list[Column]] = {}
    for column in columns:
        groups.setdefault(column.group, []).append(column)
    rows = []
    for group, members in groups.items():
        tables = ", ".join(dict.fromkeys(table for column in members for table in column.tables))
        name = f"`{members[0].name}`" + (", …" if members[1:] else "")
        rows.append((group.name, group.meaning, len(members), name, tables))
    return f"""## Columns

Names are `{{question}}_{{answer}}_…`, as in the Galaxy Zoo catalogues. Null says "not \
applicable"; there are no NaNs.

![what is predicted of how many galaxies](pictures/fractions.png)

The galaxies that most surely get each answer: [pictures/examples.png](pictures/examples.png).

{markdown_table(("group", "meaning", "columns", "name", "tables"), rows)}"""


def _limits(predictions: Sequence[Prediction]) -> str:
    limits = [
        "The models learned from sets whose balance differs from the survey's: rare classes are "
        "known less well than their errors say, and a survey's mean is not a measured rate."
    ]
    limits += [limit for one in predictions for limit in one.task.release_text().limits]
    return "## Known limits\n\n" + "\n".join(f"- {limit}" for limit in dict.fromkeys(limits))


_LSDB = """
import lsdb
catalog = lsdb.open_catalog("hats")  # with its margin
cone = catalog.cone_search(ra=180.0, dec=0.0, radius_arcsec=3600).compute()
"""

_OPENING = """## How to open it

```python
import pandas
friendly = pandas.read_parquet("friendly.parquet")
{lsdb}
import duckdb
duckdb.sql("SELECT status, count(*) FROM 'friendly.parquet' GROUP BY status")
```"""


def _reproducing(origin: Origin) -> str:
    digests = markdown_table(
        ("input", "content digest (sha256)"),
        [(role, f"`{digest}`") for role, digest in sorted(origin.inputs.items())],
    )
    return f"""## Reproducibility

`sha256sum -c SHA256SUMS` checks the files. The same inputs give the same files, byte by byte, \
with the same library versions. `provenance/release.json` holds every stage's parameters and the \
digests of every partition, `provenance/config.yaml` the config; the footers of the Parquet tables \
hold the digest of their rows. `galaxymill reproduce` this folder runs the workflow again and \
compares.

{digests}"""


def _citing(settings: ReleaseSettings) -> str:
    doi = f" https://doi.org/{settings.doi}." if settings.doi else ""
    return f"""## Citation and licence

`CITATION.cff` says how to cite this catalogue.{doi} Licence: {settings.license}, see `LICENSE`."""
