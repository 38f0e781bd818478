"""The README of a release, for the astronomer who opens it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from galaxymill import flags
from galaxymill.release.audit import Census
from galaxymill.release.columns import GROUPS, Column
from galaxymill.release.settings import ReleaseSettings, Selection
from galaxymill.release.sources import Model
from galaxymill.storage.origin import Origin


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
    model: Model,
    origin: Origin,
    columns: Sequence[Column],
    settings: ReleaseSettings,
    metrics: Mapping[str, Any],
) -> None:
    """Write ``README.md``.

    Parameters
    ----------
    path : Path
        The file.
    facts : Facts
        Counts.
    model : Model
        Who predicted.
    origin : Origin
        Of the release.
    columns : sequence of Column
        The registry.
    settings : ReleaseSettings
        What the release says of itself; with a date.
    metrics : mapping
        The model's evaluation; empty when there is none.
    """
    sections = [
        _introduction(facts, origin, settings),
        _warning(facts, model, origin),
        _selection(facts),
        _flagged(settings.selections),
        _model(model, metrics),
        _LIMITS,
        _columns(columns),
        _OPENING.format(lsdb=_LSDB if facts.has_positions else ""),
        _reproducing(origin),
        _citing(settings),
    ]
    path.write_text("\n\n".join(filter(None, sections)) + "\n", encoding="utf-8")


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(str(cell) for cell in line)} |" for line in lines)


def _introduction(facts: Facts, origin: Origin, settings: ReleaseSettings) -> str:
    domain = origin.domain
    told = f"\n\n{settings.description}" if settings.description else ""
    files = _on_sky(facts, settings) if facts.has_positions else ""
    sky = "![where the galaxies are](pictures/sky.png)" if facts.has_positions else _NOT_ON_SKY
    return f"""# {settings.title or facts.name}

Version {settings.version}, {settings.date}.{told}

Visual morphology of {facts.galaxies:,} galaxies of the survey `{domain.get("survey", "?")}`, as \
predicted by a neural network that learned from volunteers' votes: for every question, the \
fraction of volunteers who would give each answer, with its uncertainty.

- `friendly.parquet`: vote fractions, null where fewer than {settings.friendly_cut:.0%} of the \
volunteers would be asked the question, or where there is no usable image. Start here.
- `advanced.parquet`: all fractions unmasked, 90 % credible intervals, the proportion asked, \
uncertainties, and the concentrations of the Dirichlet posterior.
- `catalog.fits`: the advanced columns without concentrations as a FITS binary table; above \
ten million galaxies `catalog/`, a table a tile.
{files}- `columns.csv`: every column's type, unit, UCD and meaning.
- `provenance/`: what made this release; `galaxymill reproduce` makes it again.
- `croissant.json`, `ro-crate-metadata.json`, `CITATION.cff`, `LICENSE`: for machines and lawyers.

{sky}"""


_NOT_ON_SKY = """The catalogue gave no positions of the galaxies: there are no coordinates here, \
no sky map and no HATS collection, and `object_id` alone tells which galaxy is which."""


def _on_sky(facts: Facts, settings: ReleaseSettings) -> str:
    """Tell which files there are because the galaxies' positions are known."""
    return f"""- `hats/`: the advanced columns without concentrations as a HATS collection of \
{facts.tiles} tiles with a margin of {settings.margin_arcsec:g}", for cone searches and \
cross-matches.
- `coverage.moc.fits`, `coverage.moc.json`: where on the sky they are, as a \
multi-order coverage map.
"""


def _warning(facts: Facts, model: Model, origin: Origin) -> str:
    shifted = facts.census.flags["domain_shift"]
    if not shifted:
        return ""
    theirs, ours = model.domain, origin.domain
    differing = sorted(key for key in {**theirs, **ours} if theirs.get(key) != ours.get(key))
    table = _table(
        ("images", "the model learned from", "this survey"),
        [(key, theirs.get(key, "unknown"), ours.get(key, "unknown")) for key in differing],
    )
    return f"""## Warning: domain shift

{shifted:,} galaxies (flag `domain_shift`) were predicted by a model that learned from other \
images than these. How far its fractions and intervals can be trusted here has not been \
measured: check them against votes on this survey's own images before use.

{table}"""


