"""Tables of the scores of votes."""

from collections.abc import Mapping, Sequence

from galaxymill.reporting.plots import short_names
from galaxymill.reporting.report import Table
from galaxymill.reporting.tables import Row, flatten
from galaxymill.statistics.baselines import NAMES
from galaxymill.tasks.report import ALL, Metrics
from galaxymill.tasks.votes.scores import ASKED, CONFIDENT_FRACTION, CONFIDENT_VOTES, MIN_VOTES

_SHORT = {"dirichlet": "Dirichlet", "ridge": "hand features", "ridge_encoder": "frozen encoder"}


def _error_columns(rows: Sequence[Row]) -> dict[str, str]:
    kinds = [kind for kind in NAMES if rows and f"{kind}_rmse" in rows[0]]
    return {
        "galaxies": "{n}",
        "RMSE": "{rmse:.3f}",
        "95 % interval": "{rmse_low:.3f} to {rmse_high:.3f}",
        **{_SHORT.get(kind, kind): f"{{{kind}_rmse:.3f}}" for kind in kinds},
        "minus constant": "{constant_difference_low:.3f} to {constant_difference_high:.3f}",
        "vote noise": "{noise_floor_rmse:.3f}",
        "MAE": "{mae:.3f}",
    }


def questions_table(metrics: Metrics) -> Table:
    """Lay out errors and likelihoods, a row a question."""
    rows = [
        {"question": name, **flatten(scores, "classification", "answers", "coverage")}
        for name, scores in {**metrics["questions"], ALL: metrics["overall"]}.items()
    ]
    columns = {
        "question": "{question}",
        **_error_columns(rows),
        "NLL": "{nll:.3f}",
        "constant's NLL": "{nll_constant:.3f}",
    }
    caption = (
        "RMSE of vote fractions by question, with its 95 % bootstrap interval over galaxies, and "
        "that of the baselines: one constant for all; the mean of one Dirichlet–multinomial for "
        "all; linear fits to hand-made features and to the frozen encoder. “Minus constant” is the "
        "interval of the paired difference to the constant. NLL: negative log likelihood of a "
        "galaxy's votes, in nats, by the model and by the one Dirichlet–multinomial."
    )
    return Table("metrics", caption, rows, columns, short_names(metrics["questions"]), ALL)


def answers_table(metrics: Metrics) -> Table:
    """Lay out errors, a row an answer."""
    rows = [
        {"question": name, "answer": answer, **flatten(scores)}
        for name, question in metrics["questions"].items()
        for answer, scores in question["answers"].items()
    ]
    columns = {"answer": "{question}: {answer}", **_error_columns(rows)}
    names = short_names(metrics["questions"])
    return Table("answers", "The same by answer.", rows, columns, names, shown="folded")


def classification_table(metrics: Metrics) -> Table:
    """Lay out accuracy, precision, recall and F1, a row a question and sample."""
    rows = [
        {"question": name, "galaxies": sample, **flatten(scores, "answers")}
        for sample in ("asked", "confident")
        for name, question in metrics["questions"].items()
        if (scores := question["classification"][sample])["n"]
    ]
    columns = {
        "question": "{question}",
        "galaxies": "{galaxies}",
        "n": "{n}",
        "accuracy": "{accuracy:.1%}",
        "majority": "{majority_accuracy:.1%}",
        "precision": "{precision_macro:.3f}",
        "recall": "{recall_macro:.3f}",
        "F1": "{f1_macro:.3f}",
        "majority's F1": "{majority_f1_macro:.3f}",
        "weighted: precision": "{precision_weighted:.3f}",
        "recall ": "{recall_weighted:.3f}",
        "F1 ": "{f1_weighted:.3f}",
        "majority's F1 ": "{majority_f1_weighted:.3f}",
    }
    caption = (
        "The model's most likely answer against the volunteers' most frequent one. Asked: "
        f"galaxies of which more than {ASKED:.0%} of the volunteers came to the question, with at "
        f"least {MIN_VOTES} votes; confident: at least {CONFIDENT_VOTES} votes of which more than "
        f"{CONFIDENT_FRACTION:.0%} agree. Precision, recall and F1 are means over answers, then "
        "weighted by how frequent they are. Majority: always the most frequent answer."
    )
    return Table("classification", caption, rows, columns, short_names(metrics["questions"]))


def truth_table(parts: Mapping[str, Metrics]) -> Table:
    """Lay out errors against simulated truth, a row a question."""
    rows = [{"question": name, **flatten(scores, "coverage")} for name, scores in parts.items()]
    columns = {
        "question": "{question}",
        "galaxies": "{n}",
        "RMSE of the model": "{rmse:.3f}",
        "95 % interval": "{rmse_low:.3f} to {rmse_high:.3f}",
        "RMSE of the votes": "{rmse_votes:.3f}",
    }
    caption = (
        "Errors against the fractions that the simulated volunteers were drawn from, without the "
        "noise of votes; beside them the error of the observed fractions themselves."
    )
    return Table("truth", caption, rows, columns, short_names(set(parts) - {ALL}), ALL)
