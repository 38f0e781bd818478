"""A release holds every galaxy once, opens everywhere, and refuses what does not belong."""

import io
import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from astropy.io import votable

from galaxymill import flags, products
from galaxymill.catalog.partition import part_files, partition, read_partitions
from galaxymill.catalog.positions import hash_places
from galaxymill.comparison.compare import compare
from galaxymill.errors import UserError
from galaxymill.release import merge
from galaxymill.reproduction.differences import compare_releases
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from made_survey import (
    DOMAIN,
    PAYLOAD_BYTES,
    TASK,
    TREE,
    Survey,
    draw_objects,
    is_unfit,
    predictions,
)


@pytest.fixture
def survey(tmp_path):
    survey = Survey(tmp_path / "work")
    survey.add(draw_objects(0, 120, 180.0, 10.0))
    return survey


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    """Two generations of partitions, the second on top of the first."""
    root = tmp_path_factory.mktemp("results")
    survey = Survey(root / "a_private_place")
    survey.add(draw_objects(0, 300, 180.0, 10.0))
    survey.add(draw_objects(300, 400, 182.0, 11.0))
    baselines = {"constant": {"rmse": 0.3}, "ridge": {"rmse": 0.25}}
    entry = {"n": 200, "rmse": 0.2, "baselines": baselines, "noise_floor_rmse": 0.1}
    entry |= {"coverage_90": 0.88, "nll": 3.0, "nll_constant": 2.5}
    metrics = [survey.evaluate("toy", {"questions": {"smooth-or-featured": entry}})]
    return survey, survey.release(metrics=metrics), metrics


def catalogue(survey):
    return pa.concat_tables(
        pq.read_table(path) for path in part_files(survey.partitions, survey.folders["tiles"])
    )


def test_every_galaxy_of_both_generations_is_there_once_in_healpix_order(released):
    survey, folder, _ = released
    assert {tile.generation for tile in read_partitions(survey.partitions)} == {0, 1}
    wanted = catalogue(survey).sort_by([("_healpix_29", "ascending"), ("object_id", "ascending")])
    for name in ("friendly", "advanced"):
        ids = pq.read_table(folder / f"{name}.parquet")["object_id"].to_pylist()
        assert ids == wanted["object_id"].to_pylist()
        assert len(set(ids)) == 400


def test_friendly_fractions_are_null_where_few_would_be_asked(released):
    _, folder, _ = released
    friendly = pq.read_table(folder / "friendly.parquet")
    advanced = pq.read_table(folder / "advanced.parquet")
    asked = advanced["bar_proportion-asked"].to_numpy() >= 0.5
    assert 0 < asked.sum() < 400
    for column in ("bar_yes_fraction", "bar_no_fraction"):
        shown = friendly[column].is_valid().to_numpy()
        assert (shown == asked).all()
        unmasked = advanced[column].to_numpy()
        assert (friendly[column].to_numpy()[asked] == unmasked[asked]).all()
    unfit = np.array([is_unfit(name) for name in friendly["object_id"].to_pylist()])
    null = friendly["smooth-or-featured_smooth_fraction"].is_null().to_numpy()
    assert (null == unfit).all()
    assert unfit.any()


def test_columns_are_those_that_were_promised(released):
    _, folder, _ = released
    friendly = pq.read_schema(folder / "friendly.parquet")
    fractions = [f"{column}_fraction" for column in TREE.columns]
    own = ["object_id", "ra", "dec", "petro_r50", "mag_r"]
    assert friendly.names == [*own, *fractions, "status", "flags"]
    advanced = pq.read_schema(folder / "advanced.parquet")
    summaries = [field.name for field in TASK.summary_fields()]
    quality = [*(field.name for field in products.IMAGE_QUALITY), "status", "flags"]
    assert advanced.names == [*own, *summaries, "concentrations", *quality]
    assert all(friendly.field(name).type == pa.float32() for name in fractions)
    assert friendly.field("flags").type == pa.int32()
    listed = pd.read_csv(folder / "columns.csv", keep_default_na=False).set_index("name")
    assert listed.loc["mag_r", "unit"] == "mag"
    assert listed.loc["ra", "unit"] == "deg"
    assert listed.loc["concentrations", "tables"] == "advanced"
    assert (listed["description"] != "").all()
    assert set(listed.index) == {*advanced.names, "_healpix_29"}


