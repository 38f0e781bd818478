"""An explorer, used in a browser as people do, from disk and from a web server."""

import base64
import csv
import functools
import json
import re
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from galaxymill.catalog.partition import part_files
from galaxymill.errors import UserError
from galaxymill.explorer.coding import direction_codes, directions, worth_of
from galaxymill.release.settings import ReleaseSettings
from galaxymill.release.tables.selections import select

sys.path.append(str(Path(__file__).parent))  # helpers beside the tests
from looked_survey import HOSTILE, SELECTIONS, WIDTH, LookedSurvey

GALAXIES = 700
SMOOTH = "smooth-or-featured_smooth_fraction"
MEAN = {"rmse": 0.123, "baselines": {"constant": {"rmse": 0.345}}}
QUALITY = {"mean_of_questions": MEAN, "n_test": 456}


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    survey = LookedSurvey(tmp_path_factory.mktemp("looked"))
    survey.add_galaxies(GALAXIES)
    metrics = survey.evaluate("toy", QUALITY)
    survey.release(metrics=[metrics], selections=SELECTIONS, title="A sky <b>to</b> look at")
    survey.slice_all()
    survey.build(metrics=[metrics])
    return survey


class Visit:
    """A page, what it asked for, and what went wrong on it."""

    def __init__(self, browser, address, fragment="", **options):
        context = browser.new_context(accept_downloads=True, **options)
        context.set_default_timeout(6000)
        self.page, self.asked, self.wrong = context.new_page(), [], []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: self.wrong.append(said.text))
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.goto(f"{address}{fragment}")
        self.page.wait_for_selector("body[data-ready]")

    def count(self):
        return int(self.page.inner_text("#count").split(" of ")[0].replace(",", ""))

    def choose(self, fragment):
        """Set what is chosen by the address, as a colleague who was sent it does."""
        go = "hash => { history.replaceState(null, '', hash); return recall() }"
        self.page.evaluate(go, fragment)
        return self.count()

    def wait_for_title(self, text):
        self.until(f"document.querySelector('#gallery-title').textContent.includes('{text}')")

    def until(self, met):
        """Wait; the page's policy forbids Playwright's own way."""
        for _ in range(200):
            if self.page.evaluate(met):
                return
            self.page.wait_for_timeout(30)
        raise AssertionError(met)

    def table(self, button):
        with self.page.expect_download() as taken:
            self.page.click(button)
        with open(taken.value.path(), newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))

    def text(self, button):
        self.page.click(button)
        text = self.page.input_value("#text")
        self.page.click("#texts button")
        return text


def address_of(survey, name="explorer"):
    return (survey.root / name / "index.html").as_uri()


@pytest.fixture
def visit(survey, browser):
    visit = Visit(browser, address_of(survey))
    yield visit
    assert visit.wrong == []
    visit.page.context.close()


@pytest.fixture(scope="module")
def served(survey):
    handler = functools.partial(QuietHandler, directory=str(survey.root / "explorer"))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/index.html"
    server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def advanced(survey):
    return survey.root / "releases" / "dr1" / "advanced.parquet"


def counted(survey, where, table="advanced"):
    file = advanced(survey).with_name(f"{table}.parquet")
    return duckdb.sql(f"SELECT count(*) FROM '{file}' WHERE {where}").fetchall()[0][0]


def slices(survey):
    files = part_files(survey.partitions, survey.root / "slices")
    return pa.concat_tables([pq.read_table(path) for path in files])


def original(cell):
    """Undo what keeps a spreadsheet from running a text."""
    return cell[1:] if re.match(r"'[=+\-@\t\r]", cell) else cell


def drawn(page):
    """Count the pixels of the map that have a colour."""
    return page.evaluate(
        "() => { const one = sky.canvas; const all = one.getContext('2d')"
        ".getImageData(0, 0, one.width, one.height).data;"
        " let count = 0; for (let i = 3; i < all.length; i += 4) count += all[i] ? 1 : 0;"
        " return count }"
    )


