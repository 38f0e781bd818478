"""One question with its answers: fractions, effective votes, and what each volunteer is like."""

from dataclasses import dataclass

import torch
from torch import Tensor

from galaxymill.volunteers.model import Belief, Votes, fit


@dataclass(frozen=True)
class Answered:
    """Answers to one question: arrays (n_answers_given,) of indices.

    ``learn`` (n_galaxies,) says of which galaxies volunteers are learned.
    """

    galaxy: Tensor
    volunteer: Tensor
    answer: Tensor
    answers: int
    learn: Tensor
    volunteers: int


@dataclass(frozen=True)
class Individuals:
    """Galaxies and volunteers of one answered.

    Attributes
    ----------
    fractions, deviations : Tensor, shape (n_galaxies, n_answers)
        Expected fraction of typical careful volunteers, and its standard deviation.
    votes : Tensor, shape (n_galaxies, n_answers)
        Effective votes: so many of typical careful volunteers would say as much.
    bias, bias_error : Tensor, shape (n_volunteers, n_answers)
        Log odds with which a volunteer prefers an answer, beyond a typical one's.
    skill, skill_error : Tensor, shape (n_volunteers,)
        1 is a typical one's; 0: answers do not depend on the galaxy.
    careless : Tensor, shape (n_volunteers,)
        Probability that a volunteer answers without looking.
    beliefs : list of Belief
        One an answer; of two answers, one.
    """

    fractions: Tensor
    deviations: Tensor
    votes: Tensor
    bias: Tensor
    bias_error: Tensor
    skill: Tensor
    skill_error: Tensor
    careless: Tensor
    beliefs: list[Belief]


def fit_individuals(answered: Answered) -> Individuals:
    """Fit each answer against the others, and put the fractions together.

    The fractions of several answers are scaled to add up to 1. They believe a galaxy to be like
    others where its answers say little; effective votes do not, as whoever learns from them has
    a belief of its own.
    """
    binary = answered.answers == 2
    beliefs = [_fit(answered, answer) for answer in range(1 if binary else answered.answers)]
    fractions, deviations = _together([one.fractions() for one in beliefs])
    observed, _ = _together([(one.observed(), one.worth) for one in beliefs])
    worth = torch.stack([one.worth for one in beliefs], 1).mean(1, keepdim=True)
    bias, bias_error = (torch.stack(part, 1) for part in _columns([b.bias() for b in beliefs]))
    skill, skill_error = (torch.stack(part, 1) for part in _columns([b.skill() for b in beliefs]))
    careless = torch.stack([one.careless() for one in beliefs], 1).mean(1)
    if binary:
        bias, bias_error = torch.cat([bias, -bias], 1), torch.cat([bias_error, bias_error], 1)
    return Individuals(
        *(fractions, deviations, observed * worth),
        *(bias, bias_error),
        *(skill.mean(1), skill_error.mean(1), careless),
        beliefs,
    )


def _fit(answered: Answered, answer: int) -> Belief:
    yes = answered.answer == answer
    given = Votes(answered.galaxy, answered.volunteer, yes, answered.learn, answered.volunteers)
    return fit(given)


def _columns(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [mean for mean, _ in pairs], [deviation for _, deviation in pairs]


def _together(moments: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Means and deviations (…, n_answers) of fractions that add up to 1."""
    means, deviations = (torch.stack(part, -1) for part in _columns(moments))
    if len(moments) == 1:
        return torch.cat([means, 1 - means], -1), torch.cat([deviations, deviations], -1)
    total = means.sum(-1, keepdim=True)
    return means / total, deviations / total
