"""Embeddings are features of one network, pooled over views; a mirror is no view of every label."""

import copy

import numpy as np
import pytest
import torch

from galaxymill.errors import UserError
from galaxymill.inference.engine import Engine
from galaxymill.inference.predictor import Predictor
from galaxymill.inference.settings import PredictSettings
from galaxymill.models.network import Network, describe_encoder
from galaxymill.models.settings import TrainSettings, refused_views
from galaxymill.models.store import ModelCard
from galaxymill.models.views import random_view
from galaxymill.spaces.fit import embedding_kind
from galaxymill.storage.origin import Origin
from galaxymill.tasks import ClassTask, NumberTask, VoteTask
from galaxymill.tasks.task import join_tasks
from galaxymill.trees.tree import parse_tree

SIZE, IDS = 32, ["a", "b", "c"]


def tree_of(**questions):
    plain = {name: {"answers": answers} for name, answers in questions.items()}
    return parse_tree({"name": "toy", "questions": plain}, "toy")


RINGS = ClassTask(tree_of(ring=["yes", "no"]))
WINDING = ClassTask(tree_of(winding=["clockwise", "anticlockwise"]))


def networks(count, task=RINGS):
    settings = TrainSettings(encoder="test_efficientnet", image_size=SIZE, members=count)
    torch.manual_seed(1)
    made = [Network(describe_encoder(settings.encoder), task, settings) for _ in range(count)]
    for network in made:
        # With the statistics of fresh batch normalisation all features would be alike.
        for module in network.encoder.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        network.features(pixels_of(blocks(32, seed=7)))
    return [network.eval() for network in made], settings


def predictor(count=1, task=RINGS, **chosen):
    made, settings = networks(count, task)
    card = ModelCard(task, settings, made[0].card.to_dict(), "", {"domain": {}}, {})
    return Predictor(made, card, PredictSettings(**chosen), Engine(torch.device("cpu")))


def pixels_of(images):
    return torch.as_tensor(images).permute(0, 3, 1, 2)


def blocks(count, seed=1):
    """Pictures (count, SIZE, SIZE, 3) of large random squares."""
    few = np.random.default_rng(seed).integers(0, 256, (count, 4, 4, 3), np.uint8)
    return few.repeat(SIZE // 4, axis=1).repeat(SIZE // 4, axis=2)


@pytest.fixture(scope="module")
def images():
    return blocks(len(IDS))


def embeddings(images, **chosen):
    return predictor(**chosen).predict_pixels(IDS, images)[1].numpy()


def by_hand(network, images):
    """Features of images (n, h, w, 3) in double precision, by the encoder of timm alone."""
    encoder = copy.deepcopy(network.encoder).double()
    mean, std = (np.array(getattr(network.card, key)) for key in ("mean", "std"))
    scaled = (images / 255.0 - mean) / std
    with torch.no_grad():
        return encoder(pixels_of(scaled).double()).numpy()


def all_views(images, count):
    turned = [np.rot90(images, quarter, (1, 2)) for quarter in range(4)]
    return [*turned, *(view[:, :, ::-1] for view in turned)][:count]


@pytest.mark.parametrize("member", [1, 2])
def test_embeddings_are_of_one_member(images, member):
    both, _ = networks(2)
    expected = [by_hand(network, images) for network in both]
    found = embeddings(images, count=2, member=member)
    np.testing.assert_allclose(found, expected[member - 1], rtol=1e-4, atol=1e-5)
    assert np.abs(found - expected[2 - member]).max() > 0.01


@pytest.mark.parametrize(
    ("views", "pool"), [(1, "mean"), (4, "mean"), (8, "mean"), (4, "mean_std"), (8, "mean_std")]
)
def test_views_are_pooled_as_numpy_does(images, views, pool):
    (network,), _ = networks(1)
    each = np.stack([by_hand(network, view.copy()) for view in all_views(images, views)])
    expected = each.mean(axis=0)
    if pool == "mean_std":
        expected = np.concatenate([expected, each.std(axis=0)], axis=1)
    found = embeddings(images, views=views, pool=pool)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("pool", ["mean", "mean_std"])
def test_turned_pictures_have_the_same_embeddings(images, pool):
    eight = predictor(views=8, pool=pool)
    expected = eight.predict_pixels(IDS, images)[1].numpy()
    assert np.ptp(expected, axis=0).max() > 0.01
    for view in all_views(images, 8):
        found = eight.predict_pixels(IDS, view.copy())[1].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_quarter_turns_tell_a_mirrored_picture(images):
    four = predictor(views=4, pool="mean_std")
    expected = four.predict_pixels(IDS, images)[1].numpy()
    for number, view in enumerate(all_views(images, 8)):
        found = four.predict_pixels(IDS, view.copy())[1].numpy()
        assert (np.abs(found - expected).max() < 1e-4) == (number < 4)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"member": 3}, r"member: 3: the model has 2 network"),
        ({"views": 1, "pool": "mean_std"}, r"pool: mean_std: .*views: 8 or 4"),
        ({"pool": "mean_std"}, r"pool: mean_std: one view has no deviation"),
    ],
)
def test_embeddings_that_cannot_be_are_refused(chosen, message):
    with pytest.raises(UserError, match=message):
        predictor(2, **chosen)


