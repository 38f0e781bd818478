"""What runs again after a change, and what must not: the rows of docs/reruns.md, one by one."""

import os
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from galaxymill.products import CUTOUTS
from galaxymill.stages import STAGE_VERSIONS
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

PARTS = 2
BUILD = {"build_explorer": 1}
EXPLORE = {"explore_partition": PARTS, **BUILD}
MERGE = {"merge_release": 1, **BUILD}
SEARCH = {"search_galaxies": 1}
MAP = {"report_maps": 1}
REPORT = {"report_interest": 1}
RATE = {"rate_partition": PARTS, **REPORT}
INTEREST = {"fit_interest": 1, **RATE}
PROJECT = {"project_partition": PARTS, "list_features": 1, **MAP, **SEARCH, **RATE, **EXPLORE}
SPACE = {"fit_space": 1, "fit_interest": 1, **PROJECT}
KEEP = {"predict_partition": PARTS, "list_embeddings": 1, **PROJECT, **MERGE}
PREDICT = {**KEEP, "describe_embeddings": 1, **SPACE}
SECOND = {"train_model": 1, "evaluate_model": 1, "predict_partition": PARTS}
SECOND |= {"merge_release": 1}
TRAIN = {"train_model": 1, "evaluate_model": 1, **PREDICT}
RENDER = {"render_images": PARTS, "list_images": 1, "describe_images": 1, **TRAIN}
FETCH = {"fetch_cutouts": PARTS, **RENDER}
RECORD = {"record_run": 1}
"""A release's record of its part of the config, which has changed; seconds."""

SMOOTH = {"description": "smooth galaxies", "source": "this test"}
COLUMN = "smooth-or-featured-dr5_smooth_fraction"

SETTINGS = {
    "nothing": ("models.mini.train.epochs", 2, {}),
    "a rate": ("network.simulated.requests_per_second", 7, {}),
    "connections": ("network.simulated.connections", 1, {}),
    "the contact": ("network.simulated.contact", "me@example.org", {}),
    "the size of images": ("surveys.mini.images.size", 48, RENDER | RECORD),
    "the quality of JPEGs": ("surveys.mini.images.quality", 80, RENDER | RECORD),
    "a recipe": ("surveys.mini.images.recipe", "lupton", RENDER | RECORD),
    "the origin of images": ("surveys.mini.images.origin", "a sky", RENDER | RECORD),
    "a telescope": ("surveys.mini.telescope", {"seeing": {"r": 1.2}}, RENDER | RECORD),
    "the size of cutouts": ("surveys.mini.cutouts.size", 48, FETCH | RECORD),
    "the pixel scale": ("surveys.mini.cutouts.pixel_scale", 0.262, FETCH | RECORD),
    "epochs": ("models.mini.train.epochs", 3, TRAIN | RECORD),
    "the encoder": ("models.mini.train.encoder", "resnet18", TRAIN | RECORD),
    "shares of the splits": (
        "labels.volunteers.splits",
        {"train": 0.6, "val": 0.2, "test": 0.2},
        {"collect_labels": 1, **TRAIN, **RECORD},
    ),
    "checks of votes": (
        "labels.volunteers.checks.absolute",
        5,
        {"collect_labels": 1, **TRAIN, **RECORD},
    ),
    "samples of a prediction": (
        "predictions.said.samples",
        3,
        {"evaluate_model": 1, **KEEP, **RECORD},
    ),
    "what a prediction keeps": ("predictions.said.keep", ["embeddings"], KEEP | RECORD),
    "how views are pooled": (
        "predictions.said.views",
        8,
        {"evaluate_model": 1, **PREDICT, **RECORD},
    ),
    "components of a space": ("spaces.looks.components", 3, SPACE),
    "what is looked for": ("searches.like_one.count", 6, SEARCH),
    "a map of a space": ("spaces.looks.maps.few", {"where": "flags = 0"}, SPACE),
    "tiles of a release": ("releases.mini.galaxies_per_tile", 50, MERGE | RECORD),
    "selections of a release": (
        "releases.mini.selections",
        {"round": {**SMOOTH, "cuts": [{"column": COLUMN, "at_least": 0.5}]}},
        MERGE | EXPLORE | RECORD,
    ),
    "columns of an explorer": ("explorers.see.columns", [COLUMN], EXPLORE),
    "the viewer of an explorer": ("explorers.see.viewer", "", BUILD),
}
"""Cause, place in the config, its new value, and the jobs that follow."""

CUT = {"partition_catalog": 1, "list_images": 1, "list_embeddings": 1, "list_features": 1}
CUT |= {**MAP, **SEARCH, **REPORT, **MERGE}
"""What gathers partitions, and so waits for them to be known."""

CODE = {
    "ingest": {"ingest_catalog": 1, **CUT},
    "partition": CUT,
    "fetch": FETCH,
    "render": RENDER,
    "labels": {"collect_labels": 1, **TRAIN},
    "train": TRAIN,
    "evaluate": {"evaluate_model": 1, **MERGE},
    "predict": PREDICT,
    "space": SPACE,
    "project": PROJECT,
    "map": MAP,
    "similar": SEARCH,
    "interest": INTEREST,
    "rate": RATE,
    "interesting": REPORT,
    "release": MERGE,
    "explore": EXPLORE,
    "explorer": BUILD,
}
"""Stage whose version is raised, and the jobs that follow."""


