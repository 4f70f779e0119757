"""`domains` of 4,000, 20,000 and 100,000 cells: time and peak memory, a process each.

Eight domains, and as many as are estimated. Then how well they agree with the truth where networks
learn from all of 20,000 cells, and where each learns from 4,000 of them. Then one epoch's losses
with all pairs of 4,000 spots, in blocks, against the dense formulas.
"""

from __future__ import annotations

import subprocess
import sys

SIZES = (4_000, 20_000, 100_000)
SEEDS = range(3)
_CELLS = """
import sys, time
import numpy as np, scipy.sparse as sp, torch
from napari_stenhance.methods.stamgc.protocol import Slice
from napari_stenhance.methods.stamgc.ensemble import StamgcEnsemble
from napari_stenhance.running.job import Job
from napari_stenhance.running.memory import peak_gb


def cells(n, seed, depth):
    rng = np.random.default_rng(seed)
    side = round(n**0.5)
    xy = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).reshape(-1, 2) * 10.0
    xy += rng.normal(0, 2, xy.shape)
    domain = (xy[:, 0] // (xy[:, 0].max() / 8 + 1)).astype(int)
    level = rng.gamma(0.5, 0.4, 500)
    factor = np.exp(rng.normal(0, 0.7, (9, 500)))
    parts = (rng.poisson(level * factor[some]) for some in np.array_split(domain, 50))
    if depth < 1:
        parts = (rng.binomial(part, depth) for part in parts)
    counts = sp.csr_array(sp.vstack([sp.csr_array(part.astype(np.float32)) for part in parts]))
    return Slice("cells", xy, 10.0, tuple(f"G{i}" for i in range(500)), counts), domain


def find(slice_, number, seed):
    return StamgcEnsemble(seed, torch.device("cpu")).find([slice_], number, Job())

"""
_ONE = """
slice_, _ = cells(int(sys.argv[1]), 0, 1)
made = peak_gb()
started, worked = time.perf_counter(), time.process_time()
found = find(slice_, int(sys.argv[2]) or None, 0)
peak = peak_gb()
print(time.perf_counter() - started, time.process_time() - worked, peak, made)
"""
_AGREED = """
from sklearn.metrics import adjusted_rand_score
from napari_stenhance.methods import drawing
from napari_stenhance.methods.stamgc import expression, learning, smoothing

for module in (drawing, expression, learning, smoothing):
    module.WHOLE_MOST = int(sys.argv[2])
slice_, domain = cells(20_000, int(sys.argv[1]), float(sys.argv[3]))
print(adjusted_rand_score(domain, find(slice_, 8, int(sys.argv[1])).labels[0]))
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


def run(code: str, *arguments: float) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", _CELLS + code, *map(str, arguments)],
        check=True,
        capture_output=True,
        text=True,
    )
    return [float(number) for number in done.stdout.split()]


def main() -> None:
    print("| cells | domains | s | of processor time | peak memory, GB | of it before, GB |")
    print("|---|---|---|---|---|---|", flush=True)
    for size in SIZES:
        for number, said in ((8, "8"), (0, "estimated")):
            seconds, worked, peak, before = run(_ONE, size, number)
            row = f"{size:,} | {said} | {seconds:.0f} | {worked:.0f} | {peak:.2f} | {before:.2f}"
            print(f"| {row} |", flush=True)
    print("\n| a network learns from | counts | ARI with the truth, seeds 0 to 2 |")
    print("|---|---|---|", flush=True)
    for most in (20_000, 4_000):
        for depth, counts in ((1.0, "all"), (0.1, "a tenth")):
            found = [run(_AGREED, seed, most, depth)[0] for seed in SEEDS]
            agreed = ", ".join(f"{value:.3f}" for value in found)
            print(f"| {most:,} of 20,000 | {counts} | {agreed} |", flush=True)
    losses()


if __name__ == "__main__":
    main()