def test_what_is_not_applicable_is_null_and_never_nan(released):
    survey, folder, _ = released
    assert pc.any(pc.is_nan(catalogue(survey)["petro_r50"])).as_py()
    for table in ("friendly", "advanced"):
        rows = pq.read_table(folder / f"{table}.parquet")
        for field in rows.schema:
            if pa.types.is_floating(field.type):
                assert not pc.any(pc.is_nan(rows[field.name])).as_py(), field.name
        assert rows["petro_r50"].null_count == 80


def test_the_hats_catalog_is_valid_and_answers_a_cone_search(released):
    import lsdb
    from hats.io.validation import is_valid_catalog

    survey, folder, _ = released
    assert is_valid_catalog(folder / "hats", strict=True)
    catalog = lsdb.open_catalog(folder / "hats")
    assert catalog.hc_structure.catalog_info.catalog_name == "toy_dr1"
    assert len(catalog) == 400
    assert 0 < catalog.hc_structure.catalog_info.moc_sky_fraction < 0.1
    everything = catalog.compute()
    assert everything.index.is_monotonic_increasing
    assert set(everything["object_id"]) == set(catalogue(survey)["object_id"].to_pylist())
    found = catalog.cone_search(ra=181, dec=10, radius_arcsec=4 * 3600).compute()
    ra, dec = (np.radians(everything[name].to_numpy()) for name in ("ra", "dec"))
    near = np.sin(dec) * np.sin(np.radians(10))
    near += np.cos(dec) * np.cos(np.radians(10)) * np.cos(ra - np.radians(181))
    expected = everything[near > np.cos(np.radians(4))]
    assert 0 < len(expected) < 400
    assert set(found["object_id"]) == set(expected["object_id"])
    assert max(pq.read_metadata(path).num_rows for path in hats_files(folder)) <= 150


def test_cross_matches_find_their_like_across_tiles(released):
    import lsdb

    _, folder, _ = released
    catalog = lsdb.open_catalog(folder / "hats")
    assert catalog.margin.hc_structure.catalog_info.margin_threshold == 5
    moved = pq.read_table(folder / "friendly.parquet", columns=["object_id", "ra", "dec"])
    moved = moved.to_pandas().assign(dec=lambda rows: rows["dec"] + 4 / 3600)
    other = lsdb.from_dataframe(moved, ra_column="ra", dec_column="dec", margin_threshold=10)
    pairs = other.crossmatch(catalog, radius_arcsec=5, suffixes=("_a", "_b")).compute()
    same = pairs["object_id_a"] == pairs["object_id_b"]
    assert same.sum() == 400


def without_positions(start, stop):
    """Galaxies as `galaxymill.catalog.ingest` writes them with ``positions: false``."""
    objects = draw_objects(start, stop, 180.0, 10.0)
    unknown, places = (
        pa.nulls(len(objects), pa.float64()),
        hash_places(objects["object_id"].to_pylist()),
    )
    for name, values in (("ra", unknown), ("dec", unknown), ("_healpix_29", pa.array(places))):
        column = objects.schema.get_field_index(name)
        objects = objects.set_column(column, objects.schema.field(name), values)
    return objects.sort_by("_healpix_29")


@pytest.fixture(scope="module")
def placeless(tmp_path_factory):
    """A release of galaxies without positions, in two generations."""
    survey = Survey(tmp_path_factory.mktemp("placeless") / "work")
    survey.add(without_positions(0, 200))
    survey.add(without_positions(200, 300))
    return survey, survey.release()


