"""The page in a real browser, against the real application on a real port.

`SCREENSHOTS=docs/serving pytest tests/serving/test_page.py` draws the pictures of the documentation anew.
"""

import os
import re
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from dspy.lm15 import AuthError
from fastapi import FastAPI
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Error, Page, expect, sync_playwright

import personaagent
from personaagent.data.answer_weights import AnswerWeights
from personaagent.data.interaction import Interaction
from personaagent.data.persona import Persona, PersonaLine
from personaagent.data.store import Store
from personaagent.programs import AgentSettings
from personaagent.serving.app import add_page
from personaagent.serving.configuration import Serving
from personaagent.testing import Script, ScriptedLM, ScriptedRequest

from .conftest import listening, serving

pytestmark = pytest.mark.slow

CHROMIUM = "/usr/bin/chromium"
HOSTILE = "<img src=x onerror=alert(1)> & <script>alert(2)</script>"
VIEWS = ("Ask", "Persona", "Memory", "Your data")
QUIET, LOUD = (
    "The Lighthouse Keeper's Spring, a quiet film with one actor.",
    "Meteor Squad 4: everything explodes, twice.",
)
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
LIVES = "Likes films in which little happens."
HISTORY = (
    ("A film for a rainy Sunday?", "The Slow Ferry: a crossing, two people, no music."),
    ("What should I read on the train?", "Letters from a Salt Works. Short, dry, and true."),
    ("Something to cook for two, quickly?", "Lentils with lemon. No more than six ingredients."),
    ("Which museum is worth a morning?", "The clock museum, since it is small and nobody is there."),
    ("A walk for Saturday?", "Along the canal, to the lock and back. No hills."),
    ("A film for my sister's birthday?", "Winter Timetable. She will pretend that it was too long."),
)


@dataclass
class Visit:
    """A tab, and what its console said."""

    page: Page
    complaints: list[str] = field(default_factory=list[str])

    def heard(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def sign_in(self, token: str) -> None:
        self.page.get_by_label("Your key").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        expect(self.page.get_by_role("heading", name="Ask", exact=True)).to_be_visible()

    def sign_out(self) -> None:
        self.page.get_by_role("button", name="Sign out").click()
        expect(self.page.get_by_label("Your key")).to_be_focused()

    def show(self, view: str) -> None:
        self.page.get_by_role("navigation").get_by_role("link", name=view, exact=True).click()

    def ask(self, question: str) -> None:
        self.show("Ask")
        self.page.get_by_label("Your question").fill(question)
        self.page.get_by_label("Your question").press("Enter")


@dataclass(frozen=True)
class Site:
    """The server, and its one user."""

    url: str
    store: Store

    def key(self, user_id: str) -> str:
        _, token = self.store.keys.create("user", user_id=user_id)
        return token

    def maya(self) -> str:
        """Return the key of a user with a history."""
        user, began = self.store.add_user("maya"), datetime(2026, 3, 1, 18, 30, tzinfo=UTC)
        user.interactions.add(
            [
                Interaction(
                    interaction_id=f"made-up-{n}", query=asked, ground_truth=did, at=began + timedelta(days=9 * n)
                )
                for n, (asked, did) in enumerate(HISTORY)
            ]
        )
        return self.key("maya")


ANSWERS: dict[str, object] = {
    "search": "quiet films",
    "tool": "look_up_profile",
    "argument": "",
    "ready_to_answer": True,
    "statements": ["Likes small, quiet places.", "Prefers what is short and plain."],
    "response": lambda request: QUIET if LIVES in request.system else LOUD,
    "critique": "The user wanted something quiet: say so in the profile, and drop the spectacle.",
    "profile": [LIVES, "Values quiet over spectacle."],
    "preferences": ["Prefer what is short and plain to what is famous."],
    "tool_use": ["Search memory for the mood first, then for the title."],
    "style": ["Answer in one sentence, and name one thing only."],
}


HOSTILE_ANSWERS = ANSWERS | {
    "response": HOSTILE,
    "critique": HOSTILE,
    **{name: [HOSTILE] for name in ("statements", "profile", "preferences", "tool_use", "style")},
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if shutil.which(CHROMIUM) is None:
        assert "CI" not in os.environ, f"install {CHROMIUM}"
        pytest.skip(f"there is no {CHROMIUM}")
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        ) as browser,
    ):
        yield browser


