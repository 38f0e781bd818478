"""Simulated volunteers: what people would answer about the demo sky.

Fractions follow from what can be seen in the images: structure that the seeing washes out, or the
noise covers, gets fewer votes. Images are those of the simulated survey, or of another: a `View`
says how far away, how sharp and how deep galaxies are seen. Questions and answers are those of
Galaxy Zoo DECaLS.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from galaxymill.errors import unknown_name
from galaxymill.simulation.sky import generator
from galaxymill.trees.tree import Question, Tree

Values = npt.NDArray[np.float64]
Scores = Mapping[str, Values]

VOTES_SPREAD, FEWEST_VOTES = 0.11, 0.75
"""Standard deviation and least number of a galaxy's volunteers, relative to the mean."""


@dataclass(frozen=True)
class View:
    """How galaxies are shown; by default as the simulated survey shows them in r.

    Attributes
    ----------
    farther : float
        Times the distance: sizes shrink as much, fluxes with its square.
    seeing : float
        Full width at half maximum of a point source, arcsec.
    depth : float
        Magnitude of a point source of five times its noise.
    """

    farther: float = 1.0
    seeing: float = 1.2
    depth: float = 23.9


NEAR = View()


@dataclass(frozen=True)
class _Visible:
    """What can be seen of each galaxy: arrays of shape (n,)."""

    truth: Mapping[str, Values]
    kind: npt.NDArray[np.str_]
    clear: Values
    """How well the image shows structure: 0 not at all, 1 perfectly."""
    edge_on: Values
    """How much it looks like a disc seen from its edge."""
    arms: Values
    bar: Values
    ring: Values
    merging: Values


def true_fractions(truth: pa.Table, tree: Tree, view: View = NEAR) -> Values:
    """Expected share of each answer among the volunteers who are asked its question.

    Parameters
    ----------
    truth : pyarrow.Table
        From `galaxymill.simulation.sky.simulate_sky`, n rows.
    tree : Tree
        A Galaxy Zoo DECaLS tree; the release in the names (``-dr5``) does not matter.
    view : View
        Images that they are asked about.

    Returns
    -------
    ndarray, shape (n, n_answers), float64
        In the order of ``tree.columns``; each question's answers add up to 1.

    Raises
    ------
    UserError
        When the tree has another question or answer.
    """
    seen = _look(truth, view)
    fractions = np.empty((truth.num_rows, len(tree.columns)))
    for question in tree.questions:
        base = re.sub(r"-dr\d+$", "", question.name)
        if base not in _ANSWERS:
            raise unknown_name(f"tree {tree.name}", base, _ANSWERS, "question")
        fractions[:, question.slice] = _shares(question, _ANSWERS[base](seen))
    return fractions


def vote(
    truth: pa.Table, tree: Tree, seed: int = 1, votes_per_galaxy: int = 40, view: View = NEAR
) -> pa.Table:
    """Let volunteers walk the tree, from its root, for every galaxy.

    Parameters
    ----------
    truth, tree, view : pyarrow.Table, Tree, View
        See `true_fractions`, also for errors.
    seed : int
        Each galaxy's draws depend on it and on its ``object_id`` alone.
    votes_per_galaxy : int
        Mean number of volunteers; of 40 it scatters by 4.5 and never falls below 30.

    Returns
    -------
    pyarrow.Table
        ``object_id``, ``ra``, ``dec`` (degrees), then one int64 column of counts for each of
        ``tree.columns``. A question's counts add up to those of the answers leading to it.
    """
    fewest = max(round(FEWEST_VOTES * votes_per_galaxy), 1)
    fractions = true_fractions(truth, tree, view)
    counts = np.zeros(fractions.shape, np.int64)
    for row, object_id in enumerate(truth["object_id"].to_pylist()):
        rng = generator(seed, object_id, "votes")
        voters = max(round(votes_per_galaxy * rng.normal(1, VOTES_SPREAD)), fewest)
        for question in tree.questions:
            parents = list(tree.parents(question))
            asked = counts[row, parents].sum() if parents else voters
            counts[row, question.slice] = rng.multinomial(asked, fractions[row, question.slice])
    columns = {name: truth[name] for name in ("object_id", "ra", "dec")}
    answers = dict(zip(tree.columns, counts.T, strict=True))
    return pa.table(columns | {name: pa.array(column) for name, column in answers.items()})


