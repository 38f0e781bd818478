"""The demo sky: reproducible, true to its own magnitudes, and voted on like a real one."""

import csv
from pathlib import Path

import galsim
import numpy as np
import pyarrow as pa
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree

from galaxymill.errors import UserError
from galaxymill.simulation.faults import Faults
from galaxymill.simulation.galaxies import SEEING_ARCSEC, render, tangent_plane
from galaxymill.simulation.sky import catalog, simulate_sky
from galaxymill.simulation.truth import Galaxy, magnitudes, petrosian_radii
from galaxymill.simulation.volunteers import true_fractions, vote
from galaxymill.trees.tree import load_tree, parse_tree

ROOT = Path(__file__).resolve().parents[2]
REAL_VOTES = ROOT.parent / "shared" / "data" / "gz_decals_q1_votes" / "gz_decals_q1_counts_7062.csv"
TREE = load_tree(ROOT / "config" / "trees" / "decals_dr5.yaml")


@pytest.fixture(scope="module")
def truth():
    return simulate_sky(300, seed=1)


def one(**changes):
    """A truth table of one round, smooth galaxy, with changes."""
    plain = {
        "object_id": "one",
        "ra": 150.0,
        "dec": 2.0,
        "mag_r": 17.0,
        "redshift": 0.1,
        "petro_r50": 2.0,
        "petro_r90": 6.0,
        "kind": "smooth",
        "half_light_radius": 2.0,
        "bulge_radius": 2.0,
        "axis_ratio": 1.0,
        "position_angle": 0.0,
        "sersic_index": 1.0,
    }
    return pa.Table.from_pylist([vars(Galaxy(**(plain | changes)))])


def test_a_sky_is_reproducible_and_begins_with_the_smaller_one(truth):
    assert simulate_sky(300, seed=1).equals(truth)
    assert simulate_sky(330, seed=1).slice(0, 300).equals(truth)
    assert not simulate_sky(300, seed=2).equals(truth)


def test_galaxies_are_apart_and_look_like_a_bright_sample(truth):
    ids = truth["object_id"].to_pylist()
    assert len(set(ids)) == len(ids)
    ra, dec = truth["ra"].to_numpy(), truth["dec"].to_numpy()
    offsets = np.stack(tangent_plane(ra, dec, 150.0, 2.0), axis=1)
    nearest = cKDTree(offsets).query(offsets, k=2)[0][:, 1]
    assert nearest.min() > 60
    assert truth["mag_r"].to_numpy().max() < 19
    assert 6 < np.median(truth["petro_r90"].to_numpy()) < 8
    assert np.all(truth["petro_r50"].to_numpy() < truth["petro_r90"].to_numpy())


def test_a_full_patch_grows(monkeypatch):
    monkeypatch.setattr("galaxymill.simulation.sky.ROOM", 10)
    monkeypatch.setattr("galaxymill.simulation.sky.HALF_SIDE_DEG", 0.15)
    ra, dec = (simulate_sky(200)[name].to_numpy() for name in ("ra", "dec"))
    offsets = np.stack(tangent_plane(ra, dec, 150.0, 2.0), axis=1)
    assert cKDTree(offsets).query(offsets, k=2)[0][:, 1].min() > 60
    assert np.ptp(dec[10:]) > 0.6


def test_shares_of_kinds_are_those_asked_for():
    kinds = simulate_sky(600, kinds={"smooth": 0.7, "merger": 0.3})["kind"].to_pylist()
    assert set(kinds) == {"smooth", "merger"}
    # Five standard deviations of a binomial.
    assert abs(kinds.count("smooth") - 420) < 5 * (600 * 0.7 * 0.3) ** 0.5


def test_catalog_holds_no_truth(truth):
    table = catalog(truth)
    assert table.column_names == [
        *("object_id", "ra", "dec", "petro_r50", "petro_r90"),
        *("mag_g", "mag_r", "mag_z", "redshift"),
    ]
    assert table.num_rows == truth.num_rows
    assert np.all(table["mag_g"].to_numpy() > table["mag_r"].to_numpy())