@pytest.mark.parametrize(("place", "value", "jobs"), SETTINGS.values(), ids=SETTINGS)
def test_a_setting_runs_what_depends_on_it(finished, change, mini_config, place, value, jobs):
    assert finished.dry(config=change(mini_config, place, value)) == jobs


@pytest.mark.parametrize(("stage", "jobs"), CODE.items())
def test_a_raised_version_runs_its_stage_and_what_follows(finished, stage, jobs):
    assert finished.dry_raised(stage) == jobs


def test_every_stage_of_the_run_is_tried():
    """Downloads and simulated skies stand before everything, a plan beside it; see also
    test_detectability_dag, test_probe_dag, test_rounds_dag and test_volunteers_dag.
    """
    elsewhere = {"download", "simulate", "plan", "volunteers", "probe", "apply", "detectability"}
    elsewhere |= {"choose", "write_subjects", "judge", "history"}
    assert set(CODE) == set(STAGE_VERSIONS) - elsewhere


def test_a_vote_file_merely_touched_runs_nothing(working_copy):
    """Snakemake compares the content of small files, too."""
    os.utime(working_copy.folder / "votes.parquet")
    assert working_copy.dry() == {}


def test_votes_changed_run_from_labels_on(working_copy):
    path = working_copy.folder / "votes.parquet"
    votes = pq.read_table(path)
    column = "smooth-or-featured-dr5_smooth"
    more = pa.array([count + 1 for count in votes[column].to_pylist()], votes[column].type)
    pq.write_table(votes.set_column(votes.column_names.index(column), column, more), path)
    assert working_copy.dry() == {"collect_labels": 1, **TRAIN, **RECORD}


def test_a_vote_file_more_runs_from_labels_on(working_copy, change, mini_config):
    """Nothing is fetched or rendered again."""
    votes = pq.read_table(working_copy.folder / "votes.parquet")
    pq.write_table(votes.slice(0, 5), working_copy.folder / "more.parquet")
    config = change(mini_config, "labels.volunteers.votes", ["votes.parquet", "more.parquet"])
    assert working_copy.dry(config=config) == {"collect_labels": 1, **TRAIN, **RECORD}


def test_a_second_model_trains_beside_the_first(finished, change, mini_config):
    """It predicts for its own release; what is there stays."""
    second = {"labels": "volunteers", "train": {**mini_config["models"]["mini"]["train"]}}
    second["train"]["seed"] = 2
    config = change(mini_config, "models.second", second)
    config = change(config, "predictions.second", {"survey": "mini", "model": "second"})
    config = change(config, "releases.second", {"predictions": "second"})
    assert finished.dry(config=config) == SECOND | RECORD


def test_another_model_in_its_place_predicts_anew(working_copy):
    with (working_copy.folder / "results/models/mini/model.yaml").open("a") as file:
        file.write("# trained elsewhere\n")
    assert working_copy.dry() == {"evaluate_model": 1, **PREDICT}


def test_galaxies_asked_for_again_run_their_partition_on(working_copy):
    """Of the first partition two galaxies had failed; now they can be had."""
    product, other = working_copy.files("surveys/mini/cutouts/*.parquet")
    _fail(product, 2)
    assert working_copy.dry() == _after_retry()
    working_copy.finish()
    untouched = other.stat().st_mtime_ns
    (command,) = _retry_commands(working_copy, product)
    done = working_copy.galaxymill(*command.split()[1:])
    assert done.returncode == 0, done.stderr
    assert "1 of 2 products replaced" in done.stderr
    assert set(pq.read_table(product)["status"].to_pylist()) <= {"ok", "partial", "no_coverage"}
    assert other.stat().st_mtime_ns == untouched
    assert working_copy.dry() == _after_retry()


def _after_retry():
    """No space is fitted anew: it is of the galaxies that there were."""
    rules = ["render_images", "predict_partition", "project_partition", "rate_partition"]
    rules += ["explore_partition", "list_images", "list_embeddings", "list_features"]
    return {**dict.fromkeys(rules, 1), **MAP, **SEARCH, **REPORT, **MERGE}


def _fail(product, count):
    """Rewrite a product as if the server had failed for its first galaxies."""
    table, record = pq.read_table(product), read_record(product)
    rows = table.to_pylist()
    for row in rows[:count]:
        row |= {"status": "failed", "reason": "HTTP 503", "http_status": 503}
        row |= {"payload": None, "sha256": None}
    plain = {key: record.origin[key] for key in ("stage", "parameters", "inputs", "domain")}
    write_product(product, pa.Table.from_pylist(rows, schema=CUTOUTS), Origin(**plain), CUTOUTS)