def test_a_release_without_positions_has_neither_sky_nor_hats(placeless):
    survey, folder = placeless
    assert {tile.generation for tile in read_partitions(survey.partitions)} == {0, 1}
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in files if "hats" in name or "coverage" in name or "sky" in name]
    assert {"pictures/examples.png", "catalog.fits", "croissant.json"} <= files
    text = (folder / "README.md").read_text()
    assert "The catalogue gave no positions of the galaxies" in text
    assert "lsdb" not in text
    assert "hats" not in text
    assert "](pictures/sky.png)" not in text
    told = re.findall(r"^- (`.*?):", text, re.MULTILINE)
    named = {name for line in told for name in re.findall(r"`([^`]+)`", line)}
    assert {name.rstrip("/") for name in named} - {"toy"} <= {name.split("/")[0] for name in files}


def test_a_release_without_positions_opens_everywhere(placeless):
    import mlcroissant
    from astropy.table import Table
    from rocrate.rocrate import ROCrate

    _, folder = placeless
    rows = pq.read_table(folder / "advanced.parquet")
    ids = rows["object_id"].to_pylist()
    assert sorted(ids) == [f"g{number:05d}" for number in range(300)]
    for names in (rows.column_names, pq.read_schema(folder / "friendly.parquet").names):
        assert not {"ra", "dec", "_healpix_29"} & set(names)
    assert pd.read_parquet(folder / "friendly.parquet")["object_id"].tolist() == ids
    path = folder / "friendly.parquet"
    assert duckdb.sql(f"SELECT count(*) FROM '{path}'").fetchall() == [(300,)]
    table = Table.read(folder / "catalog.fits", hdu=1)
    assert table["object_id"].tolist() == ids
    assert "ra" not in table.colnames
    assert len(Table.read(folder / "friendly.parquet", format="parquet.votable")) == 300
    listed = pd.read_csv(folder / "columns.csv")
    assert set(listed["name"]) == set(rows.column_names)
    assert set(" ".join(listed["tables"]).split()) == {"friendly", "advanced"}
    croissant = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not croissant.metadata.issues.errors
    crate = ROCrate(folder)
    assert crate.get("hats/") is None
    assert {"friendly.parquet", "catalog.fits"} <= {e.id for e in crate.get("#run")["result"]}
    audits = json.loads((folder / "provenance" / "release.json").read_text())["audit"]
    assert set(audits) == {"friendly", "advanced"}
    command = ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"]
    subprocess.run(command, cwd=folder, check=True)


def test_releases_without_positions_are_compared_by_identifier(placeless):
    survey, folder = placeless
    told = compare(folder, folder, None, None, None, None, (None, None))
    assert "matched  300 by object_id" in told
    with pytest.raises(UserError, match=r"has no positions \(no column ra, dec\); match by ident"):
        compare(folder, folder, None, "1arcsec", None, None, (None, None))
    again = survey.release(survey.root / "releases" / "again" / "SHA256SUMS")
    found = compare_releases(folder, again, 0)
    assert found
    assert not any(difference.beyond for difference in found)


def hats_files(folder):
    return sorted((folder / "hats" / "toy_dr1" / "dataset").rglob("Npix=*.parquet"))


def test_duckdb_pandas_and_pyarrow_read_the_same(released):
    _, folder, _ = released
    path = folder / "advanced.parquet"
    arrow = pq.read_table(path)
    pandas = pd.read_parquet(path)
    rows = duckdb.sql(f"SELECT * FROM '{path}'").to_arrow_table()
    assert pandas["object_id"].tolist() == arrow["object_id"].to_pylist()
    assert rows.column_names == arrow.column_names
    for name in ("ra", "bar_yes_90pc-lower", "flags", "status"):
        assert rows[name].to_pylist() == arrow[name].to_pylist()
    assert pandas["bar_yes_fraction"].isna().sum() == arrow["bar_yes_fraction"].null_count


def test_fits_and_coverage_are_of_the_same_galaxies(released):
    from astropy.table import Table
    from mocpy import MOC

    _, folder, _ = released
    advanced = pq.read_table(folder / "advanced.parquet")
    table = Table.read(folder / "catalog.fits", hdu=1)
    assert table.colnames == [name for name in advanced.column_names if name != "concentrations"]
    for name in ("object_id", "ra", "bar_yes_90pc-lower", "flags", "status"):
        assert table[name].tolist() == advanced[name].to_pylist()
    moc = MOC.load(folder / "coverage.moc.fits", format="fits")
    ra, dec = (table[name].quantity for name in ("ra", "dec"))
    assert moc.contains_lonlat(ra, dec).all()
    assert moc.sky_fraction < 1e-3


