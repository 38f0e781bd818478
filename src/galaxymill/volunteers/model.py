"""The model of individuals: what a galaxy is like and what each volunteer is like, from answers.

Each question is asked answer by answer: was it this one, or another? A galaxy has an opinion z, the
log odds that a typical careful volunteer gives this answer. A volunteer of skill a and bias b does
so with probability σ(a z + b), but for a few slips; a careless one with a probability of their own,
whatever the galaxy. This is item response theory of two parameters (Birnbaum 1968) with a class of
careless people.

Nothing is a point estimate: a galaxy is a distribution over a grid of z, a volunteer one over a
grid of kinds of people, (a, b) or careless. Both are improved in turn by belief propagation
(Pearl 1988; for crowds Liu, Peng & Ihler 2012): what an answer says of a galaxy depends on the
volunteer as all their other answers show them, and the other way round, so that no answer counts
twice and standard deviations hold.

The priors are learned from all of them: of z an exponential family about the beta distribution (as
in Efron 2016); of b a normal distribution about 0 and a wider one, of the people with a taste of
their own, about any mean; of log a a normal one about 0; the share of the careless and their
habits. The main group has mean 0, which says what a fraction is: that of volunteers like most.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

ROUNDS = 30
TOLERANCE = 1e-3
"""Root mean square change of galaxies' fractions in a round at which the fit ends."""

SLIP = 0.02
"""Share of answers in which even the careful do not click as they mean."""

OPINIONS = torch.linspace(-6, 6, 41)
BIASES = torch.linspace(-5, 5, 31)
LOG_SKILLS = torch.linspace(-1.6, 1.4, 13)
HABITS = torch.linspace(0.03, 0.97, 9)
"""How often the careless give an answer."""

_MEAN_WEIGHT = 20.0
"""Volunteers' worth of belief that those with a taste have it in no common direction."""

_WIDER = 1.5
"""Least ratio of the spreads of both groups' biases."""

_BLOCK = 8_000
"""Answers at a time."""


def _shapes() -> Tensor:
    """What the log prior of z is made of (n_opinions, 4): a beta distribution's, and two bends."""
    f = torch.sigmoid(OPINIONS)
    bends = [torch.special.chebyshev_polynomial_t(2 * f - 1, order) for order in (2, 3)]
    return torch.stack([f.log(), (1 - f).log(), *bends], 1).double()


_SHAPES = _shapes()
_EVEN = torch.tensor([1, 1, 0, 0]).double()
"""Weights of the shapes with which all fractions are alike frequent."""
_STIFF = torch.tensor([1, 1, 10, 10]).double()
"""Precision of the belief in them before any galaxy."""


@dataclass(frozen=True)
class Votes:
    """Answers to one yes/no question: arrays (n_answers,) of indices and of whether it was yes.

    Volunteers are learned from those of galaxies that ``learn`` (n_galaxies,) says.
    """

    galaxy: Tensor
    volunteer: Tensor
    yes: Tensor
    learn: Tensor
    volunteers: int


