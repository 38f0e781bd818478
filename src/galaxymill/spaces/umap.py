"""Fit the network of a map to a sample, so that near neighbours stay near: parametric UMAP.

The graph is that of UMAP (McInnes, Healy & Melville 2018, section 3.1; Sainburg, McInnes & Gentner
2021 for the network), on the angles between features. The loss is InfoNCE (Damrich, Böhm, Hamprecht
& Kobak 2023, "From t-SNE to UMAP with contrastive learning"): with it a third as many steps put
more of the true neighbours near each other than with UMAP's own.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from galaxymill.spaces.placer import Floats, Placer

_A, _B = 1.577, 0.8951
"""Of 1 / (1 + a d^2b), fitted to UMAP's min_dist 0.1 and spread 1."""
_BATCH = 2048
_NEGATIVES = 20
_RATE = 2e-3
_BISECTIONS = 40
_EDGE_PERCENT = 0.1
_SPREAD = 5.0
"""Standard deviation of the places along the first component, before any is moved."""
_CHUNK = 1024


def fit_map(
    features: Floats,
    neighbours: int,
    steps: int,
    seed: int,
    device: str = "cpu",
    advance: Callable[[int], None] = lambda _: None,
) -> Placer:
    """Fit the network of a map.

    Parameters
    ----------
    features : ndarray, shape (n, components)
        Of a sample; none is zero.
    neighbours : int
        Of each galaxy that are kept near; fewer where the sample is smaller.
    steps : int
        Of the optimiser; a small sample takes fewer, see `steps_of`.
    advance : callable
        Is given the number of steps that are done.

    Returns
    -------
    Placer
        On the CPU.
    """
    torch.manual_seed(seed)
    unit = nn.functional.normalize(torch.from_numpy(features).float(), dim=1).to(device)
    placer = Placer(features.shape[1]).to(device)
    _lay_flat(placer, unit)
    neighbours = min(neighbours, len(unit) - 1)
    if neighbours >= 2:
        heads, tails, weights = _graph(*nearest(unit, neighbours))
        _optimise(placer, unit, heads, tails, weights, steps_of(steps, len(unit)), advance)
    _set_edges(placer, unit)
    return placer.cpu().eval()


def steps_of(steps: int, galaxies: int) -> int:
    """Steps that a sample is worth: all from some thirty thousand galaxies on."""
    return min(steps, 300 + galaxies // 10)


def nearest(unit: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Find each galaxy's nearest others in a sample, exactly.

    Parameters
    ----------
    unit : Tensor, shape (n, components)
        Of length 1.

    Returns
    -------
    indices : Tensor of int64, shape (n, count)
    distances : Tensor, shape (n, count)
        Lengths of chords, ascending.
    """
    indices, distances = [], []
    for start in range(0, len(unit), _CHUNK):
        likeness = unit[start : start + _CHUNK] @ unit.T
        rows = torch.arange(len(likeness), device=unit.device)
        likeness[rows, rows + start] = -math.inf
        best, found = likeness.topk(count, dim=1)
        indices.append(found)
        distances.append((2 - 2 * best).clamp(min=0).sqrt())
    return torch.cat(indices), torch.cat(distances)


def _graph(indices: Tensor, distances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Edges of the fuzzy graph (section 3.1): heads, tails and the weights of their union."""
    import scipy.sparse

    count, neighbours = indices.shape
    beyond = (distances - distances[:, :1]).clamp(min=0)
    low, high = torch.zeros(count, 1), torch.full((count, 1), 1e3)
    beyond = beyond.cpu()
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        too_wide = torch.exp(-beyond / middle).sum(1, keepdim=True) > math.log2(neighbours)
        low, high = torch.where(too_wide, low, middle), torch.where(too_wide, middle, high)
    member = torch.exp(-beyond / high.clamp(min=1e-6)).numpy().ravel()
    heads = np.repeat(np.arange(count), neighbours)
    one_way = scipy.sparse.csr_array((member, (heads, indices.cpu().numpy().ravel())))
    one_way.resize((count, count))
    back = one_way.T.tocsr()
    union = (one_way + back - one_way.multiply(back)).tocoo()
    place = distances.device
    return (
        torch.from_numpy(union.row.astype(np.int64)).to(place),
        torch.from_numpy(union.col.astype(np.int64)).to(place),
        torch.from_numpy(union.data).to(place),
    )


def _lay_flat(placer: Placer, unit: Tensor) -> None:
    """Begin with the first two components, so that the map's outline is not left to chance."""
    nn.init.zeros_(placer.plane.weight)
    nn.init.zeros_(placer.plane.bias)
    deviation = float(unit[:, 0].std(correction=0)) or 1.0
    with torch.no_grad():
        placer.plane.weight[0, 0] = placer.plane.weight[1, 1] = _SPREAD / deviation


def _optimise(
    placer: Placer,
    unit: Tensor,
    heads: Tensor,
    tails: Tensor,
    weights: Tensor,
    steps: int,
    advance: Callable[[int], None],
) -> None:
    """Draw edges by their weights, pull their ends together and push others apart."""
    drawn = torch.Generator().manual_seed(torch.initial_seed())
    ends = weights.double().cumsum(0).cpu()
    # A small sample is gone through as often as a large one, in less time.
    batch = min(_BATCH, len(unit))
    optimiser = torch.optim.Adam(placer.parameters(), lr=_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=steps)
    for _ in range(steps):
        at = torch.rand(batch, generator=drawn, dtype=torch.float64) * ends[-1]
        edges = torch.searchsorted(ends, at).clamp(max=len(ends) - 1).to(unit.device)
        places = placer(unit[torch.cat([heads[edges], tails[edges]])])
        one, other = places[:batch], places[batch:]
        shuffled = (torch.randperm(batch, generator=drawn) for _ in range(_NEGATIVES))
        likely = torch.stack([_affinity(one, other), *(_affinity(one, other[p]) for p in shuffled)])
        # −log of the neighbour's share of what it has with galaxies at random.
        loss = (likely.logsumexp(0) - likely[0]).mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(placer.parameters(), 4.0)
        optimiser.step()
        schedule.step()
        advance(1)


def _affinity(one: Tensor, other: Tensor) -> Tensor:
    """Log of 1 / (1 + a d^2b), of pairs of places."""
    return -torch.log1p(_A * ((one - other).square().sum(1) + 1e-6) ** _B)


@torch.no_grad()
def _set_edges(placer: Placer, unit: Tensor) -> None:
    """Put the edges of the map where all but a thousandth of the sample lie, on each side."""
    places = placer(unit).cpu().numpy()
    low, high = np.percentile(places, [_EDGE_PERCENT, 100 - _EDGE_PERCENT], axis=0)
    margin = 0.02 * (high - low) + 1e-6
    placer.low.copy_(torch.from_numpy((low - margin).astype(np.float32)))
    placer.high.copy_(torch.from_numpy((high + margin).astype(np.float32)))
