"""Volunteers as individuals: from an export to effective votes, pages, and nobody's name."""

import csv
import logging
import os
import stat

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from galaxymill.config.files import load_config
from galaxymill.errors import UserError
from galaxymill.labels.answer_table import AnswerSettings, ClassAnswerSettings
from galaxymill.labels.collect import LabelSettings, collect_labels
from galaxymill.labels.individual import SeenKeys
from galaxymill.labels.panoptes import PanoptesSettings
from galaxymill.labels.pseudonyms import VARIABLE, key_file, pseudonym, volunteers_key
from galaxymill.labels.table import read_votes
from galaxymill.models.settings import TrainSettings
from galaxymill.simulation.crowd import CrowdSettings, classify, recruit, user, write_export
from galaxymill.splits import SplitSettings
from galaxymill.training.train import train
from galaxymill.trees.tree import parse_tree
from galaxymill.volunteers.classes import dawid_skene
from galaxymill.volunteers.feedback import write_feedback
from galaxymill.volunteers.fit import fit_volunteers
from galaxymill.volunteers.question import Answered, fit_individuals
from galaxymill.volunteers.report import report_volunteers

TREE = {
    "name": "toy",
    "questions": {
        "featured": {"answers": ["yes", "no"]},
        "arms": {"answers": ["one", "two", "many"], "asked_after": ["featured_yes"]},
    },
}
ONE = {"name": "one", "questions": {"featured": {"answers": ["yes", "no"]}}}
KEY = "only for these tests"
N, VOTES, PEOPLE = 300, 12, 200


@pytest.fixture(autouse=True)
def key(monkeypatch, tmp_path):
    monkeypatch.setenv(VARIABLE, KEY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


@pytest.fixture(scope="module")
def crowd():
    tree, rng = parse_tree(TREE, "toy"), np.random.default_rng(3)
    parts = [rng.dirichlet(np.full(len(q.answers), 0.9), N) for q in tree.questions]
    fractions = np.clip(np.concatenate(parts, axis=1), 0.01, 0.99)
    people = recruit(CrowdSettings(volunteers=PEOPLE), tree, rng)
    return fractions, classify(people, fractions, tree, VOTES, rng), people


@pytest.fixture(scope="module")
def made(crowd, tmp_path_factory):
    """Everything that is made of an export, and what was logged meanwhile."""
    folder = tmp_path_factory.mktemp("crowd")
    tree = folder / "toy.yaml"
    tree.write_text(yaml.safe_dump(TREE))
    export, tasks = write_export(
        folder, [f"G{row:04d}" for row in range(N)], crowd[1], parse_tree(TREE, "toy")
    )
    out = folder / "results" / "labels" / "crowd"
    log, logger = folder / "log.txt", logging.getLogger("galaxymill")
    handler = logging.FileHandler(log)
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.DEBUG)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, KEY)
        settings = PanoptesSettings(tasks=tasks, object_id="name")
        collect_labels([export], tree, out / "votes.parquet", LabelSettings("panoptes", settings))
        individual = out / "individual.parquet"
        fit_volunteers(out / "answers.parquet", out / "votes.parquet", individual)
        report_volunteers(individual, out / "volunteers" / "report.html")
        write_feedback(individual, [], out / "feedback" / "feedback.csv")
    logger.setLevel(before)
    logger.removeHandler(handler)
    return folder, out


def table(path, rows, columns="object_id,volunteer,question,answer,created_at"):
    path.write_text("\n".join([columns, *rows]) + "\n")
    return path


@pytest.fixture
def collect(tmp_path):
    """Collect a table with one row per answer to one question, and fit it."""
    tree = tmp_path / "one.yaml"
    tree.write_text(yaml.safe_dump(ONE))

    def run(*rows, splits=None, **options):
        out = tmp_path / "labels" / "votes.parquet"
        source = table(tmp_path / "answers.csv", rows)
        chosen = LabelSettings(
            "answers", AnswerSettings(**options), splits=splits or SplitSettings(test=0, val=0.3)
        )
        collect_labels([source], tree, out, chosen)
        individual = out.with_name("individual.parquet")
        fit_volunteers(out.with_name("answers.parquet"), out, individual)
        people = pq.read_table(out.with_name("volunteers.parquet")).to_pandas()
        return pq.read_table(individual).to_pandas(), people

    return run