@dataclass
class Priors:
    """What is learned of all: see the head of this module."""

    spread: float = 0.4
    wide_spread: float = 1.5
    wide_mean: float = 0.0
    wide_share: float = 0.15
    skill_spread: float = 0.35
    careless: float = 0.05
    habits: Tensor = field(default_factory=lambda: torch.full_like(HABITS, 1 / len(HABITS)))
    shape: Tensor = field(default_factory=lambda: _EVEN)

    def log_opinions(self) -> Tensor:
        """Log prior of a galaxy's opinion, (n_opinions,)."""
        return torch.log_softmax(_SHAPES @ self.shape, 0).float()

    def log_groups(self) -> Tensor:
        """Log of share times density of both groups' biases: (2, n_biases)."""
        main = _normal(BIASES, 0, self.spread) + _log(1 - self.wide_share)
        wide = _normal(BIASES, self.wide_mean, self.wide_spread) + _log(self.wide_share)
        return torch.stack([main, wide])

    def log_kinds(self) -> Tensor:
        """Log probability of kinds, which are pairs of bias and skill, then habits: (n_kinds,)."""
        bias = torch.logsumexp(self.log_groups(), 0) + _log(1 - self.careless)
        skill = _normal(LOG_SKILLS, 0, self.skill_spread)
        careful = (bias[:, None] + skill).flatten()
        return torch.cat([careful, _log(self.careless) + self.habits.log()])

    def update(self, sums: Tensor, opinions: Tensor) -> None:
        """Learn from how many are of each kind, as in `log_kinds`, and of each opinion."""
        grid, habits = sums[: -len(HABITS)].reshape(len(BIASES), -1), sums[-len(HABITS) :]
        self.careless = _within((habits.sum() + 0.5) / (sums.sum() + 10), 1e-3, 0.5)
        self.habits = (habits + 1) / (habits.sum() + len(HABITS))
        main, wide = torch.softmax(self.log_groups(), 0) * grid.sum(1)
        self.wide_share = _within(wide.sum() / grid.sum(), 0.01, 0.5)
        # Groups that are hardly of different width are one, and have one mean.
        apart = max(self.wide_spread / (_WIDER * self.spread) - 1, 0)
        weight = _MEAN_WEIGHT / (apart + 1e-3)
        self.wide_mean = float((wide @ BIASES) / (wide.sum() + weight))
        self.spread = _within(_spread(main, BIASES), 0.1, 4)
        away = _spread(wide, BIASES - self.wide_mean)
        self.wide_spread = _within(away, _WIDER * self.spread, 8)
        self.skill_spread = _within(_spread(grid.sum(0), LOG_SKILLS), 0.1, 2)
        self._bend(opinions.double())

    def _bend(self, count: Tensor) -> None:
        """Fit the prior of z to how many galaxies have each, by Newton's method."""
        for _ in range(5):
            share = torch.softmax(_SHAPES @ self.shape, 0)
            mean = share @ _SHAPES
            slope = count @ _SHAPES - count.sum() * mean - _STIFF * (self.shape - _EVEN)
            spread = (_SHAPES.T * share) @ _SHAPES - torch.outer(mean, mean)
            curve = count.sum() * spread + torch.diag(_STIFF)
            step = torch.linalg.solve(curve, slope)
            self.shape = self.shape + step * (0.5 / max(float(step.abs().max()), 0.5))


