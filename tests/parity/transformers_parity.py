"""Holds xinslm against transformers' GptOssForCausalLM in float32.

For each configuration and both directions (folder written by xinslm and loaded by transformers; the reverse): logits
within 1e-4, the loss, and the gradient of every parameter within 1e-3 of the parameter's largest.

usage: transformers_parity.py PATH/TO/dump_forward [NAME...]
"""

import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import torch
    import transformers
    from safetensors.torch import load_file, save_file
    from transformers import GptOssConfig, GptOssForCausalLM
except ImportError as missing:
    print(f"skipped: {missing}; install torch, transformers and safetensors to compare with transformers")
    sys.exit(77)

LOGIT_TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3

BASE = dict(
    vocab_size=97, hidden_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16,
    num_local_experts=6, num_experts_per_tok=2, intermediate_size=40, sliding_window=128, max_position_embeddings=8192,
    tie_word_embeddings=False,
)  # fmt: skip


def yarn(**changes):
    rope = dict(rope_type="yarn", rope_theta=150000.0, factor=32.0, beta_fast=32.0, beta_slow=1.0, truncate=False,
                original_max_position_embeddings=4096)  # fmt: skip
    return dict(rope_parameters={**rope, **changes})


# name: (changes to BASE, batch, length)
CASES = {
    "odd_length": (dict(), 2, 37),
    "single_token": (dict(num_hidden_layers=3), 3, 1),
    "beyond_the_window": (dict(sliding_window=8, num_hidden_layers=4), 3, 61),
    "window_of_one": (dict(sliding_window=1), 2, 19),
    "yarn_beyond_4096": (
        dict(vocab_size=31, hidden_size=16, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
             num_local_experts=2, intermediate_size=8, **yarn(factor=2.0)), 1, 4203,
    ),
    "all_experts": (dict(num_experts_per_tok=6), 2, 33),
    "tied": (dict(tie_word_embeddings=True, num_attention_heads=6, num_key_value_heads=3), 2, 45),
    "tied_odd_sizes": (
        dict(tie_word_embeddings=True, vocab_size=101, hidden_size=36, intermediate_size=27, head_dim=10,
             num_local_experts=5, num_experts_per_tok=3), 5, 23,
    ),
    "plain_rope_full_layers": (
        dict(rope_parameters=dict(rope_type="default", rope_theta=10000.0),
             layer_types=["full_attention", "full_attention"]), 2, 40,
    ),
    "yarn_truncated": (yarn(truncate=True, factor=8.0, beta_fast=16.0, original_max_position_embeddings=64), 2, 150),
    "no_attention_bias": (dict(attention_bias=False, layer_types=["full_attention", "sliding_attention"]), 2, 29),
    "one_key_head": (dict(num_key_value_heads=1, num_attention_heads=8, sliding_window=16), 1, 83),
}  # fmt: skip


def make_config(changes):
    return GptOssConfig(**{**BASE, **changes}, attn_implementation="eager")


def make_input(config, batch, length, seed):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(config.vocab_size, (batch, length), generator=generator)
    targets = torch.randint(config.vocab_size, (batch, length), generator=generator)
    if length > 2:
        targets[0, 1] = -100
    return {"tokens": tokens, "targets": targets}


def transformers_forward(folder, given):
    model = GptOssForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    if hasattr(model, "set_experts_implementation"):
        model.set_experts_implementation("eager")  # the grouped product wants sizes in multiples of 16 bytes
    output = model(given["tokens"], output_router_logits=True)
    loss = torch.nn.functional.cross_entropy(output.logits.flatten(0, 1), given["targets"].flatten())
    loss.backward()
    result = {"logits": output.logits.detach(), "loss": loss.detach()}
    for name, parameter in model.named_parameters():
        result["gradient." + name] = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
    return result, closest_choice(model.config, output.router_logits)


def closest_choice(config, router_logits):
    """How near any token came to another choice of experts, where rounding alone would decide."""
    chosen = config.num_experts_per_tok
    if chosen == config.num_local_experts:
        return float("inf")
    ordered = torch.cat([logits.detach() for logits in router_logits]).sort(dim=-1, descending=True).values
    return (ordered[:, chosen - 1] - ordered[:, chosen]).min().item()