def test_a_space_knows_embeddings_by_member_and_pooling():
    kinds = [
        embedding_kind(Origin("predict", parameters, {"model": "m"}).to_dict())
        for parameters in ({}, {"samples": 9}, {"pool": "mean_std"}, {"views": 8}, {"member": 2})
    ]
    assert kinds[0] == kinds[1]
    assert [kind not in kinds[:1] for kind in kinds[2:]] == [True] * 3


def test_what_embeddings_are_of_is_told():
    settings = TrainSettings(encoder="resnet18", image_size=64, members=3)
    chosen = PredictSettings(views=8, pool="mean_std", member=2)
    words = chosen.described(settings)
    for word in ("resnet18", "network 2 of 3", "8 views", "standard deviation", "64 pixels"):
        assert word in words
    assert "network" not in PredictSettings().described(TrainSettings(encoder="resnet18"))


HANDED = ["clockwise", "Anti-clockwise", "counterclockwise spiral", "CW", "acw", "ccw"]


@pytest.mark.parametrize("answer", HANDED)
def test_answers_that_a_mirror_changes_are_known(answer):
    task = VoteTask(tree_of(shape=["smooth", "disk"], winding=[answer, "unclear"]))
    assert task.handed == "winding"
    assert "winding" in refused_views(8, task)
    assert "views: 4" in refused_views(8, task)
    assert not refused_views(4, task)
    assert not refused_views(1, task)


@pytest.mark.parametrize("answer", ["spiral", "cwm", "tightly wound", "clock", "scw"])
def test_other_answers_have_no_hand(answer):
    task = VoteTask(tree_of(shape=["smooth", answer]))
    assert task.handed == ""
    assert not refused_views(8, task)


def test_a_joint_model_is_handed_when_one_of_its_trees_is():
    plain, handed = VoteTask(tree_of(shape=["round", "odd"])), VoteTask(tree_of(arms=["cw", "acw"]))
    assert join_tasks([plain, handed], "x").handed == "arms"
    assert NumberTask("clockwise").handed == ""


def test_mirrored_views_of_a_handed_model_are_refused():
    with pytest.raises(UserError, match=r"views: 8: winding tells clockwise .*give views: 4"):
        predictor(task=WINDING, views=8)
    assert predictor(task=WINDING, views=4, pool="mean_std")


def test_random_views_keep_the_hand_when_they_must():
    """A red, a green and a blue corner follow each other as they did."""
    picture = torch.zeros(1, 3, 64, 64)
    for colour, (row, column) in enumerate([(20, 20), (20, 44), (44, 44)]):
        picture[0, colour, row - 4 : row + 4, column - 4 : column + 4] = 255
    many = picture.expand(100, -1, -1, -1)
    grid = torch.arange(64.0)

    def hands(mirrored):
        generator = torch.Generator().manual_seed(2)
        views = random_view(many, 64, (1.0, 1.1), 0.0, generator, mirrored=mirrored)
        weights = views.sum((2, 3))
        down = (views.sum(3) * grid).sum(2) / weights
        right = (views.sum(2) * grid).sum(2) / weights
        one, other = ((right[:, n] - right[:, n - 1], down[:, n] - down[:, n - 1]) for n in (1, 2))
        return torch.sign(one[0] * other[1] - one[1] * other[0])

    assert (hands(mirrored=False) == 1).all()
    assert 30 < (hands(mirrored=True) == 1).sum() < 70