def test_petrosian_radii_of_an_exponential():
    # Graham & Driver (2005), table 1: n=1, Petrosian flux within 2 r_P is 99.4 % of the total.
    galaxy = Galaxy(**one().to_pylist()[0])
    r50, r90 = petrosian_radii(galaxy)
    assert r50 == pytest.approx(2.0, rel=0.02)
    assert r90 == pytest.approx(2.0 * 2.32, rel=0.03)


def test_rendering_depends_on_the_request_alone(truth):
    ra, dec = truth["ra"][0].as_py(), truth["dec"][0].as_py()
    image = render(truth, ra, dec, 0.4, 64)
    assert image.shape == (3, 64, 64)
    assert image.dtype == np.float32
    assert image.tobytes() == render(truth.slice(0, 150), ra, dec, 0.4, 64).tobytes()
    assert np.array_equal(render(truth, ra, dec, 0.4, 64, ("z",))[0], image[2])
    numpy_request = (np.float64(ra), np.float64(dec), np.float64(0.4), 64)
    assert np.array_equal(render(truth, *numpy_request, seed=np.int64(1)), image)
    assert not np.array_equal(render(truth, ra, dec, 0.4, 64, seed=2), image)


@pytest.mark.parametrize("pixel_scale", [0.262, 0.8])
def test_flux_is_that_of_the_magnitudes(truth, pixel_scale):
    kinds = truth["kind"].to_pylist()
    for index in (kinds.index("smooth"), kinds.index("disc")):
        row = truth.slice(index, 1)
        galaxy = Galaxy(**row.to_pylist()[0])
        size = int(14 * galaxy.petro_r90 / pixel_scale)
        image = render(row, galaxy.ra, galaxy.dec, pixel_scale, size, noise=False)
        flux = image.sum(axis=(1, 2))
        expected = 10 ** (0.4 * (22.5 - np.array(magnitudes(galaxy))))
        np.testing.assert_allclose(flux, expected, rtol=0.03)


def test_a_sersic_galaxy_is_the_one_galsim_draws():
    row = one(axis_ratio=0.5, position_angle=30.0, sersic_index=2.0)
    ours = render(row, 150.0, 2.0, 0.4, 96, ("r",), noise=False)[0]
    # Position angle runs from y towards -x, GalSim's from x towards y.
    profile = galsim.Sersic(2.0, half_light_radius=2.0 * np.sqrt(0.5), flux=ours.sum())
    sheared = profile.shear(q=0.5, beta=120 * galsim.degrees)
    seen = galsim.Convolve(sheared, galsim.Moffat(3.0, fwhm=SEEING_ARCSEC["r"]))
    theirs = seen.drawImage(nx=96, ny=96, scale=0.4).array
    assert np.abs(ours - theirs).sum() < 0.05 * theirs.sum()


def test_north_east_is_up_left():
    image = render(one(), 150.0 - 8 / 3600, 2.0 - 6 / 3600, 0.4, 96, ("r",), noise=False)[0]
    y, x = np.unravel_index(np.argmax(image), image.shape)
    assert x < 47.5
    assert y > 47.5


def test_positions_are_those_of_a_tan_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.01, 2.004]
    wcs.wcs.crpix = [(121 + 1) / 2, (90 + 1) / 2]
    wcs.wcs.cdelt = [-0.5 / 3600, 0.5 / 3600]
    galaxy = one(ra=150.013, dec=2.003)
    image = render(galaxy, 150.01, 2.004, 0.5, (90, 121), ("r",), noise=False)[0]
    y, x = np.indices(image.shape)
    centroid = (image * x).sum() / image.sum(), (image * y).sum() / image.sum()
    expected = wcs.wcs_world2pix([[150.013, 2.003]], 0)[0]
    np.testing.assert_allclose(centroid, expected, atol=0.1)


def test_noise_is_the_sky_s(truth):
    image = render(truth, 30.0, -60.0, 0.262, 100)
    np.testing.assert_allclose(image.std(axis=(1, 2)) / 0.262, [0.015, 0.025, 0.060], rtol=0.05)
    assert np.abs(image.mean(axis=(1, 2))).max() < 0.001


