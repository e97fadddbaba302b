#!/usr/bin/env bash
# faults.sh PROGRAM SHIM COUNT [SEED] [COMMAND...]: kills train, quantize and init COUNT times each with SIGKILL, in turns
# between two calls of the system and at a random moment, and fills the disk at as many places; then looks that what was
# there or what is new is whole, and that the next run cleans up and comes to the same bytes.
set -u
program=$(realpath "$1") shim=$(realpath "$2") count=$3
RANDOM=${4:-1}
shift $(($# < 4 ? $# : 4))
commands=${*:-train quantize init}
work=$(mktemp -d "${TMPDIR:-/tmp}/xinslm-faults-XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive

cat >tiny.yaml <<'YAML'
model:
  {vocab_size: 400, hidden_size: 32, num_hidden_layers: 1, num_attention_heads: 2, num_key_value_heads: 1, head_dim: 16,
   num_experts: 4, num_experts_per_tok: 2, intermediate_size: 32, max_position_embeddings: 64, sliding_window: 16}
data: {train: [builtin], builtin_documents: 100, cache_dir: cache}
training:
  {per_device_train_batch_size: 2, max_seq_length: 32, max_steps: 12, warmup_steps: 2, learning_rate: 0.003,
   eval_steps: 4, eval_batches: 1, save_steps: 3, save_total_limit: 2, logging_steps: 2, compute_type: float32}
device: {threads: 1}
YAML

fail() {
  echo "FAILED: $*" >&2
  echo "what is there:" >&2
  ls -lR "$case" >&2
  tail -5 log >&2
  exit 1
}

# The content of a folder in one word; "none" when it is not there.
content() {
  [ -d "$1" ] || { echo none; return; }
  (cd "$1" && find . -type f | LC_ALL=C sort | xargs -r sha256sum | sha256sum | cut -c1-16)
}

leftovers() { find "$1" -name '*.partial-*' -o -name '*.replaced-*'; }

# Every command works in the folder $case. What it makes is in $case/$made.
made_of() { [ "$1" = train ] && echo run/model || echo out; }
command_of() {
  case $1 in
    train)
      if [ -n "$(ls "$case/run/checkpoints" 2>/dev/null | grep '^step-[0-9]*$')" ]; then
        echo "train --resume $case/run"
      else
        echo "train --config tiny.yaml --out $case/run"
      fi ;;
    quantize) echo "quantize --model base/run/model --out $case/out --force --threads 1" ;;
    init) echo "init --config tiny.yaml --tokenizer base/run/model --out $case/out --force --seed 2" ;;
  esac
}
# What was there before: nothing for odd cases, for even ones an earlier model.
prepare() {
  rm -rf "$case"
  mkdir "$case"
  [ "$1" != train ] && [ $(($2 % 2)) = 0 ] && cp -r earlier "$case/out"
}
run() { "$program" $(command_of "$1") >log 2>&1; }

case=base
mkdir base
run train || fail "the run that the others are compared with"
"$program" init --config tiny.yaml --tokenizer base/run/model --out earlier --seed 1 >log 2>&1 || fail "an earlier model"

# The next run after a fault: ends well with the same bytes and leaves nothing else.
check_next() {  # COMMAND WHAT
  run "$1"
  status=$?
  # A run that was done when it was killed is told to be so.
  [ $status = 0 ] || { [ "$1" = train ] && grep -q "is finished" log; } || fail "$2: the next run ended with $status"
  [ "$(content "$case/$made")" = "$new" ] || fail "$2: the next run made something else"
  [ -z "$(leftovers "$case")" ] || fail "$2: left over: $(leftovers "$case")"
  [ "$1" != train ] || [ "$(grep -c . "$case/run/metrics.jsonl")" = "$lines" ] || fail "$2: metrics"
}

check_after() {  # COMMAND WHAT
  found=$(content "$case/$made")
  if [ "$found" = none ] && [ -n "$(ls -d "$case/$made".replaced-* 2>/dev/null)" ]; then
    found=$(content "$(ls -d "$case/$made".replaced-*)")  # aside, to be put back by the next run
  fi
  [ "$found" = "$old" ] || [ "$found" = "$new" ] || fail "$2: $case/$made is neither the old nor the new one"
}

for command in $commands; do
  case=case
  made=$(made_of $command)
  prepare $command 0
  started=$(date +%s%N)
  FAULT_COUNT=calls LD_PRELOAD=$shim run $command || fail "$command without any fault"
  duration=$((($(date +%s%N) - started) / 1000000))
  calls=$(cat calls) new=$(content "$case/$made")
  [ $command != train ] || lines=$(grep -c . "$case/run/metrics.jsonl")
  early=0
  for ((i = 0; i < count; ++i)); do
    prepare $command $i
    old=$(content "$case/$made")
    exchange=$((i % 3 == 2))
    if [ $((i % 4)) = 3 ]; then
      ms=$((RANDOM % (duration + 1)))
      what="$command killed after $ms ms"
      "$program" $(command_of $command) >log 2>&1 &
      process=$!
      sleep "$((ms / 1000)).$(printf %03d $((ms % 1000)))"
      kill -9 $process 2>/dev/null
      wait $process 2>/dev/null
    else
      at=$((1 + (i * calls / count + RANDOM % (calls / count + 1)) % calls))
      what="$command killed at call $at of $calls (exchange refused: $exchange)"
      FAULT_NO_EXCHANGE=$exchange FAULT_KILL_AT=$at LD_PRELOAD=$shim run $command 2>/dev/null
      [ $? = 137 ] || early=$((early + 1))
    fi
    check_after $command "$what"
    check_next $command "$what"
  done
  for ((i = 0; i < count; ++i)); do
    prepare $command $i
    old=$(content "$case/$made")
    at=$((1 + (i * calls / count + RANDOM % (calls / count + 1)) % calls))
    what="$command with a disk full from call $at of $calls"
    FAULT_FULL_AT=$at LD_PRELOAD=$shim run $command
    status=$?
    [ $status = 0 ] || [ $status = 3 ] || fail "$what: exit code $status"
    [ $status = 0 ] || grep -q "No space left on device" log || fail "$what: the message does not say so"
    [ -z "$(leftovers "$case")" ] || fail "$what: left over: $(leftovers "$case")"
    check_after $command "$what"
    check_next $command "$what"
  done
  echo "$command: $count kills ($early after the last call), $count full disks, $calls calls: whole each time"
done
