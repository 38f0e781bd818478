"""The page for rating, used in a browser as people do: keys, mouse, touch, and when things fail."""

import re
import resource
import sys
import threading
from pathlib import Path

import pytest

from galaxymill.interest.page.opened import open_server
from galaxymill.interest.ratings import read_ratings

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from rated_survey import Client, Program, RatedSurvey, is_odd

GALAXIES = 200
ENDLESS = resource.RLIM_INFINITY


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    survey = RatedSurvey(tmp_path_factory.mktemp("rated"))
    survey.add_galaxies(GALAXIES)
    return survey


@pytest.fixture
def server(survey):
    survey.ratings.unlink(missing_ok=True)
    with survey.open() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


class Visit:
    """A page before a rater, and what went wrong on it."""

    def __init__(self, browser, address, name="Ann", **options):
        self.context = browser.new_context(**options)
        self.context.set_default_timeout(8000)
        self.page, self.asked, self.wrong = self.context.new_page(), [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: self.wrong.append(said.text))
        self.page.goto(address)
        if name:
            self.page.fill("#name", name)
            self.page.keyboard.press("Enter")
            self.until("document.body.dataset.batch === '1'")

    def until(self, met):
        """Wait; the page's policy forbids Playwright's own way."""
        for _ in range(400):
            if self.page.evaluate(met):
                return
            self.page.wait_for_timeout(25)
        raise AssertionError(met)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def ids(self):
        return self.page.eval_on_selector_all("#grid .cell", "all => all.map(one => one.title)")

    def badges(self):
        return self.page.eval_on_selector_all(
            "#grid .cell",
            "all => all.map(one => one.querySelector('.badge:not([hidden])')?.textContent)",
        )

    def marked(self):
        return self.page.eval_on_selector("#grid .marked", "one => one.title")

    def kept(self):
        """Wait until nothing is on its way."""
        self.until("!document.querySelector('.waiting')")


@pytest.fixture
def visit(server, browser):
    visit = Visit(browser, server.address)
    yield visit
    assert visit.wrong == []
    visit.context.close()


def said(survey, rater="Ann"):
    return read_ratings([survey.ratings]).by_rater.get(rater, {})


def test_keys_rate_and_the_mark_moves_on(survey, visit):
    ids = visit.ids()
    assert len(ids) == 30
    visit.press("0", "5", "3", "4", "1", "2")
    visit.kept()
    assert said(survey) == dict(zip(ids, [0, 5, 3, 4, 1, 2], strict=False))
    assert visit.badges()[:7] == ["0", "5", "3", "4", "1", "2", None]
    assert visit.marked() == ids[6]
    visit.press("ArrowLeft", "ArrowLeft", "2")
    visit.kept()
    assert said(survey)[ids[4]] == 2
    # The next that is not rated.
    assert visit.marked() == ids[6]
    visit.press("ArrowDown", "ArrowUp", "ArrowRight")
    assert visit.marked() == ids[7]
    focused = visit.page.evaluate("document.activeElement.ariaLabel")
    assert focused == f"Galaxy {ids[7]}, not rated"


def test_undo_brings_back_what_was_there_before(survey, visit):
    ids = visit.ids()
    visit.press("3", "ArrowLeft", "5", "x", "u", "u")
    visit.kept()
    assert said(survey) == {ids[0]: 3}
    assert visit.marked() == ids[0]
    assert visit.badges()[:2] == ["3", None]
    visit.press("u", "u")
    visit.kept()
    assert said(survey) == {}
    assert "nothing to undo" in visit.page.inner_text("#note")


def test_an_artifact_is_noted(survey, visit):
    ids = visit.ids()
    visit.press("x")
    visit.kept()
    assert said(survey) == {ids[0]: 0}
    assert read_ratings([survey.ratings]).artifacts == {"Ann": {ids[0]}}
    assert visit.badges()[0] == "×"