def test_the_whole_map_is_drawn_before_its_galaxies_are_loaded(survey, visit):
    table, page = slices(survey), visit.page
    known = int((table["x:toy/all"].to_numpy() <= 65534).sum())
    counts = "sky.grid.map(code => Math.round(Math.expm1(code * Math.log1p(sky.view.most) / 255)))"
    assert page.evaluate(f"{counts}.reduce((sum, one) => sum + one)") == known
    assert page.evaluate("sky.xs.length") == 0
    for _ in range(3):
        page.click("#closer")
    visit.until(f"sky.xs.length === {GALAXIES}")
    visit.until("!isDue")
    assert drawn(page) > 50


@pytest.mark.parametrize("kind", ["file", "http"])
def test_it_opens_and_asks_for_nothing_outside_its_folder(survey, browser, served, kind):
    address = address_of(survey) if kind == "file" else served
    visit = Visit(browser, address)
    page = visit.page
    assert visit.count() == GALAXIES
    text = page.inner_text("header")
    for said in ("A sky <b>to</b> look at", "700 galaxies", "model toy", "0.123", "0.345", "456"):
        assert said in text
    page.wait_for_selector("#gallery img")
    # No column is loaded before somebody chooses; the map is there all the same.
    assert not [one for one in visit.asked if "/columns/" in one]
    assert drawn(page) > 50
    page.click("#gallery button >> nth=0")
    page.wait_for_selector("#card[open]")
    page.click("#card >> text=Find alike")
    visit.wait_for_title("like")
    folder = address.rsplit("/", 1)[0]
    outside = [one for one in visit.asked if not one.startswith((folder, "data:image/jpeg"))]
    assert outside == []
    assert len(visit.asked) > 10
    assert visit.wrong == []
    page.context.close()


def test_the_policy_lets_no_script_of_others_run(visit):
    policy = visit.page.get_attribute("meta[http-equiv]", "content")
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    ran = visit.page.evaluate(
        "() => { const one = document.createElement('script'); one.textContent = 'window.ran = 1';"
        " document.body.append(one); return window.ran === undefined }"
    )
    assert ran
    assert any("Content Security Policy" in said for said in visit.wrong)
    visit.wrong.clear()


CHOICES = {
    f"{SMOOTH}=0.3..": f'"{SMOOTH}" >= 0.3::FLOAT',
    f"{SMOOTH}=..0.3": f'"{SMOOTH}" <= 0.3::FLOAT',
    f"{SMOOTH}=0.25..0.4&bar_yes_fraction=0.5..": (
        f'"{SMOOTH}" BETWEEN 0.25::FLOAT AND 0.4::FLOAT AND bar_yes_fraction >= 0.5::FLOAT'
    ),
    "bar_yes_90pc-lower=0.2..": '"bar_yes_90pc-lower" >= 0.2::FLOAT',
    "bar_yes_90pc-upper=..0.8": '"bar_yes_90pc-upper" <= 0.8::FLOAT',
    "mag_r=15.5..17.25": "mag_r BETWEEN 15.5::FLOAT AND 17.25::FLOAT",
    "barred=yes": "barred",
    "flags=0!2048": "flags & 2048 = 2048",
    "flags=2049!0": "flags & 2049 = 0",
    "same=..3": "true",
}


@pytest.mark.parametrize("fragment", CHOICES)
def test_counts_are_those_of_duckdb(survey, visit, fragment):
    count = visit.choose(f"#{fragment}")
    assert count == counted(survey, CHOICES[fragment])
    # The page's own SQL says the same.
    query = visit.text("#sql").replace("advanced.parquet", str(advanced(survey)))
    assert len(duckdb.sql(query.rstrip(";")).fetchall()) == count
    assert fragment.startswith("same") or 0 < count < GALAXIES


def test_a_question_that_would_not_be_asked_is_masked_as_in_the_friendly_table(survey, visit):
    page = visit.page
    page.click("summary:text-is('bar')")
    page.click("text=only where the question would be asked >> visible=true >> nth=1")
    visit.until("!isBusy && choice.criteria.size === 1")
    asked = counted(survey, "bar_yes_fraction IS NOT NULL", "friendly")
    assert visit.count() == asked
    assert 0 < asked < GALAXIES
    visit.choose("#" + page.evaluate("location.hash").lstrip("#") + "&bar_yes_fraction=0.5..")
    wanted = counted(survey, "bar_yes_fraction >= 0.5::FLOAT", "friendly")
    assert visit.count() == wanted


