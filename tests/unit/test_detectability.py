"""Surfaces of what is still seen: known ones come back, they never fall, intervals are honest."""

import numpy as np
import pyarrow as pa
import pytest
from astropy.cosmology import Planck18

from galaxymill import flags
from galaxymill.detectability import check
from galaxymill.detectability.check import bin_copies, compare, cross_check
from galaxymill.detectability.covariates import View, covariates
from galaxymill.detectability.settings import DetectabilitySettings
from galaxymill.detectability.surface import Bases, Seen, Surface
from galaxymill.detectability.table import Detectable
from galaxymill.errors import UserError
from galaxymill.simulation.sky import simulate_sky
from galaxymill.simulation.volunteers import View as SimulatedView
from galaxymill.simulation.volunteers import true_fractions, vote
from galaxymill.trees.tree import load_tree

VIEW = View(seeing=1.2, depth=23.9)


def kept_of(own):
    """A known share that is still seen: small or faint galaxies show little."""
    return 0.1 + 0.85 / (1 + np.exp(-3 * own[:, 0])) / (1 + np.exp(-2 * own[:, 1]))


def draw(galaxies=1500, copies=2, votes=40, kept=kept_of, made_up=0.05, seed=1):
    """Near and far votes of galaxies whose copies are seen as well as two numbers say."""
    rng = np.random.default_rng(seed)
    truth = rng.beta(0.6, 0.6, galaxies)
    near = rng.binomial(votes, truth)
    galaxy = np.tile(np.arange(galaxies), copies)
    own = rng.uniform(-1.5, 1.5, (len(galaxy), 2))
    shown = kept(own) * truth[galaxy] + made_up * (1 - truth[galaxy])
    square = near * (near - 1) / (votes * (votes - 1))
    far = rng.binomial(votes, shown) / votes
    return own, Seen(near[galaxy] / votes, far, square[galaxy], np.ones(len(galaxy)), galaxy)


@pytest.fixture(scope="module")
def fitted():
    own, seen = draw()
    bases = Bases(own)
    return bases, Surface(bases, own, seen)


def test_a_known_surface_comes_back(fitted):
    bases, surface = fitted
    corners = bases.corners()
    fit = surface.at(corners)
    assert np.abs(fit.kept.mean(axis=1) - kept_of(corners)).max() < 0.12
    assert np.sqrt(np.mean((fit.kept.mean(axis=1) - kept_of(corners)) ** 2)) < 0.035
    assert np.abs(fit.made_up.mean(axis=1) - 0.05).max() < 0.05


def test_it_never_falls_where_more_can_be_made_out_in_any_round(fitted):
    bases, surface = fitted
    shape = [len(own) for own in bases.knots]
    grid = surface.at(bases.corners()).kept.reshape(*shape, -1)
    for axis in (0, 1):
        assert np.diff(grid, axis=axis).min() > -1e-9
    assert grid.min() >= 0
    assert grid.max() <= 1


def test_between_knots_it_is_what_a_table_at_the_knots_says(fitted):
    bases, surface = fitted
    values = surface.at(bases.corners()).kept.mean(axis=1)
    shape = [len(own) for own in bases.knots]
    own = np.random.default_rng(3).uniform(-1.2, 1.2, (200, 2))
    known = Detectable(settings(), VIEW, "d", bases.knots, {"odd": values.reshape(shape)})
    found, _ = known.of(catalogue(own))
    expected = surface.at(own).kept.mean(axis=1)
    np.testing.assert_allclose(found["odd_detectable"].to_numpy(), expected, atol=1e-5)


def test_intervals_of_90_percent_hold_the_truth_as_often():
    held = []
    for seed in range(6):
        own, seen = draw(700, seed=seed)
        bases = Bases(own)
        inner = bases.corners()[(np.abs(bases.corners()) < 1.2).all(axis=1)]
        kept = Surface(bases, own, seen, rounds=40).at(inner).kept
        error = np.abs(kept.mean(axis=1) - kept_of(inner))
        held.append(error <= 1.645 * kept.std(axis=1))
    assert 0.78 <= np.mean(held) <= 0.98


def test_few_votes_near_do_not_flatten_it():
    own, seen = draw(3000, votes=5)
    bases, best = Bases(own), np.array([[1.4, 1.4]])
    naive = Seen(seen.near, seen.far, seen.near**2, seen.weight, seen.galaxy)
    right, flat = (Surface(bases, own, one, 8).at(best).kept.mean() for one in (seen, naive))
    assert right == pytest.approx(kept_of(best)[0], abs=0.05)
    assert flat < right - 0.04