def _shares(question: Question, scores: Scores) -> Values:
    """Turn scores into shares that add up to 1, in the question's order of answers."""
    lost = [answer for answer in question.answers if answer not in scores]
    if lost:
        raise unknown_name(f"question {question.name}", lost[0], scores, "answer")
    shares = np.stack([scores[answer] for answer in question.answers], axis=1)
    normalised: Values = shares / shares.sum(axis=1, keepdims=True)
    return normalised


def _sigmoid(value: Values) -> Values:
    return 1 / (1 + np.exp(-value))


def _bell(value: Values, centre: float, width: float | Values) -> Values:
    return np.asarray(np.exp(-(((value - centre) / width) ** 2)))


def _bells(
    value: Values, centres: Mapping[str, float], width: float | Values, floor: float
) -> Scores:
    """Scores of answers that each stand for a range of a value; ``floor`` is that of the others."""
    return {answer: floor + _bell(value, centre, width) for answer, centre in centres.items()}


def _look(truth: pa.Table, view: View) -> _Visible:
    names = [field.name for field in truth.schema if not pa.types.is_string(field.type)]
    t = {name: truth[name].to_numpy().astype(np.float64) for name in names}
    # As the simulated survey would show a galaxy of equal size beside its seeing, and of equal
    # brightness beside its depth.
    r90 = t["petro_r90"] / view.farther * (NEAR.seeing / view.seeing)
    mag_r = t["mag_r"] + 5 * np.log10(view.farther) + NEAR.depth - view.depth
    clear = _sigmoid((r90 - 4.5) / 1.1) * _sigmoid((19.6 - mag_r) / 0.5)
    face_on = np.sqrt(np.cos(np.radians(t["inclination"])))
    disc = 1 - t["bulge_fraction"]
    # Old stars hardly follow the arms, so they show as much as there is young light.
    young = np.sqrt(disc * t["young_fraction"])
    return _Visible(
        truth=t,
        kind=np.array(truth["kind"].to_pylist(), dtype=np.str_),
        clear=clear,
        edge_on=(disc > 0) * _sigmoid((0.30 - t["axis_ratio"]) / 0.035),
        arms=1.6 * t["arm_strength"] * young * face_on,
        bar=t["bar_strength"] * np.sqrt(disc) * face_on,
        ring=t["ring_strength"] * young * face_on,
        merging=t["tail_strength"] * np.sqrt(t["companion_flux_ratio"]),
    )


def _smooth_or_featured(s: _Visible) -> Scores:
    structure = np.sqrt(s.arms**2 + (0.75 * s.bar) ** 2 + (0.9 * s.ring) ** 2)
    structure = np.maximum(structure, np.maximum(0.85 * s.edge_on, 1.1 * s.merging))
    # Flattened and diffuse spheroids look a little like discs.
    floor = -2.6 + 1.4 * (1 - s.truth["axis_ratio"]) - 0.35 * (s.truth["sersic_index"] - 2.5)
    featured = 0.03 + 0.93 * _sigmoid(floor + 5.4 * structure * (0.3 + 0.7 * s.clear))
    artifact = 0.085 + 0.15 * (1 - s.clear)
    artifact = np.where(s.kind == "artifact", 0.6, artifact)
    return {
        "smooth": (1 - artifact) * (1 - featured),
        "featured-or-disk": (1 - artifact) * featured,
        "artifact": artifact,
    }