def test_a_slider_changes_the_count_and_the_gallery(survey, visit):
    page = visit.page
    slider = page.get_by_label("smooth: from", exact=True)
    slider.focus()
    for _ in range(30):
        page.keyboard.press("ArrowRight")
    visit.until("!isBusy && wanted.size === 0")
    assert visit.count() == counted(survey, f'"{SMOOTH}" >= 0.3::FLOAT')
    visit.wait_for_title("Some that match")
    shown = [one.get_attribute("title") for one in page.query_selector_all("#gallery button")]
    listed = ", ".join("'" + one.replace("'", "''") + "'" for one in shown)
    assert (
        counted(survey, f'"{SMOOTH}" >= 0.3::FLOAT AND object_id IN ({listed})') == len(shown) > 9
    )
    page.click("#clear")
    visit.until("choice.count === 700")
    assert slider.input_value() == "0"


def test_the_same_choice_as_a_selection_of_the_config(survey, visit):
    count = visit.choose(f"#{SMOOTH}=0.2..0.5&mag_r=..18&same=..3&whole=1000..")
    plain = yaml.safe_load(visit.text("#selection"))
    chosen = ReleaseSettings.model_validate(plain).selections["chosen"]
    table = pq.read_table(advanced(survey))
    met = select(dict(zip(table.column_names, table.columns, strict=True)), chosen)
    assert sum(met.to_pylist()) == count > 0


def test_hostile_names_come_out_as_they_are_and_run_nothing(survey, visit):
    rows = visit.table("#matches")
    found = {original(row["object_id"]): (float(row["ra"]), float(row["dec"])) for row in rows}
    known = pq.read_table(advanced(survey), columns=["object_id", "ra", "dec"]).to_pylist()
    assert found.keys() == {row["object_id"] for row in known}
    for row in known:
        assert found[row["object_id"]] == pytest.approx((row["ra"], row["dec"]), abs=1e-6)
    assert set(HOSTILE) <= found.keys()
    assert not any(re.match(r"[=+@\t\r]|-[^0-9]", row["object_id"]) for row in rows)
    ids = slices(survey)["object_id"].to_pylist()
    for name in HOSTILE:
        visit.page.evaluate("row => showCard(row)", ids.index(name))
        assert visit.page.text_content("#card h2") == name
    visit.page.evaluate("document.querySelector('#card').close()")
    assert visit.page.evaluate("window.hacked === undefined")


def test_a_click_shows_the_nearest_and_gives_their_table(survey, visit):
    page = visit.page
    box = page.locator("#overlay").bounding_box()
    page.mouse.click(box["x"] + 0.4 * box["width"], box["y"] + 0.6 * box["height"])
    visit.wait_for_title("nearest")
    place = page.evaluate(
        "() => { const box = sky.overlay.getBoundingClientRect();"
        " return sky.placeOf(0.4 * box.width, 0.6 * box.height) }"
    )
    table = slices(survey)
    xs, ys = (table[f"{axis}:toy/all"].to_numpy().astype(float) for axis in "xy")
    far = np.where(xs > 65534, np.inf, np.hypot(xs - place["x"], ys - place["y"]))
    rows = visit.table("#nearest")
    order = np.argsort(far)[: np.isfinite(far).sum()]
    ids = table["object_id"].to_pylist()
    assert len(rows) == len(order) < GALAXIES
    # The place of a click is whole pixels.
    distances = dict(zip(ids, far.tolist(), strict=True))
    step = 2 / page.evaluate("sky.zoom")
    listed = [distances[original(row["object_id"])] for row in rows]
    np.testing.assert_allclose(listed, far[order], atol=step)