def test_all_are_rated_then_others_come_that_are_alike(survey, visit):
    for number in range(1, 4):
        visit.press(*("5" if is_odd(name) else "0" for name in visit.ids()))
        visit.kept()
        assert "All are rated" in visit.page.inner_text("#note")
        assert visit.page.evaluate("document.activeElement.id") == "next"
        visit.press("Enter")
        visit.until(f"document.body.dataset.batch === '{number + 1}'")
    assert len(said(survey)) == 90
    visit.until("document.querySelectorAll('#best .cell').length > 5")
    best = visit.page.eval_on_selector_all("#best .cell", "all => all.map(one => one.title)")
    assert set(best) == {name for name, rating in said(survey).items() if rating == 5}
    progress = visit.page.inner_text("#progress")
    assert progress.startswith(f"90 rated by you, 90 by all; {len(best)} found")


def test_mouse_and_touch(survey, server, browser):
    visit = Visit(browser, server.address, has_touch=True)
    ids, page = visit.ids(), visit.page
    page.click("#grid .cell >> nth=4")
    assert visit.marked() == ids[4]
    page.click("#bar .ratings button >> nth=5")
    page.tap("#grid .cell >> nth=9")
    page.tap("#bar .ratings button >> nth=1")
    page.tap("#never")
    page.tap("#undo")
    visit.kept()
    assert said(survey) == {ids[4]: 5, ids[9]: 1}
    page.dblclick("#grid .cell >> nth=2")
    page.wait_for_selector("#closer[open]")
    assert page.inner_text("#closer-id") == re.sub(r"\s", " ", ids[2])
    page.tap("#closer .ratings button >> nth=3")
    visit.kept()
    assert said(survey)[ids[2]] == 3
    # The next one is looked at as closely.
    assert page.inner_text("#closer-id") == re.sub(r"\s", " ", ids[3])
    page.tap("#close")
    page.tap("#next")
    visit.until("document.body.dataset.batch === '2'")
    assert visit.wrong == []
    visit.context.close()


def test_one_looks_closer_by_keyboard_and_rates_there(survey, visit):
    ids = visit.ids()
    visit.press("z", "4", "ArrowRight")
    assert visit.page.inner_text("#closer-id") == re.sub(r"\s", " ", ids[2])
    visit.press("1", "Escape")
    visit.page.wait_for_selector("#closer:not([open])", state="attached")
    visit.kept()
    assert said(survey) == {ids[0]: 4, ids[2]: 1}


def test_who_comes_back_is_known_and_finds_the_same_galaxies(server, survey, visit):
    ids = visit.ids()
    visit.press("4", "2")
    visit.kept()
    visit.page.goto(server.address)
    visit.until("document.body.dataset.batch === '1'")
    assert not visit.page.is_visible("#who")
    assert visit.page.inner_text("#rater") == "Ann"
    assert visit.ids() == ids
    assert visit.badges()[:3] == ["4", "2", None]
    assert visit.marked() == ids[2]
    visit.page.click("#rename")
    visit.page.fill("#name", "Bob")
    visit.press("Enter")
    visit.until("document.body.dataset.batch === '2'")
    visit.press("5")
    visit.kept()
    assert len(said(survey, "Bob")) == 1
    assert len(said(survey)) == 2


def test_two_people_at_once(server, survey, browser):
    ann, bob = (Visit(browser, server.address, name) for name in ("Ann", "Bob"))
    assert not set(ann.ids()) & set(bob.ids())
    for key in "012345":
        ann.press(key)
        bob.press(key)
    for one in (ann, bob):
        one.kept()
    assert said(survey, "Ann") == dict(zip(ann.ids(), range(6), strict=False))
    assert said(survey, "Bob") == dict(zip(bob.ids(), range(6), strict=False))
    for one in (ann, bob):
        assert one.wrong == []
        one.context.close()


def test_clicks_that_a_full_disk_did_not_keep_are_told_and_kept_later(survey, browser):
    survey.ratings.unlink(missing_ok=True)
    program = Program(survey)
    try:
        visit = Visit(browser, program.address)
        ids, page = visit.ids(), visit.page
        visit.press("1")
        visit.kept()
        before = survey.ratings.read_text()
        room = (survey.ratings.stat().st_size + 5, ENDLESS)
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, room)
        visit.press("2", "3")
        visit.until("!document.querySelector('#alarm').hidden")
        assert re.match("[12] not kept: File too large", page.inner_text("#alarm"))
        assert page.locator("#grid .waiting").count() in (1, 2)
        assert survey.ratings.read_text() == before
        # The page is left and opened again: what was not kept is sent then.
        page.on("dialog", lambda dialog: dialog.accept())
        page.goto(program.address)
        visit.until("document.body.dataset.batch === '1'")
        resource.prlimit(program.process.pid, resource.RLIMIT_FSIZE, (ENDLESS, ENDLESS))
        visit.until("document.querySelector('#alarm').hidden")
        visit.kept()
        visit.until("!Object.keys(localStorage).includes('galaxymill rate odd')")
        assert said(survey) == dict(zip(ids, [1, 2, 3], strict=False))
        visit.context.close()
    finally:
        program.kill()


