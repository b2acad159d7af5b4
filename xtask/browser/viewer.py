"""The web viewer in a browser: `viewer.py CHROMIUM CF_HEATMAP RUN BAGS SLIDES [SLIDE]`.

RUN is a directory of `cf-train cv` on the features in BAGS of the slides in SLIDES; SLIDE is one of them to be looked at, too,
beside the two that are listed first. What is tested is what the page does, by mouse and by keyboard, not how its pixels look.
"""

import csv
import pathlib
import re
import subprocess
import sys

from page import Page

READY = "() => document.getElementById('status').textContent.includes('heatmaps.')"
# Every picture that is drawn is there.
DRAWN = """() => Array.from({length: viewer.world.getItemCount()}, (_, at) => viewer.world.getItemAt(at))
    .every(image => image.getFullyLoaded())"""


def predictions(run):
    """Risk of each slide."""
    rows = {}
    for file in pathlib.Path(run).glob("fold_*/predictions.csv"):
        with file.open() as text:
            rows |= {row["slide_id"]: float(row["risk"]) for row in csv.DictReader(text)}
    return rows


def by_rank(run):
    """The slides by rank in their fold as a share of its slides, ties by fold."""
    places = {}
    for file in pathlib.Path(run).glob("fold_*/predictions.csv"):
        fold = int(file.parent.name.removeprefix("fold_"))
        with file.open() as text:
            risks = {row["slide_id"]: float(row["risk"]) for row in csv.DictReader(text)}
        for slide, risk in risks.items():
            rank = 1 + sum(other > risk for other in risks.values())
            places[slide] = rank / len(risks), fold, slide
    return sorted(places, key=places.get)


def open_slide(page, slide):
    """Chooses a slide by keyboard alone."""
    page.locator(f"#slides button[data-slide='{slide}']").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"() => document.getElementById('slide-name').textContent === '{slide}'")
    page.wait_for_function(READY)
    page.wait_for_function(DRAWN)


def shows_a_slide(page, slide, risk):
    """Name, patient, curves and picture are those of this slide."""
    assert page.url.endswith(f"#{slide}"), page.url
    facts = page.locator("#facts").inner_text()
    assert f"{risk:.3f}" in facts, facts
    for figure in ("survival", "kaplan-meier"):
        picture = page.locator(f"#{figure}")
        assert re.search(r"\w", picture.get_attribute("alt")), figure
        page.wait_for_function(f"() => document.getElementById('{figure}').naturalWidth > 100")
    # The slide has tissue on it, which is not white.
    inked = page.evaluate(
        """() => {
            const canvas = viewer.drawer.canvas, copy = document.createElement('canvas');
            Object.assign(copy, { width: canvas.width, height: canvas.height });
            const context = copy.getContext('2d', { willReadFrequently: true });
            context.drawImage(canvas, 0, 0);
            const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
            let inked = 0;
            for (let at = 0; at < pixels.length; at += 4) {
                inked += pixels[at + 3] > 0 && pixels[at + 1] < 200;
            }
            return inked / (pixels.length / 4);
        }"""
    )
    assert inked > 0.01, f"{slide}: {inked:.4f} of the view is darker than glass"


def zooms(page):
    """By keyboard, and the scale bar follows."""
    def scale():
        return page.locator("#scale-text").inner_text(), page.locator("#scale-bar").bounding_box()["width"]

    before, shown = page.evaluate("viewer.viewport.getZoom()"), scale()
    assert re.fullmatch(r"[125]0* µm|[\d.]+ mm", shown[0]), shown
    page.locator("#viewer .openseadragon-canvas[tabindex='0']").focus()
    for _ in range(6):
        page.keyboard.press("+")
    page.wait_for_timeout(800)
    assert page.evaluate("viewer.viewport.getZoom()") > 1.5 * before
    assert scale() != shown
    page.keyboard.press("0")
    page.wait_for_timeout(800)


def switches_layers(page, requests):
    """Each layer draws its own tiles and lists its own patches; `none` draws nothing."""
    layers = page.locator("#layers input")
    assert layers.count() == 5, f"{layers.count()} choices"
    for index in range(1, layers.count()):
        del requests[:]
        layers.nth(index).check()
        page.wait_for_function("() => heatImages().length === 1")
        page.wait_for_function(DRAWN)
        page.wait_for_function("() => document.querySelectorAll('#patches button').length > 0")
        # The layer that was chosen already has its tiles.
        asked = [url for url in requests if f"/layers/{index - 1}/tiles/" in url]
        assert asked or index == 1, f"no tile of layer {index - 1}"
    layers.first.check()
    page.wait_for_function("() => heatImages().length === 0")
    layers.nth(1).check()
    page.wait_for_function("() => heatImages().length === 1")