def test_answers_are_those_that_were_given(made, crowd):
    """The votes add up from them, and volunteers are whom the export says."""
    _, out = made
    answers = pq.read_table(out / "answers.parquet").to_pandas()
    given = crowd[1]
    assert len(answers) == (given.answers >= 0).sum()
    votes = read_votes(out / "votes.parquet")
    counted = answers.groupby(["object_id", "question", "answer"]).size()
    for (name, question, answer), count in counted.items():
        column = votes.task.columns.index(f"{question}_{answer}")
        assert votes.values[votes.rows()[name], column] == count
    traces = {
        pseudonym(
            f"id {who['user_id']}" if who["user_id"] else f"name {who['user_name']}", KEY.encode()
        )
        for who in map(user, np.unique(given.volunteer))
    }
    assert set(answers.volunteer) == traces
    assert answers.when.min().isoformat() == "2026-01-01T00:00:00+00:00"


def test_no_name_of_a_volunteer_is_anywhere(made, crowd):
    """Neither in a product, a page or a log; the export itself is not ours."""
    folder, out = made
    people = [user(who) for who in np.unique(crowd[1].volunteer)]
    words = {one["user_name"].encode() for one in people}
    words |= {one["user_ip"].encode() for one in people if not one["user_id"]}
    assert len(words) > PEOPLE
    files = [path for path in out.rglob("*") if path.is_file()] + [folder / "log.txt"]
    names = {path.name for path in files}
    assert {"answers.parquet", "volunteers.parquet", "individual.parquet"} < names
    assert {"report.html", "feedback.csv", "log.txt"} < names
    for path in files:
        texts = [path.read_bytes(), str(path.relative_to(folder)).encode()]
        if path.suffix == ".parquet":
            read = pq.read_table(path)
            texts += [str(read.to_pydict()).encode(), str(read.schema.metadata).encode()]
        for word in words:
            assert not any(word in text for text in texts), (path.name, word)


def test_fractions_are_nearer_to_the_truth(made, crowd):
    _, out = made
    fractions = crowd[0]
    individual, votes = pq.read_table(out / "individual.parquet"), read_votes(out / "votes.parquet")
    rows = [int(name[1:]) for name in votes.object_ids]
    raw = votes.values[:, 0] / votes.values[:, :2].sum(axis=1)
    said = individual["featured_yes_fraction"].to_numpy()
    truth = fractions[rows, 0]
    assert np.square(said - truth).mean() < 0.9 * np.square(raw - truth).mean()
    assert np.allclose(said + individual["featured_no_fraction"].to_numpy(), 1, atol=1e-5)


def test_who_was_not_asked_has_no_votes(made):
    _, out = made
    table = pq.read_table(out / "individual.parquet").to_pandas()
    votes = read_votes(out / "votes.parquet")
    nobody = votes.values[:, 2:].sum(axis=1) == 0
    assert nobody.any()
    assert table["arms_one_fraction"].isna().to_numpy().tolist() == nobody.tolist()
    assert (table["arms_one"][nobody] == 0).all()
    assert read_votes(out / "individual.parquet").values.shape == votes.values.shape


