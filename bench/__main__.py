"""The CPU benchmark suite from a checkout: batten beside its peers.

    python bench                                    all cases, beside all peers that are installed
    python bench --quick                            in less than a minute
    python bench --only gemm --peers batten torch --threads 1
    python bench --json new.json --plot new.png     all figures, and a picture of them
    python bench/compare.py old.json new.json       what has changed
    python bench/instructions.py PROGRAM            instructions of a small step, held against a record
    python bench/threads.py                         whether small work is kept from the team
    python bench/sigmoids.py                        what batch normalization does for sigmoids

What it measures, how, and why, is told in `src/batten/benchmark/__init__.py`, which
`python bench --help` shows.  There is the suite, too, as `batten bench` has a part of it that
needs no peer.  Here are the peers: a row below for each framework or way to use one, and a file
for each framework with what it does not write as PyTorch does.
"""

import argparse
import sys
from pathlib import Path

from batten import benchmark, cli
from batten.benchmark.suite import Peer

HERE = Path(__file__).resolve().parent
KERNELS = ("products", "layers")
STEPS = ("mlp_digits", "mlp_mnist", "mlp_wide")
IMAGES = ("images", "lenet_mnist", "vgg11_bn_cifar", "resnet20_cifar", "resnet20_gn", "alexnet_cifar")

BEFORE = ("augment", "data")
ALL_BUT_AUGMENT = (*KERNELS, "optimizers", *STEPS, *IMAGES, "data")

TORCH = HERE / "torch_peer.py"
PEERS = {
    "numpy": Peer("numpy", HERE / "numpy_peer.py", "arrays", leaves_out=(*STEPS, *IMAGES, "data")),
    "torch": Peer("torch", TORCH, "eager", leaves_out=("augment",)),
    "torch_fused": Peer("torch", TORCH, "fused", leaves_out=(*KERNELS, *IMAGES, *BEFORE)),
    "torch_channels_last": Peer("torch", TORCH, "channels_last", leaves_out=(*KERNELS, "optimizers", *STEPS, *BEFORE)),
    "torch_compile": Peer(
        "torch", TORCH, "compiled", leaves_out=(*KERNELS, "optimizers", "images", *BEFORE), slow=True
    ),
    "torchvision": Peer("torchvision", TORCH, "each_image", leaves_out=ALL_BUT_AUGMENT),
    "torchvision_batch": Peer("torchvision", TORCH, "whole_batch", leaves_out=ALL_BUT_AUGMENT),
    "jax": Peer("jax", HERE / "jax_peer.py", "jitted", leaves_out=("resnet20_gn", *BEFORE)),
}


def main() -> int:
    parser = cli.Parser(
        prog="python bench",
        description=benchmark.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    cli.add_bench_options(parser, PEERS)
    return cli.run(parser)


if __name__ == "__main__":
    sys.exit(main())
