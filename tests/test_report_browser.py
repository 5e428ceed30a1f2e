"""The page in a real browser, at the widths of a desktop and a phone, light and dark."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from depict_jax.data import Images
from tests.chromium import BROWSER, Chromium
from tests.report_parts import RECORDS, SCORES, page_of, probabilities, random_images

pytestmark = pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed")
LONG = "a-long-name-without-any-blank-" * 8


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    names = tuple(f"{LONG}{i}.png" for i in range(120))
    labels = np.array([LONG, "b", "c"])[np.arange(120) % 3]
    images = Images(random_images(120, 16, 16, 1).pixels, labels, LONG, names, notes=(LONG,))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page_of(images, probabilities(120, 3), RECORDS, SCORES), encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("dark", [False, True])
def test_the_page_is_whole_in_a_browser(browser, page, width, dark):
    browser.open(page, width, dark=dark)
    browser.value("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.value("document.documentElement.scrollWidth") == width  # nothing to scroll sideways for
    wide = "[...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > innerWidth + 1)"
    assert browser.value(f"{wide}.filter(e => !e.closest('.wide')).map(e => e.outerHTML.slice(0, 90))") == []
    images = "[...document.images]"
    assert browser.value(f"{images}.length") > 20
    assert browser.value(f"{images}.filter(i => !i.complete || !i.naturalWidth).length") == 0
    asked = [event["params"]["request"]["url"] for event in browser.events if event["method"].endswith("WillBeSent")]
    assert [url for url in asked if not url.startswith("data:")] == [page.resolve().as_uri()]
    said = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for event in browser.events if event["method"] in said] == []
    shot = np.asarray(Image.open(BytesIO(browser.screenshot())).convert("L"))
    assert (np.median(shot) < 60) == dark