@dataclass(frozen=True)
class Belief:
    """What is believed after a fit.

    Attributes
    ----------
    opinions : Tensor, shape (n_galaxies, n_opinions)
        Probability of each value of ``OPINIONS``.
    evidence : Tensor, shape (n_galaxies, n_opinions)
        The same by its answers alone, whatever others are like.
    worth : Tensor, shape (n_galaxies,)
        Votes of typical careful volunteers that would say as much (by Fisher's information on z).
    kinds : Tensor, shape (n_volunteers, n_kinds)
        Probability of each kind; those without an answer that was learned from have the prior's.
    priors : Priors
    """

    opinions: Tensor
    evidence: Tensor
    worth: Tensor
    kinds: Tensor
    priors: Priors

    def fractions(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each galaxy's fraction (n_galaxies,)."""
        return _moments(self.opinions, torch.sigmoid(OPINIONS))

    def observed(self) -> Tensor:
        """Fraction by each galaxy's answers alone: of typical volunteers' votes, their share."""
        # Even in z is Haldane's prior, of which the mean fraction is the share.
        return self.evidence @ torch.sigmoid(OPINIONS)

    def bias(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each volunteer's bias if careful, log odds."""
        return _moments(self._careful().sum(2), BIASES)

    def skill(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each volunteer's skill if careful; 1 is typical."""
        return _moments(self._careful().sum(1), LOG_SKILLS.exp())

    def _careful(self) -> Tensor:
        return self.kinds[:, : -len(HABITS)].view(-1, len(BIASES), len(LOG_SKILLS))

    def careless(self) -> Tensor:
        """Probability that each volunteer is careless."""
        return self.kinds[:, -len(HABITS) :].sum(1)

    def probability(self, galaxy: Tensor, volunteer: Tensor) -> Tensor:
        """Probability of yes for pairs of galaxies and volunteers."""
        return (self.opinions[galaxy] * (self.kinds @ _chances())[volunteer]).sum(1)


def fit(votes: Votes) -> Belief:
    """Learn galaxies and volunteers from answers; see the head of this module."""
    order = torch.argsort(votes.volunteer, stable=True)
    galaxy, volunteer, yes = votes.galaxy[order], votes.volunteer[order], votes.yes[order, None]
    known = votes.learn[galaxy]
    times = torch.bincount(volunteer[known], minlength=votes.volunteers)
    met = times > 0
    seen = torch.bincount(galaxy[known], minlength=len(votes.learn)) > 0
    priors, chances = Priors(), _chances()
    kinds = priors.log_kinds().exp().repeat(votes.volunteers, 1)
    blocks = list(_blocks(torch.bincount(volunteer, minlength=votes.volunteers)))
    said, first = torch.empty(len(yes), len(OPINIONS)), kinds @ chances
    for _, rows in blocks:
        said[rows] = _of(yes[rows], first[volunteer[rows]]).log()
    before = torch.zeros(int(seen.sum()))
    for _ in range(ROUNDS):
        beliefs = _evidence(galaxy, said, seen) + priors.log_opinions()
        opinions = torch.softmax(beliefs, 1)
        prior = priors.log_kinds()
        sums = torch.zeros_like(prior)
        for people, rows in blocks:
            others = torch.softmax(beliefs[galaxy[rows]] - said[rows], 1)
            chance = _of(yes[rows], others @ chances.T)
            # Volunteers are not learned from galaxies by which a network is judged.
            chance[~known[rows]] = 1
            place = volunteer[rows] - people.start
            logs = prior.repeat(people.stop - people.start, 1).index_add_(0, place, chance.log())
            kinds[people] = torch.softmax(logs, 1)
            sums += kinds[people][met[people]].sum(0)
            without = kinds[people][place] / chance
            said[rows] = _of(yes[rows], without @ chances / without.sum(1, keepdim=True)).log()
        if met.any():
            priors.update(sums, opinions[seen].sum(0))
        fractions = opinions[seen] @ torch.sigmoid(OPINIONS)
        if (fractions - before).square().mean().sqrt() < TOLERANCE:
            break
        before = fractions
    evidence = _evidence(galaxy, said, seen)
    opinions = torch.softmax(evidence + priors.log_opinions(), 1)
    worth, each = torch.zeros_like(opinions), kinds @ _information()
    for _, rows in blocks:
        worth.index_add_(0, galaxy[rows], each[volunteer[rows]])
    return Belief(opinions, torch.softmax(evidence, 1), (opinions * worth).sum(1), kinds, priors)


def _of(yes: Tensor, chance: Tensor) -> Tensor:
    """Probability of the answer that was given, from that of yes."""
    return torch.where(yes, chance, 1 - chance)


def _evidence(galaxy: Tensor, said: Tensor, galaxies: Tensor) -> Tensor:
    """Sum what is said of each galaxy: (n_galaxies, n_opinions)."""
    return torch.zeros(len(galaxies), len(OPINIONS)).index_add_(0, galaxy, said)


def _blocks(times: Tensor) -> Iterator[tuple[slice, slice]]:
    """Give some volunteers at a time, and the rows of their answers."""
    ends = torch.cumsum(times, 0)
    first, start = 0, 0
    while first < len(times):
        last = max(int(torch.searchsorted(ends, start + _BLOCK, right=True)), first + 1)
        end = int(ends[last - 1])
        yield slice(first, last), slice(start, end)
        first, start = last, end


def _information() -> Tensor:
    """Information on z of an answer of each kind, beside a typical one: (n_kinds, n_opinions)."""
    bias, skill = torch.meshgrid(BIASES, LOG_SKILLS.exp(), indexing="ij")
    meant = torch.sigmoid(skill.flatten()[:, None] * OPINIONS + bias.flatten()[:, None])
    slope = (1 - SLIP) * skill.flatten()[:, None] * meant * (1 - meant)
    yes = SLIP / 2 + (1 - SLIP) * meant
    typical = torch.sigmoid(OPINIONS) * torch.sigmoid(-OPINIONS)
    careful = slope**2 / (yes * (1 - yes)) / typical
    return torch.cat([careful, torch.zeros(len(HABITS), len(OPINIONS))])


def _chances() -> Tensor:
    """Probability that each kind of volunteer says yes at each opinion (n_kinds, n_opinions)."""
    bias, skill = torch.meshgrid(BIASES, LOG_SKILLS.exp(), indexing="ij")
    careful = torch.sigmoid(skill.flatten()[:, None] * OPINIONS + bias.flatten()[:, None])
    careful = SLIP / 2 + (1 - SLIP) * careful
    return torch.cat([careful, HABITS[:, None].expand(-1, len(OPINIONS))])


def _moments(weights: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation by weights (n, n_values)."""
    weights = weights / weights.sum(1, keepdim=True).clamp_min(1e-30)
    mean = weights @ values
    return mean, (weights @ values**2 - mean**2).clamp_min(0).sqrt()


def _normal(values: Tensor, mean: float, deviation: float) -> Tensor:
    """Log of a normal distribution over a grid."""
    return torch.log_softmax(-0.5 * ((values - mean) / deviation) ** 2, 0)


def _spread(weights: Tensor, values: Tensor) -> Tensor:
    return ((weights @ values**2) / weights.sum().clamp_min(1e-30)).sqrt()


def _within(value: Tensor, low: float, high: float) -> float:
    return min(max(float(value), low), high)


def _log(value: float) -> Tensor:
    return torch.tensor(value).log()
