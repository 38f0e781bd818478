"""Each head's loss against another library's, its range, and its independence of autocast."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import log_loss

from galaxymill.models.settings import TrainSettings
from galaxymill.tasks import ClassTask, NumberTask, VoteTask
from galaxymill.tasks.classes.head import SoftmaxHead
from galaxymill.tasks.numbers.head import GaussianHead
from galaxymill.tasks.votes.head import START_LOGIT, DirichletHead
from galaxymill.trees.tree import parse_tree

TREE = parse_tree(
    {
        "name": "toy",
        "questions": {
            "shape": {"answers": ["smooth", "featured", "star"]},
            "bar": {"answers": ["yes", "no"], "asked_after": ["shape_featured"]},
        },
    },
    "toy",
)
CLASSES = parse_tree({"name": "rings", "questions": {"ring": {"answers": ["a", "b", "c"]}}}, "r")
TASKS = {
    "votes": VoteTask(TREE),
    "class": ClassTask(CLASSES),
    "number": NumberTask("redshift"),
}
FEATURES = 7


def settings(**given):
    return TrainSettings(encoder="test_efficientnet", **given)


def logits(head, values):
    """Make a head's linear map pass ``values`` through."""
    with torch.no_grad():
        head.linear.weight.zero_()
        head.linear.bias.copy_(torch.as_tensor(values))
    return head.eval()


@pytest.mark.parametrize(
    ("kind", "head", "width"),
    [("votes", DirichletHead, 5), ("class", SoftmaxHead, 3), ("number", GaussianHead, 2)],
)
def test_a_task_has_its_head(kind, head, width):
    made = TASKS[kind].head(FEATURES, settings())
    assert type(made) is head
    assert made.linear.out_features == width
    questions = 2 if kind == "votes" else 1
    assert made.log_scale.tolist() == [0] * questions
    features = torch.randn(4, FEATURES, generator=torch.Generator().manual_seed(1))
    outputs = made.eval()(features)
    assert outputs.shape == (4, width)
    assert made.loss(outputs, torch.zeros(4, len(TASKS[kind].columns))).shape == (4, questions)


@pytest.mark.parametrize("kind", TASKS)
def test_autocast_does_not_touch_a_head(kind):
    head = TASKS[kind].head(FEATURES, settings()).eval()
    torch.nn.init.normal_(head.linear.weight, generator=torch.Generator().manual_seed(1))
    features = torch.randn(5, FEATURES, generator=torch.Generator().manual_seed(2))
    labels = torch.ones(5, len(TASKS[kind].columns))
    plain = head(features)
    with torch.autocast("cpu", torch.bfloat16):
        cast = head(features)
        loss = head.loss(cast, labels)
    assert cast.dtype == loss.dtype == torch.float32
    assert torch.equal(cast, plain)
    assert torch.equal(loss, head.loss(plain, labels))


@given(st.lists(st.floats(-30, 30), min_size=5, max_size=5))
def test_concentrations_are_in_their_range(values):
    head = logits(DirichletHead(FEATURES, TREE, 0.0, 0.1, 101.0), values)
    alpha = head(torch.zeros(1, FEATURES))[0]
    expected = 0.1 + 100.9 / (1 + np.exp(-np.array(values)))
    np.testing.assert_allclose(alpha.detach(), expected, rtol=1e-4)


def test_a_u_shaped_posterior_is_possible_and_the_start_is_unsure():
    head = TASKS["votes"].head(FEATURES, settings())
    assert head.low < 1
    assert head.linear.bias.tolist() == [START_LOGIT] * 5
    alpha = logits(head, [-9.0] * 5)(torch.zeros(1, FEATURES))
    assert (alpha < 0.2).all()


def test_a_scale_is_of_its_question_and_leaves_the_fractions():
    head = TASKS["votes"].head(FEATURES, settings()).eval()
    features = torch.randn(4, FEATURES, generator=torch.Generator().manual_seed(1))
    plain = head(features)
    head.log_scale.copy_(torch.tensor([0.0, np.log(3)]))
    scaled = head(features)
    assert torch.equal(scaled[:, :3], plain[:, :3])
    torch.testing.assert_close(scaled[:, 3:], 3 * plain[:, 3:])


