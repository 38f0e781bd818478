"""From embeddings to a space, features, and the galaxies most like some others, by commands."""

import csv
import io
import shutil
from base64 import b64decode
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from galaxymill import flags, products
from galaxymill.commands.finding import app
from galaxymill.errors import UserError
from galaxymill.paths import fill
from galaxymill.search.page import write_page
from galaxymill.spaces.fit import fit_space
from galaxymill.spaces.project import project
from galaxymill.spaces.settings import SpaceSettings
from galaxymill.storage.origin import Origin, read_record
from galaxymill.storage.parquet import write_product

WIDTH, KINDS, EACH = 24, 3, 60
PARTS = ("g0-k1-p0", "g0-k1-p7", "g1-k0-p3")
FRACTION = "smooth-or-featured_featured-or-disk_fraction"
DOMAIN = {"survey": "field", "recipe": "passthrough", "render_version": 1}
RNG = np.random.default_rng(4)
CENTRES = RNG.normal(0, 3, (KINDS, WIDTH))


def picture(kind):
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (80 * kind, 40, 90)).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


def write_part(results, number, part, model="m" * 64, width=WIDTH):
    """Write the products of a partition: each galaxy's name says what kind it is of."""
    kinds = np.repeat(np.arange(KINDS), EACH // len(PARTS))
    names = [f"kind{kind}-{number}-{row}" for row, kind in enumerate(kinds)]
    vectors = (CENTRES[kinds] + RNG.normal(0, 0.3, (len(kinds), WIDTH))).astype(np.float16)
    vectors = np.resize(vectors, (len(kinds), width))
    absent = np.zeros(len(kinds), bool)
    absent[0] = number == 0
    if number == 1:
        vectors[0], vectors[1] = np.nan, 6e4
    bits = np.where(absent, flags.BITS["no_coverage"], 0).astype(np.int32)
    ra, dec = 150 + number + np.arange(len(kinds)) / 100, np.full(len(kinds), 2.0)
    # The same galaxy in two rows, half an arcsec apart.
    ra[3], vectors[3] = ra[2] + 0.5 / 3600, vectors[2]
    inputs = {"images": f"{number}", "model": model}
    predict = Origin("predict", {}, inputs, DOMAIN)
    lists = pa.FixedSizeListArray.from_arrays(
        pa.array(vectors.ravel()), width, mask=pa.array(absent)
    )
    predicted = pa.schema([products.OBJECT_ID, products.FLAGS, pa.field(FRACTION, pa.float32())])
    images = [None if gone else picture(kind) for gone, kind in zip(absent, kinds, strict=True)]
    nothing = [None] * len(kinds)
    for template, names_of, schema, columns, origin in (
        ("embeddings", {"prediction": "dr1"}, products.embeddings(width), [names, lists], predict),
        ("predictions", {"prediction": "dr1"}, predicted, [names, bits, kinds / 2], predict),
        (
            "tiles",
            {"survey": "field"},
            products.objects(),
            [names, ra, dec, np.arange(len(kinds))],
            Origin("partition"),
        ),
        (
            "images",
            {"survey": "field"},
            products.IMAGES,
            [names, images, bits, [""] * len(kinds), *[nothing] * len(products.IMAGE_QUALITY)],
            Origin("render", {}, {}, DOMAIN),
        ),
    ):
        table = pa.table(
            [pa.array(one, f.type) for one, f in zip(columns, schema, strict=True)], schema=schema
        )
        path = fill(f"<{template}>/{part}.parquet", results, **names_of)
        write_product(path, table, origin, schema)


def write_survey(results, parts=PARTS, **options):
    for number, part in enumerate(parts):
        write_part(results, number, part, **options)
    listed = fill("<embeddings>/embeddings.csv", results, prediction="dr1")
    listed.write_text("part\n" + "".join(f"{part}\n" for part in parts))
    return listed


def fit(results, listed, **options):
    settings = SpaceSettings(**{"components": 8, "steps": 60, **options})
    folders = (fill(f"<{k}>", results, prediction="dr1") for k in ("embeddings", "predictions"))
    space = fill("<space>/space.yaml", results, space="dr1")
    fit_space(listed, *folders, space, settings)
    return space


def project_all(results, space, parts=PARTS):
    for part in parts:
        sources = (
            fill(f"<{kind}>/{part}.parquet", results, prediction="dr1")
            for kind in ("embeddings", "predictions")
        )
        project(*sources, space, fill(f"<features>/{part}.parquet", results, space="dr1"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    maps = {"all": {}, "disks": {"where": f"{FRACTION} > 0.4"}}
    space = fit(folder, write_survey(folder), maps=maps)
    project_all(folder, space)
    return folder


def features_of(results, part):
    return pq.read_table(fill(f"<features>/{part}.parquet", results, space="dr1"))


def test_each_galaxy_has_one_row_in_its_place(results):
    for part in PARTS:
        found = features_of(results, part)
        tile = pq.read_table(fill(f"<tiles>/{part}.parquet", results, survey="field"))
        assert found["object_id"].equals(tile["object_id"])
        places = found.select(["map_all_x", "map_all_y", "map_disks_x"]).to_pandas().dropna()
        assert places.to_numpy().min() >= 0
        assert places.to_numpy().max() <= 1


def test_what_has_no_features_is_null_and_says_why(results):
    without = features_of(results, PARTS[0])
    assert without["features"][0].as_py() is None
    assert flags.names(without["flags"][0].as_py()) == ["no_coverage"]
    absurd = features_of(results, PARTS[1])
    assert absurd["features"].null_count == 2
    assert absurd["map_all_x"].null_count == 2
    assert [flags.names(bits) for bits in absurd["flags"].to_pylist()[:3]] == [
        ["no_features"],
        ["no_features"],
        [],
    ]


def search(results, *words):
    out = results / "similar.csv"
    space = fill("<space>/space.yaml", results, space="dr1")
    done = CliRunner().invoke(app, ["similar", str(out), "--space", str(space), *words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    with out.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_nearest_are_of_the_same_kind(results):
    rows = search(results, "--to", "kind1-2-25", "-k", "30", "--column", FRACTION)
    assert list(rows[0]) == ["rank", "object_id", "ra", "dec", "similarity", FRACTION]
    assert rows[0]["object_id"] == "kind1-2-25"
    assert float(rows[0]["similarity"]) == 1
    assert {row["object_id"][:5] for row in rows} == {"kind1"}
    assert [float(row["similarity"]) for row in rows] == sorted(
        (float(row["similarity"]) for row in rows), reverse=True
    )
    with Image.open(results / "similar.png") as sheet:
        assert sheet.width > 1000


def test_a_condition_and_a_table_of_queries(results, tmp_path):
    table = tmp_path / "mine.csv"
    table.write_text("object_id\nkind2-2-45\nkind2-2-46\nkind2-2-45\n")
    rows = search(results, "--to", str(table), "-k", "500", "--where", f"{FRACTION} < 0.9")
    assert {row["object_id"][:5] for row in rows} == {"kind0", "kind1"}


def test_one_galaxy_in_two_rows_is_found_once(results):
    both = {"kind0-2-2", "kind0-2-3"}
    found = {row["object_id"] for row in search(results, "--to", "kind0-2-2", "-k", "10")}
    assert both <= found
    apart = search(results, "--to", "kind0-2-2", "-k", "10", "--distinct", "2")
    assert len(apart) == 10
    assert len(both & {row["object_id"] for row in apart}) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--to", "kind1-2-2x"],
            r"no such galaxy in .*; nearest: kind1-2-2\d, kind1-2-2\d, kind1-2-2\d$",
        ),
        (["--to", "kind0-0-0"], r"kind0-0-0: has no features \(no_coverage\)"),
        (["--to", "kind0-1-0"], r"kind0-1-0: has no features \(no_features\)"),
        (["--to", "kind1-2-25", "--where", "smoth > 1"], r"--where: .*columns: object_id, flags"),
        (
            ["--to", "kind1-2-25", "--column", "nothing"],
            "--column nothing: no such column; columns",
        ),
        (["--position", "150.02", "2.1"], r"5 arcsec; the nearest is kind0-0-2, 360.0 arcsec away"),
        (["--to", "kind1-2-25", "--position", "150.02", "2"], "given: to and position"),
        ([], "by one of to, table, image, position"),
        (["--position", "500", "2"], "ra is 0 to 360"),
    ],
)
def test_what_cannot_be_searched_is_refused(results, words, message):
    with pytest.raises(UserError, match=message):
        search(results, *words)


def test_the_galaxy_at_a_position(results):
    rows = search(results, "--position", "152.25", "2.0005", "-k", "3")
    assert rows[0]["object_id"] == "kind1-2-25"


def test_a_position_beyond_the_pole_of_an_option(results):
    # A declination below zero is no option.
    with pytest.raises(UserError, match=r"--position 152.25 -2: no galaxy within 5 arcsec"):
        search(results, "--position", "152.25", "-2")


def test_columns_of_features_and_images_can_be_asked_for(results):
    names = ["map_all_x", "flags", FRACTION]
    words = [word for name in names for word in ("--column", name)]
    (row,) = search(results, "--to", "kind1-2-25", "-k", "1", *words)
    assert 0 <= float(row["map_all_x"]) <= 1
    assert (row["flags"], row[FRACTION]) == ("0", "0.5")


def test_predictions_that_have_changed_since_are_refused(results, tmp_path):
    changed = tmp_path / "predictions"
    changed.mkdir()
    for part in PARTS:
        other = fill(f"<predictions>/{PARTS[1]}.parquet", results, prediction="dr1")
        shutil.copy(other, changed / f"{part}.parquet")
    with pytest.raises(UserError, match="made of other predictions than"):
        search(
            *(results, "--to", "kind1-2-25", "--where", "flags = 0"),
            *("--predictions", str(changed)),
        )


class Page(HTMLParser):
    """Counts tags, and gathers texts and addresses."""

    def __init__(self):
        super().__init__()
        self.tags, self.texts, self.addresses = Counter(), [], []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.addresses += [value for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data):
        self.texts.append(data)


def test_the_page_holds_all_it_shows(results):
    search(results, "--to", "kind1-2-25", "-k", "130")
    page = Page()
    page.feed((results / "similar.html").read_text())
    assert (page.tags["figure"], page.tags["script"], page.tags["a"]) == (100, 0, 0)
    assert all(one.startswith("data:image/jpeg;base64,") for one in page.addresses)
    assert "1.000" in "".join(page.texts)
    with Image.open(io.BytesIO(b64decode(page.addresses[0].split(",")[1]))) as first:
        assert first.size == (160, 160)


def test_names_are_text_on_the_page(tmp_path):
    name = '<script>alert("x")</script>&amp;\'"'
    row = {"rank": 1, "object_id": name, "ra": None, "dec": None, "similarity": 1.0}
    write_page(tmp_path / "p.html", name, [row], [{"image": None, "flags": 4}])
    page = Page()
    page.feed((tmp_path / "p.html").read_text())
    assert page.tags["script"] == 0
    assert sum(text.strip() == name for text in page.texts) == 3  # title, heading and caption


def test_a_condition_that_takes_none_finds_none(results):
    assert search(results, "--to", "kind1-2-25", "--where", "flags = 12345") == []


def test_features_of_another_space_are_refused(results, tmp_path):
    other = tmp_path / "spaces" / "dr1"
    listed = fill("<embeddings>/embeddings.csv", results, prediction="dr1")
    folders = (fill(f"<{k}>", results, prediction="dr1") for k in ("embeddings", "predictions"))
    fit_space(listed, *folders, other / "space.yaml", SpaceSettings(components=4))
    words = ["--space", str(other / "space.yaml"), "--to", "kind1-2-25"]
    features = str(fill("<features>", results, space="dr1"))
    done = CliRunner().invoke(
        app, ["similar", str(tmp_path / "o.csv"), *words, "--features", features]
    )
    assert "features of space" in str(done.exception)
    assert "project this partition again" in str(done.exception)


def test_a_space_of_another_model_is_refused(results, tmp_path):
    write_part(tmp_path, 0, PARTS[0], model="n" * 64)
    space = fill("<space>/space.yaml", results, space="dr1")
    with pytest.raises(UserError, match=r"embeddings of .*nnnn.* but .* is of .*mmmm"):
        project_all(tmp_path, space, PARTS[:1])


def test_more_galaxies_move_none(results, tmp_path):
    write_part(tmp_path, 3, "g2-k0-p9")
    space = fill("<space>/space.yaml", results, space="dr1")
    before = {
        part: read_record(fill(f"<features>/{part}.parquet", results, space="dr1")).digest
        for part in PARTS
    }
    project_all(tmp_path, space, ("g2-k0-p9",))
    project_all(results, space)
    assert before == {
        part: read_record(fill(f"<features>/{part}.parquet", results, space="dr1")).digest
        for part in PARTS
    }


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ({"none": {"where": f"{FRACTION} > 7"}}, "maps.none.where: no galaxy meets"),
        ({"typo": {"where": "fraction > 1"}}, "maps.typo.where: .*columns: object_id, flags"),
    ],
)
def test_a_map_of_none_is_refused(results, tmp_path, maps, message):
    listed = fill("<embeddings>/embeddings.csv", results, prediction="dr1")
    folders = (fill(f"<{k}>", results, prediction="dr1") for k in ("embeddings", "predictions"))
    with pytest.raises(UserError, match=message):
        fit_space(listed, *folders, tmp_path / "space.yaml", SpaceSettings(maps=maps))
    assert not (tmp_path / "space.yaml").exists()