@contextmanager
def _up(answers: Script) -> Generator[Site]:
    how = Serving(align_every=4, agent=AgentSettings(preset="paper", action=False))
    with serving(ScriptedLM(answers), how) as server:
        yield Site(str(server.client.base_url), server.store)


@pytest.fixture
def site() -> Iterator[Site]:
    with _up(ANSWERS) as site:
        yield site


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    with browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", timezone_id="UTC") as context:
        context.set_default_timeout(10_000)
        yield context


@pytest.fixture
def visit(site: Site, context: BrowserContext) -> Visit:
    return _visit(site, context)


def _visit(site: Site, context: BrowserContext) -> Visit:
    visit = Visit(context.new_page())
    visit.page.on("console", visit.heard)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    visit.page.on("dialog", lambda dialog: visit.complaints.append(f"a script ran: {dialog.message}"))
    visit.page.goto(site.url)
    return visit


def _shot(page: Page, name: str) -> None:
    """Draw a picture for the documentation, if that is wanted."""
    from PIL import Image

    if folder := os.environ.get("SCREENSHOTS"):
        page.evaluate("scrollTo(0, 0)")
        drawn = Image.open(BytesIO(page.screenshot(full_page=True, animations="disabled")))
        drawn.quantize(128).save(Path(folder) / f"{name}.png", optimize=True)


def _asks_and_corrects(page: Page, visit: Visit) -> None:
    visit.ask("A film for tonight?")
    answer = page.get_by_role("article").last
    expect(answer).to_contain_text(LOUD)
    expect(answer).to_contain_text("Answered under version 1")
    answer.get_by_role("button", name="Correct").click()
    page.get_by_label("What would you have wanted?").fill(QUIET)
    page.get_by_role("button", name="Save").click()
    expect(answer).to_contain_text("the next alignment learns from it")


def _is_answered_under_the_new_version(page: Page, visit: Visit) -> None:
    expect(page.locator("#pulse")).to_have_text("Version 2")
    visit.ask("And tomorrow?")
    answer = page.get_by_role("article").last
    expect(answer).to_contain_text(QUIET)
    expect(answer).to_contain_text("Answered under version 2")
    answer.get_by_role("button", name="Good").click()
    expect(answer).to_contain_text("the next alignment learns from it")
    expect(page.locator("button[aria-busy]")).to_have_count(0)
    _shot(page, "ask")


def _sees_why(page: Page, visit: Visit) -> None:
    visit.show("Persona")
    line = page.locator("#persona li").filter(has_text=LIVES)
    line.get_by_text(LIVES).click()
    expect(line.get_by_role("list", name="Causes")).to_contain_text("A film for tonight?")
    expect(page.locator("#alignments")).to_contain_text("finished")
    page.get_by_role("button", name="What changed in version 2").click()
    expect(page.locator("#diff ins").filter(has_text=LIVES)).to_be_visible()
    _shot(page, "persona")
    page.emulate_media(color_scheme="dark")
    _shot(page, "persona-dark")
    page.emulate_media(color_scheme="light")


def _goes_back(page: Page) -> None:
    page.get_by_role("button", name="Go back to version 1").click()
    page.get_by_role("dialog").get_by_role("button", name="Go back").click()
    expect(page.locator("#pulse")).to_have_text("Version 1")
    expect(page.locator("#versions li").filter(has_text="Version 1")).to_contain_text("live")


def _forgets(page: Page, visit: Visit) -> None:
    visit.show("Memory")
    page.get_by_label("Search your interactions by meaning").fill("rainy Sunday film")
    page.get_by_role("button", name="Search").click()
    found = page.locator("#interactions li").first
    expect(found).to_contain_text(HISTORY[0][0])
    expect(found).to_contain_text("similarity")
    _shot(page, "memory")
    found.get_by_role("button", name="Forget").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget it").click()
    expect(page.get_by_text("Forgotten.")).to_be_visible()
    expect(page.locator("#interactions")).to_contain_text(HISTORY[1][0])
    expect(page.locator("#interactions")).not_to_contain_text(HISTORY[0][0])


