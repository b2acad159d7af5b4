#!/bin/sh
# What a GPU must show of this build, with no Rust at hand: tests against the CPU, speed beside PyTorch's, a simulated cohort.
#
#   sh check.sh OUT [STEP]...
#
# Steps, in the order in which they run where none is named:
#
#   layers, model, train, encoders   the test programs
#   attention                        TFLOP/s of attention alone
#   bench                            the model beside PyTorch on the same GPU (needs a Python with PyTorch); OUT/cuda.json
#   folds                            five folds of a simulated cohort, a process each; OUT/study.json
#   memcheck, racecheck              kernels at small sizes under `compute-sanitizer`
#
# Each writes OUT/STEP.log; what it says last is printed with its time. A step that fails does not stop the others, but gives code 1.
#
#   TESTS='NAME ...'   of the test programs, tests whose name has one of these
#   LIMIT=SECONDS      for a program, 600 where nothing is said
#   DEVICE=cuda:0      PATIENTS=400      CASES=...      PYTHON=python3
set -u
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -lt 1 ]; then
    sed -n '2,19s/^# \{0,1\}//p' "$0" >&2
    exit 2
fi
mkdir -p "$1" || exit 1
out=$(cd "$1" && pwd)
: >"$out/summary.txt" || exit 1
shift
[ $# -gt 0 ] || set -- layers model train encoders attention bench folds memcheck racecheck
for name in "$@"; do
    case $name in
    layers | model | train | encoders | attention | bench | folds | memcheck | racecheck) ;;
    *)
        echo "no step \`$name\`; \`sh $0\` lists them" >&2
        exit 2
        ;;
    esac
done

LIMIT=${LIMIT:-600}
DEVICE=${DEVICE:-cuda:0}
PATIENTS=${PATIENTS:-400}
PYTHON=${PYTHON:-python3}
TESTS=${TESTS:-}
CASES=${CASES:-mean/train/bf16,mean/infer/bf16,mean/train/bf16/published,largest/train/bf16,largest/infer/bf16}

# CUDA's libraries: where the loader finds them, else in the wheels of PyTorch. PyTorch itself must not get ours.
libraries=${LD_LIBRARY_PATH:-}
if ldd "$here/bin/cf-bench" | grep -q 'libcu.*not found'; then
    wheels=$("$PYTHON" -c 'import nvidia; print(list(nvidia.__path__)[0])' 2>/dev/null)
    libraries=$(ls -d "$wheels"/cu*/lib 2>/dev/null | head -n 1)${libraries:+:$libraries}
fi
ours() {
    LD_LIBRARY_PATH=$libraries timeout "$LIMIT" "$@"
}

folds() {
    rm -f "$out/study.json"
    work=$(mktemp -d) || return 1
    cp "$here/folds.toml" "$work"
    (
        cd "$work" || exit 1
        ours "$here/bin/cf-train" --quiet simulate --kind additive --patients "$PATIENTS" --out additive || exit 1
        ours "$here/bin/cf-train" --quiet study plan folds.toml --out study || exit 1
        begun=$(date +%s)
        for fold in 0 1 2 3 4; do
            ours "$here/bin/cf-train" --quiet study run study --index "$fold" --device "$DEVICE" &
        done
        wait
        echo "five folds: $(($(date +%s) - begun)) s"
        # It fails where one of them is not there.
        ours "$here/bin/cf-train" study collect study --complete
    )
    code=$?
    cp "$work/study/study.json" "$out" || code=1
    rm -r "$work"
    return $code
}

step() {
    # Names of tests are words.
    # shellcheck disable=SC2086
    case $1 in
    layers | model | train | encoders) ours "$here/tests/$1" $TESTS ;;
    attention) ours "$here/bin/cf-bench" attention --device "$DEVICE" && ours "$here/bin/cf-bench" attention --dropout 0.2 --device "$DEVICE" ;;
    bench)
        rm -f "$out/cuda.json"
        timeout "$LIMIT" "$PYTHON" "$here/bench/bench_cuda.py" --cf-bench "$here/bin/cf-bench" \
            ${libraries:+--libraries "${libraries%%:*}"} --device "$DEVICE" --cases "$CASES" --limit 150 \
            --commit "$(cat "$here/COMMIT")" --attention --out "$out/cuda.json" || return
        # Ours may have failed beside PyTorch's.
        ! grep -q '"ours_error": "' "$out/cuda.json"
        ;;
    folds) folds ;;
    memcheck | racecheck)
        CF_TEST_SMALL=1 ours compute-sanitizer --tool "$1" --error-exitcode 9 "$here/tests/layers" $TESTS
        ;;
    esac
}

for name in "$@"; do
    begun=$(date +%s)
    step "$name" >"$out/$name.log" 2>&1
    code=$?
    # A name that no test has would pass.
    if [ $code -eq 0 ] && grep -q '^running 0 tests' "$out/$name.log"; then code=5; fi
    [ $code -eq 0 ] && said=passed || said="FAILED (code $code)"
    echo "== $name: $said in $(($(date +%s) - begun)) s"
    tail -n "$([ $code -eq 0 ] && echo 15 || echo 60)" "$out/$name.log"
done | tee "$out/summary.txt"
grep -q '^== ' "$out/summary.txt" || exit 1
if grep -q '^== [a-z]*: FAILED' "$out/summary.txt"; then exit 1; fi