def test_fingers_choose_move_and_zoom(survey, browser):
    visit = Visit(browser, address_of(survey), has_touch=True)
    page, touch = visit.page, visit.page.context.new_cdp_session(visit.page)
    box = page.locator("#overlay").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def fingers(kind, *places):
        points = [{"x": middle[0] + x, "y": middle[1] + y, "id": n} for n, (x, y) in places]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def view():
        return page.evaluate("[sky.centre.x, sky.centre.y, sky.zoom]")

    first = view()
    fingers("touchStart", (1, (0, 0)))
    fingers("touchMove", (1, (50, 0)))
    fingers("touchEnd")
    moved = view()
    assert moved == pytest.approx([first[0] - 50 / first[2], first[1], first[2]])
    fingers("touchStart", (1, (-40, 0)))
    fingers("touchStart", (1, (-40, 0)), (2, (40, 0)))
    fingers("touchMove", (1, (-40, 0)), (2, (120, 0)))
    fingers("touchEnd", (1, (-40, 0)))
    fingers("touchEnd")
    # What lay under each finger still does, with a pixel for borders and rounding.
    assert view()[2] == pytest.approx(2 * moved[2])
    under = moved[0] - 40 / moved[2]
    assert view()[0] - 40 / view()[2] == pytest.approx(under, abs=1 / moved[2])
    page.touchscreen.tap(*middle)
    visit.wait_for_title("nearest")
    page.touchscreen.tap(*middle_of(page, "#gallery button"))
    visit.until("document.querySelector('#card').open")
    assert visit.wrong == []
    page.context.close()


def middle_of(page, selector):
    box = page.locator(selector).first.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_lasso_holds_those_within_it(survey, visit):
    page = visit.page
    page.click("#lasso")
    box = page.locator("#overlay").bounding_box()
    corners = [(0.3, 0.3), (0.7, 0.3), (0.7, 0.7), (0.3, 0.7)]
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in corners]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=8)
    page.mouse.up()
    visit.wait_for_title("within")
    line = np.array([[p["x"], p["y"]] for p in page.evaluate("sky.line")])
    table = slices(survey)
    xs, ys = (table[f"{axis}:toy/all"].to_numpy().astype(float) for axis in "xy")
    inside = (xs > line[:, 0].min()) & (xs < line[:, 0].max()) & (xs < 65535)
    inside &= (ys > line[:, 1].min()) & (ys < line[:, 1].max())
    wanted = {name for name, one in zip(table["object_id"].to_pylist(), inside, strict=True) if one}
    rows = visit.table("#nearest")
    assert {original(row["object_id"]) for row in rows} == wanted
    assert 0 < len(wanted) < GALAXIES


def test_those_that_look_alike_are_found(survey, visit):
    table = slices(survey)
    ids = table["object_id"].to_pylist()
    features = np.full((len(ids), WIDTH), np.nan)
    files = part_files(survey.partitions, survey.root / "features" / "toy")
    for row, one in enumerate(f for p in files for f in pq.read_table(p)["features"].to_pylist()):
        if one is not None:
            features[row] = np.frombuffer(one, "<f2")
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    shared = []
    for row in np.flatnonzero(np.isfinite(unit[:, 0]))[:10].tolist():
        visit.page.evaluate("row => findAlike(row, 'it')", row)
        found = visit.page.evaluate("shown.hits.map(hit => hit.row)")
        likeness = np.nan_to_num(unit @ unit[row], nan=-9)
        likeness[row] = -9
        assert row not in found
        assert len(found) == np.isfinite(unit[:, 0]).sum() - 1
        shared.append(len(set(found[:50]) & set(np.argsort(-likeness)[:50].tolist())) / 50)
    assert np.mean(shared) > 0.9


def test_among_many_the_most_alike_are_found_without_all_components(visit):
    rng = np.random.default_rng(5)
    unit = directions((rng.normal(0, 1, (30_000, 64)) * np.geomspace(3, 0.5, 64)).astype("f4"))
    worth = worth_of(unit)
    codes = direction_codes(unit, worth)
    values = codes.astype(float) * worth
    call = """([text, worth, row]) => {
      const bytes = new Uint8Array(30000 * 32);
      decode(text, bytes);
      const hits = alike(new Int8Array(bytes.buffer), worth, new Uint32Array(30000), row, 500);
      return hits.map(hit => hit.row);
    }"""
    text = base64.b64encode(codes.tobytes()).decode()
    for row in (3, 77, 29_999):
        likeness = values @ values[row]
        likeness[row] = -9
        found = visit.page.evaluate(call, [text, worth.tolist(), row])
        # The page's weights are of single precision.
        assert len(set(found)) == 500
        np.testing.assert_allclose(likeness[found], -np.sort(-likeness)[:500], rtol=1e-5)


