#!/usr/bin/env bash
# Measure live streams into docs/results/live and put the figures into docs/live.md: 35 minutes.
#
#   docs/measure_live.sh
#
# On a machine with nothing else to do: latencies are those of its other work too. Needs `pip install -e '.[dev]'`.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=docs/results/live
mkdir -p "$out"
status=0

run() {
    echo "== $*"
    python "$@" || status=1
}

for rate in 16000 48000; do
    run benchmarks/pipe.py --minutes 2 --rate "$rate" --json "$out/pipe-$rate.json"
done
run benchmarks/call.py --minutes 5 --loss 0.1 --jitter-ms 30 --json "$out/call.json"
run benchmarks/soak.py --minutes 10 --streams 100 --json "$out/soak.json"
run benchmarks/soak.py --minutes 1 --streams 80 --json "$out/soak-80.json"
run benchmarks/soak.py --minutes 10 --streams 100 --every-ms 10 --json "$out/soak-waiting.json"
run benchmarks/kills.py --rounds 3 --json "$out/kills.json"
python docs/tables.py
exit "$status"
