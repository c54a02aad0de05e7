#!/usr/bin/env bash
# Measure the shipped model and put the figures into README.md and the model's card: nothing there is typed by hand.
#
#   docs/measure.sh ../shared/eval/speech
#
# Takes about five minutes on one core. Writes docs/results/.
set -euo pipefail
speech=$(realpath "${1:?usage: docs/measure.sh FOLDER_OF_SPEECH}")
cd "$(dirname "${BASH_SOURCE[0]}")/.."
results=docs/results
mkdir -p "$results"

audiocodec evaluate "$speech" --bitrate 1.6 --bitrate 3.2 --bitrate 6 --peer opus:6,8,12 \
    --out "$results/speech-16k" --markdown "$results/speech-16k.md" --force

# Where things lay on the machine that measured is nobody else's business.
sed -i "s#$speech#shared/eval/speech#; s#$(command -v audiocodec)#audiocodec#" "$results/speech-16k/summary.json"

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
{
    echo '```'
    audiocodec encode samples/speech.flac "$place/speech.vpc" 2>&1
    audiocodec decode "$place/speech.vpc" "$place/speech.wav" 2>&1
    echo '```'
} | sed "s#$place/##g" >"$results/first-command.md"

card=pretrained/speech-16k/CARD.md
python docs/insert.py "$results/first-command.md" README.md
python docs/insert.py "$results/speech-16k.md" README.md "$card"
if [[ -f pretrained/speech-16k/sources.json ]]; then
    python docs/sources_table.py pretrained/speech-16k/sources.json "$results/speech-16k-sources.md"
    python docs/insert.py "$results/speech-16k-sources.md" "$card"
fi