def _is_erased(page: Page) -> None:
    page.get_by_role("button", name="Erase me").click()
    confirm = page.get_by_role("dialog")
    _shot(page, "erase")
    confirm.get_by_label("Type “erase me” to go on").fill("erase")
    confirm.get_by_role("button", name="Erase me").click()
    expect(confirm).to_be_visible()
    confirm.get_by_label("Type “erase me” to go on").fill("erase me")
    confirm.get_by_role("button", name="Erase me").click()
    expect(page.get_by_role("heading", name="You were erased")).to_be_visible()
    expect(page.get_by_role("dialog")).to_contain_text("persona versions")
    page.get_by_role("button", name="Close").click()
    expect(page.get_by_label("Your key")).to_be_visible()


def test_a_user_asks_corrects_looks_back_forgets_and_is_erased(site: Site, visit: Visit) -> None:
    page = visit.page
    _shot(page, "sign-in")
    visit.sign_in(site.maya())
    _asks_and_corrects(page, visit)
    _is_answered_under_the_new_version(page, visit)
    _sees_why(page, visit)
    _goes_back(page)
    assert (live := site.store.user("maya").personas.live) and live.number == 1
    _forgets(page, visit)
    assert "made-up-0" not in {interaction.interaction_id for interaction in site.store.user("maya").interactions.all()}
    visit.show("Your data")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    assert "Lentils with lemon" in download.value.path().read_text()
    _is_erased(page)
    assert site.store.users() == ()
    assert visit.complaints == []


def test_a_conversation_stays_and_is_sent_with_the_next_question(context: BrowserContext) -> None:
    asked: list[ScriptedRequest] = []

    def response(request: ScriptedRequest) -> str:
        asked.append(request)
        return f"Answer {len(asked)}."

    with _up(ANSWERS | {"response": response}) as site:
        visit = _visit(site, context)
        visit.sign_in(site.maya())
        turns = visit.page.get_by_role("log").get_by_role("article")
        for number, question in enumerate(("A film for tonight?", "A shorter one?"), 1):
            visit.ask(question)
            expect(turns.last).to_contain_text("Answered under")
            expect(turns).to_have_count(number)
        expect(turns.first).to_contain_text("A film for tonight?")
        expect(turns.last).to_contain_text("A shorter one?")
        assert "assistant:\n| Answer 1." in asked[-1].text
        visit.page.get_by_role("button", name="New conversation").click()
        expect(turns).to_have_count(0)
        visit.ask("A walk?")
        expect(turns.last).to_contain_text("Answered under")
        assert "assistant:" not in asked[-1].text
        assert visit.complaints == []


def test_what_was_asked_and_answered_alike_is_one_row_of_memory(site: Site, visit: Visit) -> None:
    token, user = site.maya(), site.store.user("maya")
    alike = [Interaction(interaction_id=f"alike-{n}", query="Tea?", ground_truth="Green.", at=NOW) for n in range(3)]
    user.interactions.add(alike)
    visit.sign_in(token)
    visit.show("Memory")
    rows = visit.page.locator("#interactions > li")
    expect(rows).to_have_count(len(HISTORY) + 1)
    expect(rows.filter(has_text="Tea?")).to_contain_text("3 times")
    visit.page.get_by_role("button", name="Forget: Tea?").click()
    dialog = visit.page.get_by_role("dialog")
    expect(dialog).to_contain_text("Forget 3 interactions?")
    dialog.get_by_role("button", name="Forget it").click()
    expect(rows).to_have_count(len(HISTORY))
    assert not [interaction for interaction in user.interactions.all() if interaction.query == "Tea?"]
    assert visit.complaints == []


def test_the_persona_says_in_plain_words_why_it_is_so_and_draws_its_weights(site: Site, visit: Visit) -> None:
    token = site.maya()
    line = PersonaLine(section="preferences", text=LIVES, causes=("made-up-0", "made-up-1"), kind="rule")
    even = {"a": 1.0}
    weights = AnswerWeights(lm="made-up", task="open", form="lean", leaning=even, base_rate=even, a=2, b=1, c=0.5)
    persona = Persona(lines=(line,), weights=weights)
    site.store.user("maya").personas.add(persona, reason="made up", status="live")
    visit.sign_in(token)
    visit.show("Persona")
    shown = visit.page.locator("#persona")
    expect(shown.get_by_role("listitem").filter(has_text=LIVES)).to_contain_text("A pattern in what you did")
    values = shown.locator("meter").evaluate_all("all => all.map(one => one.value)")
    assert values == [2, 1, 0.5]
    expect(shown.get_by_label("Your habits")).to_be_visible()
    assert visit.complaints == []