def settings_reach_the_map(page, requests):
    """Opacity at once; threshold, scaling and colours by new tiles."""
    page.locator("#opacity").fill("80")
    assert page.evaluate("heatImages()[0].getOpacity()") == 0.8
    del requests[:]
    page.locator("#threshold").fill("90")
    page.locator("#scaling").select_option("raw")
    page.locator("#colours").select_option("inferno")
    page.wait_for_function("() => heatImages().length === 1")
    page.wait_for_function(DRAWN)
    asked = [url for url in requests if "/tiles/" in url and ".png" in url]
    assert any("from=230" in url and "scaling=raw" in url and "colours=inferno" in url for url in asked), asked
    assert "90 %" in page.locator("#threshold-value").inner_text()
    page.locator("#threshold").fill("0")


def patches_lead_to_their_place(page):
    """A patch of the sheet, chosen by keyboard, is framed and in view."""
    page.locator("#patches button").nth(1).focus()
    page.keyboard.press("Enter")
    page.wait_for_selector(".chosen-patch")
    page.wait_for_timeout(1000)
    place = [int(number) for number in re.findall(r"\d+", page.locator("#status").inner_text())][1:3]
    seen = page.evaluate(
        """() => {
            const seen = viewer.world.getItemAt(0).viewportToImageRectangle(viewer.viewport.getBounds());
            return [seen.x, seen.y, seen.x + seen.width, seen.y + seen.height];
        }"""
    )
    assert seen[0] <= place[0] <= seen[2] and seen[1] <= place[1] <= seen[3], (place, seen)
    picture = page.locator("#patches img").first
    assert picture.evaluate("image => image.naturalWidth") > 0


# Left, top, right and bottom of what is drawn in the mini-map, and of where the slide lies in it, in pixels.
MINI_MAP = """() => {
    const { drawer, viewport, world } = viewer.navigator;
    const canvas = drawer.canvas, copy = document.createElement('canvas');
    Object.assign(copy, { width: canvas.width, height: canvas.height });
    const context = copy.getContext('2d', { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
    const drawn = [canvas.width, canvas.height, 0, 0];
    for (let y = 0; y < canvas.height; y++) {
        for (let x = 0; x < canvas.width; x++) {
            if (pixels[4 * (y * canvas.width + x) + 3] === 0) continue;
            [drawn[0], drawn[1]] = [Math.min(drawn[0], x), Math.min(drawn[1], y)];
            [drawn[2], drawn[3]] = [Math.max(drawn[2], x + 1), Math.max(drawn[3], y + 1)];
        }
    }
    const slide = viewport.viewportToViewerElementRectangle(world.getItemAt(0).getBounds(true));
    return { drawn, slide: [slide.x, slide.y, slide.x + slide.width, slide.y + slide.height] };
}"""


def mini_map_shows_the_whole_slide(page, slides):
    """Whatever the size of the window, after it is changed, and after another slide is chosen."""
    def check():
        page.wait_for_timeout(1200)
        found = page.evaluate(MINI_MAP)
        assert all(abs(a - b) < 2.5 for a, b in zip(found["drawn"], found["slide"])), found

    before = page.viewport_size
    for width, height in ((1400, 950), (1280, 800), (1000, 700)):
        page.set_viewport_size({"width": width, "height": height})
        check()
        page.reload()
        page.wait_for_function(READY)
        page.wait_for_function(DRAWN)
        check()
        for slide in slides:
            open_slide(page, slide)
            check()
    page.set_viewport_size(before)


def is_seen_in_windows_of_any_width(page):
    """The slide has a height where the page is one column, a scale bar that fits, and no mini-map on its corner."""
    before = page.viewport_size
    for width, height in ((390, 800), (600, 900), (820, 1180), (960, 700), (1280, 900)):
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_timeout(800)
        seen = page.locator("#viewer canvas").first.bounding_box()
        assert seen["height"] > 0.3 * height and seen["width"] > 0.3 * width, (width, seen)
        assert 30 < page.locator("#scale-bar").bounding_box()["width"] <= 160, width
        assert page.locator("#viewer .navigator").is_visible() == (width > 960), width
    page.set_viewport_size(before)


def says_what_colours_mean(page):
    """The bar beside the map's name: ranks have words at their ends, values numbers."""
    def ends():
        return page.locator("#legend-low").inner_text(), page.locator("#legend-high").inner_text()

    assert page.locator("#legend-colours").evaluate("image => image.naturalWidth") == 256
    name = page.locator("#layers label:has(input:checked)").inner_text().strip()
    assert page.locator("#legend-name").inner_text() == name
    page.locator("#scaling").select_option("rank")
    assert ends() == ("lowest patch", "highest patch"), ends()
    page.locator("#scaling").select_option("raw")
    assert all(re.fullmatch(r"[\d.]+(e-?\d+)?", end) for end in ends()), ends()
    assert " to ".join(ends()) in page.locator("#legend-range").inner_text()
    page.locator("#scaling").select_option("rank")
    page.wait_for_function(DRAWN)


