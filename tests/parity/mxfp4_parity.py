"""Holds xinslm's decoding of MXFP4 against transformers' and against the formula of gpt-oss, on random bytes.

Every bit must agree under the scales 0 to 254, in float32 and bfloat16, read from either layout. Scale 255 is NaN by
the specification and to xinslm; transformers and gpt-oss make infinity of it, so it is left out.

usage: mxfp4_parity.py PATH/TO/decode_mxfp4
"""

import subprocess
import sys

try:
    import torch
    import transformers
    from transformers.integrations import mxfp4
except ImportError as missing:
    print(f"skipped: {missing}; install torch and transformers to compare with transformers")
    sys.exit(77)

SIZES = [(1, 1, 1), (2, 16, 3), (3, 37, 5), (32, 67, 2), (1, 255, 8)]  # matrices, rows, blocks of 32 in a row


def xinslm_values(program, layout, dtype, blocks, scales):
    given = blocks.numpy().tobytes() + scales.numpy().tobytes()
    command = [program, layout, str(dtype).removeprefix("torch."), *map(str, scales.shape)]
    done = subprocess.run(command, input=given, capture_output=True)
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed: {done.stderr.decode()}")
    matrices, rows, count = scales.shape
    return torch.frombuffer(bytearray(done.stdout), dtype=dtype).view(matrices, rows, 32 * count)


def transformers_values(dtype, blocks, scales):
    """transformers gives matrices transposed, as its float checkpoints hold them."""
    for name in ("_convert_moe_packed_tensors", "convert_moe_packed_tensors"):
        if hasattr(mxfp4, name):
            return getattr(mxfp4, name)(blocks, scales, dtype=dtype).transpose(1, 2)
    raise SystemExit(f"transformers {transformers.__version__} has no convert_moe_packed_tensors any more")


def gpt_oss_values(dtype, blocks, scales):
    """ldexp(element, scale - 127), the low half of each byte first."""
    magnitudes = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    elements = torch.tensor(magnitudes + [-x for x in magnitudes], dtype=dtype)
    pairs = torch.stack([elements[(blocks & 15).int()], elements[(blocks >> 4).int()]], dim=-1)
    return torch.ldexp(pairs.flatten(-2), scales.int().unsqueeze(-1) - 127).to(dtype).flatten(-2)


def same_bits(a, b):
    integer = torch.int32 if a.dtype == torch.float32 else torch.int16
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(integer), b.contiguous().view(integer))


def problems_of(program, sizes, seed):
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(256, (*sizes, 16), dtype=torch.uint8, generator=generator)
    scales = torch.randint(255, sizes, dtype=torch.uint8, generator=generator)
    for dtype in (torch.float32, torch.bfloat16):
        peers = {
            "transformers": transformers_values(dtype, blocks, scales),
            "gpt-oss": gpt_oss_values(dtype, blocks, scales),
        }
        for layout in ("checkpoint", "rows16"):
            ours = xinslm_values(program, layout, dtype, blocks, scales)
            for peer, theirs in peers.items():
                if not same_bits(ours, theirs):
                    yield f"{sizes} {dtype} {layout}: differs from {peer} in {(ours != theirs).sum()} values"


def main():
    program = sys.argv[1]
    problems = [problem for seed, sizes in enumerate(SIZES) for problem in problems_of(program, sizes, seed)]
    if problems:
        sys.exit("\n".join(problems))
    print(f"{len(SIZES)} sizes decode as transformers {transformers.__version__} and gpt-oss decode them, bit for bit")


if __name__ == "__main__":
    main()