def test_the_card_says_what_the_release_says(survey, visit):
    page, ids = visit.page, slices(survey)["object_id"].to_pylist()
    names = [one for one in ids if not survey.unfit(one)][:40]
    for name in names:
        page.evaluate("row => showCard(row)", ids.index(name))
        row = duckdb.sql(f"SELECT * FROM '{advanced(survey)}' WHERE object_id = $1", params=[name])
        row = dict(zip(row.columns, row.fetchall()[0], strict=True))
        text = page.text_content("#card section >> nth=0 >> tr >> nth=0")
        shown = float(re.search(r"\d\.\d\d", text)[0])
        assert shown == pytest.approx(row[SMOOTH], abs=0.011)
        bars = page.locator("#card section").count()
        assert bars == 1 + (row["bar_proportion-asked"] >= 0.5)
        flagged = page.text_content("#card .top p >> nth=2")
        assert flagged == ("Flags: saturated" if row["flags"] & 2048 else "No flags")
        shown = float(re.search(r"RA ([\d.]+)", page.text_content("#card"))[1])
        assert shown == pytest.approx(row["ra"], abs=2e-5)
        numbers = page.text_content("#card details")
        assert re.search(r"same3\.0*", numbers)
        assert "nothingunknown" in numbers
    links = page.eval_on_selector_all("#card a", "all => all.map(one => [one.href, one.rel])")
    assert len(links) == 2
    assert all("noopener" in rel and href.startswith("https://") for href, rel in links)


def test_a_galaxy_without_image_is_grey_and_says_its_flag(survey, visit):
    ids = slices(survey)["object_id"].to_pylist()
    bad = next(row for row, name in enumerate(ids) if survey.unfit(name))
    visit.page.evaluate("row => showCard(row)", bad)
    assert "no coverage" in visit.page.text_content("#card")
    assert visit.page.text_content("#card .grey") == "no image"


def test_an_address_brings_a_colleague_to_the_same_view(survey, browser, visit):
    visit.choose(f"#{SMOOTH}=0.2..&barred=yes&:view=sky&:colour=mag_r")
    page = visit.page
    page.click("#closer")
    page.wait_for_timeout(300)
    other = Visit(browser, address_of(survey), page.evaluate("location.hash"))
    state = "() => [choice.count, sky.view.name, sky.zoom.toPrecision(4), addressOf()]"
    assert other.page.evaluate(state) == page.evaluate(state)
    assert other.page.input_value("#view") == "0"
    other.page.context.close()


@pytest.mark.parametrize(
    "fragment", ["#=", "#%F0%9F=1", "#a=b&:at=x,y,z&:galaxy=1e99", "#flags=x!y"]
)
def test_an_address_of_nonsense_is_passed_over(survey, browser, fragment):
    visit = Visit(browser, address_of(survey), fragment)
    assert visit.count() == GALAXIES
    assert visit.wrong == []
    visit.page.context.close()


def test_what_is_missing_is_named_and_the_rest_works(survey, browser):
    copy = survey.root / "copy"
    shutil.copytree(survey.root / "explorer", copy)
    (copy / "data" / "blocks" / "0" / "1.js").unlink()
    number = _number(copy, "mag_r")
    (copy / "data" / "columns" / f"{number}-0.js").write_text("got(")
    visit = Visit(browser, (copy / "index.html").as_uri())
    visit.page.wait_for_selector("#gallery .absent")
    assert "data/blocks/0/1.js is missing or damaged" in visit.page.inner_text("#note")
    assert visit.page.locator("#gallery img").count() > 5
    assert visit.choose("#mag_r=15..") == GALAXIES
    visit.until(f"document.querySelector('#note').textContent.includes('columns/{number}-0.js')")
    assert visit.choose(f"#{SMOOTH}=0.3..") == counted(survey, f'"{SMOOTH}" >= 0.3::FLOAT')
    visit.page.context.close()


