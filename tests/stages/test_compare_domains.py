"""What differs between the images of two surveys, and whether a classifier can tell."""

import io
import json

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

from galaxymill import products
from galaxymill.cli import app
from galaxymill.domains.classifier import auc_of
from galaxymill.domains.compare import compare_domains
from galaxymill.domains.hand import hand_features, measure_sky
from galaxymill.domains.side import Measured
from galaxymill.errors import UserError
from galaxymill.images.domains import Sight, domain
from galaxymill.images.settings import DecalsSettings, EuclidSettings
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

SIDE, GALAXIES = 48, 60
SKY = {"seeing": dict.fromkeys("grz", 1.2), "depth": dict.fromkeys("grz", 24.0)}
SIGHT = Sight(**SKY, pixel_scale=0.5, size=SIDE)


def picture(rng, width, noise, smooth=False):
    """A round galaxy on a grey sky, 0 to 255."""
    y, x = np.indices((SIDE, SIDE)) - (SIDE - 1) / 2
    wide = width * rng.uniform(0.8, 1.25)
    light = 130 * np.exp(-(x**2 + y**2) / (2 * wide**2))
    grain = rng.normal(0, noise, (SIDE, SIDE, 3))
    if smooth:
        grain = (grain + np.roll(grain, 1, 0) + np.roll(grain, 1, 1)) / np.sqrt(3)
    return (60 + light[..., None] + grain).clip(0, 255).astype(np.uint8)


def write(folder, survey="near", width=4.0, noise=6.0, seed=1, n=GALAXIES, **options):
    """Images of a survey in two products."""
    rng = np.random.default_rng(seed)
    kind = domain(survey, options.get("recipe", "decals"), options.get("settings", small()), SIGHT)
    for part in range(2):
        rows = []
        for row in range(part, n, 2):
            file = io.BytesIO()
            drawn = picture(rng, width, noise, options.get("smooth", False))
            Image.fromarray(drawn).save(file, "PNG")
            image = {"bytes": file.getvalue(), "path": None}
            rows.append({"object_id": f"g{row:03d}", "image": image, "flags": 0})
        table = pa.Table.from_pylist(rows, products.IMAGES)
        write_product(
            folder / f"p{part}.parquet", table, Origin("render", {}, {}, kind), products.IMAGES
        )
    return folder


def small():
    return DecalsSettings(size=SIDE, format="png")


def write_embeddings(folder, shift=0.0, model="m", seed=1, width=6):
    values = np.random.default_rng(seed).normal(shift, 1, (GALAXIES, width)).astype(np.float16)
    schema = products.embeddings(width)
    ids = [f"g{row:03d}" for row in range(GALAXIES)]
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), pa.float16()), width)
    table = pa.table([pa.array(ids), column.cast(schema.field("embedding").type)], schema=schema)
    origin = Origin("predict", {}, {"model": model}, domain("near", "decals", small()))
    write_product(folder / "p0.parquet", table, origin, schema)
    return folder


@pytest.fixture(scope="module")
def near(tmp_path_factory):
    return write(tmp_path_factory.mktemp("near"))


def result(folder):
    return json.loads((folder / "comparison.json").read_text())


def test_a_worse_survey_is_told_apart_and_the_page_says_by_what(near, tmp_path):
    far = write(tmp_path / "far", "far", width=6.0, noise=12.0, seed=2)
    headline = compare_domains(near, far, tmp_path / "out")
    found = result(tmp_path / "out")
    assert found["hand"]["auc"] > 0.95
    assert found["hand"]["interval"][0] > 0.9
    assert found["one_domain"]
    assert found["frozen"] is None
    first = found["features"][0]
    assert "sky noise" in first["feature"] or "radius" in first["feature"]
    noise = next(one for one in found["features"] if one["feature"] == "sky noise, red")
    assert noise["median_b"] / noise["median_a"] == pytest.approx(2, rel=0.1)
    assert first["feature"] in headline
    page = (tmp_path / "out" / "index.html").read_text()
    assert headline in page
    assert page.count("<img") == 3
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"features.csv", "images_b.png"}


def test_the_same_telescope_is_hardly_told_apart(near, tmp_path):
    again = write(tmp_path / "again", "again", seed=5)
    headline = compare_domains(near, again, tmp_path / "out")
    found = result(tmp_path / "out")["hand"]
    low, high = found["interval"]
    assert low < 0.55
    assert found["auc"] < 0.65
    assert low < found["auc"] < high
    assert headline


def test_the_same_images_are_the_same_and_never_on_both_sides(near, tmp_path):
    """Learning a galaxy by heart in one survey would tell it from its copy in the other."""
    compare_domains(near, near, tmp_path / "out")
    found = result(tmp_path / "out")
    assert found["hand"]["auc"] == pytest.approx(0.5, abs=0.02)
    assert found["differences"] == []
    assert {one["auc"] for one in found["features"]} == {0.5}


def test_an_embedding_that_is_shifted_is_seen_in_frozen_features(near, tmp_path):
    same, other = write_embeddings(tmp_path / "e1"), write_embeddings(tmp_path / "e2", 1.5, seed=2)
    compare_domains(near, near, tmp_path / "out", (same, other))
    found = result(tmp_path / "out")
    assert found["frozen"]["auc"] > 0.9
    assert found["frozen"]["galaxies_b"] == GALAXIES
    compare_domains(same, other, tmp_path / "alone")
    assert result(tmp_path / "alone")["hand"] is None


