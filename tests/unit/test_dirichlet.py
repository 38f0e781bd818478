"""The loss against SciPy's distribution, finite differences, and its own promises."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import dirichlet_multinomial

from galaxymill.models.dirichlet import dirichlet_multinomial_nll
from galaxymill.votes.tree import parse_tree

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
    total = 0.0
    for question in TREE.questions:
        n = np.array(votes[question.slice])
        total -= dirichlet_multinomial(np.array(alpha[question.slice]), n.sum()).logpmf(n)
    return total


@given(ALPHA, VOTES)
def test_loss_is_scipy_s(alpha, votes):
    assert loss(alpha, votes).item() == pytest.approx(by_scipy(alpha, votes), rel=1e-7, abs=1e-7)


@given(ALPHA, VOTES)
def test_float32_is_near(alpha, votes):
    """Sums of lnΓ up to 3,000 lose some of 24 bits."""
    assert loss(alpha, votes, torch.float32).item() == pytest.approx(
        by_scipy(alpha, votes), rel=1e-3, abs=5e-3
    )


def test_rows_do_not_mix():
    generator = np.random.default_rng(1)
    alpha, votes = generator.uniform(1, 101, (20, 5)), generator.integers(0, 40, (20, 5))
    rows = [loss(a, n).item() for a, n in zip(alpha, votes, strict=True)]
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
    expected = [(by_scipy(alpha + h, votes) - by_scipy(alpha - h, votes)) / 2e-4 for h in step]
    np.testing.assert_allclose(tensor.grad[0], expected, rtol=2e-3, atol=2e-4)


@pytest.mark.parametrize("extreme", [1e-30, 1.0, 1e30])
def test_an_unasked_question_adds_nothing(extreme):
    alpha = torch.tensor([[2.0, 3.0, 4.0, extreme, extreme]], requires_grad=True)
    asked = torch.tensor([[5, 1, 0, 0, 0]])
    value = dirichlet_multinomial_nll(alpha, asked, TREE)
    value.sum().backward()
    assert (
        value.item()
        == dirichlet_multinomial_nll(torch.tensor([[2.0, 3.0, 4.0, 7.0, 9.0]]), asked, TREE).item()
    )
    np.testing.assert_array_equal(alpha.grad[0, 3:], [0, 0])
    assert torch.isfinite(alpha.grad).all()


def test_a_galaxy_without_votes_adds_exactly_nothing():
    alpha = torch.full((1, 5), 1.7, requires_grad=True)
    value = dirichlet_multinomial_nll(alpha, torch.zeros(1, 5), TREE)
    value.sum().backward()
    assert value.item() == 0
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
