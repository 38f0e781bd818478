"""Distributions of votes: Dirichlet–multinomial over answers, beta-binomial over one of them.

A model gives each galaxy S samples of concentrations; its prediction is their even mixture.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import betaln, logsumexp
from scipy.stats import dirichlet_multinomial

Values = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]


def mixture_nll(concentrations: Values, votes: Counts) -> Values:
    """Negative log likelihood (n,) of votes (n, n_answers) on one question, in nats.

    ``-log mean_s DM(votes | concentrations_s)``, concentrations of shape (n, n_samples, n_answers).
    """
    each = dirichlet_multinomial.logpmf(votes[:, None], concentrations, votes.sum(axis=-1)[:, None])
    return np.asarray(np.log(each.shape[1]) - logsumexp(each, axis=1))


def beta_binomial_cdf(successes: Counts, trials: Counts, a: Values, b: Values) -> Values:
    """Probability of at most ``successes`` among ``trials``; −1 has probability 0.

    ``a`` and ``b`` are parameters of the beta distribution; all four broadcast together.
    """
    k_last, n, a, b = np.broadcast_arrays(successes, trials, a, b)
    log_pmf = betaln(a, b + n) - betaln(a, b)
    cdf = np.zeros(k_last.shape)
    for k in range(int(k_last.max(initial=-1)) + 1):
        counted = k <= k_last
        cdf += np.where(counted, np.exp(log_pmf), 0)
        # p(k+1) / p(k) = (n−k)(a+k) / ((k+1)(b+n−k−1)); k < n wherever the next term counts.
        left = np.maximum(n - k, 1)
        log_pmf = log_pmf + np.log(left * (a + k) / ((k + 1) * (b + left - 1)))
    return cdf


def randomised_pit(concentrations: Values, votes: Counts, draws: Values) -> Values:
    """Randomised probability integral transform of each answer's count.

    Uniform on 0 to 1 when the votes do come from the predicted mixture of beta-binomials
    (Czado, Gneiting & Held 2009, Biometrics 65, 1254).

    Concentrations (n, n_samples, n_answers) and votes (n, n_answers) are of one question; draws
    (n, n_answers), uniform in [0, 1), choose a value within the count's step of the CDF.
    """
    trials = votes.sum(-1, keepdims=True)[:, None]
    b = concentrations.sum(-1, keepdims=True) - concentrations
    below, upto = (
        beta_binomial_cdf(counts[:, None], trials, concentrations, b).mean(axis=1)
        for counts in (votes - 1, votes)
    )
    return np.asarray(below + draws * (upto - below))