@pytest.mark.parametrize("width", [360, 390, 1280])
def test_every_view_fits(site: Site, visit: Visit, width: int) -> None:
    page = visit.page
    page.set_viewport_size({"width": width, "height": 780})
    visit.sign_in(site.maya())
    for question in ("A film for tonight?", "Averylongwordwithoutanybreak" * 8):
        visit.ask(question)
        page.get_by_role("article").last.get_by_role("button", name="Correct").click()
        for view in VIEWS:
            visit.show(view)
            assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, view
            if width == 390 and question.startswith("A film"):
                page.emulate_media(color_scheme="dark" if view == "Memory" else "light")
                _shot(page, f"phone-{view.lower().replace(' ', '-')}")
    assert visit.complaints == []


def test_what_users_and_lms_wrote_is_text(context: BrowserContext) -> None:
    with _up(HOSTILE_ANSWERS) as site:
        visit = _visit(site, context)
        page = visit.page
        visit.sign_in(site.maya())
        visit.ask(HOSTILE)
        expect(page.locator("#answers .response")).to_have_text(HOSTILE)
        page.get_by_role("button", name="Good").click()
        for view, where in (("Persona", "#persona summary"), ("Memory", "#interactions .query")):
            visit.show(view)
            expect(page.locator(where).filter(has_text=HOSTILE).first).to_be_visible()
        expect(page.locator("#statements")).to_contain_text(HOSTILE)
        visit.show("Persona")
        page.get_by_role("button", name="What changed in version 2").click()
        expect(page.locator("#diff ins").filter(has_text=HOSTILE).first).to_be_visible()
        assert page.locator("img, main script").count() == 0
        with pytest.raises(Error, match="TrustedHTML"):
            page.evaluate("document.body.innerHTML = 'a way in'")
        assert [each for each in visit.complaints if "TrustedHTML" not in each] == []


def test_who_has_nothing_yet_is_told_what_to_do(site: Site, visit: Visit) -> None:
    visit.sign_in(site.key("new"))
    page = visit.page
    expect(page.get_by_text("Nothing asked yet")).to_be_visible()
    visit.show("Persona")
    expect(page.get_by_text("the first answer makes one")).to_be_visible()
    expect(page.locator("#alignments")).to_contain_text("None yet")
    visit.show("Memory")
    expect(page.get_by_text("Nothing is remembered yet")).to_be_visible()
    assert visit.complaints == []
    visit.show("Persona")
    page.get_by_role("button", name="Align now").click()
    expect(page.get_by_role("alert")).to_contain_text("No ground truth is known")


def test_what_a_user_tells_is_in_the_persona_until_it_is_deleted(site: Site, visit: Visit) -> None:
    visit.sign_in(site.maya())
    page = visit.page
    visit.show("Memory")
    for text in ("I am vegetarian", "I am not vegetarian"):
        page.get_by_label("Something about you").fill(text)
        page.get_by_role("button", name="Tell", exact=True).click()
        expect(page.locator("#stated li").first).to_contain_text(text)
    expect(page.get_by_text("It replaces “I am vegetarian”.")).to_be_visible()
    expect(page.locator("#stated li").last).to_contain_text("replaced since")
    visit.show("Persona")
    expect(page.locator("#persona li").filter(has_text="I am not vegetarian")).to_contain_text("said")
    visit.show("Memory")
    page.get_by_role("button", name="Delete: I am not vegetarian").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete it").click()
    expect(page.locator("#stated li")).to_have_count(1)
    assert visit.complaints == []


def test_a_key_that_is_not_one_is_refused_with_an_id(visit: Visit) -> None:
    page = visit.page
    for key, words in (("two words", "Not a key"), ("pa_000000000000_nobody", "not known here")):
        page.get_by_label("Your key").fill(key)
        page.get_by_role("button", name="Sign in").click()
        expect(page.get_by_role("alert")).to_contain_text(words)
    expect(page.get_by_role("alert")).to_contain_text(re.compile("Id [0-9a-f]{16}"))
    expect(page.get_by_label("Your key")).to_be_focused()


