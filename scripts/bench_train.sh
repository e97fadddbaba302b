#!/usr/bin/env bash
# How fast `xinslm train` is at given sizes, and beside it any other trainer, in one run on one machine: tokens/s (median
# over the steps) and peak memory. The text is the built-in corpus; its vocabulary has at most the size asked for.
set -euo pipefail

usage() {
  cat <<'TEXT'
scripts/bench_train.sh [SIZES] [--xinslm FILE] [--repeat N] [--peer COMMAND]...
  --hidden 256 --inter 512 --layers 6 --heads 4 --kv 2 --head-dim 64 --experts 8 --topk 2
  --vocab 8192 --seq 256 --batch 16 --dtype auto --steps 20 --threads 0
  --xinslm FILE   the program; default: build/release/xinslm
  --repeat N      measure everything N times in turn, since other work on the machine disturbs; default 1
  --peer COMMAND  another trainer: run by sh after ours, its output printed with its peak memory; may be repeated, e.g.
                  --peer "python3 hf_train_bench.py --dtype bfloat16 --impl grouped_mm"
TEXT
}

root=$(cd "$(dirname "$0")/.." && pwd)
hidden=256 inter=512 layers=6 heads=4 kv=2 head_dim=64 experts=8 topk=2
vocab=8192 seq=256 batch=16 dtype=auto steps=20 threads=0
xinslm=$root/build/release/xinslm repeat=1 peers=()
while [ $# -gt 0 ]; do
  case $1 in
    --help) usage; exit 0 ;;
    --peer) peers+=("${2:?--peer needs a command}"); shift 2 ;;
    --hidden|--inter|--layers|--heads|--kv|--head-dim|--experts|--topk|--vocab|--seq|--batch|--dtype|--steps|--threads|--xinslm|--repeat)
      name=${1#--}
      printf -v "${name//-/_}" %s "${2:?$1 needs a value}"; shift 2 ;;
    *) echo "bench_train.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
  esac
done
[ -x "$xinslm" ] || { echo "bench_train.sh: no program at $xinslm; build it, or name it with --xinslm" >&2; exit 2; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat > "$work/bench.yaml" <<TEXT
model: {vocab_size: $vocab, hidden_size: $hidden, num_hidden_layers: $layers, num_attention_heads: $heads,
        num_key_value_heads: $kv, head_dim: $head_dim, num_experts: $experts, num_experts_per_tok: $topk,
        intermediate_size: $inter, max_position_embeddings: 4096, sliding_window: 128}
tokenizer: {vocab_size: $((vocab < 1024 ? vocab : 1024))}
data: {train: [builtin], builtin_documents: 5000, cache_dir: $work/cache}
training: {per_device_train_batch_size: $batch, max_seq_length: $seq, max_steps: $steps, compute_type: $dtype,
           warmup_steps: 5, eval_steps: 0, eval_batches: 1, save_steps: 0, save_minutes: 0}
device: {threads: $threads}
TEXT

echo "processor: $(sed -n 's/^model name.*: //p' /proc/cpuinfo 2>/dev/null | head -1 || sysctl -n machdep.cpu.brand_string)"
for ((round = 1; round <= repeat; ++round)); do
  "$xinslm" train --config "$work/bench.yaml" --out "$work/run" --force > "$work/out" 2> "$work/err" ||
    { cat "$work/err" >&2; exit 1; }
  sed -n 's/^info: \(model\|computing\)/  \1/p' "$work/err"
  echo "xinslm: $(sed -n 's/^speed *//p' "$work/out"), peak memory $(sed -n 's/^peak memory *//p' "$work/out")"
  for peer in ${peers[@]+"${peers[@]}"}; do
    # GNU time (or BSD's -l) tells the largest resident set.
    if /usr/bin/time -f "  peak memory %M KiB" true 2> /dev/null; then
      /usr/bin/time -f "  peak memory %M KiB" sh -c "$peer" 2> "$work/err" || { cat "$work/err" >&2; exit 1; }
      tail -1 "$work/err"
    else
      sh -c "$peer"
    fi
  done
done