def test_galaxies_of_little_weight_say_little():
    own, seen = draw(600)
    wrong = np.arange(len(seen.far)) % 2 == 0
    far = np.where(wrong, 0.0, seen.far)
    weight = np.where(wrong, 1e-6, 1.0)
    bases = Bases(own)
    given = Seen(seen.near, far, seen.square, weight, seen.galaxy)
    kept = Surface(bases, own, given, 8).at(np.array([[1.2, 1.2]])).kept.mean()
    assert kept == pytest.approx(kept_of(np.array([[1.2, 1.2]]))[0], abs=0.1)


def test_a_third_covariate_and_an_answer_that_nobody_knows():
    rng = np.random.default_rng(5)
    own, seen = draw(600)
    own = np.column_stack([own, rng.choice([-0.3, -0.2, -0.1], len(own))])
    bases = Bases(own)
    assert [len(one) for one in bases.knots] == [5, 5, 3]
    kept = Surface(bases, own, seen, 4).at(bases.corners()).kept.mean(axis=1)
    assert np.diff(kept.reshape(5, 5, 3), axis=2).min() > -1e-9
    nobody = seen.take(np.zeros(len(own), np.bool_))
    assert np.isfinite(Surface(bases, own[:0], nobody, 4).at(own[:3]).kept).all()
    assert bases.counts(own[:0]).max() == 0


def test_nothing_is_learned_of_what_is_the_same_for_all():
    own, _ = draw(100)
    own[:, 1] = 2.0
    with pytest.raises(UserError, match="contrast is the same for nearly all galaxies"):
        Bases(own)


def test_copies_of_a_galaxy_never_stand_on_both_sides(monkeypatch):
    own, seen = draw(300, copies=3)
    half = seen.galaxy % 2 == 0
    learned, judged = [], []

    class Watched(Surface):
        def __init__(self, bases, covariates, seen, rounds):
            learned.append(set(seen.galaxy.tolist()))
            super().__init__(bases, covariates, seen, rounds)

    def watch(fit, seen, bins):
        judged.append(set(seen.galaxy.tolist()))
        return compare(fit, seen, bins)

    monkeypatch.setattr(check, "Surface", Watched)
    monkeypatch.setattr(check, "compare", watch)
    bins = cross_check(Bases(own), own, seen, half)
    assert [len(one) for one in learned] == [150, 150]
    assert all(one.isdisjoint(other) for one, other in zip(learned, judged, strict=True))
    assert (bins.galaxies >= 30).all()


def test_bins_know_how_far_off_a_surface_is():
    own, seen = draw(1200)
    bases = Bases(own)
    surface, bins = Surface(bases, own, seen), bin_copies(own)
    other, again = draw(1200, seed=2)
    good = compare(surface.at(other), again, bin_copies(other))
    assert good.worst < 0.1
    assert 0.75 <= good.held <= 1
    shifted = Seen(seen.near, seen.far + 0.2, seen.square, seen.weight, seen.galaxy)
    bad = compare(surface.at(own), shifted, bins)
    assert bad.worst > 0.15
    assert bad.held < 0.1
    assert np.isnan(compare(surface.at(own[:9]), seen.take(np.arange(len(own)) < 9), bins[:9]).held)


def settings(**given):
    return DetectabilitySettings(magnitude="mag_r", **given)


def catalogue(own, view=VIEW):
    """Galaxies with these logarithms of size and contrasts."""
    size = np.exp(own[:, 0]) * view.seeing
    magnitude = view.depth - own[:, 1] - 2.5 * np.log10(2 * np.pi * size**2)
    return pa.table({"petro_r50": size, "mag_r": magnitude})


def test_a_low_flat_surface_says_lower_limit_and_outside_it_nothing():
    knots = [np.array([-1.0, 0.0, 1.0]), np.array([0.0, 2.0])]
    flat = {"odd": np.full((3, 2), 0.2), "clear": np.full((3, 2), 0.9)}
    known = Detectable(settings(), VIEW, "d", knots, flat)
    rows = catalogue(np.array([[-0.9, 1.0], [0.5, 0.1], [1.1, 1.0], [0.0, -0.1], [np.nan, 1.0]]))
    found, limited = known.of(rows)
    assert found["odd_detectable"].to_pylist() == [pytest.approx(0.2)] * 2 + [None] * 3
    assert found["clear_detectable"].null_count == 3
    assert limited.tolist() == [True, True, False, False, False]
    assert [one.name for one in known.fields] == ["odd_detectable", "clear_detectable"]
    high = Detectable(settings(lower_limit=0.1), VIEW, "d", knots, flat)
    assert not high.of(rows)[1].any()
    assert flags.names(flags.BITS["lower_limit"]) == ["lower_limit"]