def test_clicks_that_a_killed_server_did_not_keep_are_kept_by_the_next(survey, browser):
    survey.ratings.unlink(missing_ok=True)
    program = Program(survey)
    visit = Visit(browser, program.address)
    port = Client(program.address).parts.port
    ids = visit.ids()
    visit.press("5")
    visit.kept()
    program.kill()
    visit.press("4", "3")
    visit.until("document.querySelector('#alarm').textContent.includes('does not answer')")
    with open_server(survey.request(), port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        visit.page.on("dialog", lambda dialog: dialog.accept())
        visit.page.goto(server.address)
        visit.until("document.body.dataset.batch === '1'")
        visit.kept()
        visit.until("document.querySelector('#progress').textContent.startsWith('3 rated')")
        server.shutdown()
    assert said(survey) == dict(zip(ids, [5, 4, 3], strict=False))
    visit.context.close()


def test_it_asks_for_nothing_elsewhere_and_runs_nothing_of_others(server, visit):
    page = visit.page
    page.wait_for_selector("#grid img")
    outside = [one for one in visit.asked if not one.startswith((server.address, "data:"))]
    assert outside == []
    assert len(visit.asked) > 30
    assert page.evaluate("window.hacked") is None
    ran = page.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
        " document.body.append(one); return window.ran === undefined }"
    )
    assert ran
    assert any("Content Security Policy" in text for text in visit.wrong)
    visit.wrong.clear()


def test_names_of_any_letters_are_text(survey, server, browser):
    good, _ = survey.ids()
    client = Client(server.address, "eve")
    hostile = [name for name in good if set(name) & set('<>"')]
    for name in hostile:
        assert client.rate(name, 5)[0] == 200
    visit = Visit(browser, server.address, "<b>Ann</b>")
    visit.until(f"document.querySelectorAll('#best .cell').length === {len(hostile)}")
    best = visit.page.eval_on_selector_all("#best .cell", "all => all.map(one => one.title)")
    assert set(best) == set(hostile)
    assert visit.page.inner_text("#rater") == "<b>Ann</b>"
    visit.page.click("#best .cell >> nth=0")
    assert visit.page.inner_text("#closer-id") == best[0]
    visit.press("1")
    visit.kept()
    assert said(survey, "<b>Ann</b>") == {best[0]: 1}
    assert visit.page.evaluate("window.hacked") is None
    assert visit.wrong == []
    visit.context.close()


def test_a_galaxy_without_image_is_grey(survey, server, browser):
    server.desk._pictures.get = lambda number: None
    visit = Visit(browser, server.address)
    visit.until("document.querySelectorAll('#grid .grey').length === 30")
    assert visit.page.inner_text("#grid .grey >> nth=0") == "no image"
    visit.press("1")
    visit.kept()
    assert len(said(survey)) == 1
    visit.context.close()


def test_everything_has_a_name_and_one_cell_is_in_the_order_of_tabs(visit):
    page = visit.page
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input')].filter(one =>"
        " !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).length"
    )
    assert unnamed == 0
    assert page.locator("#grid .cell[tabindex='0']").count() == 1
    roles = page.evaluate("['note', 'alarm'].map(id => document.getElementById(id).role)")
    assert roles == ["status", "alert"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_screen_in_light_and_dark(server, browser, scheme):
    options = {"viewport": {"width": 390, "height": 800}, "color_scheme": scheme}
    visit = Visit(browser, server.address, "A" * 60, **options)
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", paper))) > 600 if scheme == "light" else "18" in paper
    # What one rates by is always in sight.
    box = visit.page.locator("#bar").bounding_box()
    assert box["y"] + box["height"] <= 800
    assert visit.wrong == []
    visit.context.close()