def test_effective_votes_of_an_ideal_crowd_are_its_votes():
    """A binomial sample of volunteers without bias is worth itself (but for slips)."""
    rng = np.random.default_rng(1)
    truth, n, people = rng.uniform(0.1, 0.9, 400), 20, 80
    galaxy = np.repeat(np.arange(400), n)
    volunteer = np.argsort(rng.random((400, people)), axis=1)[:, :n].ravel()
    answer = (rng.random(len(galaxy)) > truth[galaxy]).astype(int)
    given = (torch.from_numpy(one) for one in (galaxy, volunteer, answer))
    found = fit_individuals(Answered(*given, 2, torch.ones(400, dtype=torch.bool), people))
    assert abs(found.votes.sum(1).mean().item() / n - 1) < 0.1
    counts = np.bincount(2 * galaxy + answer, minlength=800).reshape(400, 2)
    shares = found.votes / found.votes.sum(1, keepdim=True)
    assert np.abs(shares.numpy() - counts / n).max() < 0.05
    assert found.careless.max() < 0.5
    assert (found.bias.abs() < 3 * found.bias_error).float().mean() > 0.97


def test_what_is_judged_never_enters_the_fit(collect, tmp_path):
    """Other answers on galaxies of the test split change no volunteer and no other galaxy."""
    rng = np.random.default_rng(5)
    rows, splits = [], SplitSettings(train=0.6, val=0.1, test=0.3)
    for galaxy in range(60):
        share = rng.random()
        for who in rng.permutation(20)[:10]:
            answer = "yes" if rng.random() < share else "no"
            rows.append(f"G{galaxy:03d},ann{who},featured,{answer},")
    galaxies, people = collect(*rows, splits=splits)
    tested = set(galaxies.object_id[galaxies.split == "test"])
    assert 5 < len(tested) < 40
    turned = [
        row.replace(",yes,", ",NO,").replace(",no,", ",yes,").replace(",NO,", ",no,")
        if row[:4] in tested
        else row
        for row in rows
    ]
    assert turned != rows
    after, others = collect(*turned, splits=splits)
    same = [name for name in people.columns if name not in ("n", "given")]
    assert people[same].equals(others[same])
    learned = (galaxies.split != "test").to_numpy()
    assert galaxies[learned].equals(after[learned])
    assert not galaxies[~learned].equals(after[~learned])


def test_bad_rows_are_told_and_left_out(collect, caplog):
    caplog.set_level(logging.INFO, "galaxymill")
    galaxies, people = collect(
        "A,ann,featured,yes,2026-01-01 10:00:00 UTC",
        "A,ann,featured,no,2026-01-01 10:00:01 UTC",
        "A,bob,featured,,",
        "A,,featured,yes,",
        "A,,featured,yes,never",
        "A,nan,featured,no,",
        "B,ann,featured,maybe,",
        "B,ann,shape,yes,",
        "B,bob,featured,no,",
    )
    assert galaxies.object_id.tolist() == ["A", "B"]
    # Nobody knows who left no trace: three people who came once.
    assert people.volunteer.nunique() == 5
    assert "1 repeated by the same volunteer" in caplog.text
    assert "answers that are not known: 'featured maybe' (1), 'shape yes' (1)" in caplog.text


