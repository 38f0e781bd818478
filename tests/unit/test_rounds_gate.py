"""The gate, on simulated volunteers and models whose quality is known."""

import functools

import numpy as np
import pytest

from galaxymill.rounds.gate import compare
from galaxymill.rounds.settings import JudgeSettings
from galaxymill.statistics.baselines import predict_baselines
from galaxymill.tasks.votes.scores import Comparison
from galaxymill.trees.tree import Tree, number_questions

TREE = Tree(
    "toy",
    number_questions(
        [
            ("shape", ("smooth", "featured", "artifact"), ()),
            ("edge", ("yes", "no"), ("shape_featured",)),
            ("arms", ("yes", "no"), ("edge_no",)),
            ("bar", ("strong", "weak", "no"), ("edge_no",)),
        ]
    ),
)
GALAXIES, VOTERS = 400, 40


def draw_sky(rng):
    """True opinions, and the votes of volunteers who come to each question by the tree."""
    truth = np.empty((GALAXIES, len(TREE.columns)))
    for question in TREE.questions:
        width = len(question.answers)
        truth[:, question.slice] = rng.dirichlet(np.full(width, 0.6), GALAXIES)
    votes = np.zeros(truth.shape, int)
    asked = {question.name: np.full(GALAXIES, VOTERS) for question in TREE.questions}
    for question in TREE.questions:
        parents = TREE.parents(question)
        if parents:
            asked[question.name] = votes[:, list(parents)].sum(axis=1)
        for row in range(GALAXIES):
            shares = truth[row, question.slice]
            votes[row, question.slice] = rng.multinomial(asked[question.name][row], shares)
    return truth, votes


def model(rng, truth, error, samples=5):
    """Concentrations of a calibrated model: opinions with noise, as certain as they deserve."""
    out = np.empty((GALAXIES, samples, truth.shape[1]))
    for question in TREE.questions:
        shares = truth[:, question.slice]
        # The posterior after so many clear looks at the galaxy: its mean errs as it says.
        looks = round(1 / error**2)
        seen = np.array([rng.multinomial(looks, one) for one in shares])
        out[..., question.slice] = (seen + 0.6)[:, None, :]
    return out


def comparison(votes, concentrations):
    names = [f"g{row}" for row in range(GALAXIES)]
    return Comparison(
        TREE, names, votes, concentrations, predict_baselines(TREE, votes, votes, {}, GALAXIES)
    )


def trials(change, count):
    """Share of challengers that are promoted; ``change`` makes one of the champion's settings."""
    promoted = 0
    for seed in range(count):
        truth, votes, champion = champions(seed)
        challenger = comparison(votes, change(np.random.default_rng(1000 + seed), truth))
        promoted += compare(champion, challenger, JudgeSettings().margin).promoted
    return promoted / count


@functools.cache
def champions(seed):
    rng = np.random.default_rng(seed)
    truth, votes = draw_sky(rng)
    return truth, votes, comparison(votes, model(rng, truth, 0.25))


def shuffled(rng, truth):
    return rng.permutation(model(rng, truth, 0.25))


@pytest.mark.parametrize("question", range(4))
def test_a_challenger_with_one_question_spoiled_is_refused(question):
    def spoiled(rng, truth):
        concentrations = model(rng, truth, 0.25)
        part = TREE.questions[question].slice
        concentrations[..., part] = rng.permutation(concentrations[..., part])
        return concentrations

    assert trials(spoiled, 50) == 0


def test_a_challenger_of_shuffled_votes_is_refused():
    assert trials(shuffled, 50) == 0


def test_an_equal_challenger_mostly_passes():
    assert trials(lambda rng, truth: model(rng, truth, 0.25), 50) >= 0.9


def test_a_better_challenger_passes():
    assert trials(lambda rng, truth: model(rng, truth, 0.2), 50) >= 0.95
