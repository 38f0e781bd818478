"""Maps and interests in a release: the same numbers in every table, null where there are none."""

import csv
import json
import sys
from pathlib import Path

import lsdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from made_survey import DOMAIN, Survey, draw_objects, is_unfit, number

from galaxymill import flags, products
from galaxymill.catalog.partition import read_partitions
from galaxymill.errors import UserError
from galaxymill.release.merge import Request, merge_release
from galaxymill.release.settings import ReleaseSettings
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

COMPONENTS = 4
PLACES, INTERESTS = ["map_all_x", "map_all_y"], list(products.interest_columns("odd"))


def place(galaxy):
    return np.float32((number(galaxy) % 97) / 128), np.float32((number(galaxy) % 89) / 128)


def interest(galaxy):
    return tuple(np.float32((number(galaxy) % prime) / 16) for prime in (83, 79, 73))


def galaxies(survey, part):
    """Names of galaxies, who of them has no features, and their flags."""
    ids = pq.read_table(survey.path("tiles", part))["object_id"].to_pylist()
    gone = [is_unfit(galaxy) or number(galaxy) == 3 for galaxy in ids]
    # Galaxy 3 has an image, but its embedding is no good.
    return ids, gone, [flags.BITS["no_features"] * (number(galaxy) == 3) for galaxy in ids]


def origin(survey, part, stage, **inputs):
    images = read_record(survey.path("images", part)).digest
    return Origin(stage, {}, {"images": images, **inputs}, DOMAIN)


def write_rated(survey, part, learned="i" * 64, **inputs):
    ids, gone, bits = galaxies(survey, part)
    numbers = np.array([interest(galaxy) for galaxy in ids])
    columns = [pa.array(numbers[:, one], mask=np.array(gone)) for one in range(3)]
    schema = products.interests("odd")
    table = pa.table([ids, pa.array(bits, pa.int32()), *columns], schema=schema)
    made = origin(survey, part, "rate", features=part, interest=learned, **inputs)
    write_product(survey.root / "rated" / "odd" / f"{part}.parquet", table, made, schema)


def write_features(survey, part, space="s" * 64, maps=("all",)):
    ids, gone, bits = galaxies(survey, part)
    values = [None if none else b"f" * 2 * COMPONENTS for none in gone]
    columns = [ids, bits, values]
    for _ in maps:
        places = np.array([place(galaxy) for galaxy in ids])
        columns += [pa.array(places[:, axis], mask=np.array(gone)) for axis in (0, 1)]
    schema = products.features(COMPONENTS, maps)
    table = pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)
    predictions = read_record(survey.path("predictions", part)).digest
    made = origin(survey, part, "project", predictions=predictions, embeddings=part, space=space)
    write_product(survey.root / "features" / "looks" / f"{part}.parquet", table, made, schema)


def release(survey):
    request = Request(
        name="toy_dr1",
        partitions=survey.partitions,
        objects=survey.catalog / "objects.parquet",
        **{**survey.folders, "predictions": (survey.folders["predictions"],)},
        models=(survey.model,),
        spaces=(survey.root / "features" / "looks",),
        interests=(survey.root / "rated" / "odd",),
        out=survey.root / "releases" / "dr1" / "SHA256SUMS",
        settings=ReleaseSettings(galaxies_per_tile=150, date="2026-01-01"),
    )
    merge_release(request)
    return request.out.parent


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    made = Survey(tmp_path_factory.mktemp("survey"))
    made.add(draw_objects(0, 200, 30, 5))
    made.parts = [one.part for one in read_partitions(made.partitions)]
    for part in made.parts:
        write_features(made, part)
        write_rated(made, part)
    return made


@pytest.fixture(scope="module")
def folder(survey):
    return release(survey)


@pytest.mark.parametrize(("names", "known"), [(PLACES, place), (INTERESTS, interest)])
def test_every_table_has_the_places_and_interests(folder, names, known):
    tables = [pq.read_table(folder / f"{one}.parquet") for one in ("friendly", "advanced")]
    tables.append(lsdb.open_catalog(folder / "hats").compute().reset_index())
    with fits.open(folder / "catalog.fits") as opened:
        tables.append(opened[1].data)
    for table in tables:
        ids = [str(one) for one in np.asarray(table["object_id"])]
        assert len(ids) == 200
        found = np.stack([np.asarray(table[name], np.float64) for name in names], axis=1)
        for galaxy, values in zip(ids, found, strict=True):
            if is_unfit(galaxy) or number(galaxy) == 3:
                assert np.isnan(values).all()
            else:
                assert tuple(values) == known(galaxy)


def test_the_flag_of_a_galaxy_without_features_is_in_the_release(folder):
    table = pq.read_table(folder / "advanced.parquet", columns=["object_id", "flags"])
    flagged = {
        row["object_id"] for row in table.to_pylist() if row["flags"] & flags.BITS["no_features"]
    }
    assert {number(one) for one in flagged} == {3}


def test_documents_and_provenance_know_the_maps_and_interests(folder):
    with (folder / "columns.csv").open() as file:
        rows = {row["name"]: row for row in csv.DictReader(file)}
    assert rows["map_all_x"]["description"] == "across on map all, in 0 to 1"
    assert rows["map_all_y"]["group"] == "maps"
    assert "| maps | place on a map" in (folder / "README.md").read_text()
    provenance = json.loads((folder / "provenance" / "release.json").read_text())
    (request,) = provenance["stages"]["project/looks"]
    assert request["inputs"] == {"space": "s" * 64}
    assert "features/looks" in provenance["partitions"][0]
    assert "rating from 0 to 5" in rows["interest_odd"]["description"]
    assert rows["interest_odd_std"]["group"] == "interests"
    assert "| interests | how interesting" in (folder / "README.md").read_text()
    (request,) = provenance["stages"]["rate/odd"]
    assert request["inputs"] == {"interest": "i" * 64}
    assert request["partitions"] == len(provenance["partitions"])
    assert "rated/odd" in provenance["partitions"][0]


def test_two_interests_or_stale_ones_are_refused(survey):
    part = survey.parts[-1]
    write_rated(survey, part, learned="j" * 64)
    with pytest.raises(UserError, match=r"are of different interests: j{64} and i{64}; run rate "):
        release(survey)
    write_rated(survey, part, images="others")
    with pytest.raises(UserError, match=r"stale: made from images others, but .* run rate again"):
        release(survey)
    write_rated(survey, part)


def test_two_spaces_or_no_map_are_refused(survey):
    part = survey.parts[-1]
    write_features(survey, part, space="t" * 64)
    with pytest.raises(UserError, match=r"are of different spaces: t{64} and s{64}; run proj"):
        release(survey)
    for each in survey.parts:
        write_features(survey, each, maps=())
    with pytest.raises(UserError, match="a space needs maps"):
        release(survey)