def differences(ours, theirs):
    """Sentences about what is out of tolerance, and the largest deviations found."""
    problems = []
    if ours.keys() != theirs.keys():
        problems.append(f"names differ: {sorted(ours.keys() ^ theirs.keys())}")
        return problems, 0, 0
    logits = (ours["logits"] - theirs["logits"]).abs().max().item()
    if not logits <= LOGIT_TOLERANCE:
        problems.append(f"logits differ by {logits:.2e}")
    if not abs(ours["loss"].item() - theirs["loss"].item()) <= LOGIT_TOLERANCE:
        problems.append(f"loss {ours['loss'].item()} against {theirs['loss'].item()}")
    worst = 0.0
    gradients = [name for name in theirs if name.startswith("gradient.")]
    largest = max(theirs[name].abs().max().item() for name in gradients)
    for name in gradients:
        scale = max(theirs[name].abs().max().item(), 1e-5 * largest)  # a gradient that is zero has no relative error
        relative = (ours[name] - theirs[name]).abs().max().item() / scale
        worst = max(worst, relative)
        if not relative <= GRADIENT_TOLERANCE:
            problems.append(f"{name} differs by {relative:.2e} of its largest")
    return problems, logits, worst


class Comparison:
    def __init__(self, program, work):
        self.program, self.work = program, work

    def run(self, *arguments):
        done = subprocess.run([self.program, *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            raise SystemExit(f"{self.program} {' '.join(map(str, arguments))} failed: {done.stderr}")

    def forward(self, folder, given, *options):
        save_file(given, self.work / "input.safetensors")
        self.run("forward", folder, self.work / "input.safetensors", self.work / "output.safetensors", *options)
        return load_file(self.work / "output.safetensors")

    def from_xinslm(self, name, config, seed):
        folder = self.work / f"{name}-xinslm"
        config.save_pretrained(folder)
        self.run("make", folder, seed)
        assert json.loads((folder / "config.json").read_text())["model_type"] == "gpt_oss"
        return folder

    def from_transformers(self, name, config, seed):
        folder = self.work / f"{name}-transformers"
        torch.manual_seed(seed)
        model = GptOssForCausalLM(config)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += 0.15 * torch.randn_like(parameter)
        model.save_pretrained(folder)
        self.check_copy(model, folder)
        return folder

    def check_copy(self, model, folder):
        """What xinslm reads and writes again, transformers must read as the very same weights."""
        copy = pathlib.Path(str(folder) + "-copy")
        copy.mkdir(exist_ok=True)
        self.run("copy", folder, copy)
        again = GptOssForCausalLM.from_pretrained(copy, dtype=torch.float32)
        for (name, one), (_, other) in zip(model.named_parameters(), again.named_parameters(), strict=True):
            assert torch.equal(one, other), f"{name} changed on the way through xinslm"

    def check(self, name, changes, batch, length):
        for direction in (self.from_xinslm, self.from_transformers):
            for seed in range(1, 20):
                config = make_config(changes)
                folder = direction(name, config, seed)
                given = make_input(config, batch, length, seed)
                theirs, margin = transformers_forward(folder, given)
                if margin > 1e-4:
                    break
            checkpointed = ["checkpointed"] if direction == self.from_transformers else []
            problems, logits, gradient = differences(self.forward(folder, given, *checkpointed), theirs)
            print(f"{name:24} {direction.__name__:18} logits {logits:.1e}  gradients {gradient:.1e}", flush=True)
            yield from (f"{name} {direction.__name__}: {problem}" for problem in problems)


def main():
    program, names = sys.argv[1], sys.argv[2:] or list(CASES)
    torch.set_num_threads(2)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as work:
        comparison = Comparison(program, pathlib.Path(work))
        problems = [problem for name in names for problem in comparison.check(name, *CASES[name])]
    if problems:
        sys.exit("\n".join(["differences from transformers:", *problems]))
    print(f"{len(names)} configurations agree with transformers {transformers.__version__} in both directions")


if __name__ == "__main__":
    main()