def test_galaxies_are_drawn_alike_of_both(near, tmp_path):
    compare_domains(near, near, tmp_path / "out", most=25)
    found = result(tmp_path / "out")["hand"]
    assert (found["galaxies_a"], found["galaxies_b"]) == (25, 25)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda folder: folder.mkdir() or folder, "holds no products"),
        (lambda folder: folder / "absent.parquet", "no such file"),
        (lambda folder: write(folder, n=6), "6 galaxies can be used, at least 20 are needed"),
        (
            lambda folder: write(folder, recipe="euclid", settings=EuclidSettings(size=SIDE)),
            "shows z,r,g, .* VIS,Y: such colours cannot be compared",
        ),
        (lambda folder: write_embeddings(folder), "holds images, .* embeddings; give the same"),
    ],
)
def test_what_cannot_be_compared_is_refused(near, tmp_path, make, told):
    other = make(tmp_path / "other")
    with pytest.raises(UserError, match=told):
        compare_domains(near, other, tmp_path / "out")
    assert not (tmp_path / "out" / "comparison.json").exists()


def test_products_of_several_surveys_in_a_folder_are_refused(near, tmp_path):
    mixed = write(tmp_path / "mixed", "other")
    (mixed / "p9.parquet").write_bytes((near / "p0.parquet").read_bytes())
    with pytest.raises(UserError, match="are of several surveys, recipes or models"):
        compare_domains(near, mixed, tmp_path / "out")


def test_embeddings_of_two_models_are_refused(near, tmp_path):
    pair = write_embeddings(tmp_path / "e1"), write_embeddings(tmp_path / "e2", model="other")
    with pytest.raises(UserError, match="predict both surveys with one model"):
        compare_domains(near, near, tmp_path / "out", pair)


def test_other_products_are_refused_by_their_stage(near, tmp_path):
    table = pa.table({"object_id": ["a"]})
    write_product(tmp_path / "p.parquet", table, Origin("ingest"), table.schema)
    with pytest.raises(UserError, match="made by ingest, holds neither images, embeddings"):
        compare_domains(near, tmp_path / "p.parquet", tmp_path / "out")


def test_features_are_given_for_both_or_not_at_all(near, tmp_path):
    words = ["compare-domains", str(near), str(near), "--out", str(tmp_path / "o")]
    done = CliRunner().invoke(app, [*words, "--features", str(near)])
    assert isinstance(done.exception, UserError)
    assert "--features: given 1 times" in str(done.exception)


def test_sky_noise_and_its_correlation_are_those_that_were_put_in():
    rng = np.random.default_rng(3)
    white = rng.normal(0.3, 0.02, (200, 200))
    level, noise, correlation = measure_sky(white)
    assert (level, noise) == pytest.approx((0.3, 0.02), rel=0.03)
    assert correlation == pytest.approx(0, abs=0.03)
    # The mean of two neighbours in a row: half of the variance, correlated by a half along rows.
    smooth = (white + np.roll(white, 1, axis=1)) / 2
    _, noise, correlation = measure_sky(smooth)
    assert noise == pytest.approx(0.02 / np.sqrt(2), rel=0.04)
    assert correlation == pytest.approx(0.25, abs=0.04)


def test_shape_and_size_of_a_known_galaxy():
    """A round Gaussian: r50 = 1.1774 sigma, r80 / r20 = 2.6857; on its side it is half as high."""
    y, x = np.indices((201, 201)) - 100
    round_one = np.exp(-(x**2 + y**2) / (2 * 15**2))
    found = hand_features((255 * np.repeat(round_one[..., None], 3, 2)).astype(np.uint8))
    assert found["half-light radius"] * 201 == pytest.approx(1.1774 * 15, rel=0.06)
    assert found["concentration"] == pytest.approx(5 * np.log10(2.6857), rel=0.08)
    assert found["axis ratio"] == pytest.approx(1, abs=0.02)
    assert found["asymmetry"] == pytest.approx(0, abs=0.01)
    flat = np.exp(-(x**2 + 4 * y**2) / (2 * 15**2))
    found = hand_features((255 * np.repeat(flat[..., None], 3, 2)).astype(np.uint8))
    assert found["axis ratio"] < 0.75


@pytest.mark.parametrize("value", [0, 128, 255])
def test_pictures_of_one_shade_have_finite_features(value):
    found = hand_features(np.full((SIDE, SIDE, 3), value, np.uint8))
    assert np.isfinite(list(found.values())).all()


def test_auc_of_known_distributions():
    """Two normal distributions a standard deviation apart: AUC is Phi(1 / sqrt 2) = 0.760."""
    rng = np.random.default_rng(1)
    ids = [f"g{row}" for row in range(1500)]
    one, other = (Measured(ids, rng.normal(mean, 1, (1500, 1))) for mean in (0, 1))
    found = auc_of(one, other, forest=False)
    assert found["auc"] == pytest.approx(0.760, abs=0.025)
    # Its standard error by Hanley & McNeil (1982) is 0.0087.
    low, high = found["interval"]
    assert high - low == pytest.approx(2 * 1.645 * 0.0087, rel=0.15)
