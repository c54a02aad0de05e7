#!/usr/bin/env bash
# Measure packet loss into docs/results/loss and put the figures into docs/loss.md.
#
#   docs/measure_loss.sh             go on from a run that was stopped; what other code or another model gave is measured anew
#   docs/measure_loss.sh --force     everything anew, as after a change of libopus or of the measures' packages
#
# Needs `pip install -e '.[dev]'`, and the development set in ../shared/eval.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=docs/results/loss
mkdir -p "$out/units"
[[ "${1:-}" == --force ]] && rm -f "$out/units/work.jsonl"

python benchmarks/loss.py --audio ../shared/eval/speech --json "$out/loss.json" --plot "$out/loss.svg" --work "$out/units/work.jsonl"
status=$?
((status < 2)) && python docs/tables.py
exit "$status"