def test_the_parquet_tables_carry_a_votable_header(released):
    from astropy.table import Table

    _, folder, _ = released
    table = Table.read(folder / "friendly.parquet", format="parquet.votable")
    assert len(table) == 400
    assert table["mag_r"].unit == "mag"
    assert table["bar_yes_fraction"].meta["ucd"] == "stat.probability;src.morph.type"
    # astropy cannot read the rows of a list column with nulls, hence the header alone.
    metadata = pq.read_metadata(folder / "advanced.parquet").metadata
    assert metadata[b"IVOA.VOTable-Parquet.version"] == b"1.0"
    header = io.BytesIO(metadata[b"IVOA.VOTable-Parquet.content"])
    fields = votable.parse(header, verify="exception").get_first_table().fields
    assert [f.name for f in fields] == pq.read_schema(folder / "advanced.parquet").names


def stilts(*words):
    """Run one of STILTS' tools, the command line of TOPCAT; give what it prints."""
    if shutil.which("stilts") is None:
        pytest.skip("stilts is not installed (Debian: apt-get install stilts)")
    run = subprocess.run(["stilts", *map(str, words)], capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_stilts_reads_the_fits_table(released, tmp_path):
    _, folder, _ = released
    out = tmp_path / "read.csv"
    stilts("tcopy", f"in={folder / 'catalog.fits'}", "ifmt=fits", f"out={out}", "ofmt=csv")
    read, known = pd.read_csv(out), pd.read_parquet(folder / "advanced.parquet")
    flat = [name for name in known if not name.endswith("concentrations")]
    assert list(read.columns) == flat
    for name in flat:
        if known[name].dtype.kind == "f":
            np.testing.assert_allclose(read[name], known[name], rtol=1e-6, err_msg=name)
        else:
            assert read[name].tolist() == known[name].tolist()
    fits = f"in={folder / 'catalog.fits'}"
    told = stilts("tpipe", fits, "cmd=meta name units ucd", "omode=out", "ofmt=csv")
    described = pd.read_csv(io.StringIO(told), index_col=0)
    assert described.loc["ra"].tolist() == ["deg", "pos.eq.ra;meta.main"]


def test_stilts_finds_no_fault_in_the_votable_headers(released, tmp_path):
    _, folder, _ = released
    for name in ("friendly", "advanced"):
        metadata = pq.read_schema(folder / f"{name}.parquet").metadata
        header = tmp_path / f"{name}.vot"
        header.write_bytes(metadata[b"IVOA.VOTable-Parquet.content"])
        assert stilts("votlint", f"votable={header}", "ucd=true", "unit=true").strip() == ""


def test_machines_find_what_it_holds(released):
    import mlcroissant
    from datasets import load_dataset
    from rocrate.rocrate import ROCrate

    _, folder, _ = released
    croissant = mlcroissant.Dataset(jsonld=folder / "croissant.json")
    assert not croissant.metadata.issues.errors
    first = next(iter(croissant.records("friendly")))
    rows = pq.read_table(folder / "friendly.parquet")
    assert first["friendly/object_id"].decode() == rows["object_id"][0].as_py()
    crate = ROCrate(folder)
    assert crate.root_dataset["datePublished"].startswith("2026-01-01")
    action = crate.get("#run")
    assert {entity.id for entity in action["result"]} > {"friendly.parquet", "hats/"}
    pictures = {f"pictures/{name}.png" for name in ("sky", "fractions", "examples")}
    assert pictures <= {entity.id for entity in crate.get_entities()}
    loaded = load_dataset("parquet", data_files=str(folder / "friendly.parquet"), split="train")
    assert loaded["object_id"][:] == rows["object_id"].to_pylist()


SPIRALS = {
    "description": "barred discs",
    "source": "Willett et al. 2013, table 3",
    "made_for": "debiased fractions",
    "cuts": [
        {"column": "smooth-or-featured_featured_fraction", "at_least": 0.3},
        {"column": "bar_yes_fraction", "at_least": 0.4, "at_most": 0.9},
    ],
}


def test_selections_are_boolean_columns_with_their_source(survey):
    folder = survey.release(selections={"bars": SPIRALS})
    rows = pd.read_parquet(folder / "advanced.parquet")
    wanted = (rows["smooth-or-featured_featured_fraction"] >= np.float32(0.3)) & rows[
        "bar_yes_fraction"
    ].between(np.float32(0.4), np.float32(0.9))
    assert 0 < wanted.sum() < len(rows)
    for table in ("friendly", "advanced"):
        assert pd.read_parquet(folder / f"{table}.parquet")["bars"].tolist() == wanted.tolist()
    text = (folder / "README.md").read_text()
    assert "Willett et al. 2013, table 3 | debiased fractions" in text
    assert "take other galaxies" in text
    listed = pd.read_csv(folder / "columns.csv").set_index("name")
    assert "debiased fractions, which these are not" in listed.loc["bars", "description"]


@pytest.mark.parametrize(
    ("name", "column", "message"),
    [
        ("bars", "bar_yes_fractoin", "selections.bars.cuts: unknown column 'bar_yes_fractoin'"),
        ("bars", "status", "unknown column 'status'"),
        ("flags", "bar_yes_fraction", "two columns would be called flags"),
    ],
)
def test_a_selection_that_cannot_be_made_is_refused(survey, name, column, message):
    cuts = [{"column": column, "at_least": 0.5}]
    with pytest.raises(UserError, match=message):
        survey.release(selections={name: {**SPIRALS, "cuts": cuts}})


def test_licence_and_citation_say_who_and_how(survey):
    creators = [{"name": "Ada Lovelace", "orcid": "0000-0002-1825-0097", "affiliation": "Earth"}]
    folder = survey.release(creators=creators, title="Toys", doi="10.5281/zenodo.1", license="MIT")
    citation = yaml.safe_load((folder / "CITATION.cff").read_text())
    assert citation["title"] == "Toys"
    assert citation["authors"][0]["orcid"] == "https://orcid.org/0000-0002-1825-0097"
    assert citation["date-released"] == "2026-01-01"
    assert "https://spdx.org/licenses/MIT.html" in (folder / "LICENSE").read_text()
    assert (folder / "README.md").read_text().startswith("# Toys\n")


def test_checksums_verify_and_name_every_file(released):
    _, folder, _ = released
    command = ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"]
    subprocess.run(command, cwd=folder, check=True)
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    named = [line.split("  ", 1)[1] for line in lines]
    present = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert named == sorted(named)
    assert set(named) == present - {"SHA256SUMS"}
    assert {"friendly.parquet", "hats/collection.properties", "README.md"} <= set(named)


def test_a_rerun_gives_the_same_bytes(released, tmp_path):
    survey, folder, metrics = released
    again = survey.release(tmp_path / "SHA256SUMS", metrics=metrics)
    first, second = ((place / "SHA256SUMS").read_text().splitlines() for place in (folder, again))
    assert [line for line in second if line not in first] == []
    assert second == first


def test_no_file_of_the_release_tells_where_it_was_made(released):
    survey, folder, _ = released
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert str(survey.root.parent).encode() not in content, path
            assert b"a_private_place" not in content, path
            assert b"/somewhere/" not in content, path


def test_provenance_holds_the_whole_chain(released):
    survey, folder, _ = released
    provenance = json.loads((folder / "provenance" / "release.json").read_text())
    listed = {entry["part"]: entry for entry in provenance["partitions"]}
    for part in read_partitions(survey.partitions):
        for folder_name in ("cutouts", "images", "predictions"):
            record = read_record(survey.path(folder_name, part.part))
            role = "predictions/toy" if folder_name == "predictions" else folder_name
            assert listed[part.part][role] == record.digest
    assert provenance["models"]["toy"]["digest"] == survey.card.digest
    assert provenance["audit"]["hats"]["distinct_ids"] == 400
    assert [request["partitions"] for request in provenance["stages"]["render"]] == [len(listed)]
    digest = read_record(folder / "advanced.parquet").digest
    assert provenance["tables"]["advanced"] == digest


def test_the_readme_counts_and_quotes_the_evaluation(released):
    _, folder, _ = released
    text = (folder / "README.md").read_text()
    unfit = sum(is_unfit(f"g{index:05d}") for index in range(400))
    assert f"| no_coverage | {unfit} |" in text
    assert f"| no_coverage | 1 | {unfit} |" in text
    assert "| smooth-or-featured | 200 | 0.200 | 0.300 | 0.250 | 0.100 | 88% |" in text
    assert "no better than a constant on: smooth-or-featured." in text
    assert "700 train" in text
    assert "- encoder: resnet18.a1_in1k\n" in text
    assert "domain shift" not in text.lower()


def test_a_release_that_another_process_has_just_made_serves(released, monkeypatch):
    @contextmanager
    def waited(_):
        yield True

    survey, folder, metrics = released
    monkeypatch.setattr(merge, "exclusive", waited)
    before = (folder / "SHA256SUMS").stat().st_mtime_ns
    survey.release(folder / "SHA256SUMS", metrics=metrics)
    assert (folder / "SHA256SUMS").stat().st_mtime_ns == before


def test_a_domain_shift_is_warned_of(survey):
    survey.write_model(domain={**DOMAIN, "survey": "another_survey"})
    for part in read_partitions(survey.partitions):
        ids = pq.read_table(survey.path("tiles", part.part))["object_id"].to_pylist()
        survey.write("predictions", part.part, predictions(ids, shifted=True))
    folder = survey.release()
    text = (folder / "README.md").read_text()
    assert "| survey | another_survey | toy_survey |" in text
    bits = pq.read_table(folder / "friendly.parquet")["flags"].to_numpy()
    assert (bits & flags.BITS["domain_shift"]).all()


def test_galaxies_per_tile_smaller_than_a_partition(survey):
    folder = survey.release(galaxies_per_tile=40)
    assert sum(pq.read_metadata(path).num_rows for path in hats_files(folder)) == 120


def test_images_and_payloads_are_never_read(survey):
    pool, before = pa.proxy_memory_pool(pa.default_memory_pool()), pa.default_memory_pool()
    pa.set_memory_pool(pool)
    try:
        survey.release()
    finally:
        pa.set_memory_pool(before)
    assert 0 < pool.max_memory() < 120 * PAYLOAD_BYTES / 2


def tamper(survey, folder, change, **write):
    part = read_partitions(survey.partitions)[0].part
    table = change(pq.read_table(survey.path(folder, part)))
    survey.write(folder, part, table, **write)
    return part


def without_first(table):
    return table.slice(1)


def first_twice(table):
    return pa.concat_tables([table.slice(0, 1), table])


def first_renamed(table):
    ids = ["stranger", *table["object_id"].to_pylist()[1:]]
    return table.set_column(0, table.schema.field("object_id"), [ids])


def reordered(table):
    return table.take(list(range(table.num_rows))[::-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_first, r"1 missing \(e\.g\. 'g\d+'\); run"),
        (first_twice, r"1 given twice \(e\.g\. 'g\d+'\); run"),
        (first_renamed, r"1 missing \(e\.g\. 'g\d+'\), 1 orphan \(e\.g\. 'stranger'\); run"),
        (reordered, "another order; run"),
    ],
)
@pytest.mark.parametrize("folder", ["cutouts", "images", "predictions"])
def test_rows_that_are_not_the_tiles_are_refused(survey, folder, change, message):
    part = tamper(survey, folder, change)
    later = ["cutouts", "images", "predictions"]
    for name in later[later.index(folder) + 1 :]:
        survey.write(name, part, pq.read_table(survey.path(name, part)))
    with pytest.raises(UserError, match=message) as error:
        survey.release()
    assert str(survey.path(folder, part)) in str(error.value)
    assert not list((survey.root / "releases" / "dr1").iterdir())