def test_a_question_that_could_not_be_answered_is_given_back(context: BrowserContext) -> None:
    with _up(lambda _: AuthError("canary")) as site:
        visit = _visit(site, context)
        visit.sign_in(site.maya())
        visit.ask("A film for tonight?")
        alert = visit.page.get_by_role("alert")
        expect(alert).to_contain_text("The language model could not be reached")
        expect(alert).to_contain_text(re.compile("Id [0-9a-f]{16}"))
        expect(visit.page.get_by_label("Your question")).to_have_value("A film for tonight?")
        expect(visit.page.get_by_role("article")).to_have_count(0)
        assert "canary" not in (visit.page.locator("body").text_content() or "")


def test_the_next_user_of_the_tab_sees_nothing_of_the_last(site: Site, visit: Visit) -> None:
    visit.sign_in(site.maya())
    visit.ask("A film for tonight?")
    expect(visit.page.get_by_role("article")).to_contain_text("Answered under")
    for view in VIEWS:
        visit.show(view)
    visit.show("Memory")
    expect(visit.page.locator("#interactions")).to_contain_text("A film for tonight?")
    visit.page.get_by_label("Search your interactions by meaning").fill("canary")
    visit.show("Ask")
    visit.page.get_by_label("Your question").fill("canary")
    visit.sign_out()
    assert visit.page.evaluate("sessionStorage.length") == 0
    visit.page.goto(f"{site.url}#ask")
    visit.sign_in(site.key("omar"))
    told = visit.page.locator("body").text_content() or ""
    assert "canary" not in visit.page.locator("input, textarea").evaluate_all("all => all.map(e => e.value)")
    assert not [text for asked_and_did in HISTORY for text in asked_and_did if text in told]
    assert visit.complaints == []


def test_a_tenants_key_is_asked_for_which_user(site: Site, visit: Visit) -> None:
    site.store.keys.create("user", tenant="made-up ltd", user_id="zoë/1 %")
    _, token = site.store.keys.create("tenant", tenant="made-up ltd")
    page = visit.page
    page.get_by_label("Your key").fill(token)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("For which user?").fill("zoë/1 %")
    page.get_by_role("button", name="Sign in").click()
    visit.show("Your data")
    expect(page.locator("#facts")).to_contain_text("tenant of made-up ltd")


def test_the_keyboard_reaches_everything_and_shows_where_it_is(site: Site, visit: Visit) -> None:
    page = visit.page
    visit.sign_in(site.maya())
    page.reload()
    expect(page.get_by_role("heading", name="Ask", exact=True)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    expect(page.get_by_role("heading", name="Ask", exact=True)).to_be_visible()
    visit.show("Memory")
    wanted = page.locator("#house :is(button, input, select, textarea, summary):visible, header :is(a, button):visible")
    expect(page.get_by_role("button", name="Forget")).to_have_count(len(HISTORY))
    reached: set[str] = set()
    for _ in range(wanted.count() + 5):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            "(e => [e.ariaLabel || e.id || e.textContent, getComputedStyle(e).outlineStyle])(document.activeElement)"
        )
        assert outline != "none" or page.evaluate("document.activeElement === document.body"), name
        reached.add(name)
    assert set(wanted.evaluate_all("all => all.map(e => e.ariaLabel || e.id || e.textContent)")) <= reached
    page.get_by_role("button", name="Forget").first.press("Enter")
    expect(page.get_by_role("dialog").get_by_role("button", name="Keep as it is")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Forget").first).to_be_focused()


def test_the_files_of_the_page_may_load_nothing_from_elsewhere() -> None:
    app, folder = FastAPI(), Path(personaagent.__file__).parent / "serving" / "page"
    add_page(app)
    with listening(app) as url, httpx.Client(base_url=url) as client:
        for path in ("", *(f"page/{file.name}" for file in folder.iterdir() if file.name != "index.html")):
            served = client.get(path)
            assert served.status_code == 200
            assert (
                "default-src 'none'; script-src 'self'; style-src 'self';" in served.headers["content-security-policy"]
            )
            assert served.headers["x-content-type-options"] == "nosniff"
            assert served.headers["referrer-policy"] == "no-referrer"
            assert served.headers["cache-control"] == "no-cache"
            assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|//cdn", served.text)
            assert client.get(path, headers={"If-None-Match": served.headers["etag"]}).status_code == 304
        assert app.openapi()["paths"] == {}
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)", client.get("").text)
