#!/usr/bin/env bash
# How fast a model reads prompts and generates, and beside it llama.cpp and its forks on a GGUF of the same sizes: tokens/s
# with their spread, and peak memory, all in one run on one machine. Rounds take turns, since the memory's speed changes
# with what else the machine's owner runs.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/bench_infer.sh --model DIR [--xinslm FILE] [-p 512] [-n 128] [-d 0] [-r 3] [--rounds 3] [--threads N]
                       [--peer NAME "COMMAND"]...
  --model DIR          a model folder; xinslm init --preset standard --tokenizer DIR --out DIR --mxfp4 makes one
  -p, -n, -d, -r       tokens of the prompt, tokens generated, tokens in the KV cache before, repetitions a round
  --peer NAME COMMAND  a llama-bench to run in turns with ours; -p, -n, -d, -r, -t and -o csv are added, e.g.
                       --peer llama.cpp "llama-bench -m standard-f16.gguf"
                       --peer ik_llama.cpp "ik/llama-bench -m standard-f16.gguf -rtr 1 -fmoe 1"
TEXT
}

root=$(cd "$(dirname "$0")/.." && pwd)
xinslm=$root/build/release/xinslm model='' prompt=512 generate=128 depth=0 repetitions=3 rounds=3 threads='' options=()
names=() peers=()
while [ $# -gt 0 ]; do
  case $1 in
    --help) usage; exit 0 ;;
    --model) model=${2:?--model needs a folder}; shift 2 ;;
    --xinslm) xinslm=${2:?--xinslm needs a file}; shift 2 ;;
    -p) prompt=${2:?-p needs a number}; shift 2 ;;
    -n) generate=${2:?-n needs a number}; shift 2 ;;
    -d) depth=${2:?-d needs a number}; shift 2 ;;
    -r) repetitions=${2:?-r needs a number}; shift 2 ;;
    --rounds) rounds=${2:?--rounds needs a number}; shift 2 ;;
    --threads) threads=${2:?--threads needs a number}; shift 2 ;;
    --peer) names+=("${2:?--peer needs a name}"); peers+=("${3:?--peer needs a command}"); shift 3 ;;
    *) echo "bench_infer.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
[ -n "$model" ] || { usage >&2; exit 2; }
case $depth in *[!0-9]*)
  echo "bench_infer.sh: -d takes one number; xinslm bench speed -d 0,4000 compares several" >&2; exit 2 ;;
esac
[ -x "$xinslm" ] || { echo "bench_infer.sh: no program at $xinslm; build it, or name it with --xinslm" >&2; exit 2; }
threads=${threads:-$(getconf _NPROCESSORS_ONLN)}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo "processor: $(sed -n 's/^model name.*: //p' /proc/cpuinfo 2> /dev/null | head -1 || sysctl -n machdep.cpu.brand_string)," \
     "$threads threads; $rounds rounds of $repetitions repetitions after $depth tokens"

timed() {  # memory of the command goes to $work/memory where GNU time is there
  if /usr/bin/time -f %M true 2> /dev/null; then
    /usr/bin/time -o "$work/memory" -f %M "$@"
  else
    echo 0 > "$work/memory"; "$@"
  fi
}

gave_up() {  # NAME STATUS
  cat "$work/err" >&2
  echo "bench_infer.sh: $1 ended with status $2$([ "$2" != 137 ] || echo ': killed, perhaps for want of memory')" >&2
  exit 1
}

value() {  # the number after "key": in section "$1" of ours
  tr -d ' \n' < "$work/json" | sed -n "s/.*\"$1\":{[^}]*\"$2\":\([0-9.e+-]*\).*/\1/p"
}

for ((round = 1; round <= rounds; ++round)); do
  timed "$xinslm" bench speed --model "$model" -p "$prompt" -n "$generate" -d "$depth" -r "$repetitions" \
    --threads "$threads" --reasoning-effort medium --json - > "$work/json" 2> "$work/err" || gave_up xinslm $?
  memory=$(tail -1 "$work/memory")
  [ "$prompt" = 0 ] || echo "xinslm|prompt $prompt|$(value prompt tokens_per_second)|$memory" >> "$work/rows"
  [ "$generate" = 0 ] || echo "xinslm|generate $generate|$(value generate tokens_per_second)|$memory" >> "$work/rows"
  tr -d ' \n' < "$work/json" |
    sed -n 's/.*"read_bandwidth":\([0-9.e+]*\),"bus_share":\([0-9.e-]*\).*/\1 \2/p' >> "$work/bus"
  for i in "${!peers[@]}"; do
    # shellcheck disable=SC2086  # the command is words
    timed ${peers[$i]} -p "$prompt" -n "$generate" $([ "$depth" = 0 ] || echo -d "$depth") -r "$repetitions" \
      -t "$threads" -o csv > "$work/csv" 2> "$work/err" || gave_up "${names[$i]}" $?
    awk -v name="${names[$i]}" -v memory="$(tail -1 "$work/memory")" '
      function plain(x) { gsub(/"/, "", x); return x }
      { n = 0; rest = $0; while (match(rest, /^("[^"]*"|[^,]*)(,|$)/)) {
          cell[++n] = plain(substr(rest, RSTART, RLENGTH)); sub(/,$/, "", cell[n]); rest = substr(rest, RLENGTH + 1)
          if (rest == "") break } }
      /n_prompt/ && /avg_ts/ { for (j = 1; j <= n; ++j) column[cell[j]] = j; next }
      column["avg_ts"] { p = cell[column["n_prompt"]]; g = cell[column["n_gen"]]
        print name "|" (p > 0 ? "prompt " p : "generate " g) "|" cell[column["avg_ts"]] "|" memory }' \
      "$work/csv" >> "$work/rows"
  done
done

awk -F'|' '
  { key = $2 "|" $1; if (!(key in count)) order[++keys] = key
    ++count[key]; sum[key] += $3; squares[key] += $3 * $3; if ($4 > memory[key]) memory[key] = $4 }
  END {
    printf "%-14s %-16s %10s %10s %12s\n", "test", "program", "tokens/s", "spread", "peak memory"
    for (k = 1; k <= keys; ++k) {
      key = order[k]; split(key, part, "|"); mean = sum[key] / count[key]
      variance = squares[key] / count[key] - mean * mean
      printf "%-14s %-16s %10.1f %10.1f %9.0f MB\n", part[1], part[2], mean, sqrt(variance > 0 ? variance : 0),
             memory[key] / 1024
    }
  }' "$work/rows"
awk '{ if ($1 > best) best = $1; share += $2; ++n }
     END { if (n) printf "memory read: %.1f GB/s at best; generation read %.0f %% of what each round gave\n", best / 1e9, 100 * share / n }' \
  "$work/bus"