def _retry_commands(mill, product):
    """The command that fetched, for all products, with the option that asks again."""
    printed = mill.finish("-n", "-p", "-f", str(product.relative_to(mill.folder)))
    for line in re.findall(r"(galaxymill fetch .*?) > ", printed):
        tile, out = line.split()[2:4]
        folders = [tile.rsplit("/", 1)[0], out.rsplit("/", 1)[0]]
        yield line.replace(f"{tile} {out}", " ".join(folders)) + " --retry-failed"


def _stamps(mill, patterns):
    return {path: path.stat().st_mtime_ns for pattern in patterns for path in mill.files(pattern)}


def test_a_rating_more_learns_and_rates_anew(working_copy):
    with (working_copy.folder / "ratings.csv").open("a") as file:
        file.write("sim-000001,5,bob\n")
    assert working_copy.dry() == INTEREST


def test_new_galaxies_run_only_their_own_partition(working_copy, grow):
    old = [
        "surveys/mini/catalog/tiles/*.parquet",
        "surveys/mini/cutouts/*.parquet",
        "surveys/mini/images/*.parquet",
        "predictions/said/*.parquet",
        "embeddings/said/*.parquet",
        "features/looks/*.parquet",
        "rated/odd/*.parquet",
        "interests/odd/*",
        "slices/see/*.parquet",
        "spaces/looks/*",
        "labels/volunteers/*.parquet",
        "models/mini/*",
        "evaluations/mini/*",
    ]
    before = _stamps(working_copy, old)
    added = grow(working_copy)
    printed = working_copy.finish()
    ran = {line.split()[1].rstrip(":") for line in printed.splitlines() if _starts_job(line)}
    assert ran - {"all"} == GROWN
    after = _stamps(working_copy, old)
    assert {path: after[path] for path in before} == before
    new = [path.name for path in after if path not in before]
    assert len(set(new)) == 1
    assert len(new) == 8
    assert new[0].startswith("g1-")
    (tile,) = working_copy.files("surveys/mini/catalog/tiles/g1-*.parquet")
    (cutouts,) = working_copy.files("surveys/mini/cutouts/g1-*.parquet")
    for path in (tile, cutouts):
        assert sorted(pq.read_table(path)["object_id"].to_pylist()) == sorted(added)
    (table,) = working_copy.files("releases/mini/friendly.parquet")
    released = pq.read_table(table, columns=["object_id"])["object_id"].to_pylist()
    assert len(released) == len(set(released)) == 68
    assert set(added) < set(released)
    assert working_copy.dry() == {}


GROWN = {
    "ingest_catalog",
    "partition_catalog",
    "fetch_cutouts",
    "render_images",
    "list_images",
    "predict_partition",
    "list_embeddings",
    "project_partition",
    "list_features",
    "report_maps",
    "search_galaxies",
    "rate_partition",
    "report_interest",
    "record_run",
    "merge_release",
    "explore_partition",
    "build_explorer",
}
"""What runs after galaxies were added: for their own partition, but for the first two and last."""


def _starts_job(line):
    return line.startswith(("rule ", "localrule ", "checkpoint ", "localcheckpoint "))


def test_another_column_of_the_catalogue_is_only_merged(working_copy, change, mini_config):
    """What galaxies are fetched by has not changed."""
    patterns = ["surveys/mini/catalog/tiles/*", "surveys/mini/cutouts/*", "models/mini/*"]
    before = _stamps(working_copy, patterns)
    config = change(mini_config, "surveys.mini.catalog.keep", ["mag_r", "redshift"])
    printed = working_copy.finish(config=config)
    ran = {line.split()[1].rstrip(":") for line in printed.splitlines() if _starts_job(line)}
    assert ran - {"all"} == KEPT
    assert _stamps(working_copy, patterns) == before
    (table,) = working_copy.files("releases/mini/friendly.parquet")
    assert "redshift" in pq.read_schema(table).names
    assert working_copy.dry(config=config) == {}


KEPT = {"ingest_catalog", "partition_catalog", "record_run", "merge_release", *EXPLORE}
"""What runs after another column was kept."""

OTHERS = {
    "galaxies added to the catalogue": GROWN,
    "another column kept from the catalogue": KEPT,
    "votes in a label file, or a file more": {"collect_labels", *TRAIN, *RECORD},
    "a vote file merely touched": set(),
    "a second model and its release": {*SECOND, *RECORD},
    "another model put in its place": {"evaluate_model", *PREDICT},
    "failed galaxies that could be had": set(_after_retry()),
    "a rating more": set(INTEREST),
}
"""Causes that have a test of their own above."""


def test_the_table_in_the_docs_is_what_was_tried(root):
    told = {}
    for line in (root / "docs/reruns.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| ") and len(cells) == 2 and cells[0] != "what changed":
            told[cells[0]] = set(re.findall(r"`(\w+)`", cells[1]))
    tried = {cause: set(jobs) for cause, (_, _, jobs) in SETTINGS.items()}
    tried |= {f"the version of `{stage}`": set(jobs) for stage, jobs in CODE.items()}
    assert told == tried | OTHERS
