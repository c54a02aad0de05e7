#!/usr/bin/env bash
# Run the benchmarks of speed into docs/results/speed and put their figures into docs/speed.md and README.md.
#
#   docs/measure_speed.sh
#
# On a machine with nothing else to do, or the wall seconds of frames and starts are those of its other work. Needs
# `pip install -e '.[dev]'`, and the networks of Lyra v2 in ../shared/peers/lyra.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
out=docs/results/speed
mkdir -p "$out"
status=0

run() {
    echo "== $*"
    python "$@" || status=1
}

for model in speech-16k speech-24k music-48k; do
    run benchmarks/speed.py --model "$model" --json "$out/speed-$model.json"
    run benchmarks/latency.py --model "$model" --json "$out/latency-$model.json"
done
run benchmarks/memory.py --json "$out/memory.json"
run benchmarks/startup.py --json "$out/startup.json"
run benchmarks/entropy.py --json "$out/entropy.json"
run benchmarks/kernels.py --json "$out/kernels.json"
run benchmarks/training.py --json "$out/training-smoke.json"
run benchmarks/training.py recipes/free_speech.yaml --json "$out/training-speech.json"
run benchmarks/training.py recipes/free_speech_gan.yaml --set adversarial.start=0 --json "$out/training-gan.json"
run benchmarks/scaling.py --json "$out/scaling.json" --plot "$out/scaling.svg"
run benchmarks/scaling.py --axes length --longest 36000 --json "$out/scaling-length.json" # a gigabyte of disk
python docs/tables.py
exit "$status"
