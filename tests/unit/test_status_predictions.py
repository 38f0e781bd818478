"""``galaxymill status`` lists a prediction under the survey that it is of."""

import re

import pyarrow as pa
import pytest

from galaxymill import products
from galaxymill.status.report import status
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

DOMAIN = {"survey": "any", "recipe": "decals"}


def write_survey(results, name, *parts):
    """Write a survey's partitions and images, two galaxies each."""
    folder = results / "surveys" / name
    (folder / "catalog" / "tiles").mkdir(parents=True)
    rows = [f"{part},0,{part.rsplit('p')[-1]},2" for part in parts]
    table = "\n".join(["part,order,pixel,n_rows", *rows])
    (folder / "catalog" / "partitions.csv").write_text(table + "\n")
    for part in parts:
        (folder / "catalog" / "tiles" / f"{part}.parquet").touch()
        rows = [{"object_id": f"{name}{n}", "flags": 0} for n in range(2)]
        images = pa.Table.from_pylist(rows, products.IMAGES)
        path = folder / "images" / f"{part}.parquet"
        write_product(path, images, Origin("render", {}, {"cutouts": name}, DOMAIN), images.schema)


def predict(results, name, survey, part):
    images = results / "surveys" / survey / "images" / f"{part}.parquet"
    inputs = {"images": read_record(images).digest, "model": "m"}
    rows = pa.table({"object_id": ["a", "b"]})
    path = results / "predictions" / name / f"{part}.parquet"
    write_product(path, rows, Origin("predict", {}, inputs, DOMAIN), rows.schema)


def listed(results):
    """Predictions by the survey that they are told under."""
    blocks = status(results).split("survey ")[1:]
    return {b.split(":")[0]: re.findall(r"^  predict (\w+) ", b, re.MULTILINE) for b in blocks}


@pytest.fixture
def results(tmp_path):
    write_survey(tmp_path, "deep", "g0-k0-p6", "g0-k0-p7")
    write_survey(tmp_path, "wide", "g0-k0-p6", "g0-k0-p8")
    return tmp_path


def test_a_prediction_is_of_the_survey_whose_images_it_was_made_from(results):
    """Partitions of two surveys may have one name."""
    predict(results, "rings", "deep", "g0-k0-p6")
    predict(results, "bars", "deep", "g0-k0-p7")
    predict(results, "spirals", "wide", "g0-k0-p6")
    assert listed(results) == {"deep": ["bars", "rings"], "wide": ["spirals"]}


def test_one_that_has_only_begun_is_of_the_survey_with_its_partitions(results):
    logs = results / "logs" / "predict"
    for name, part in (("rings", "g0-k0-p7"), ("spirals", "g0-k0-p8")):
        (logs / name).mkdir(parents=True)
        (logs / name / f"{part}.log").write_text("12:00:00 predict: 1 of 2\n")
    assert listed(results) == {"deep": ["rings"], "wide": ["spirals"]}


def test_a_prediction_by_a_probe_has_its_own_logs(results):
    logs = results / "logs" / "apply" / "rings"
    logs.mkdir(parents=True)
    (logs / "g0-k0-p7.log").write_text("galaxymill: features of space a, but space b is meant\n")
    text = status(results)
    assert re.search(r"^  apply rings +0 +0 +1 +1 ", text.split("survey wide")[0], re.MULTILINE)
    assert "1 failed in apply rings: g0-k0-p7" in text
    assert "apply" not in text.split("survey wide")[1]