def _number(folder, name):
    script = (folder / "data" / "explorer.js").read_text()
    meta = json.loads(script[len('got("explorer",') : -3])
    return [one["name"] for one in meta["columns"]].index(name)


def test_it_can_be_used_by_keyboard_alone(visit):
    page = visit.page
    page.focus("#overlay")
    before = page.evaluate("[sky.centre.x, sky.zoom]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("+")
    after = page.evaluate("[sky.centre.x, sky.zoom]")
    assert after[0] > before[0]
    assert after[1] > before[1]
    page.keyboard.press("Enter")
    visit.wait_for_title("nearest")
    page.focus("#gallery button >> nth=0")
    page.keyboard.press("Enter")
    page.wait_for_selector("#card[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("#card:not([open])", state="attached")
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter(one =>"
        " !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).length"
    )
    assert unnamed == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_narrow_screen_in_light_and_dark(survey, browser, scheme):
    options = {"viewport": {"width": 390, "height": 800}, "color_scheme": scheme}
    visit = Visit(browser, address_of(survey), **options)
    assert visit.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    paper = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert sum(map(int, re.findall(r"\d+", paper))) > 600 if scheme == "light" else "18" in paper
    assert visit.wrong == []
    visit.page.context.close()


def test_one_galaxy_without_maps(tmp_path, browser):
    survey = LookedSurvey(tmp_path)
    survey.add_galaxies(1)
    survey.release(selections=SELECTIONS)
    survey.slice_all(maps=False)
    survey.build()
    visit = Visit(browser, address_of(survey))
    assert visit.count() == 1
    assert [row["object_id"] for row in visit.table("#matches")] == ["'" + HOSTILE[0]]
    assert visit.choose(f"#{SMOOTH}=0.99..") == 0
    assert visit.page.inner_text("#gallery") == ""
    assert visit.wrong == []
    visit.page.context.close()


def test_where_all_is_unknown_everything_is_grey_and_nothing_matches_a_cut(tmp_path, browser):
    survey = LookedSurvey(tmp_path)
    survey.unfit = lambda _: True
    survey.add_galaxies(40)
    survey.release(selections=SELECTIONS)
    survey.slice_all()
    survey.build()
    visit = Visit(browser, address_of(survey))
    assert visit.count() == 40
    assert visit.page.locator("#gallery .grey").count() == 36
    assert visit.choose(f"#{SMOOTH}=..0.99") == 0
    assert visit.wrong == []
    visit.page.context.close()


def test_the_same_slices_give_the_same_folder(survey):
    again = survey.build(metrics=[survey.root / "evaluations/toy/metrics.json"], name="again")
    first = survey.root / "explorer"
    files = {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    assert files == {path.relative_to(first) for path in first.rglob("*") if path.is_file()}
    assert all((again / one).read_bytes() == (first / one).read_bytes() for one in files)


def test_slices_of_another_release_are_refused(tmp_path):
    survey = LookedSurvey(tmp_path)
    survey.add_galaxies(30)
    survey.release(selections=SELECTIONS)
    survey.slice_all()
    survey.build()
    page = (tmp_path / "explorer" / "index.html").read_bytes()
    with pytest.raises(UserError, match="run explore again"):
        survey.build(thumbnails=32)
    (tile,) = pq.read_table(survey.path("tiles", "g0-k0-p6"))["object_id"].to_pylist()[:1]
    survey.unfit = lambda name: name == tile
    survey.make("g0-k0-p6")
    survey.release(selections=SELECTIONS)
    with pytest.raises(UserError, match="make both of the same products"):
        survey.build()
    assert (tmp_path / "explorer" / "index.html").read_bytes() == page


def test_a_column_that_is_not_there_is_refused_by_name(tmp_path):
    survey = LookedSurvey(tmp_path)
    survey.add_galaxies(5)
    with pytest.raises(UserError, match="unknown column of numbers 'mag_x'"):
        survey.slice_all(columns=("mag_x",))
