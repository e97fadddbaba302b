#!/usr/bin/env python3
"""The tables of docs/mps.md, from what `xinslm info --json` counts: bytes and arithmetic of a token, launches, and the
tokens a second that bandwidth and launches allow on Apple's chips.

    scripts/mps_roofline.py [build/release/xinslm]
"""
import json
import subprocess
import sys
import tempfile

# GB/s and float32 TFLOP/s as published; sources are in docs/mps.md.
CHIPS = {"M1": (68.25, 2.6), "M2": (100, 3.6), "M2 Pro": (200, 6.8), "M4": (120, 3.8)}
PRESETS = ["quickstart", "ultra_light", "light", "standard", "performance", "gpt-oss-20b"]
LENGTH = 1024       # the token is the last of so many
EFFICIENCY = 0.7    # share of the published bandwidth that good kernels reach; see "published figures"
LAUNCH_SECONDS = (3e-6, 8e-6)  # of a small kernel, queued behind others
PER_LAYER, PER_TOKEN = 18, 7   # launches, counted in docs/mps.md


def info(program, preset):
    """What the program counts for a preset, at its full length or LENGTH tokens."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(f"model:\n  preset: {preset}\ntraining:\n  max_seq_length: 64\n")
        config.flush()
        length = 512 if preset == "quickstart" else LENGTH
        command = [program, "info", "--config", config.name, "--length", str(length), "--json"]
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def layers(program, preset):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as config:
        config.write(f"model:\n  preset: {preset}\n")
        config.flush()
        text = subprocess.run([program, "config", "show", config.name], check=True, capture_output=True, text=True).stdout
    return int(next(line for line in text.splitlines() if "num_hidden_layers:" in line).split(":")[1].split("#")[0])


def row(*cells):
    print("| " + " | ".join(str(cell) for cell in cells) + " |")


def header(*cells):
    row(*cells)
    row(*["---"] * len(cells))


def megabytes(count):
    return f"{count / 1e6:,.1f}" if count < 1e8 else f"{count / 1e6:,.0f}"


def print_work(name, parts):
    print(f"\n{name}:\n")
    header("kernel", "parameters, M", "read, dense 16 bits, MB", "read, dense 8 bits, MB", "arithmetic, MF", "F per byte")
    for part in parts:
        row(part["part"], megabytes(part["parameters"]), megabytes(part["bytes_dense_16_bits"]),
            megabytes(part["bytes_dense_8_bits"]), megabytes(part["flops"]),
            f"{part['flops'] / part['bytes_dense_16_bits']:.1f}")


def speed(chip, read, launches, seconds):
    return 1 / (read / (CHIPS[chip][0] * 1e9 * EFFICIENCY) + launches * seconds)


def print_speeds(counted, key):
    header("model", "read, MB", "launches", *(f"{chip}: bound / expected" for chip in CHIPS))
    for preset, (parts, launches) in counted.items():
        read = parts[-1][key]
        cells = []
        for chip, (bandwidth, _) in CHIPS.items():
            low, high = (speed(chip, read, launches, s) for s in reversed(LAUNCH_SECONDS))
            cells.append(f"{bandwidth * 1e9 / read:,.0f} / {low:,.0f}-{high:,.0f}")
        row(f"`{preset}`", megabytes(read), launches, *cells)


def main():
    program = sys.argv[1] if len(sys.argv) > 1 else "build/release/xinslm"
    counted = {}
    for preset in PRESETS:
        parts = info(program, preset)["token"]
        counted[preset] = (parts, layers(program, preset) * PER_LAYER + PER_TOKEN)
    for preset in ("light", "gpt-oss-20b"):
        print_work(preset, counted[preset][0])
    for title, key in (("8 bits", "bytes_dense_8_bits"), ("16 bits", "bytes_dense_16_bits")):
        print(f"\nExperts in MXFP4, dense matrices in {title}:\n")
        print_speeds(counted, key)
    print("\nPrompts, arithmetic alone:\n")
    header("model", "arithmetic a token, MF", *CHIPS)
    for preset, (parts, _) in counted.items():
        flops = parts[-1]["flops"]
        row(f"`{preset}`", megabytes(flops), *(f"{tera * 1e12 / flops:,.0f}" for _, tera in CHIPS.values()))


if __name__ == "__main__":
    main()