def test_another_telescope_has_other_seeing_and_noise(truth):
    row = one(half_light_radius=0.05, bulge_radius=0.05)
    wide = render(row, 150.0, 2.0, 0.2, 129, ("r",), noise=False, seeing={"r": 2.4})[0]
    point = galsim.Sersic(n=1, half_light_radius=0.05, flux=float(wide.sum()))
    theirs = galsim.Convolve(point, galsim.Moffat(beta=3, fwhm=2.4)).drawImage(
        nx=129, ny=129, scale=0.2, method="no_pixel"
    )
    assert np.abs(wide - theirs.array).max() < 0.02 * wide.max()
    empty = render(truth, 30.0, -60.0, 0.262, 100, noise_scale=2.5)
    usual = render(truth, 30.0, -60.0, 0.262, 100)
    assert np.allclose(empty, 2.5 * usual)


def test_fractions_of_each_question_add_up_to_one(truth):
    fractions = true_fractions(truth, TREE)
    assert fractions.shape == (truth.num_rows, len(TREE.columns))
    for question in TREE.questions:
        np.testing.assert_allclose(fractions[:, question.slice].sum(axis=1), 1)
    assert fractions.min() >= 0


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 200))
def test_votes_obey_the_tree(seed, votes_per_galaxy):
    truth = simulate_sky(12, seed=3)
    votes = vote(truth, TREE, seed, votes_per_galaxy)
    counts = np.stack([votes[column].to_numpy() for column in TREE.columns], axis=1)
    assert votes.column_names == ["object_id", "ra", "dec", *TREE.columns]
    for question in TREE.questions:
        asked = counts[:, question.slice].sum(axis=1)
        parents = list(TREE.parents(question))
        if parents:
            np.testing.assert_array_equal(asked, counts[:, parents].sum(axis=1))
        else:
            assert asked.min() >= max(1, round(0.75 * votes_per_galaxy))


def test_votes_belong_to_the_galaxy(truth):
    whole = vote(truth, TREE, seed=5)
    assert vote(truth.slice(100, 20), TREE, seed=5).equals(whole.slice(100, 20).combine_chunks())


def test_a_tree_of_other_questions_is_refused(truth):
    questions = {"is-it-blue": {"answers": ["yes", "no"]}}
    tree = parse_tree({"name": "other", "questions": questions}, "here")
    with pytest.raises(UserError, match="is-it-blue"):
        true_fractions(truth, tree)


@pytest.mark.skipif(not REAL_VOTES.exists(), reason=f"no real votes at {REAL_VOTES}")
@pytest.mark.parametrize(("seed", "tolerance"), [(1, 0.03), (7, 0.05), (42, 0.05)])
def test_first_question_is_answered_as_in_reality(seed, tolerance):
    answers = ("smooth", "featured-or-disk", "artifact")
    with REAL_VOTES.open(newline="") as file:
        rows = list(csv.DictReader(file))
    real = np.array([[float(row[f"smooth-or-featured_{a}"]) for a in answers] for row in rows])
    votes = vote(simulate_sky(1000, seed), TREE, seed)
    ours = np.stack([votes[f"smooth-or-featured-dr5_{a}"].to_numpy() for a in answers], axis=1)
    real, ours = (counts / counts.sum(axis=1, keepdims=True) for counts in (real, ours))
    np.testing.assert_allclose(ours.mean(axis=0), real.mean(axis=0), atol=tolerance)
    np.testing.assert_allclose(ours.std(axis=0), real.std(axis=0), atol=tolerance)


def test_faults_are_few_exact_and_repeatable():
    truth = simulate_sky(500, seed=1)
    verdicts = Faults().judge(truth, seed=1).by_index
    assert Faults().judge(truth, seed=1).by_index == verdicts
    assert sum(not verdict.covered for verdict in verdicts.values()) == 2
    assert sum(verdict.empty_bands == "z" for verdict in verdicts.values()) == 1
    assert sum(verdict.first_status == 429 for verdict in verdicts.values()) == 10
    assert all(0.3 <= v.delay_s <= 1 for v in verdicts.values() if v.delay_s)
    assert not Faults.none().judge(truth, seed=1).by_index