def test_where_a_corner_of_the_box_was_not_tried_nothing_is_said():
    knots = [np.array([-1.0, 0.0, 1.0]), np.array([0.0, 2.0])]
    values = np.array([[np.nan, 0.3], [0.3, 0.5], [0.6, 0.8]])
    known = Detectable(settings(), VIEW, "d", knots, {"odd": values})
    found, _ = known.of(catalogue(np.array([[-0.5, 1.0], [0.5, 1.0]])))
    assert found["odd_detectable"].to_pylist() == [None, pytest.approx(0.55)]


def test_covariates_are_sizes_beside_the_seeing_and_contrasts():
    size, magnitude = np.array([2.4]), np.array([18.0])
    brightness = 18.0 + 2.5 * np.log10(2 * np.pi * 2.4**2)
    near = covariates([size, magnitude], None, VIEW)
    np.testing.assert_allclose(near, [[np.log(2), 23.9 - brightness]])
    # Twice as far away, fluxes and areas shrink alike: the surface brightness stays.
    far = covariates([size, magnitude], None, VIEW.model_copy(update={"farther": 2.0}))
    np.testing.assert_allclose(far, [[0, 23.9 - brightness]], atol=1e-12)
    redshifts = covariates([size, magnitude, np.array([0.05])], None, VIEW)
    assert redshifts[0, 2] == -0.05


def test_at_another_redshift_galaxies_shrink_and_dim_as_cosmology_says():
    columns, own = [np.full(1, 2.4), np.full(1, 18.0), np.full(1, 0.05)], np.full(1, 0.05)
    near = covariates(columns, own, VIEW)
    far = covariates(columns, own, VIEW.model_copy(update={"redshift": 0.15}))
    ratio = Planck18.angular_diameter_distance(0.05) / Planck18.angular_diameter_distance(0.15)
    assert far[0, 0] - near[0, 0] == pytest.approx(np.log(ratio.value))
    assert far[0, 1] - near[0, 1] == pytest.approx(-10 * np.log10(1.15 / 1.05))
    assert far[0, 2] == -0.15


@pytest.mark.parametrize(
    ("size", "magnitude", "redshift"),
    [
        (np.nan, 18, 0.1),
        (0, 18, 0.1),
        (-1, 18, 0.1),
        (2, np.nan, 0.1),
        (2, np.inf, 0.1),
        (2, 18, np.nan),
        (2, 18, -0.1),
        (2, 18, 0.0),
        (2, 18, 1e9),
    ],
)
def test_what_cannot_be_is_unknown(size, magnitude, redshift):
    columns = [np.array([value, good]) for value, good in ((size, 2), (magnitude, 18))]
    columns.append(np.array([redshift, 0.1]))
    found = covariates(columns, None, VIEW)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("own", [0.2, np.nan, -0.1, 0.0])
def test_nothing_is_moved_nearer_or_from_nowhere(own):
    view = VIEW.model_copy(update={"redshift": 0.15})
    found = covariates([np.full(2, 2.0), np.full(2, 18.0)], np.array([own, 0.1]), view)
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()


@pytest.mark.parametrize("text", ["{", "[" * 100_000, '{"seeing": -1}', '{"seeing": 1, "x": 2}'])
def test_a_view_that_is_none_is_refused(text):
    with pytest.raises(UserError, match="--view"):
        View.parse_flag(text)


def test_volunteers_vote_on_what_the_far_survey_shows(trees):
    truth, tree = simulate_sky(200), load_tree(trees / "decals_dr5.yaml")
    place = tree.columns.index("smooth-or-featured-dr5_featured-or-disk")
    near, far, blurred, equal = (
        true_fractions(truth, tree, view)
        for view in (
            SimulatedView(),
            SimulatedView(farther=2),
            SimulatedView(seeing=2.4),
            SimulatedView(seeing=2.4, depth=23.9 - 5 * np.log10(2)),
        )
    )
    assert (far[:, place] <= near[:, place] + 1e-12).all()
    assert far[:, place].mean() < near[:, place].mean() - 0.05
    assert (blurred[:, place] >= far[:, place] - 1e-12).all()
    np.testing.assert_allclose(equal, far)
    votes = vote(truth, tree, view=SimulatedView(farther=2))
    asked = np.array(votes.select(tree.columns[:3]).to_pandas(), np.float64)
    shares = asked[:, place] / asked.sum(axis=1)
    assert abs(shares.mean() - far[:, place].mean()) < 0.02
    assert votes.equals(vote(truth, tree, view=SimulatedView(farther=2)))
