"""The report of a model of volunteers' votes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from galaxymill.reporting.gallery import Line
from galaxymill.reporting.plots import (
    clip,
    draw_bars,
    draw_calibration,
    draw_confusion,
    short_names,
)
from galaxymill.reporting.report import (
    Plot,
    Section,
    relative,
    show,
    show_interval,
)
from galaxymill.statistics.baselines import NAMES, predict_baselines
from galaxymill.statistics.bootstrap import Values
from galaxymill.statistics.calibration import calibration_sentence
from galaxymill.statistics.covariates import Errors
from galaxymill.tasks.material import Findings, Material, dependence, galleries
from galaxymill.tasks.votes import plots as votes_plots
from galaxymill.tasks.votes.posterior import mutual_information, proportion_asked
from galaxymill.tasks.votes.scores import (
    MIN_VOTES,
    Comparison,
    compare,
    galaxy_errors,
    summarise,
)
from galaxymill.tasks.votes.tables import (
    ALL,
    answers_table,
    calibration_table,
    classification_table,
    questions_table,
    truth_table,
)
from galaxymill.tasks.votes.truth import compare_with_truth
from galaxymill.trees.tree import Tree

Metrics = Mapping[str, Any]


def report_votes(material: Material, tree: Tree) -> Findings:
    """Compare predicted votes with the volunteers'.

    Parameters
    ----------
    material : Material
    tree : Tree
        The questions.

    Returns
    -------
    Findings
    """
    baselines = predict_baselines(
        tree,
        material.train_labels.astype(np.int64),
        material.fitted_labels.astype(np.int64),
        material.features,
        len(material.object_ids),
    )
    votes = material.labels.astype(np.int64)
    comparison = compare(tree, material.object_ids, votes, material.samples, baselines)
    metrics = {"min_votes": MIN_VOTES, **summarise(comparison)}
    names = short_names([question.name for question in tree.questions])
    sections = [
        _fractions(comparison, metrics, names),
        _classification(tree, metrics, names),
        _calibration(metrics, names),
        _dependence(material, comparison, metrics, names),
    ]
    if material.truth is not None:
        metrics["truth"] = compare_with_truth(comparison, material.truth)
        sections.append(_truth(metrics["truth"], names))
    sections.append(_galleries(material, comparison, names))
    return Findings(metrics, headline(metrics), sections)


def asked_questions(metrics: Metrics) -> dict[str, Metrics]:
    """Scores of the questions that have galaxies."""
    return {name: scores for name, scores in metrics["questions"].items() if scores["n"]}


def headline(metrics: Metrics) -> str:
    """Say in one sentence what the model reached on its first question.

    Parameters
    ----------
    metrics : mapping
        From `galaxymill.tasks.votes.scores.summarise`.

    Returns
    -------
    str
        Plain text.
    """
    first = next(iter(asked_questions(metrics).items()), None)
    if first is None:
        return "No test galaxy has enough votes on any question."
    name, scores = first
    against = ", ".join(
        f"{relative(scores['rmse'], other['rmse'])} the {NAMES[kind]}"
        for kind, other in scores["baselines"].items()
        if kind != "dirichlet"
    )
    return (
        f"On {scores['n']} galaxies the model's RMSE on {name} is {scores['rmse']:.3f} "
        f"(95 % interval {show_interval(scores['rmse_interval'])}): {against}; vote noise alone "
        f"sets a floor of {show(scores['noise_floor_rmse'])}."
    )


def _fractions(comparison: Comparison, metrics: Metrics, names: Mapping[str, str]) -> Section:
    asked = asked_questions(metrics)
    floors = [scores["noise_floor_rmse"] for scores in asked.values()]
    values = {"model": [scores["rmse"] for scores in asked.values()]}
    for kind in metrics["overall"]["baselines"]:
        if kind == "dirichlet":  # In fractions it is hardly another constant; see the table.
            continue
        values[kind] = [scores["baselines"][kind]["rmse"] for scores in asked.values()]
    ticks = [f"{names[name]}  (n = {scores['n']})" for name, scores in asked.items()]
    bars = draw_bars(
        values,
        ticks,
        "RMSE of vote fractions (smaller is better)",
        [scores["rmse_interval"] for scores in asked.values()],
        floors,
    )
    return Section(
        "Vote fractions",
        [_mean_sentence(metrics["mean_of_questions"]), likelihood_sentence(metrics)],
        [questions_table(metrics), answers_table(metrics)],
        [
            Plot("errors", _ERRORS, bars),
            Plot("predictions", _PREDICTIONS, votes_plots.draw_scatter(comparison, metrics, names)),
        ],
    )


_ERRORS = (
    "Root-mean-square error of vote fractions, question by question, all answers together. Black "
    "lines: 95 % bootstrap intervals over galaxies. The red line is what the sampling of "
    "volunteers alone would leave of a perfect prediction."
)
_PREDICTIONS = (
    "Predicted and observed vote fractions; one point is one galaxy. The orange line is the mean "
    "observed fraction in bins of the predicted one: a reliability curve, on the diagonal when "
    "predictions are right on average. Points of a perfect prediction still scatter, by the floor "
    "given in each panel."
)


def _mean_sentence(scores: Metrics) -> str:
    if scores["rmse"] is None:
        return "No question has galaxies with enough votes."
    constant = scores["baselines"]["constant"]
    return (
        f"The mean RMSE over questions ({scores['n_questions']} of them) is {scores['rmse']:.3f} "
        f"({show_interval(scores['rmse_interval'])}), that of the constant prediction "
        f"{constant['rmse']:.3f}; the difference is {show(constant['difference'])} "
        f"({show_interval(constant['difference_interval'])})."
    )


def likelihood_sentence(metrics: Metrics) -> str:
    """Name the questions on which the model says nothing a constant would not; plain text."""
    asked = asked_questions(metrics)
    weak = [name for name, scores in asked.items() if scores["nll"] >= scores["nll_constant"]]
    if not asked:
        return "No likelihood could be computed."
    if not weak:
        return "By likelihood the model beats the constant Dirichlet on every question."
    return f"By likelihood the model does no better than a constant on: {', '.join(weak)}."


def _classification(tree: Tree, metrics: Metrics, names: Mapping[str, str]) -> Section:
    matrices = {}
    for question in tree.questions:
        found = metrics["questions"][question.name]["classification"]["asked"]
        if found["n"]:
            matrices[f"{clip(names[question.name])}\nn = {found['n']}"] = (
                question.answers,
                found["confusion"],
            )
    drawn = (
        "Confusion matrices of the galaxies that were asked: number of galaxies by the "
        "volunteers' answer (down) and the model's (across); the shade is the share of the row."
    )
    plots = [Plot("confusion", drawn, draw_confusion(matrices, "volunteers' answer"))]
    return Section("Classification", [], [classification_table(metrics)], plots)


def _calibration(metrics: Metrics, names: Mapping[str, str]) -> Section:
    asked = asked_questions(metrics)
    parts = {**asked, ALL: metrics["overall"]}
    caption = (
        "Share of observed counts inside the central intervals of the posterior predictive "
        "distribution: a mixture over the model's samples of beta-binomials, at each galaxy's own "
        "number of votes (randomised probability integral transform, Czado+09)."
    )
    plot = Plot(
        "calibration",
        "Are the uncertainties honest? Where each observed count lies in its predicted "
        "distribution, and how many counts the predictive intervals hold; pooled above (with the "
        "95 % bootstrap interval), question by question below.",
        draw_calibration(
            metrics["overall"],
            {names[name]: scores for name, scores in asked.items()},
            "observed counts",
        ),
    )
    sentence = calibration_sentence(metrics["overall"], asked, "observed counts")
    table = calibration_table("calibration", caption, parts, ALL)
    return Section("Calibration", [sentence], [table], [plot])


def _dependence(
    material: Material, comparison: Comparison, metrics: Metrics, names: Mapping[str, str]
) -> Section:
    errors, votes = [], {}
    for name in asked_questions(metrics):
        part = comparison.tree.question(name).slice
        model, constant = (
            ((comparison.predicted[kind] - comparison.observed)[:, part] ** 2).mean(axis=1)
            for kind in ("model", "constant")
        )
        errors.append(Errors(name, model, constant, comparison.variance[:, part].mean(axis=1)))
        votes[name] = comparison.votes[:, part].sum(axis=1).astype(np.float64)
    return dependence(material, errors, votes, names, "RMSE of vote fractions")


def _truth(truth: Metrics, names: Mapping[str, str]) -> Section:
    asked = asked_questions(truth)
    parts = {**asked, ALL: truth["overall"]}
    coverage = "Share of true fractions inside the intervals that a catalogue gives (Beta)."
    plot = Plot(
        "truth",
        "Intervals of the latent fraction against the truth of the simulated sky.",
        draw_calibration(
            truth["overall"],
            {names[name]: scores for name, scores in asked.items()},
            "true fractions",
        ),
    )
    return Section(
        "Against simulated truth",
        [calibration_sentence(truth["overall"], asked, "true fractions", "Beta")],
        [
            truth_table(parts),
            calibration_table("truth_calibration", coverage, parts, ALL),
        ],
        [plot],
    )


def _uncertainty(comparison: Comparison) -> Values:
    """Entropy of one vote, over the questions in proportion to who would be asked; (n,)."""
    asked = proportion_asked(comparison.concentrations, comparison.tree)
    total, weights = np.zeros((2, len(comparison.object_ids)))
    for question in comparison.tree.questions:
        entropy, _ = mutual_information(comparison.concentrations, question)
        total += asked[question.name] * entropy
        weights += asked[question.name]
    return np.asarray(total / weights)


def _galleries(material: Material, comparison: Comparison, names: Mapping[str, str]) -> Section:
    places = {key: row for row, key in enumerate(comparison.object_ids)}

    def lines(key: str) -> list[Line | str]:
        return votes_plots.gallery_lines(comparison, places[key], names)

    note = (
        "Best and worst by the mean over a galaxy's questions of half the summed absolute error "
        "of fractions; most uncertain by the entropy, in nats, of one predicted vote, questions "
        "weighing as many would be asked them. Under each galaxy stands the answer that most "
        "volunteers chose, of the first question and of two that follow."
    )
    first = names[comparison.tree.questions[0].name]
    legend = (
        f"first line: {first} · bar: model's vote fraction · tick: volunteers' · "
        "numbers: model | volunteers"
    )
    errors, uncertainty = galaxy_errors(comparison), _uncertainty(comparison)
    return galleries(material, errors, uncertainty, lines, note, legend)