@pytest.mark.parametrize(
    ("folder", "name"),
    [("objects", "mag_r"), ("tiles", "petro_r50"), ("predictions", "bar_entropy")],
)
def test_one_value_that_has_changed_is_refused(survey, folder, name):
    """Somebody changes a number, and keeps the footer."""
    part = read_partitions(survey.partitions)[0].part
    objects = survey.catalog / "objects.parquet"
    path = objects if folder == "objects" else survey.path(folder, part)
    table, metadata = pq.read_table(path), pq.read_metadata(path).metadata
    values = table[name].to_pylist()
    values[1] = 0.25
    place = table.schema.get_field_index(name)
    field = table.schema.field(name)
    table = table.set_column(place, field, pa.array(values, field.type))
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({b"galaxymill": metadata[b"galaxymill"]})
    with pytest.raises(UserError, match="its rows have changed since it was made") as error:
        survey.release()
    assert str(path) in str(error.value)


def test_a_catalogue_that_has_grown_since_it_was_cut_is_refused(survey):
    path = survey.catalog / "objects.parquet"
    grown = pa.concat_tables([pq.read_table(path), draw_objects(900, 910, 180.0, 10.0)])
    write_product(path, grown.sort_by("_healpix_29"), Origin("ingest"), grown.schema)
    with pytest.raises(UserError, match="its galaxies are not those of the tiles; run partition"):
        survey.release()


