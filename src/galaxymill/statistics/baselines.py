"""Baselines: constant predictions, and linear fits to features of the images."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from galaxymill.statistics.distributions import Counts, Values
from galaxymill.trees.tree import Tree

MIN_VOTES_TO_FIT = 5
MIN_GALAXIES_TO_FIT = 20
RIDGE_ALPHAS = np.logspace(-1, 5, 13)
LOGISTIC_STRENGTHS = np.logspace(-4, 1, 6)

NAMES = {
    "constant": "constant",
    "dirichlet": "constant Dirichlet",
    "ridge": "linear fit to hand features",
    "ridge_encoder": "linear fit to the frozen encoder",
}
"""Every baseline, and what it is called on the page."""

Features = Mapping[str, tuple[Values, Values]]
"""By baseline that uses them: features of the n_train and of the n_test galaxies."""


@dataclass(frozen=True)
class Baselines:
    """Vote fractions (n_test, n_answers) without a trained network, by the names in ``NAMES``.

    ``dirichlet`` (n_answers,) are concentrations of the one Dirichlet–multinomial that suits the
    training votes best.
    """

    fractions: Mapping[str, Values]
    dirichlet: Values


def predict_baselines(
    tree: Tree, all_votes: Counts, train_votes: Counts, features: Features, n_test: int
) -> Baselines:
    """Fit the baselines, question by question.

    Parameters
    ----------
    tree : Tree
    all_votes : ndarray, shape (n, n_answers)
        Of every training galaxy, for the two constants.
    train_votes : ndarray, shape (n_train, n_answers)
        Of those that have features.
    features : mapping of str to (train, test)
        May be empty.
    n_test : int
    """
    width = len(tree.columns)
    constant, alpha, expected = np.empty((3, width))
    linear = {name: np.empty((n_test, width)) for name in features}
    for question in tree.questions:
        part = question.slice
        constant[part] = mean_fractions(all_votes[:, part])
        alpha[part] = fit_dirichlet(all_votes[:, part])
        expected[part] = alpha[part] / alpha[part].sum()
        for name, (train, test) in features.items():
            linear[name][:, part] = predict_ridge(train_votes[:, part], train, test)
    flat = {"constant": constant, "dirichlet": expected}
    tiled = {name: np.broadcast_to(values, (n_test, width)) for name, values in flat.items()}
    return Baselines({**tiled, **linear}, alpha)


def mean_fractions(votes: Counts) -> Values:
    """Mean fraction (n_answers,) of one question's votes (n, n_answers), over galaxies with votes.

    All are equal when there are none.
    """
    asked = votes[votes.sum(axis=1) > 0]
    if len(asked) == 0:
        return np.full(votes.shape[1], 1 / votes.shape[1])
    return np.asarray((asked / asked.sum(axis=1, keepdims=True)).mean(axis=0))


def predict_ridge(votes: Counts, train: Values, test: Values) -> Values:
    """Regress the vote fractions of one question on features of training and test galaxies.

    Gives fractions (n_test, n_answers) within 0 and 1; the constant prediction with fewer than
    ``MIN_GALAXIES_TO_FIT`` galaxies of ``MIN_VOTES_TO_FIT`` votes.
    """
    totals = votes.sum(axis=1)
    asked = totals >= MIN_VOTES_TO_FIT
    if asked.sum() < MIN_GALAXIES_TO_FIT or len(test) == 0:
        return np.tile(mean_fractions(votes), (len(test), 1))
    return np.clip(_ridge(train[asked], votes[asked] / totals[asked, None], test), 0, 1)


def predict_number(values: Values, train: Values, test: Values) -> Values:
    """Regress a number on features; shape (n_test,).

    With fewer than ``MIN_GALAXIES_TO_FIT`` galaxies it is the mean.
    """
    if len(values) < MIN_GALAXIES_TO_FIT or len(test) == 0:
        return np.full(len(test), values.mean() if len(values) else 0.0)
    return _ridge(train, values, test)


def _ridge(train: Values, values: Values, test: Values) -> Values:
    """Ridge regression on standardised features, its penalty by leave-one-out validation."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = make_pipeline(StandardScaler(), RidgeCV(RIDGE_ALPHAS)).fit(train, values)
    return np.asarray(regression.predict(test))


def fit_dirichlet(votes: Counts) -> Values:
    """Fit one Dirichlet–multinomial to one question's votes (n, n_answers), by maximum likelihood.

    Gives concentrations (n_answers,) between 10⁻³ and 10⁴; all 1 when there are no votes.
    """
    from scipy.optimize import minimize
    from scipy.special import digamma
    from scipy.stats import dirichlet_multinomial

    asked = votes[votes.sum(axis=1) > 0]
    if len(asked) == 0:
        return np.ones(votes.shape[1])
    total = asked.sum(axis=1)

    def loss(log_alpha: Values) -> tuple[float, Values]:
        alpha = np.exp(log_alpha)
        strength = alpha.sum()
        # Gradient as in Minka 2000, "Estimating a Dirichlet distribution", sect. 3.
        whole = digamma(strength) - digamma(total + strength)
        slope = whole[:, None] + digamma(asked + alpha) - digamma(alpha)
        likelihood = dirichlet_multinomial.logpmf(asked, alpha, total).mean()
        return -likelihood, -alpha * slope.mean(axis=0)

    start = np.log(5 * mean_fractions(votes) + 0.1)
    bounds = [(np.log(1e-3), np.log(1e4))] * votes.shape[1]
    fit = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(np.exp(fit.x))


def predict_logistic(classes: Counts, n_classes: int, train: Values, test: Values) -> Values:
    """Regress classes on features: multinomial logistic, features standardised.

    The penalty is chosen by three-fold cross-validation on the log loss. Gives probabilities
    (n_test, n_classes); with fewer than ``MIN_GALAXIES_TO_FIT`` galaxies, or a class with fewer
    than three, they are the constant ones.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    counts = np.bincount(classes, minlength=n_classes)
    present = np.flatnonzero(counts)
    too_few = len(classes) < MIN_GALAXIES_TO_FIT or counts[present].min() < 3
    if too_few or len(present) < 2 or len(test) == 0:
        return np.tile(class_frequencies(classes, n_classes), (len(test), 1))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    grid = {"logisticregression__C": LOGISTIC_STRENGTHS}
    search = GridSearchCV(pipeline, grid, scoring="neg_log_loss", cv=3).fit(train, classes)
    probabilities = np.zeros((len(test), n_classes))
    probabilities[:, present] = search.predict_proba(test)
    return probabilities


def class_frequencies(classes: Counts, n_classes: int) -> Values:
    """Share of each class among training galaxies, one imagined galaxy of each added.

    So no class is impossible, and the log loss stays finite (Laplace's rule of succession).
    """
    counts = np.bincount(classes, minlength=n_classes) + 1.0
    return np.asarray(counts / counts.sum())
