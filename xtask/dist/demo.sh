#!/bin/sh
# From nothing to a report: simulates a cohort whose answer is known, cross-validates CrossFusion on it and shows where the
# report lies. Uses the programs beside this script and nothing else.
#
#   ./demo.sh [FOLDER]
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-crossfusion-demo}
if [ -e "$out" ]; then
    echo "$out is there already: name another folder" >&2
    exit 2
fi

"$here/bin/cf-train" --quiet simulate --out "$out/cohort" --patients 60 --seed 7
"$here/bin/survstat" km --csv "$out/cohort/clinical.csv" --time survival_months --event censorship --censored-is 1 | head -n 5
"$here/bin/wsi-bags" --quiet inspect --features "$out/cohort/bags" --backbone simulated | head -n 5
"$here/bin/cf-train" --quiet cv --config "$out/cohort/config.toml" --out "$out/run"
"$here/bin/cf-train" --quiet report --run "$out/run"
echo "report: $out/run/report.html"
