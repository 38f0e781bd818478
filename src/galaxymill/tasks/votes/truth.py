"""Predictions against the true vote fractions of a simulated sky.

The Beta intervals of a catalogue are for the latent fraction, what infinitely many volunteers
would answer. Observed fractions scatter beyond them, so only known fractions can test them.
"""

from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from galaxymill.errors import UserError
from galaxymill.simulation.truth import TRUTH_SCHEMA
from galaxymill.simulation.volunteers import true_fractions
from galaxymill.statistics.bootstrap import Bootstrap, Values
from galaxymill.statistics.calibration import calibration
from galaxymill.statistics.errors import RootMeanSquares
from galaxymill.tables import read_table
from galaxymill.tasks.votes.scores import Comparison


def latent_pit(concentrations: Values, fractions: Values) -> Values:
    """Probability of less than the latent fractions (n, n_answers) of one question.

    Of the mixture over samples (n, n_samples, n_answers) of Beta(αᵢ, α₀ − αᵢ).
    """
    others = concentrations.sum(axis=-1, keepdims=True) - concentrations
    return np.asarray(beta.cdf(fractions[:, None, :], concentrations, others).mean(axis=1))


def compare_with_truth(comparison: Comparison, path: Path) -> dict[str, Any]:
    """Score predicted fractions against those that the simulated volunteers were drawn from.

    They stand in ``truth.parquet`` of the stage ``simulate``; a UserError says when a test galaxy
    is not in it, or the tree is not the volunteers'. Gives, for ``questions`` and ``overall``, RMSE
    of the fractions and coverage of the Beta intervals, over the galaxies that count for a
    question, and RMSE of the observed fractions: what one would know from the votes themselves.
    """
    table = read_table(path, TRUTH_SCHEMA.names, ["object_id"])
    places = {key: row for row, key in enumerate(table["object_id"].to_pylist())}
    lost = [key for key in comparison.object_ids if key not in places]
    if lost:
        raise UserError(f"{path}: {lost[0]!r} is not in this sky; give the truth of its own")
    chosen = table.take([places[key] for key in comparison.object_ids])
    fractions = true_fractions(chosen, comparison.tree)
    fractions[np.isnan(comparison.observed)] = np.nan
    pit = np.full(fractions.shape, np.nan)
    for question in comparison.tree.questions:
        rows, part = comparison.rows(question), question.slice
        pit[rows, part] = latent_pit(
            comparison.concentrations[rows, :, part], fractions[rows, part]
        )
    resampled = Bootstrap(len(comparison.object_ids))
    parts = {question.name: question.slice for question in comparison.tree.questions}
    scores = {
        name: _scores(comparison, fractions[:, part], pit[:, part], part, resampled)
        for name, part in {**parts, "": slice(None)}.items()
    }
    return {"overall": scores.pop(""), "questions": scores}


def _scores(
    comparison: Comparison, fractions: Values, pit: Values, part: slice, resampled: Bootstrap
) -> dict[str, Any]:
    found = calibration(pit, resampled)
    residuals = {
        "model": comparison.predicted["model"][:, part] - fractions,
        "votes": comparison.observed[:, part] - fractions,
    }
    scores = RootMeanSquares.of(residuals, resampled).scores()
    return {
        "n": int(np.isfinite(fractions).any(axis=1).sum()),
        "rmse": scores["rmse"],
        "rmse_interval": scores["rmse_interval"],
        "rmse_votes": scores["baselines"]["votes"]["rmse"],
        "coverage_90": found["coverage"]["90"]["value"],
        **found,
    }