def test_another_column_of_the_catalogue_is_released_without_new_tiles(survey):
    """Tiles are what galaxies are fetched by: they have no column that is only kept."""
    tiles = part_files(survey.partitions, survey.folders["tiles"])
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tiles}
    first = pq.read_table(survey.release() / "friendly.parquet")
    path = survey.catalog / "objects.parquet"
    objects = pq.read_table(path)
    colour = pa.field("g_r", pa.float32(), metadata={"description": "colour", "unit": "mag"})
    more = objects.append_column(colour, pc.subtract(objects["mag_r"], pa.scalar(15, pa.float32())))
    write_product(path, more, Origin("ingest", {"keep": ["mag_r", "g_r"]}), more.schema)
    partition(path, survey.partitions, 80)
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tiles} == before
    again = pq.read_table(survey.release() / "friendly.parquet")
    assert "g_r" in again.column_names
    known = dict(zip(objects["object_id"].to_pylist(), more["g_r"].to_pylist(), strict=True))
    assert again["g_r"].to_pylist() == [known[name] for name in again["object_id"].to_pylist()]
    assert again.select(first.column_names).equals(first)


def test_a_value_out_of_range_is_refused_by_galaxy_and_column(survey):
    def impossible(table):
        name = "bar_yes_90pc-upper"
        values = [None if value is None else 1.5 for value in table[name].to_pylist()]
        place = table.schema.get_field_index(name)
        return table.set_column(place, table.schema.field(name), [pa.array(values, pa.float32())])

    tamper(survey, "predictions", impossible)
    message = (
        r"galaxy 'g\d+': bar_yes_90pc-upper is 1.5; allowed: at least 0 and at most 1, or null"
    )
    with pytest.raises(UserError, match=message):
        survey.release()


