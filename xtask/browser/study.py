"""The report of a study in a browser: `study.py CHROMIUM STUDY`.

STUDY is a directory of `cf-train study`. Beyond what every page must do, its tables are those of tables/*.csv, and the marks of
its best cells can be told without colour.
"""

import csv
import json
import pathlib
import sys

from page import Page


def table_of(page, caption):
    """Rows of the table under a caption, without its headings and without what only screen readers say."""
    return page.evaluate(
        """caption => {
            const region = [...document.querySelectorAll('.wide')].find(box => box.getAttribute('aria-label') === caption);
            if (!region) return null;
            return [...region.querySelectorAll('tbody tr:not(.group)')].map(row => [...row.cells].map(cell => {
                const copy = cell.cloneNode(true);
                copy.querySelectorAll('.said').forEach(said => said.remove());
                return copy.textContent.trim();
            }));
        }""",
        caption,
    )


def main(chromium, study):
    study = pathlib.Path(study)
    results = json.loads((study / "study.json").read_text())
    with Page(chromium, study / "report.html") as page:
        n_drawings, n_pages = page.all_common_checks()
        assert n_drawings >= len(results["cohorts"]), f"{n_drawings} drawings of {len(results['cohorts'])} cohorts"
        assert page.page.locator("script").count() == 0
        captions = page.page.locator("p.caption").all_text_contents()
        shown = [row for caption in captions for row in table_of(page.page, caption)]
        best = page.page.locator(".study .best").first
        assert best.evaluate("e => +getComputedStyle(e).fontWeight") >= 600
        second = page.page.locator("td .second").first
        assert "underline" in second.evaluate("e => getComputedStyle(e).textDecorationLine")
    n_cells = 0
    for path in sorted((study / "tables").glob("table*.csv")):
        with path.open(newline="") as file:
            for line in csv.DictReader(file):
                if not line["c_index_mean"]:
                    continue
                # The mean over cohorts has no deviation.
                deviation = f" ({line['c_index_sd']})" if line["c_index_sd"] else ""
                cell = line["c_index_mean"] + deviation
                assert any(cell in row for row in shown), f"{path.name}: {cell} of {line} is not shown"
                n_cells += 1
    assert n_cells > 0, "no cell in tables/*.csv"
    print(f"study: {n_drawings} drawings, {n_pages} pages, {n_cells} cells equal tables/*.csv")


if __name__ == "__main__":
    main(*sys.argv[1:])