def test_answers_by_the_tables_own_words(collect, shared_data, tmp_path):
    """Real votes of a project, whose answers are Yes! and No., and where people come again."""
    with (shared_data / "volunteer_votes/answers.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    pairs = {(row["subject_id"], row["volunteer"]) for row in rows if row["answer"]}
    galaxies, people = collect(
        *(
            f"{r['subject_id']},{r['volunteer']},featured,{r['answer']},{r['created_at']}"
            for r in rows
        ),
        answers={"Yes!": "yes", "No.": "no"},
    )
    answers = pq.read_table(tmp_path / "labels/answers.parquet")
    assert answers.num_rows == len(pairs) == people[people.answer == "yes"].n.sum()
    assert answers["when"].null_count == 0
    assert len(galaxies) == len({subject for subject, _ in pairs})


def test_people_of_every_kind(collect):
    """One answer, thousands, always the same: all stay, and get finite numbers."""
    rng, rows = np.random.default_rng(2), []
    for galaxy in range(300):
        share = (galaxy % 10 + 0.5) / 10
        rows.append(f"G{galaxy:03d},always,featured,yes,")
        rows += [
            f"G{galaxy:03d},ann{who},featured,{'yes' if rng.random() < share else 'no'},"
            for who in range(8)
        ]
        rows.append(f"G{galaxy:03d},once{galaxy},featured,no,")
    galaxies, people = collect(*rows)
    assert np.isfinite(galaxies.drop(columns=["object_id", "split"]).to_numpy()).all()
    numbers = people.drop(columns=["volunteer", "question", "answer"])
    assert np.isfinite(numbers.to_numpy()).all()
    always = people[(people.n == 300) & (people.given == 300)]
    assert len(always) == 1
    assert always.careless.item() > 0.9
    assert (people[people.n == 1].careless < 0.9).all()
    regulars = people[(people.n == 300) & (people.given > 0) & (people.given < 300)]
    assert regulars.careless.max() < 0.1


def test_groups_that_never_meet_are_numbered(collect, caplog):
    rows = [f"A{g},ann{v},featured,{'yes' if g % 2 else 'no'}," for g in range(9) for v in range(6)]
    rows += [
        f"B{g},bob{v},featured,{'yes' if g % 2 else 'no'}," for g in range(5) for v in range(4)
    ]
    _, people = collect(*rows)
    sizes = people.groupby("component").volunteer.nunique().tolist()
    assert sizes == [6, 4]
    assert "2 groups of volunteers have no galaxy in common (6, 4, …)" in caplog.text


def test_classes_by_dawid_and_skene(tmp_path):
    """Where one answer is right, and a few are bad at it, it beats the majority."""
    rng = np.random.default_rng(4)
    truth, people, n = rng.integers(3, size=500), 40, 5
    right = np.where(np.arange(people) < 14, 0.9, 0.45)
    source, rows = tmp_path / "classes.csv", []
    for galaxy, kind in enumerate(truth):
        for who in rng.permutation(people)[:n]:
            name = kind if rng.random() < right[who] else (kind + rng.integers(1, 3)) % 3
            rows.append(f"G{galaxy:03d},ann{who},c{name}")
    table(source, rows, "object_id,volunteer,answer")
    out = tmp_path / "labels" / "votes.parquet"
    settings = ClassAnswerSettings(column="kind")
    collect_labels([source], None, out, LabelSettings("class_answers", settings))
    individual = out.with_name("individual.parquet")
    fit_volunteers(out.with_name("answers.parquet"), out, individual)
    majority, better = read_votes(out), read_votes(individual)
    assert better.task == majority.task
    share = [(one.values.argmax(axis=1) == truth).mean() for one in (majority, better)]
    assert share[1] > share[0] + 0.03
    assert np.allclose(better.values.sum(axis=1), 1, atol=1e-5)
    found = pq.read_table(out.with_name("volunteers.parquet")).to_pandas()
    skill = found.groupby("volunteer").skill.first()
    good = {pseudonym(f"name ann{who}", KEY.encode()) for who in range(14)}
    assert skill[skill.index.isin(good)].mean() > skill[~skill.index.isin(good)].mean() + 0.25
    report_volunteers(individual, tmp_path / "page" / "report.html")


def test_confusions_are_those_of_known_classes():
    """With very many answers the confusions are their shares, whatever the order."""
    rng = np.random.default_rng(6)
    truth = rng.integers(2, size=800)
    galaxy, volunteer = (part.ravel() for part in np.mgrid[:800, :12])
    wrong = rng.random(len(galaxy)) < np.linspace(0.02, 0.4, 12)[volunteer]
    answer = np.where(wrong, 1 - truth[galaxy], truth[galaxy])
    tensors = [torch.from_numpy(part) for part in (galaxy, volunteer, answer)]
    found = dawid_skene(Answered(*tensors, 2, torch.ones(800, dtype=torch.bool), 12))
    shares = [(~wrong[volunteer == one]).mean() for one in range(12)]
    assert np.abs(found.skill()[0].numpy() - shares).max() < 0.03


def test_the_key_is_made_once_and_for_its_owner(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE)
    key = volunteers_key(tmp_path / "out/votes.parquet")
    assert stat.S_IMODE(os.stat(key_file()).st_mode) == 0o600
    assert volunteers_key(tmp_path / "out/votes.parquet") == key
    assert pseudonym("name ann", key) != pseudonym("name ann", KEY.encode())
    key_file().chmod(0o644)
    with pytest.raises(UserError, match="others may read this key; run: chmod 600"):
        volunteers_key(tmp_path / "out/votes.parquet")
    monkeypatch.setenv(VARIABLE, "short")
    with pytest.raises(UserError, match="has 5 characters; allowed: at least 16"):
        volunteers_key(tmp_path / "out/votes.parquet")


def test_the_key_never_lies_among_the_results(monkeypatch, tmp_path):
    monkeypatch.delenv(VARIABLE)
    out = tmp_path / "results/labels/crowd/votes.parquet"
    out.parent.mkdir(parents=True)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "results"))
    with pytest.raises(UserError, match="would lie among the results"):
        volunteers_key(out)
    assert not key_file().exists()


