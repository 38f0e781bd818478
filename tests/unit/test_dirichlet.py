"""The loss against SciPy's distribution, finite differences, and its own promises."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import dirichlet_multinomial

from galaxymill.tasks.votes.head import dirichlet_multinomial_nll
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
ALPHA = st.lists(st.floats(0.05, 500), min_size=5, max_size=5)
VOTES = st.lists(st.integers(0, 80), min_size=5, max_size=5)


def loss(alpha, votes, dtype=torch.float64):
    alpha = torch.tensor(np.atleast_2d(alpha), dtype=dtype)
    return dirichlet_multinomial_nll(alpha, torch.tensor(np.atleast_2d(votes)), TREE)


def by_scipy(alpha, votes):
    """One galaxy's loss, question by question."""
    losses = []
    for question in TREE.questions:
        n = np.array(votes[question.slice])
        law = dirichlet_multinomial(np.array(alpha[question.slice]), n.sum())
        losses.append(-law.logpmf(n))
    return np.array(losses)


def by_numpy(alpha, votes):
    """The same from Γ's products: (α)ₙ = α (α + 1) … (α + n − 1), no lnΓ at all."""
    losses = []
    for question in TREE.questions:
        a, n = np.array(alpha[question.slice]), np.array(votes[question.slice])
        rising = sum(np.log(x + np.arange(k)).sum() for x, k in zip(a, n, strict=True))
        ways = math.lgamma(n.sum() + 1) - sum(math.lgamma(k + 1) for k in n)
        losses.append(np.log(a.sum() + np.arange(n.sum())).sum() - rising - ways)
    return np.array(losses)


def gradient_by_numpy(alpha, votes):
    """Derivatives of `by_numpy`: Σₖ 1/(α₀+k) − Σₖ 1/(α+k)."""
    gradient = []
    for question in TREE.questions:
        a, n = np.array(alpha[question.slice]), np.array(votes[question.slice])
        total = (1 / (a.sum() + np.arange(n.sum()))).sum()
        gradient += [total - (1 / (x + np.arange(k))).sum() for x, k in zip(a, n, strict=True)]
    return np.array(gradient)


@given(ALPHA, VOTES)
def test_loss_is_scipy_s(alpha, votes):
    ours = loss(alpha, votes)
    assert ours.shape == (1, len(TREE.questions))
    np.testing.assert_allclose(ours[0], by_scipy(alpha, votes), rtol=1e-7, atol=1e-7)


@given(ALPHA, VOTES)
def test_loss_and_gradient_are_those_of_products(alpha, votes):
    tensor = torch.tensor([alpha], dtype=torch.float64, requires_grad=True)
    value = dirichlet_multinomial_nll(tensor, torch.tensor([votes]), TREE)
    value.sum().backward()
    np.testing.assert_allclose(value[0].detach(), by_numpy(alpha, votes), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(
        tensor.grad[0], gradient_by_numpy(alpha, votes), rtol=1e-7, atol=1e-8
    )


@given(ALPHA, VOTES)
def test_float32_is_near(alpha, votes):
    """Sums of lnΓ up to 3,000 lose some of 24 bits."""
    np.testing.assert_allclose(
        loss(alpha, votes, torch.float32)[0], by_scipy(alpha, votes), rtol=1e-3, atol=5e-3
    )


def test_votes_at_both_ends_prefer_concentrations_below_one():
    """What Zoobot's range of 1 to 101 cannot say: either all volunteers, or none."""
    votes = [[0, 0, 0, 20, 0], [0, 0, 0, 0, 20]]
    u_shaped, flat = (loss([[1, 1, 1, a, a]] * 2, votes).sum() for a in (0.2, 1.0))
    assert u_shaped < flat - 1


def test_rows_do_not_mix():
    generator = np.random.default_rng(1)
    alpha, votes = generator.uniform(1, 101, (20, 5)), generator.integers(0, 40, (20, 5))
    rows = [loss(a, n)[0].numpy() for a, n in zip(alpha, votes, strict=True)]
    np.testing.assert_allclose(loss(alpha, votes).numpy(), rows)


def test_gradient_in_float64():
    generator = torch.Generator().manual_seed(1)
    alpha = 0.5 + 20 * torch.rand(4, 5, generator=generator, dtype=torch.float64)
    votes = torch.tensor([[3, 0, 1, 2, 5], [0, 0, 0, 0, 0], [9, 1, 0, 0, 0], [0, 1, 0, 40, 2]])
    alpha.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: dirichlet_multinomial_nll(a, votes, TREE), alpha)


def test_gradient_in_float32_is_the_finite_difference():
    alpha, votes = np.array([3.0, 8.0, 1.5, 20.0, 2.0]), np.array([3, 10, 0, 7, 1])
    tensor = torch.tensor(alpha[None], dtype=torch.float32, requires_grad=True)
    dirichlet_multinomial_nll(tensor, torch.tensor(votes[None]), TREE).sum().backward()
    step = 1e-4 * np.eye(5)
    expected = [
        (by_scipy(alpha + h, votes) - by_scipy(alpha - h, votes)).sum() / 2e-4 for h in step
    ]
    np.testing.assert_allclose(tensor.grad[0], expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("extreme", [1e-30, 1.0, 1e30])
def test_an_unasked_question_adds_nothing(extreme):
    alpha = torch.tensor([[2.0, 3.0, 4.0, extreme, extreme]], requires_grad=True)
    asked = torch.tensor([[5, 1, 0, 0, 0]])
    value = dirichlet_multinomial_nll(alpha, asked, TREE)
    value.sum().backward()
    other = dirichlet_multinomial_nll(torch.tensor([[2.0, 3.0, 4.0, 7.0, 9.0]]), asked, TREE)
    assert torch.equal(value, other)
    assert value[0, 1] == 0
    np.testing.assert_array_equal(alpha.grad[0, 3:], [0, 0])
    assert torch.isfinite(alpha.grad).all()


def test_a_galaxy_without_votes_adds_exactly_nothing():
    alpha = torch.full((1, 5), 1.7, requires_grad=True)
    value = dirichlet_multinomial_nll(alpha, torch.zeros(1, 5), TREE)
    value.sum().backward()
    assert value.tolist() == [[0, 0]]
    np.testing.assert_array_equal(alpha.grad, np.zeros((1, 5)))


def test_autocast_does_not_touch_it():
    alpha, votes = torch.tensor([[3.0, 8.0, 1.5, 20.0, 2.0]]), torch.tensor([[3, 10, 0, 7, 1]])
    plain = dirichlet_multinomial_nll(alpha, votes, TREE)
    with torch.autocast("cpu", torch.bfloat16):
        cast = dirichlet_multinomial_nll(alpha, votes, TREE)
    assert cast.dtype == torch.float32
    assert torch.equal(cast, plain)


def test_half_precision_input_is_computed_in_float32():
    alpha, votes = torch.tensor([[3.0, 8.0, 1.5, 20.0, 2.0]]), torch.tensor([[3, 10, 0, 7, 1]])
    assert torch.equal(
        dirichlet_multinomial_nll(alpha.bfloat16(), votes, TREE),
        dirichlet_multinomial_nll(alpha, votes, TREE),
    )
