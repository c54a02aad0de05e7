#!/usr/bin/env bash
# Measure the shipped models beside other codecs and put the figures into docs/quality.md, README.md and the models'
# cards: nothing there is typed by hand.
#
#   docs/measure.sh            go on from the stored runs: only what changed is computed
#   docs/measure.sh --force    everything anew
#
# Needs the development set in ../shared/eval. Writes docs/results; audio, units and reports stay out of git.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
how=${1:---resume}

audiocodec evaluate recipes/evaluate_speech.yaml --out docs/results/speech "$how"
audiocodec evaluate recipes/evaluate_words.yaml --out docs/results/words "$how"
audiocodec evaluate recipes/evaluate_music.yaml --out docs/results/music "$how"
audiocodec evaluate recipes/evaluate_music_stereo.yaml --out docs/results/music-stereo "$how"

place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
{
    echo '```'
    audiocodec encode samples/speech.flac "$place/speech.vpc" 2>&1
    audiocodec decode "$place/speech.vpc" "$place/speech.wav" 2>&1
    echo '```'
} | sed "s#$place/##g" >docs/results/first-command.md

python docs/tables.py
