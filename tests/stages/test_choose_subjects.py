"""Who is asked about next: strata, probabilities, and what they are for."""

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.stats import beta

from galaxymill.catalog.partition import read_partitions
from galaxymill.errors import UserError
from galaxymill.models.probe_settings import ProbeSettings
from galaxymill.probes.network import make_probe
from galaxymill.probes.store import ProbeCard, read_any_card, write_probe
from galaxymill.rounds.population import estimate_mean
from galaxymill.splits import SplitSettings, assign_splits
from galaxymill.storage.origin import Origin
from galaxymill.storage.parquet import write_product

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from asked_survey import FEATURED, GALAXIES, KNOWN, SAMPLES, Sky
from made_survey import TASK, is_unfit


def write_probe_card(folder):
    """Write a probe of the survey's task in the place of a network; give its card."""
    settings = ProbeSettings(features="looks", folds=SAMPLES)
    probes = [make_probe(TASK, settings, torch.ones(3), torch.ones(1, 5)) for _ in range(SAMPLES)]
    origin = Origin("probe", domain={"survey": "toy_survey"}).to_dict()
    card = ProbeCard(TASK, settings, "s" * 64, 3, [1.0] * SAMPLES, "", origin, {})
    write_probe(folder, card, probes)
    return read_any_card(folder / "model.yaml")


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    return Sky(tmp_path_factory.mktemp("sky"))


def test_each_stratum_has_its_share_and_nobody_twice(sky):
    rows = pq.read_table(sky.choose()).to_pandas()
    counts = rows["stratum"].value_counts().to_dict()
    assert counts == {"random": 120, "not_confidently_smooth": 240, "mutual_information": 240}
    assert rows["object_id"].is_unique
    assert (rows["round"] == 1).all()
    assert rows["score"].isna().sum() == 120


def test_the_rule_of_features_is_that_of_the_whole_posterior(sky):
    rows = pq.read_table(sky.choose()).to_pandas().set_index("object_id")
    told = sky.read()[0].set_index("object_id")
    chosen = rows[rows["stratum"] == "not_confidently_smooth"]
    alpha = np.stack(told.loc[chosen.index, "concentrations"]).reshape(len(chosen), SAMPLES, -1)
    first, total = alpha[..., FEATURED], alpha[..., :3].sum(axis=-1)
    chance = beta(first.astype(float), (total - first).astype(float)).sf(0.2).mean(axis=1)
    np.testing.assert_allclose(chosen["score"], chance, atol=1e-5)
    assert (chance >= 0.8).all()


def test_nobody_is_asked_about_who_has_votes_is_unfit_or_was_chosen_before(sky):
    first = sky.choose()
    second = sky.choose(2, [first])
    one, other = (set(pq.read_table(path)["object_id"].to_pylist()) for path in (first, second))
    assert not one & other
    for name in one | other:
        assert not is_unfit(name)
        assert int(name[1:]) >= KNOWN


@pytest.mark.parametrize("with_positions", [True, False])
def test_only_the_random_ones_may_be_in_the_test_split(sky, tmp_path, with_positions):
    """Galaxies are split as the labels will be: by their places, or where these are not known."""
    if not with_positions:
        sky = Sky(tmp_path, with_positions=False)
    rows = pq.read_table(sky.choose()).to_pandas().set_index("object_id")
    tiles = sky.read()[1].set_index("object_id").loc[rows.index]
    places = tiles[["ra", "dec"]].to_numpy() if with_positions else None
    splits = assign_splits(list(rows.index), places, SplitSettings())
    tested = np.array(splits) == "test"
    assert rows["ra"].notna().all() == rows["ra"].notna().any() == with_positions
    assert tested[rows["stratum"] == "random"].any()
    assert not tested[rows["stratum"] != "random"].any()


def test_weights_estimate_the_featured_share_and_without_them_it_is_far_off(sky):
    told, _ = sky.read()
    pool = told[told["concentrations"].notna() & (told["object_id"] >= f"g{KNOWN:05d}")]
    is_featured = pool.set_index("object_id")["smooth-or-featured_featured_fraction"] > 0.5
    truth = is_featured.mean()
    off, plain = [], []
    for seed in range(12):
        rows = pq.read_table(sky.choose(seed=seed)).to_pandas()
        found = is_featured.loc[rows["object_id"]].to_numpy()
        mean, error = estimate_mean(found.astype(float), rows["selection_probability"].to_numpy())
        off.append((mean - truth) / error)
        plain.append(found.mean())
        naive = np.sqrt(plain[-1] * (1 - plain[-1]) / len(rows))
        assert abs(plain[-1] - truth) > 5 * naive
    assert (np.abs(off) < 2).mean() >= 0.8
    assert abs(np.mean(off)) < 2 / np.sqrt(len(off))