def test_a_galaxy_in_two_partitions_is_refused(survey):
    first, second = read_partitions(survey.partitions)[:2]
    twin = pq.read_table(survey.path("tiles", second.part))
    name = pq.read_table(survey.path("tiles", first.part))["object_id"][0].as_py()
    ids = [name, *twin["object_id"].to_pylist()[1:]]
    twin = twin.set_column(0, twin.schema.field("object_id"), [ids])
    write_product(survey.path("tiles", second.part), twin, Origin("partition"), twin.schema)
    survey.make(second.part)
    with pytest.raises(UserError, match=r"no tile there holds 'g\d+' of the catalogue"):
        survey.release()


def test_another_model_is_refused(survey):
    tamper(survey, "predictions", lambda table: table, model="x" * 64)
    told = f"predicted by different models: {survey.card.digest} and x+; run predict"
    with pytest.raises(UserError, match=told):
        survey.release()


def test_predictions_of_another_model_than_the_one_named_are_refused(survey):
    before = survey.card.digest
    survey.write_model(weights="y" * 64)
    told = f"was predicted by model {before}, but .*model.yaml is {survey.card.digest}"
    with pytest.raises(UserError, match=told):
        survey.release()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "cannot be read"),
        ("3", "cannot be read"),
        ('{"origin": {"parameters": 7}}', "cannot be read"),
        ('{"origin": {"inputs": {"model": "z"}}}', "evaluates a model, or samples and views, that"),
    ],
)
def test_metrics_that_are_not_the_models_are_refused(survey, text, message):
    metrics = survey.root / "metrics.json"
    metrics.write_text(text)
    with pytest.raises(UserError, match=message):
        survey.release(metrics=[metrics])


