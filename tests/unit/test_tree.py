"""Decision trees: those known by name are the published ones, and a bad tree file is refused."""

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from galaxymill.errors import UserError
from galaxymill.trees.tree import find_tree, load_tree, parse_tree
from galaxymill.yaml_file import MAX_YAML_BYTES

TREES = [
    "candels",
    "cosmic_dawn",
    "decals_dr12",
    "decals_dr5",
    "decals_dr8",
    "desi",
    "euclid",
    "gz2",
    "hubble",
    "jwst_ceers",
    "jwst_cosmos",
    "rings",
    "ukidss",
]


@pytest.fixture(scope="session")
def published(root):
    path = root.parent / "shared" / "reference" / "decision_trees.json"
    if not path.is_file():
        pytest.skip("no reference trees beside the checkout")
    return json.loads(path.read_text(encoding="utf-8"))


def test_thirteen_trees_are_known(trees):
    assert sorted(path.stem for path in trees.glob("*.yaml")) == TREES


@pytest.mark.parametrize("name", TREES)
def test_tree_is_as_published(trees, published, name):
    tree = load_tree(trees / f"{name}.yaml")
    assert tree.name == name
    expected = published[name]["questions"]
    assert {q.name: list(q.answers) for q in tree.questions} == expected
    for question in tree.questions:
        parents = published[name]["asked_after"].get(question.name, [])
        assert sorted(question.asked_after) == sorted(parents)


def test_trees_as_volunteers_saw_them_are_not_simplified(trees):
    whole = {"gz2", "decals_dr12", "decals_dr5", "decals_dr8", "desi", "rings"}
    told = {path.stem for path in trees.glob("*.yaml") if not load_tree(path).simplified}
    assert told == whole


@pytest.mark.parametrize("name", TREES)
def test_parents_come_before_their_children(trees, name):
    tree = load_tree(trees / f"{name}.yaml")
    for question in tree.questions:
        assert all(index < question.start for index in tree.parents(question))
        assert tree.columns[question.slice] == question.columns


@pytest.mark.parametrize("name", TREES)
def test_plain_form_round_trips(trees, name):
    tree = load_tree(trees / f"{name}.yaml")
    assert parse_tree(tree.to_dict(), name) == tree


def asked(answers=("yes", "no"), after=()):
    return {"answers": list(answers), "asked_after": list(after)}


def form(**questions):
    return {"name": "toy", "questions": questions}


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        (
            {**form(a=asked()), "colour": 1},
            "colour: unknown key; allowed: name, q",
        ),
        (form(a={**asked(), "asked_befor": []}), r"questions\.a\.asked_befor"),
        (form(a=asked(["yes", "yes"])), "answers given twice: a_yes"),
        (form(a_b=asked(["c", "d"]), a=asked(["b_c", "e"])), "given twice: a_b_c"),
        (form(a=asked(after=["b_maybe"]), b=asked()), r"a: asked_after names no.*b_maybe"),
        (form(a=asked(after=["b_yes"]), b=asked(after=["a_no"])), "lead to themselves: a, b"),
        (form(a=asked(after=["a_yes"])), "lead to themselves: a"),
        (form(a=asked(["only"])), "at least 2"),
        (form(), "at least 1"),
        ({"questions": {"a": asked()}}, "name: this key is required"),
        ("a string", "top level"),
        (None, "top level"),
        ([1, 2], "top level"),
    ],
)
def test_bad_tree_is_refused(tmp_path, plain, message):
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(plain), encoding="utf-8")
    with pytest.raises(UserError, match=message) as refusal:
        load_tree(path)
    assert str(path) in str(refusal.value)


def test_absent_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        load_tree(tmp_path / "no.yaml")


@pytest.mark.parametrize("content", [b"name: [", b"\xff\xfe\x00", b"name: !!python/none x"])
def test_not_yaml_is_refused(tmp_path, content):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not valid YAML"):
        load_tree(path)


def test_too_large_a_file_is_refused_unread(tmp_path):
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (MAX_YAML_BYTES + 1))
    with pytest.raises(UserError, match="too large for a tree"):
        load_tree(path)


def test_unknown_question_names_those_there_are():
    tree = parse_tree(form(a=asked(), b=asked()), "toy")
    with pytest.raises(UserError, match="no question 'c'; its questions are: a, b"):
        tree.question("c")


@given(st.permutations(range(7)))
def test_any_order_in_the_file_puts_parents_first(order):
    chain = {f"q{i}": asked(after=[f"q{i - 1}_yes"] if i else []) for i in range(7)}
    tree = parse_tree(form(**{f"q{i}": chain[f"q{i}"] for i in order}), "toy")
    assert [question.name for question in tree.questions] == [f"q{i}" for i in range(7)]
    assert [question.start for question in tree.questions] == list(range(0, 14, 2))


def test_file_order_stays_when_parents_are_first_already():
    plain = form(a=asked(), b=asked(after=["a_yes"]), c=asked())
    assert [question.name for question in parse_tree(plain, "toy").questions] == ["a", "b", "c"]


def test_a_question_written_twice_is_refused(tmp_path):
    """YAML alone would take the last one silently."""
    path = tmp_path / "toy.yaml"
    path.write_text("name: t\nquestions:\n  a: {answers: [x, y]}\n  a: {answers: [v, w]}\n")
    with pytest.raises(UserError, match=r"twice|duplicate"):
        load_tree(path)


def test_nesting_without_end_is_refused(tmp_path):
    path = tmp_path / "deep.yaml"
    path.write_text("[" * 20_000)
    with pytest.raises(UserError):
        load_tree(path)


def test_a_tree_is_found_by_name_or_path(trees, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("toy.yaml", "toy.yml", "gz2"):
        (tmp_path / name).write_text("")
    assert find_tree("gz2", trees, "tree") == trees / "gz2.yaml"
    assert find_tree("toy.yaml", trees, "tree") == Path("toy.yaml")
    assert find_tree("toy.yml", trees, "tree") == Path("toy.yml")
    assert find_tree(str(tmp_path / "gz2"), trees, "tree") == tmp_path / "gz2"
    for name in ("gz3", "other.yaml", "my/gz2"):
        with pytest.raises(UserError, match=f"--tree: unknown tree '{name}'; allowed: candels"):
            find_tree(name, trees, "--tree")