def _edge_on(s: _Visible) -> Scores:
    yes = 0.03 + 0.93 * s.edge_on * (0.5 + 0.5 * s.clear)
    # Volunteers who call a cigar featured take it for an edge-on disc.
    cigar = (s.truth["bulge_fraction"] == 1) * _sigmoid((0.42 - s.truth["axis_ratio"]) / 0.05)
    yes = np.maximum(yes, 0.6 * cigar)
    return {"yes": yes, "no": 1 - yes}


def _spiral(s: _Visible) -> Scores:
    yes = 0.04 + 0.93 * _sigmoid(-2.6 + 8 * s.arms * (0.35 + 0.65 * s.clear) + 0.8 * s.merging)
    return {"yes": yes, "no": 1 - yes}


def _bar(s: _Visible) -> Scores:
    seen = s.bar * (0.4 + 0.6 * s.clear)
    return {
        "strong": 0.02 + _bell(seen, 0.75, 0.22),
        "weak": 0.08 + _bell(seen, 0.38, 0.20),
        "no": 0.05 + _bell(seen, 0, 0.25),
    }


def _bulge_size(s: _Visible) -> Scores:
    centres = {"dominant": 0.85, "large": 0.55, "moderate": 0.3, "small": 0.13, "none": 0.02}
    return _bells(s.truth["bulge_fraction"], centres, 0.12 + 0.15 * (1 - s.clear), 0.02)


def _how_rounded(s: _Visible) -> Scores:
    centres = {"round": 0.95, "in-between": 0.62, "cigar-shaped": 0.25}
    # Seeing makes small galaxies rounder.
    seen = s.truth["axis_ratio"] + 0.15 * (1 - s.clear) * (1 - s.truth["axis_ratio"])
    return _bells(seen, centres, 0.2, 0.02)


def _edge_on_bulge(s: _Visible) -> Scores:
    seen = s.truth["bulge_fraction"] * (0.5 + 0.5 * s.clear)
    boxy = s.truth["bulge_boxiness"] > 2
    bulge = _sigmoid((seen - 0.15) / 0.05)
    return {
        "boxy": 0.03 + bulge * np.where(boxy, 0.6, 0.05),
        "none": 0.03 + 1 - bulge,
        "rounded": 0.03 + bulge * np.where(boxy, 0.4, 0.95),
    }


def _winding(s: _Visible) -> Scores:
    centres = {"tight": 12.0, "medium": 21.0, "loose": 31.0}
    pitch = np.where(s.truth["n_arms"] > 0, s.truth["pitch_angle"], 25.0)
    return _bells(pitch, centres, 7, 0.04)


def _arm_count(s: _Visible) -> Scores:
    counts = {"1": 1, "2": 2, "3": 3, "4": 4, "more-than-4": 5}
    seen = np.minimum(1, 1.5 * s.arms) * s.clear
    arms = s.truth["n_arms"]
    scores = {answer: 0.03 + seen * _bell(arms, count, 0.7) for answer, count in counts.items()}
    return {**scores, "cant-tell": 0.1 + 0.9 * (1 - seen)}


def _merging(s: _Visible) -> Scores:
    seen = s.merging * (0.6 + 0.4 * s.clear)
    return {
        "none": 0.05 + _bell(seen, 0, 0.15),
        "minor-disturbance": 0.06 + 0.5 * _bell(seen, 0.25, 0.15),
        "major-disturbance": 0.03 + 0.5 * _bell(seen, 0.5, 0.25),
        "merger": 0.02 + np.where(seen > 0, np.minimum(1.2, 0.36 + 1.2 * seen), 0.0),
    }


_ANSWERS: dict[str, Callable[[_Visible], Scores]] = {
    "smooth-or-featured": _smooth_or_featured,
    "disk-edge-on": _edge_on,
    "has-spiral-arms": _spiral,
    "bar": _bar,
    "bulge-size": _bulge_size,
    "how-rounded": _how_rounded,
    "edge-on-bulge": _edge_on_bulge,
    "spiral-winding": _winding,
    "spiral-arm-count": _arm_count,
    "merging": _merging,
}
