"""The strength of belief: what simulated over-confidence is corrected to."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import dirichlet_multinomial, norm

from galaxymill.tasks.calibrate import (
    PRIOR_CENTRE,
    PRIOR_WIDTH,
    fit_log_scale,
    mixture_nll,
)
from galaxymill.tasks.classes.head import SoftmaxHead
from galaxymill.tasks.numbers.head import GaussianHead
from galaxymill.tasks.votes.head import DirichletHead
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
VOTES = DirichletHead(4, TREE, 0.0, 0.1, 101.0)


def galaxies(n, factors, seed=1, votes=40):
    """Concentrations that are ``factors`` too sure, by question, and votes drawn from the truth."""
    generator = np.random.default_rng(seed)
    truth = generator.uniform(0.5, 12, (n, 5))
    counts = np.empty((n, 5))
    for question in TREE.questions:
        for row, alpha in enumerate(truth[:, question.slice]):
            share = generator.dirichlet(alpha)
            counts[row, question.slice] = generator.multinomial(votes, share)
    told = truth * np.repeat(factors, [3, 2])
    return torch.from_numpy(told)[:, None], torch.from_numpy(counts)


def test_overconfidence_is_undone_question_by_question():
    scale = fit_log_scale(VOTES, *galaxies(3000, [5, 1])).exp()
    assert scale.tolist() == pytest.approx([1 / 5, 1], rel=0.07)


def test_underconfidence_is_undone():
    scale = fit_log_scale(VOTES, *galaxies(3000, [1 / 4, 1 / 2])).exp()
    assert scale.tolist() == pytest.approx([4, 2], rel=0.1)


def test_few_galaxies_change_little():
    """One galaxy's votes tell less than what is expected beforehand."""
    few = np.mean([fit_log_scale(VOTES, *galaxies(1, [5, 1], i)).numpy() for i in range(20)], 0)
    many = fit_log_scale(VOTES, *galaxies(3000, [5, 1])).numpy()
    assert abs(few[0]) < 0.6 * abs(many[0])
    nobody = galaxies(5, [5, 1], votes=0)
    assert fit_log_scale(VOTES, *nobody).tolist() == pytest.approx([PRIOR_CENTRE] * 2)
    none = fit_log_scale(VOTES, torch.empty(0, 1, 5), torch.empty(0, 5))
    assert none.tolist() == [0, 0]


def test_the_optimum_is_where_the_penalised_likelihood_is_flat():
    samples, votes = galaxies(50, [5, 3])
    best = fit_log_scale(VOTES, samples, votes).double()

    def target(scale):
        nll = mixture_nll(VOTES, VOTES.rescaled(samples, scale), votes).sum()
        return (nll + ((scale - PRIOR_CENTRE) ** 2).sum() / (2 * PRIOR_WIDTH**2)).item()

    for axis in torch.eye(2, dtype=torch.float64):
        assert target(best) < min(target(best + 0.02 * axis), target(best - 0.02 * axis))


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(1, 5))
def test_the_mixture_is_scipy_s(seed, count):
    generator = np.random.default_rng(seed)
    alpha = generator.uniform(0.1, 60, (3, count, 5))
    votes = generator.integers(0, 30, (3, 5))
    ours = mixture_nll(VOTES, torch.from_numpy(alpha), torch.from_numpy(votes))
    for column, question in enumerate(TREE.questions):
        for row in range(3):
            n = votes[row, question.slice]
            each = [
                dirichlet_multinomial(alpha[row, s, question.slice], n.sum()).logpmf(n)
                for s in range(count)
            ]
            expected = np.log(count) - logsumexp(each)
            assert ours[row, column].item() == pytest.approx(expected, rel=1e-8, abs=1e-8)


def test_the_spread_of_a_number_is_scaled():
    head = GaussianHead(4, 0.0)
    generator = np.random.default_rng(1)
    mean = generator.normal(0, 5, (4000, 2))
    labels = mean[:, :1] + generator.normal(0, 3, (4000, 1))
    samples = torch.from_numpy(np.stack([mean[:, [0, 0]], np.full((4000, 2), 1.0)], -1))
    scale = fit_log_scale(head, samples, torch.from_numpy(labels)).exp()
    assert scale.item() == pytest.approx(3, rel=0.03)
    ours = mixture_nll(head, samples, torch.from_numpy(labels))[:, 0].numpy()
    np.testing.assert_allclose(ours, -norm(mean[:, 0], 1).logpdf(labels[:, 0]), rtol=1e-9)


def test_the_temperature_of_classes_is_found():
    head = SoftmaxHead(4, 3, 0.0)
    generator = np.random.default_rng(1)
    logits = torch.from_numpy(generator.normal(0, 1, (6000, 1, 3)))
    chances = torch.softmax(logits[:, 0], 1).numpy()
    truth = [generator.choice(3, p=chance) for chance in chances]
    sure = torch.softmax(3 * logits, 2)
    scale = fit_log_scale(head, sure, torch.eye(3)[truth]).exp()
    assert scale.item() == pytest.approx(1 / 3, rel=0.1)
