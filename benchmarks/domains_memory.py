"""`domains` of 4,000, 20,000 and 100,000 cells: time and peak memory, a process each.

Then one epoch's losses with all pairs of 4,000 spots, in blocks, against the dense formulas.
"""

from __future__ import annotations

import subprocess
import sys

SIZES = (4_000, 20_000, 100_000)
_ONE = """
import sys, time
import numpy as np, scipy.sparse as sp, torch
from napari_stenhance.methods.stamgc.protocol import Slice
from napari_stenhance.methods.stamgc.ensemble import StamgcEnsemble
from napari_stenhance.running.job import Job
from napari_stenhance.running.memory import peak_gb

n = int(sys.argv[1])
rng = np.random.default_rng(0)
side = round(n**0.5)
xy = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) * 10.0
xy += rng.normal(0, 2, xy.shape)
domain = (xy[:, 0] // (xy[:, 0].max() / 8 + 1)).astype(int)
level = rng.gamma(0.5, 0.4, 500)
factor = np.exp(rng.normal(0, 0.7, (9, 500)))
counts = sp.csr_array(sp.vstack([
    sp.csr_array(rng.poisson(level * factor[some]).astype(np.float32))
    for some in np.array_split(domain, 50)
]))
names = tuple(f"G{i}" for i in range(500))
made = peak_gb()
started = time.perf_counter()
StamgcEnsemble(0, torch.device("cpu")).find([Slice("cells", xy, 10.0, names, counts)], 8, Job())
peak = peak_gb()
print(time.perf_counter() - started, peak, made)
"""


def losses() -> None:
    import numpy as np
    import torch
    from timing import median_seconds
    from torch.nn.functional import normalize, softplus

    from napari_stenhance.methods.stamgc.graph import neighbours, union_graph
    from napari_stenhance.methods.stamgc.losses import Pairs, regional_loss, topological_loss

    rng = np.random.default_rng(0)
    xy = rng.random((4000, 2))
    graph, label = union_graph(neighbours(xy, 6)), (xy[:, 0] * 7).astype(np.int64)
    embedding = torch.tensor(rng.random((4000, 64), np.float32), requires_grad=True)
    pairs = Pairs.from_graph(graph, label, torch.device("cpu"))
    joined = torch.tensor(graph.toarray())
    other = torch.tensor(label[:, None] != label[None])

    def dense() -> None:
        unit = normalize(embedding, dim=1)
        cosine = unit @ unit.T
        power = cosine.exp()
        near, far = (power * joined).sum(dim=1), (power * other).sum(dim=1)
        loss = (far / near).log().mean() + (softplus(cosine) - joined * cosine).mean()
        torch.autograd.grad(loss, embedding)

    def ours(drawn: int | None = None) -> None:
        loss = regional_loss(embedding, pairs, drawn) + topological_loss(embedding, pairs, drawn)
        torch.autograd.grad(loss, embedding)

    first = median_seconds(dense, runs=5)
    print("\n| losses of 4,000 spots and their gradient | s | ÷ dense |")
    print("|---|---|---|")
    print(f"| dense formulas | {first:.2f} | 1.00 |")
    for name, call in (("all pairs, in blocks", ours), ("512 spots drawn", lambda: ours(512))):
        seconds = median_seconds(call, runs=5)
        print(f"| {name} | {seconds:.2f} | {seconds / first:.2f} |", flush=True)


def main() -> None:
    print("| cells | s | peak memory, GB | of it before the call, GB |")
    print("|---|---|---|---|", flush=True)
    for size in SIZES:
        done = subprocess.run(
            [sys.executable, "-c", _ONE, str(size)], check=True, capture_output=True, text=True
        )
        seconds, peak, before = map(float, done.stdout.split())
        print(f"| {size:,} | {seconds:.0f} | {peak:.2f} | {before:.2f} |", flush=True)
    losses()


if __name__ == "__main__":
    main()