def test_products_of_different_fits_are_not_mixed(made, tmp_path):
    _, out = made
    for name in ("votes", "answers", "volunteers", "individual"):
        (tmp_path / f"{name}.parquet").write_bytes((out / f"{name}.parquet").read_bytes())
    rows = pq.read_table(tmp_path / "answers.parquet")
    pq.write_table(rows, tmp_path / "plain.parquet")
    with pytest.raises(UserError, match="made by labels; what is needed here is made by"):
        report_volunteers(tmp_path / "votes.parquet", tmp_path / "page/report.html")
    with pytest.raises(UserError, match="no such volunteer"):
        write_feedback(out / "individual.parquet", [], tmp_path / "f/list.csv", ["nobody"])


@pytest.mark.parametrize(
    ("name", "counts", "way_out"),
    [
        ("votes", "individuals", "give individual.parquet"),
        ("individual", "votes", "to individuals"),
    ],
)
def test_a_network_learns_what_it_says(made, tmp_path, name, counts, way_out):
    settings = TrainSettings(encoder="resnet10t", counts=counts)
    with pytest.raises(UserError, match=way_out):
        train([made[1] / f"{name}.parquet"], [], tmp_path / "model/model.yaml", settings)


def test_labels_that_do_not_say_who_answered_are_refused(trees):
    config = {
        "labels": {"plain": {"votes": "v.csv", "tree": "rings", "images": {"folder": "f"}}},
        "models": {
            "m": {"labels": "plain", "train": {"encoder": "resnet10t", "counts": "individuals"}}
        },
    }
    with pytest.raises(UserError, match=r"models\.m\.train\.counts: labels plain of format counts"):
        load_config(config, "config", trees)


def test_seen_keys_are_a_set():
    seen, plain = SeenKeys(), set()
    rng = np.random.default_rng(1)
    for number in rng.integers(20_000, size=40_000).tolist():
        assert seen.add("a", str(number)) == (number not in plain)
        plain.add(number)


def test_an_unknown_answer_of_the_settings_is_refused(collect):
    with pytest.raises(UserError, match=r"answers: perhaps: no answer of tree one"):
        collect("A,ann,featured,yes,", answers={"Yes": "perhaps"})


def test_a_table_without_known_answers_is_refused(collect):
    with pytest.raises(UserError, match=r"no answer counts; not known are: 'featured Yes!' \(1\)"):
        collect("A,ann,featured,Yes!,")


def test_times_of_every_spelling(collect, tmp_path):
    collect(
        "A,ann,featured,yes,2026-01-01 10:00:00 UTC",
        "A,bob,featured,yes,2026-01-01T10:00:00Z",
        "A,cid,featured,yes,2026-01-01 10:00:00.123",
        "A,dan,featured,yes,yesterday",
    )
    when = pq.read_table(tmp_path / "labels/answers.parquet")["when"]
    assert when.null_count == 1
    assert len(pa.compute.unique(when.drop_null())) == 1
