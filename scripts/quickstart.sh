#!/usr/bin/env bash
# From nothing to a trained model that talks: installs what is missing, builds, trains the quickstart model on the
# built-in corpus (a few minutes on two cores), lets it continue a prompt, chats when at a terminal, and measures it.
set -euo pipefail
. "$(dirname "$0")/setup.sh"

usage() {
  cat <<'TEXT'
scripts/quickstart.sh [--yes] [--torch DIR] [--no-chat]
  --yes        install what is missing without asking
  --torch DIR  LibTorch to use: its folder, or torch.utils.cmake_prefix_path
  --no-chat    do not open the chat at the end
TEXT
}

chat=true
while [ $# -gt 0 ]; do
  case $1 in
    --yes) ASSUME_YES=true; shift ;;
    --torch) TORCH_GIVEN=${2:?--torch needs a folder}; shift 2 ;;
    --no-chat) chat=false; shift ;;
    --help) usage; exit 0 ;;
    *) echo "quickstart.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done

install_packages
find_torch
configure
build xinslm_program
cd "$XINSLM_ROOT"
xinslm=build/release/xinslm run=runs/quickstart

# show COMMAND...: says what is run, so that it can be repeated.
show() {
  printf '\n$ xinslm' >&2
  printf ' %q' "$@" >&2
  printf '\n' >&2
  "$xinslm" "$@"
}

step "Train"
if [ -e "$run/model/config.json" ]; then
  say "$run holds a trained model already; to train anew: $xinslm train --config configs/quickstart.yaml --force"
elif [ -e "$run/checkpoints/latest" ]; then
  show train --resume "$run"
else
  show train --config configs/quickstart.yaml --out "$run"
fi
step "Continue a prompt"
show infer --model "$run/model" --prompt "Once upon a time" --max-tokens 80 --seed 1
if $chat && [ -t 0 ] && [ -t 1 ]; then
  step "Chat (/quit goes on)"
  show chat --model "$run/model"
fi
step "Measure"
show bench perplexity --model "$run/model"
show bench speed --model "$run/model" -p 128 -n 64 -r 3
step "Done. The program is $xinslm, the model $run/model, the report $run/report.html"