def test_probabilities_are_how_often_galaxies_are_chosen(sky):
    told, tiles = sky.read()
    pool = told[told["concentrations"].notna() & (told["object_id"] >= f"g{KNOWN:05d}")]
    at = tiles.set_index("object_id").loc[pool["object_id"], ["ra", "dec"]].to_numpy()
    tested = np.array(assign_splits(list(pool["object_id"]), at, SplitSettings())) == "test"
    alpha = np.stack(pool["concentrations"]).reshape(len(pool), SAMPLES, -1).astype(float)
    chance = beta(alpha[..., FEATURED], alpha[..., 0] + alpha[..., 2]).sf(0.2).mean(axis=1)
    hopeful = dict(zip(pool["object_id"], (chance >= 0.8) & ~tested, strict=True))
    seeds, found, expected = 30, np.zeros(2), np.zeros(2)
    sizes = np.bincount([*hopeful.values()], minlength=2)
    for seed in range(seeds):
        rows = pq.read_table(sky.choose(seed=seed, choose=["not_confidently_smooth"])).to_pandas()
        kind = rows["object_id"].map(hopeful).to_numpy(dtype=int)
        for one in (0, 1):
            (said,) = rows["selection_probability"][kind == one].round(9).unique()
            found[one] += (kind == one).sum()
            expected[one] += said * sizes[one]
    np.testing.assert_allclose(found, expected, rtol=0.03)


def test_the_order_and_number_of_partitions_change_nothing(sky, tmp_path):
    again = Sky(tmp_path, per_partition=300)
    assert pq.read_table(again.choose()).equals(pq.read_table(sky.choose()))


def test_predictions_of_another_model_are_refused(sky, tmp_path):
    other = Sky(tmp_path)
    other.write_model(weights="x" * 64)
    with pytest.raises(UserError, match="of another model"):
        other.choose()


def test_an_answer_that_is_not_there_is_refused_by_name(sky):
    with pytest.raises(UserError, match="smooth-or-featured_featured"):
        sky.choose(featured="smooth-or-featured_features")


def test_a_budget_larger_than_the_pool_asks_about_all_that_are_worth_it(sky):
    path = sky.choose(budget=5000, random=0.1, choose=["not_confidently_smooth"])
    rows = pq.read_table(path).to_pandas()
    ruled = rows[rows["stratum"] != "random"]
    assert 0 < len(ruled) < 4500
    np.testing.assert_allclose(ruled["selection_probability"], 1)


def test_when_all_are_smooth_only_the_random_ones_are_left(sky):
    path = sky.choose(fraction=0.99, probability=0.99, choose=["not_confidently_smooth"])
    choice = json.loads((path.parent / "choice.json").read_text())
    assert choice["finished"]
    assert choice["subjects"] == {"random": 120}
    rows = pq.read_table(path).to_pandas()
    assert set(rows["stratum"]) == {"random"}
    assert len(rows) == 120


def test_what_a_rule_chooses_is_spread_over_a_space(tmp_path):
    """Galaxies of a crowded corner of the space make room for others; chances say so."""
    sky = Sky(tmp_path)
    rng = np.random.default_rng(8)
    crowded = rng.uniform(size=GALAXIES) < 0.8
    values = np.where(crowded[:, None], 0.05, 1) * rng.normal(size=(GALAXIES, 3))
    space = sky.write_features(values)
    for rule in ("not_confidently_smooth", "mutual_information"):
        settings = {"budget": 100, "choose": [rule], "random": 0.01}
        rows, plain = (
            pq.read_table(sky.choose(space=one, **settings)).to_pandas() for one in (space, None)
        )
        assert len(rows) == len(plain) == 100
        rows, plain = (one[one["stratum"] == rule] for one in (rows, plain))
        share, before = (
            np.mean([crowded[int(name[1:])] for name in one["object_id"]]) for one in (rows, plain)
        )
        assert share < before
        chances = rows["selection_probability"]
        assert chances.between(0, 1).all()
        assert chances.nunique() > 3


def test_a_probe_that_predicts_the_same_chooses_the_same(sky, tmp_path):
    other = Sky(tmp_path)
    other.card = write_probe_card(other.model.parent)
    for part in read_partitions(other.partitions):
        path = other.path("predictions", part.part)
        table, origin = pq.read_table(path), Origin("apply", {}, {"model": other.card.digest})
        write_product(path, table, origin, table.schema)
    assert pq.read_table(other.choose()).equals(pq.read_table(sky.choose()))
