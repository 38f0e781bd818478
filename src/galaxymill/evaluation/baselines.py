"""What a network has to beat: the same answer for all galaxies, and a linear fit to features."""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma

from galaxymill.evaluation.distributions import Counts, Values, log_dirichlet_multinomial
from galaxymill.votes.tree import Tree

MIN_VOTES_TO_FIT = 5
MIN_GALAXIES_TO_FIT = 20
RIDGE_ALPHAS = np.logspace(-1, 5, 13)


@dataclass(frozen=True)
class Baselines:
    """Predictions for the test galaxies that use no network.

    Attributes
    ----------
    constant : ndarray, shape (n_answers,)
        Mean vote fraction of each answer in training.
    ridge : ndarray, shape (n_test, n_answers)
        Vote fractions by ridge regression on hand-made features.
    dirichlet : ndarray, shape (n_answers,)
        Concentrations of the one Dirichlet–multinomial that suits the training votes best.
    """

    constant: Values
    ridge: Values
    dirichlet: Values


def predict_baselines(
    tree: Tree, train_votes: Counts, train_features: Values, test_features: Values
) -> Baselines:
    """Fit the baselines, question by question.

    Parameters
    ----------
    tree : Tree
    train_votes : ndarray, shape (n_train, n_answers)
    train_features : ndarray, shape (n_train, n_features)
    test_features : ndarray, shape (n_test, n_features)

    Returns
    -------
    Baselines
    """
    constant, dirichlet = np.empty(len(tree.columns)), np.empty(len(tree.columns))
    ridge = np.empty((len(test_features), len(tree.columns)))
    for question in tree.questions:
        votes = train_votes[:, question.slice]
        constant[question.slice] = mean_fractions(votes)
        dirichlet[question.slice] = fit_dirichlet(votes)
        ridge[:, question.slice] = predict_ridge(votes, train_features, test_features)
    return Baselines(constant, ridge, dirichlet)


def mean_fractions(votes: Counts) -> Values:
    """Mean vote fraction of each answer of one question.

    Parameters
    ----------
    votes : ndarray, shape (n, n_answers)

    Returns
    -------
    ndarray, shape (n_answers,)
        Over galaxies with votes; all equal when there are none.
    """
    asked = votes[votes.sum(axis=1) > 0]
    if len(asked) == 0:
        return np.full(votes.shape[1], 1 / votes.shape[1])
    return np.asarray((asked / asked.sum(axis=1, keepdims=True)).mean(axis=0))


def predict_ridge(votes: Counts, train_features: Values, test_features: Values) -> Values:
    """Regress the vote fractions of one question on features.

    Features are standardised; the penalty is chosen by leave-one-out cross-validation.

    Parameters
    ----------
    votes : ndarray, shape (n_train, n_answers)
    train_features : ndarray, shape (n_train, n_features)
    test_features : ndarray, shape (n_test, n_features)

    Returns
    -------
    ndarray, shape (n_test, n_answers)
        Within 0 and 1. With fewer than ``MIN_GALAXIES_TO_FIT`` galaxies of
        ``MIN_VOTES_TO_FIT`` votes it is the constant prediction.
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    totals = votes.sum(axis=1)
    asked = totals >= MIN_VOTES_TO_FIT
    if asked.sum() < MIN_GALAXIES_TO_FIT or len(test_features) == 0:
        return np.tile(mean_fractions(votes), (len(test_features), 1))
    fractions = votes[asked] / totals[asked, None]
    regression = make_pipeline(StandardScaler(), RidgeCV(RIDGE_ALPHAS))
    regression.fit(train_features[asked], fractions)
    return np.asarray(np.clip(regression.predict(test_features), 0, 1))


def fit_dirichlet(votes: Counts) -> Values:
    """Fit one Dirichlet–multinomial to all galaxies, by maximum likelihood.

    Parameters
    ----------
    votes : ndarray, shape (n, n_answers)
        Of one question.

    Returns
    -------
    ndarray, shape (n_answers,)
        Concentrations between 10⁻³ and 10⁴; all 1 when there are no votes.
    """
    from scipy.optimize import minimize

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
        return -log_dirichlet_multinomial(alpha, asked).mean(), -alpha * slope.mean(axis=0)

    start = np.log(5 * mean_fractions(votes) + 0.1)
    bounds = [(np.log(1e-3), np.log(1e4))] * votes.shape[1]
    fit = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds)
    return np.asarray(np.exp(fit.x))
