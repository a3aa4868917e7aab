"""The page of a report in a real browser: whole on a desk, a phone and paper, and never online."""

import base64
import re
import shutil

import comparisons
import pytest
from browser import tab

from dljax.comparison import report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCREENS = {"desk": (1280, 900, False), "phone": (390, 844, True)}
A4 = {"paperWidth": 8.27, "paperHeight": 11.69}  # inches

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium"),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report.write(comparisons.digits(), folder)
    return folder / "report.html"


def opened(browser, page, screen):
    """Opens the page at the size of a screen, and listens to all that goes wrong."""
    width, height, is_phone = SCREENS[screen]
    size = {"width": width, "height": height, "mobile": is_phone}
    for part in ("Page", "Network", "Runtime", "Log"):
        browser.ask(f"{part}.enable")
    browser.ask("Emulation.setDeviceMetricsOverride", **size, deviceScaleFactor=1)
    browser.events.clear()
    browser.ask("Page.navigate", url=page.as_uri())
    browser.wait("Page.loadEventFired")


@pytest.mark.parametrize("screen", SCREENS)
def test_the_page_has_no_error_no_request_and_the_width_of_its_screen(page, tmp_path, screen):
    with tab(CHROMIUM) as browser:
        opened(browser, page, screen)
        assert browser.value("window.innerWidth") == SCREENS[screen][0]
        assert browser.value("document.documentElement.scrollWidth") == SCREENS[screen][0]
        assert browser.value("[...document.images].every(i => i.complete && i.naturalWidth > 0)")
        wide = "[...document.querySelectorAll('body > *')].filter(e => e.getBoundingClientRect()"
        assert browser.value(f"{wide}.right > innerWidth).length") == 0
        small = "[...document.querySelectorAll('p, li, td, th, dd, dt, figcaption')]"
        size = browser.value(
            f"Math.min(...{small}.map(e => parseFloat(getComputedStyle(e).fontSize)))"
        )
        assert size >= 12
        shot = browser.ask("Page.captureScreenshot", captureBeyondViewport=True)["data"]
        errors = browser.of("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
        urls = [told["request"]["url"] for told in browser.of("Network.requestWillBeSent")]
    (tmp_path / f"{screen}.png").write_bytes(base64.b64decode(shot))
    assert errors == []
    assert urls.count(page.as_uri()) == 1
    assert all(url == page.as_uri() or url.startswith("data:") for url in urls)


def test_the_page_is_printed_on_a_few_sheets_with_its_text(page, tmp_path):
    with tab(CHROMIUM) as browser:
        opened(browser, page, "desk")
        told = browser.ask("Page.printToPDF", **A4, preferCSSPageSize=True)
    pdf = base64.b64decode(told["data"])
    (tmp_path / "report.pdf").write_bytes(pdf)
    assert pdf.startswith(b"%PDF")
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 12