def test_stale_predictions_are_refused(survey):
    part = tamper(survey, "predictions", lambda table: table, images="0" * 64)
    with pytest.raises(
        UserError, match=r"stale: made from images 0+, but .*; run predict"
    ) as error:
        survey.release()
    assert str(survey.path("predictions", part)) in str(error.value)


def test_another_recipe_is_refused(survey):
    part = tamper(survey, "images", lambda table: table, domain={**DOMAIN, "recipe": "lupton"})
    with pytest.raises(
        UserError, match=r"recipe: '(decals|lupton)' and '(decals|lupton)'"
    ) as error:
        survey.release()
    assert part in str(error.value)


def test_an_absent_file_is_refused(survey):
    part = read_partitions(survey.partitions)[-1].part
    survey.path("predictions", part).unlink()
    with pytest.raises(UserError, match=f"{part}.parquet: no such file"):
        survey.release()


def test_a_fit_galaxy_without_fractions_is_refused(survey):
    def blank(table):
        index = table.schema.get_field_index("bar_yes_fraction")
        field = table.schema.field(index)
        return table.set_column(index, field, pa.nulls(table.num_rows, field.type))

    tamper(survey, "predictions", blank)
    with pytest.raises(UserError, match=r"bar: .* run predict again"):
        survey.release()


def test_predictions_of_another_tree_are_refused(survey):
    def renamed(table):
        names = ["bar_maybe_fraction" if n == "bar_yes_fraction" else n for n in table.column_names]
        return table.rename_columns(names)

    tamper(survey, "predictions", renamed)
    with pytest.raises(UserError, match="model: bar_maybe_fraction, bar_yes_fraction; run predict"):
        survey.release()


def test_a_short_partition_table_is_refused(survey):
    tiles = read_partitions(survey.partitions)
    lines = survey.partitions.read_text().splitlines()
    lines[1] = ",".join(map(str, vars(replace(tiles[0], n_rows=tiles[0].n_rows + 1)).values()))
    survey.partitions.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=r"rows, but .* says"):
        survey.release()


def test_an_old_release_is_replaced_whole_and_a_failed_one_leaves_it(survey):
    folder = survey.release()
    old = (folder / "SHA256SUMS").read_bytes()
    part = tamper(survey, "predictions", without_first)
    with pytest.raises(UserError):
        survey.release()
    assert (folder / "SHA256SUMS").read_bytes() == old
    survey.make(part)
    survey.release(galaxies_per_tile=60)
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=True)
    assert sorted(path.name for path in folder.iterdir()) == [
        "CITATION.cff",
        "LICENSE",
        "README.md",
        "SHA256SUMS",
        "advanced.parquet",
        "catalog.fits",
        "columns.csv",
        "coverage.moc.fits",
        "coverage.moc.json",
        "croissant.json",
        "friendly.parquet",
        "hats",
        "pictures",
        "provenance",
        "ro-crate-metadata.json",
    ]


def test_fits_is_left_out_when_nobody_reads_it(survey):
    folder = survey.release(fits=False)
    assert not list(folder.rglob("catalog*.fits"))
    assert "catalog.fits" not in (folder / "README.md").read_text()
    assert "catalog.fits" not in (folder / "SHA256SUMS").read_text()
    assert (folder / "advanced.parquet").is_file()