def enlarges_the_plot(page):
    """By a click; Escape closes it."""
    small = page.locator("#kaplan-meier").bounding_box()["width"]
    page.locator("#enlarge").click()
    assert page.locator("#enlarged-plot").bounding_box()["width"] > 2 * small
    page.keyboard.press("Escape")
    assert page.locator("#enlarged").is_hidden()


def follows_its_address(page, address, slides):
    """A slide that is named opens; an end that names none, or is no text that was encoded, breaks nothing."""
    def shown():
        return page.locator("#slide-name").inner_text()

    page.evaluate("slide => { location.hash = encodeURIComponent(slide); }", slides[1])
    page.wait_for_function(f"() => document.getElementById('slide-name').textContent === '{slides[1]}'")
    page.wait_for_function(READY)
    for end in ("#100%", "#no-such-slide"):
        page.evaluate("end => { location.hash = end; }", end)
        page.wait_for_function("() => document.getElementById('status').textContent.includes('names no slide')")
        assert shown() == slides[1]
        page.goto("about:blank")
        page.goto(address + end)
        page.wait_for_function(READY)
        assert shown() == slides[0]
        open_slide(page, slides[1])


def says_why_a_slide_cannot_be_shown(page, slide):
    """And shows nothing of the slide before."""
    refusal = "slide.svs: the file is damaged"
    answer = lambda route: route.fulfill(status=422, json={"error": refusal})
    page.route(f"**/api/slides/{slide}", answer)
    page.locator(f"#slides button[data-slide='{slide}']").click()
    page.wait_for_function(f"() => document.getElementById('status').textContent.includes('{refusal}')")
    assert page.locator("#slide-name").inner_text() == slide
    assert page.url.endswith(f"#{slide}"), page.url
    assert page.locator("#patient").is_hidden()
    assert page.evaluate("viewer.world.getItemCount()") == 0
    assert page.locator("#layers input").count() == 0
    page.unroute(f"**/api/slides/{slide}")


def finds_slides(page, order):
    """The list is in the order asked for, says which, and shows what is searched."""
    def listed():
        return page.locator("#slides button").evaluate_all("buttons => buttons.map(button => button.dataset.slide)")

    assert listed() == order, (listed(), order)
    assert "rank in their fold" in page.locator("#found").inner_text()
    page.get_by_label("Order").select_option("lowest")
    assert listed() == order[::-1]
    page.get_by_label("Order").select_option("name")
    assert listed() == sorted(order)
    page.get_by_label("Find a slide or patient").fill(order[0].lower())
    assert listed() == [order[0]]
    page.get_by_label("Find a slide or patient").fill("")
    page.get_by_label("Order").select_option("highest")


def main(chromium, program, run, bags, slides, *others):
    command = [program, "serve", "--run", run, "--features", bags, "--slides", slides, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().strip()
            assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", address), address
            with Page(chromium, address) as opened:
                page, requests = opened.page, opened.requests
                page.set_viewport_size({"width": 1280, "height": 900})
                page.wait_for_function(READY)
                rows = predictions(run)
                order = by_rank(run)
                finds_slides(page, order)
                seen = [*order[:2], *others]
                for slide in seen:
                    open_slide(page, slide)
                    shows_a_slide(page, slide, rows[slide])
                zooms(page)
                switches_layers(page, requests)
                settings_reach_the_map(page, requests)
                says_what_colours_mean(page)
                patches_lead_to_their_place(page)
                enlarges_the_plot(page)
                is_seen_in_windows_of_any_width(page)
                mini_map_shows_the_whole_slide(page, order[:2])
                follows_its_address(page, address, order)
                page.screenshot(path=str(pathlib.Path(run).parent / "viewer.png"))
                opened.fits_every_width()
                opened.has_headings_in_order()
                assert all(url.startswith((address, "data:", "blob:")) for url in requests), requests
                # A layer may be left before its last tile has come.
                complaints = [text for text in opened.complaints if "loaded before reset" not in text]
                assert not complaints, complaints
                says_why_a_slide_cannot_be_shown(page, order[2])
            assert server.poll() is None, "the server ended"
        finally:
            server.terminate()
    print(f"viewer: {len(rows)} slides listed, {len(seen)} looked at, layers, settings and patches by keyboard")


if __name__ == "__main__":
    main(*sys.argv[1:])
