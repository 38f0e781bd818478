"""The status of a run, as text."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from galaxymill.catalog.partition import read_partitions
from galaxymill.errors import UserError
from galaxymill.paths import fill
from galaxymill.reasons import Reasons
from galaxymill.reporting.tables import text_table
from galaxymill.reporting.words import duration
from galaxymill.stages import STAGES
from galaxymill.status.galaxies import Galaxies, count_cutouts, count_images, if_it_is_there
from galaxymill.status.locks import is_written
from galaxymill.status.logs import read_failure, tail
from galaxymill.status.stage import Stage, State, read_state
from galaxymill.storage.origin import read_record

_SINGLE = ("labels", "train", "evaluate", "release")
"""Stages that are one job for each labelled set, model, evaluation and release."""


def status(results: Path) -> str:
    """Report the progress of a run in the workflow's folder ``results``, which may be running.

    Returns
    -------
    str
        A table a survey, with the galaxies that failed and the jobs that did; then a line for
        each labelled set, model, evaluation and release that was begun.

    Raises
    ------
    UserError
        When there is no such folder, or nothing of a workflow in it.
    """
    if not results.is_dir():
        raise UserError(f"{results}: no such folder; name the workflow's folder results/")
    blocks = [_survey(results, path.name) for path in _folders(results / "surveys")]
    single = "\n".join(line for kind in _SINGLE for line in _singles(results, kind))
    text = "\n\n".join(block for block in [*blocks, single] if block)
    if not text:
        raise UserError(f"{results}: holds nothing that a workflow has made; name its results/")
    return text


def _folders(parent: Path) -> list[Path]:
    return sorted(path for path in parent.iterdir() if path.is_dir()) if parent.is_dir() else []


def _survey(results: Path, survey: str) -> str:
    """Table of a survey's stages, and what failed in them."""
    table = fill("<catalog>/partitions.csv", results, survey=survey)
    if not table.is_file():
        return f"survey {survey}: its catalogue is not cut into partitions yet"
    partitions = read_partitions(table)
    galaxies = sum(partition.n_rows for partition in partitions)
    states = [read_state(stage, partitions) for stage in _stages(results, survey)]
    rows: list[tuple[str, ...]] = [
        ("stage", "done", "running", "failed", "waiting", "galaxies", "galaxies/s", "left")
    ]
    rows += [_row(state, galaxies) for state in states]
    fetched, rendered, *_ = states
    lines = [f"survey {survey}: {len(partitions):,} partitions, {galaxies:,} galaxies"]
    lines += [f"  {line}" for line in text_table(rows)]
    lines += _outcomes("cutouts", count_cutouts(fetched))
    lines += _outcomes("images", count_images(rendered))
    lines += [line for state in states for line in _failures(state)]
    return "\n".join(lines)


def _stages(results: Path, survey: str) -> Iterator[Stage]:
    for name, products in (("fetch", "<cutouts>"), ("render", "<images>")):
        yield _stage(results, name, name, products, survey=survey)
    for name in _predictions(results, survey):
        stage = _stage_of(results, name)
        yield _stage(results, f"{stage} {name}", stage, "<predictions>", prediction=name)


def _predictions(results: Path, survey: str) -> list[str]:
    """Names of the predictions of a survey."""
    places = ("<results>/predictions", "<logs>/predict", "<logs>/apply")
    names = {path.name for place in places for path in _folders(fill(place, results))}
    return sorted(name for name in names if _is_of(results, name, survey))


def _stage_of(results: Path, prediction: str) -> str:
    """The stage that makes a prediction: ``apply`` for a probe's, by its logs."""
    return "apply" if (fill("<logs>/apply", results) / prediction).is_dir() else "predict"


def _is_of(results: Path, prediction: str, survey: str) -> bool:
    """Tell whether a prediction is of a survey: it was made from images that lie there.

    As long as no partition is done, the names of the partitions must do.
    """
    images = fill("<images>", results, survey=survey)
    products = fill("<predictions>", results, prediction=prediction)
    for product in sorted(products.glob("*.parquet")):
        source = images / product.name
        if not source.is_file():
            return False
        with if_it_is_there(product):
            made_from = read_record(product).origin["inputs"].get("images")
            return bool(made_from == read_record(source).digest)
    logs = fill(f"<logs>/{_stage_of(results, prediction)}", results) / prediction
    names = {log.stem for log in logs.glob("*.log")}
    tiles = {path.stem for path in fill("<tiles>", results, survey=survey).glob("*.parquet")}
    return names <= tiles


def _stage(results: Path, name: str, stage: str, products: str, **names: str) -> Stage:
    inner = "/".join([stage, *names.values()])
    logs, benchmarks = (fill(f"<{kind}>/{inner}", results) for kind in ("logs", "benchmarks"))
    return Stage(name, fill(products, results, **names), logs, benchmarks)


def _row(state: State, galaxies: int) -> tuple[str, ...]:
    counts = (len(state.done), len(state.running), len(state.failed), state.waiting)
    rate = state.rate * max(len(state.running), 1)
    left = state.seconds_left
    return (
        state.stage.name,
        *(f"{count:,}" for count in counts),
        f"{state.galaxies:,} ({100 * state.galaxies // max(galaxies, 1)} %)",
        f"{rate:.1f}" if rate else "-",
        "-" if left is None else duration(left) if left else "done",
    )


def _outcomes(what: str, found: Galaxies) -> Iterator[str]:
    """Lines on the galaxies of a stage by status, and the commonest reasons."""
    if found.counts:
        counts = ", ".join(f"{count:,} {name}" for name, count in found.counts.most_common())
        yield f"  {what}: {counts}"
    some = "" if found.opened == found.faulty else f" of the newest {found.opened} partitions"
    for one in found.reasons.common():
        yield f"    {one.count:,}{some} {one.text}: {one.named}"


def _failures(state: State) -> Iterator[str]:
    """Lines on the jobs that left no product, those of one reason together."""
    reasons = Reasons.of((part, why.replace(part, "")) for part, why in state.failed.items())
    for one in reasons.common():
        yield f"  {one.count:,} failed in {state.stage.name}: {one.named}"
        yield f"    {state.failed[one.examples[0]]}"


def _singles(results: Path, stage: str) -> Iterator[str]:
    """A line for each product of a stage that was begun."""
    kind, file = STAGES[stage].product.strip("<").split(">/")
    logs = fill(f"<logs>/{stage}", results)
    names = {path.stem for path in logs.glob("*.log")}
    names |= {path.name for path in _folders(fill(f"<{kind}>", results, **{kind: "_"}).parent)}
    for name in sorted(names):
        product = fill(f"<{kind}>/{file}", results, **{kind: name})
        yield f"{kind} {name}: {_state(product, logs / f'{name}.log')}"


def _state(product: Path, log: Path) -> str:
    lines = tail(log)
    written = log.stat().st_mtime if lines else 0.0
    if is_written(product.parent / f".{product.name}.lock", written):
        return f"running: {lines[-1] if lines else 'it has just begun'}"
    if product.is_file():
        when = datetime.fromtimestamp(product.stat().st_mtime).astimezone()
        return f"done {when:%Y-%m-%d %H:%M}"
    return f"failed: {read_failure(lines)}" if lines else "not begun"