def test_classes_are_scored_by_cross_entropy():
    head = SoftmaxHead(FEATURES, 3, 0.0).eval()
    torch.nn.init.normal_(head.linear.weight, generator=torch.Generator().manual_seed(1))
    outputs = head(torch.randn(50, FEATURES, generator=torch.Generator().manual_seed(2)))
    truth = np.random.default_rng(1).integers(0, 3, 50)
    ours = head.loss(outputs, torch.eye(3)[truth]).mean().item()
    chances = outputs.double().detach().numpy()
    theirs = log_loss(truth, chances / chances.sum(1, keepdims=True), labels=[0, 1, 2])
    assert ours == pytest.approx(theirs, rel=1e-5)
    assert head.loss(outputs, torch.zeros(50, 3)).abs().max() == 0


def test_gradient_of_classes_is_probability_minus_truth():
    head = logits(SoftmaxHead(FEATURES, 3, 0.0), [0.3, -1.0, 2.0])
    outputs = head(torch.zeros(1, FEATURES))
    head.loss(outputs, torch.tensor([[0.0, 1.0, 0.0]])).sum().backward()
    expected = outputs[0].detach() - torch.tensor([0.0, 1.0, 0.0])
    torch.testing.assert_close(head.linear.bias.grad, expected)


@given(st.floats(0.1, 5))
def test_a_temperature_divides_the_logits(scale):
    head = logits(SoftmaxHead(FEATURES, 3, 0.0), [0.3, -1.0, 2.0])
    head.log_scale.fill_(float(np.log(scale)))
    expected = torch.softmax(scale * torch.tensor([0.3, -1.0, 2.0]), 0)
    torch.testing.assert_close(head(torch.zeros(1, FEATURES))[0], expected, rtol=1e-4, atol=1e-6)


def test_numbers_are_scored_by_the_normal_density():
    head = GaussianHead(FEATURES, 0.0).eval()
    torch.nn.init.normal_(head.linear.weight, generator=torch.Generator().manual_seed(1))
    labels = torch.randn(50, 1, generator=torch.Generator().manual_seed(3)) * 40 + 900
    head.start_at(labels)
    outputs = head(torch.randn(50, FEATURES, generator=torch.Generator().manual_seed(2)))
    mean, deviation = outputs.double().detach().numpy().T
    theirs = -norm(mean, deviation).logpdf(labels[:, 0].double().numpy())
    np.testing.assert_allclose(head.loss(outputs, labels)[:, 0].detach(), theirs, rtol=1e-4)


def test_a_number_starts_at_the_labels_mean_and_spread():
    labels = torch.tensor([[10.0], [14.0], [18.0]])
    head = logits(GaussianHead(FEATURES, 0.0), [0.0, 0.0])
    head.start_at(labels)
    mean, deviation = head(torch.zeros(1, FEATURES))[0].tolist()
    assert (mean, deviation) == pytest.approx((14, 4), rel=2e-3)
    head.log_scale.fill_(float(np.log(2)))
    assert head(torch.zeros(1, FEATURES))[0].tolist() == pytest.approx((14, 8), rel=2e-3)


@pytest.mark.parametrize("kind", TASKS)
def test_masks_say_which_features_a_sample_keeps(kind):
    head = TASKS[kind].head(FEATURES, settings(dropout=0.5)).eval()
    torch.nn.init.normal_(head.linear.weight, generator=torch.Generator().manual_seed(1))
    features = torch.randn(2, FEATURES, generator=torch.Generator().manual_seed(2))
    masks = torch.rand(2, 3, FEATURES, generator=torch.Generator().manual_seed(3)) < 0.5
    drawn = head(features, masks)
    assert drawn.shape == (2, 3, head.linear.out_features)
    for sample in range(3):
        torch.testing.assert_close(drawn[:, sample], head(features * masks[:, sample] * 2))
