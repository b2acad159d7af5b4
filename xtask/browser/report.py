"""The report of a run in a browser: `report.py CHROMIUM RUN`.

RUN is a directory of `cf-train cv`. Beyond what every page must do, the numbers of the page are those of its summary.json.
"""

import json
import pathlib
import sys

from page import Page

# Drawings of a run whose statistics are all defined: C-index, two survival curves, AUC, Brier, cohort flow, fold balance,
# training, and of calibration at least one horizon and D-calibration.
FEWEST_DRAWINGS = 10


def at(summary, path):
    """The number at `a.b.0` of nested tables and lists."""
    for key in path.split("."):
        summary = summary[int(key) if isinstance(summary, list) else key]
    return summary


def agree(shown, value):
    """Whether a number as shown is the rounded value; a dash stands for a number that does not exist."""
    if value is None or shown == "–":
        return value is None and shown == "–"
    digits = shown.replace(",", "").replace("−", "-")
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    half = 0.5 * 10.0 ** (int(exponent or 0) - decimals)
    # Halves are exact in decimal and not in binary.
    return abs(float(digits) - value) <= half * (1 + 1e-9)


def wanted(summary):
    """Places of summary.json that the page has to show."""
    yield from ("n_slides", "n_patients", "n_events", "n_event_patients", "log_rank.chi_square", "log_rank.p_value")
    for level in ("c_index", "patient_c_index", "last_epoch_c_index"):
        yield from (f"{level}.mean", f"{level}.sd")
        yield from (f"{level}.folds.{fold}" for fold in range(len(summary[level]["folds"])))
    for level in ("c_index", "patient_c_index"):
        yield from (f"{level}.ci95.0", f"{level}.ci95.1")


def main(chromium, run):
    run = pathlib.Path(run)
    summary = json.loads((run / "summary.json").read_text())
    with Page(chromium, run / "report.html") as page:
        n_drawings, n_pages = page.all_common_checks()
        assert n_drawings >= FEWEST_DRAWINGS, f"{n_drawings} drawings"
        assert page.page.locator("script").count() == 0
        marked = page.page.evaluate(
            "[...document.querySelectorAll('[data-summary]')].map(e => [e.dataset.summary, e.textContent.trim()])"
        )
    wrong = [(path, shown, at(summary, path)) for path, shown in marked if not agree(shown, at(summary, path))]
    assert not wrong, f"shown and in summary.json: {wrong}"
    missing = set(wanted(summary)) - {path for path, _ in marked}
    assert not missing, f"not shown: {sorted(missing)}"
    print(f"report: {n_drawings} drawings, {n_pages} pages, {len(marked)} numbers equal summary.json")


if __name__ == "__main__":
    main(*sys.argv[1:])