def _selection(facts: Facts) -> str:
    census = facts.census
    share = 1 / facts.galaxies
    states = _table(
        ("cutout status", "galaxies", "share"),
        [(state, f"{n:,}", f"{n * share:.2%}") for state, n in census.status.items()],
    )
    flagged = _table(
        ("flag", "bit", "galaxies", "meaning"),
        [(f.name, f.bit, f"{census.flags[f.name]:,}", f.description) for f in flags.FLAGS],
    )
    return f"""## Selection

Every galaxy of the input catalogue has exactly one row in each table, whatever became of it; \
no other selection was made. \
{facts.galaxies - census.unfit:,} have predictions; {census.unfit:,} have no usable image and \
keep their row with null fractions. `flags` says what is known of each image (bits add up):

{flagged}

{states}"""


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

{_table(("column", "galaxies", "all of", "source", "made for"), rows)}{warning}"""


def _model(model: Model, metrics: Mapping[str, Any]) -> str:
    card, domain = model.card, model.domain
    told = {
        "encoder": _mapping(card.get("settings")).get("encoder"),
        "decision tree": f"{model.tree.name}, {len(model.tree.questions)} questions",
        "learned from": ", ".join(f"{key} {domain[key]}" for key in sorted(domain)),
        "galaxies with votes": _spell_counts(card.get("splits")),
        "content digest": f"`{model.digest}`",
    }
    lines = "\n".join(f"- {key}: {value}" for key, value in told.items() if value)
    return "\n\n".join(filter(None, ["## Model", lines, _metrics(metrics)]))


def _spell_counts(splits: object) -> str:
    if not isinstance(splits, Mapping):
        return ""
    return ", ".join(f"{n} {split}" for split, n in splits.items() if isinstance(n, int))


def _metrics(metrics: Mapping[str, Any]) -> str:
    """Table with one line a question, on galaxies kept for testing."""
    rows = []
    for name, entry in _mapping(metrics.get("questions")).items():
        found = _mapping(entry)
        baselines = _mapping(found.get("baselines"))
        errors = [_mapping(baselines.get(kind)).get("rmse") for kind in ("constant", "ridge")]
        values = [found.get("rmse"), *errors, found.get("noise_floor_rmse")]
        rows.append((name, found.get("n") or 0, *map(_number, values), _share(found)))
    if not rows:
        return ""
    header = ("question", "galaxies", "RMSE", "constant", "ridge", "vote noise", "90 % coverage")
    return f"""Errors of the vote fractions on galaxies the model has not learned from. Beside \
them: the same for a constant prediction (the training galaxies' mean) and for a ridge regression \
on hand-made features of the image; the error that the noise of the votes alone would give a \
perfect model; and the share of observed counts inside the 90 % predictive intervals, which ought \
to be 90 %:

{_table(header, rows)}{_caution(metrics)}"""


def _caution(metrics: Mapping[str, Any]) -> str:
    """Name the questions on which the model says nothing that a constant would not."""
    weak = []
    for name, entry in _mapping(metrics.get("questions")).items():
        own, constant = (_mapping(entry).get(key) for key in ("nll", "nll_constant"))
        if isinstance(own, int | float) and isinstance(constant, int | float) and own >= constant:
            weak.append(name)
    if not weak:
        return ""
    named = ", ".join(weak)
    return f"\n\nBy likelihood the model does no better than a constant on: {named}. Take care."


def _share(found: Mapping[str, Any]) -> str:
    covered = found.get("coverage_90")
    return f"{covered:.0%}" if isinstance(covered, int | float) else "–"


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, int | float) else "–"


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _columns(columns: Sequence[Column]) -> str:
    groups: dict[str, list[Column]] = {}
    for column in columns:
        groups.setdefault(column.group, []).append(column)
    rows = []
    for group, members in groups.items():
        tables = ", ".join(dict.fromkeys(table for column in members for table in column.tables))
        name = f"`{members[0].name}`" + (", …" if members[1:] else "")
        rows.append((group, GROUPS[group], len(members), name, tables))
    return f"""## Columns

Names are `{{question}}_{{answer}}_…`, as in the Galaxy Zoo catalogues. Null says "not \
applicable"; there are no NaNs.

![fractions of each question](pictures/fractions.png)

The galaxies that most surely get each answer: [pictures/examples.png](pictures/examples.png).

{_table(("group", "meaning", "columns", "name", "tables"), rows)}"""


_LIMITS = """## Known limits

- The fractions are **not debiased for redshift**: the same galaxy farther away shows less \
detail, and looks smoother. Compare samples at like redshift and apparent size.
- The model learned from a training set whose balance differs from the survey's: rare classes \
are known less well than their training errors say, and a survey's mean fraction is not a \
measured rate.
- A fraction predicts what volunteers would say of this image, which seeing, depth and the \
colour recipe shape; it is not the truth about the galaxy.
- The unmasked fractions of a question that few would be asked say little: the friendly table \
masks them, in the advanced table use `_proportion-asked`."""

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
    digests = _table(
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
