"""What every page of this workspace must do in a browser, whatever it shows.

A test of one page opens it with `Page`, calls the checks it wants and adds its own. Playwright drives the Chromium of
the system; it downloads no browser.
"""

import pathlib
import re

from playwright.sync_api import sync_playwright

# A phone and a desk.
WIDTHS = (390, 1280)


class Page:
    """A file opened by file://, or an address, in Chromium, with everything that it asked for and complained about."""

    def __init__(self, chromium, place):
        is_address = str(place).startswith("http://")
        self.url = str(place) if is_address else pathlib.Path(place).resolve().as_uri()
        self.requests, self.complaints = [], []
        self._playwright = sync_playwright().start()
        # In a container, Chromium's sandbox cannot start.
        self._browser = self._playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        self.page = self._browser.new_page()
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.goto(self.url)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._browser.close()
        self._playwright.stop()

    def is_quiet_and_alone(self):
        """The console is empty, and nothing but the file itself was asked for."""
        assert not self.complaints, self.complaints
        assert self.requests == [self.url], self.requests

    def fits_every_width(self):
        """Nothing leaves the page to the right; what is wider scrolls inside a box that the keyboard reaches."""
        outside = """() => [...document.querySelectorAll('body *')].filter(element => {
            const box = element.getBoundingClientRect();
            if (box.width === 0 || box.right <= document.documentElement.clientWidth + 1) return false;
            for (let up = element; up; up = up.parentElement) {
                if (getComputedStyle(up).overflowX !== 'visible') return false;
            }
            return true;
        }).map(element => element.outerHTML.slice(0, 80))"""
        unreachable = """() => [...document.querySelectorAll('body *')].filter(element =>
            element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX === 'auto'
            && element.tabIndex < 0).map(element => element.outerHTML.slice(0, 80))"""
        for width in WIDTHS:
            self.page.set_viewport_size({"width": width, "height": 900})
            page_width = self.page.evaluate("document.documentElement.scrollWidth")
            assert page_width <= width, f"the page is {page_width} wide in a window of {width}"
            for check in (outside, unreachable):
                found = self.page.evaluate(check)
                assert not found, f"at {width}: {found}"

    def names_every_figure(self):
        """Each drawing has a name for screen readers, a description, and ids of its own."""
        drawings = self.page.locator("svg")
        named = self.page.get_by_role("img", name=re.compile(r"\S"))
        assert drawings.count() == named.count(), f"{named.count()} of {drawings.count()} drawings have a name"
        for text in self.page.locator("svg > desc").all_text_contents():
            assert text.strip(), "an empty description"
        assert self.page.locator("svg > desc").count() == drawings.count()
        ids = self.page.evaluate("[...document.querySelectorAll('[id]')].map(element => element.id)")
        assert len(ids) == len(set(ids)), sorted(id for id in ids if ids.count(id) > 1)
        return drawings.count()

    def has_headings_in_order(self):
        """One heading of level 1 comes first, and no level is left out on the way down."""
        levels = self.page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => +h.tagName[1])")
        assert levels[0] == 1 and levels.count(1) == 1, levels
        assert all(below <= above + 1 for above, below in zip(levels, levels[1:])), levels

    def has_no_dead_link(self):
        """Every link leads to a place of the page."""
        dead = self.page.evaluate("""() => [...document.querySelectorAll('a')].map(a => a.getAttribute('href'))
            .filter(href => !href.startsWith('#') || !document.querySelector(href))""")
        assert not dead, dead

    def shows_no_broken_number(self):
        """What is undefined is said in words."""
        text = self.page.inner_text("body")
        broken = re.findall(r"\b(?:NaN|nan|inf|Infinity|None|null|undefined \d)\b", text)
        assert not broken, broken

    def follows_the_colour_scheme(self):
        """Dark where the reader wants it dark, and never on paper."""
        def background(**media):
            self.page.emulate_media(**media)
            return self.page.evaluate("getComputedStyle(document.body).backgroundColor")

        light, dark = background(color_scheme="light"), background(color_scheme="dark")
        assert light == "rgb(255, 255, 255)" and dark != light, (light, dark)
        assert background(media="print", color_scheme="dark") == light
        self.page.emulate_media(media="screen", color_scheme="light")

    def prints(self):
        """The number of A4 pages; figures are whole on one of them."""
        pdf = self.page.pdf(format="A4", print_background=True)
        assert len(pdf) > 20_000, f"{len(pdf)} bytes are an empty document"
        self.page.emulate_media(media="print")
        split = self.page.evaluate("""() => [...document.querySelectorAll('figure')]
            .filter(figure => getComputedStyle(figure).breakInside !== 'avoid').length""")
        assert split == 0, f"{split} figures may be split between pages"
        self.page.emulate_media(media="screen")
        return len(re.findall(rb"/Type\s*/Page\b", pdf))

    def all_common_checks(self):
        """Everything above; returns the number of drawings and of printed pages."""
        self.fits_every_width()
        n_drawings = self.names_every_figure()
        self.has_headings_in_order()
        self.has_no_dead_link()
        self.shows_no_broken_number()
        self.follows_the_colour_scheme()
        n_pages = self.prints()
        assert n_pages > 1, f"{n_pages} page is not a report"
        # Last, so that it sees what the other checks caused.
        self.is_quiet_and_alone()
        return n_drawings, n_pages
