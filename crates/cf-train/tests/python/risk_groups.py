"""Risk groups of a run by pandas and lifelines, from its prediction files.

python risk_groups.py RUN prints JSON: for slides and for patients, groups cut at the median risk of each fold's training part
(`learned`) and at the median of the pooled validation risks (`pooled`).
"""

import json
import pathlib
import sys

try:
    import numpy as np
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.statistics import logrank_test
except ImportError as missing:
    print(json.dumps({"skipped": f"no {missing.name}"}))
    sys.exit()

OUTCOME = {"fold": "first", "event_time_months": "first", "status": "first"}


def read(run, name):
    tables = [pd.read_csv(path) for path in sorted(pathlib.Path(run).glob(f"fold_*/{name}"))]
    return pd.concat(tables, ignore_index=True)


def of_patients(slides, by):
    return slides.groupby(by, as_index=False).agg({**OUTCOME, "risk": "mean"})


def compared(table, high):
    high = high.astype(int)
    event = (table.status == "event").astype(int)
    months = table.event_time_months
    test = logrank_test(months[high == 1], months[high == 0], event[high == 1], event[high == 0])
    data = pd.DataFrame({"months": months, "event": event, "high": high})
    model = CoxPHFitter().fit(data, "months", "event")
    return {
        "n_high": int(high.sum()),
        "n_low": int((1 - high).sum()),
        "chi_square": float(test.test_statistic),
        "p_value": float(test.p_value),
        "hazard_ratio": float(model.hazard_ratios_["high"]),
        "hazard_ratio_ci95": np.exp(model.confidence_intervals_.loc["high"]).tolist(),
    }


def main(run):
    validation, train = read(run, "predictions.csv"), read(run, "predictions_train.csv")
    levels = {
        "slides": (validation, train),
        "patients": (of_patients(validation, "case_id"), of_patients(train, ["fold", "case_id"])),
    }
    found = {}
    for level, (scored, trained) in levels.items():
        cuts = trained.groupby("fold").risk.median()
        found[level] = {
            "learned": compared(scored, scored.risk >= scored.fold.map(cuts)),
            "pooled": compared(scored, scored.risk >= scored.risk.median()),
        }
        found[level]["learned"]["cuts"] = cuts.tolist()
    print(json.dumps(found))


main(sys.argv[1])
