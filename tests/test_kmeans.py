"""k-means: inertia beside a reference implementation, empty clusters, blocks, determinism."""

import pytest
import torch

from audiocodec.bottleneck import kmeans as module
from audiocodec.bottleneck.kmeans import kmeans, nearest, seed_centres


def points(kind, count=6000, dims=4):
    torch.manual_seed(0)
    noise = torch.randn(count, dims)
    return noise if kind == "gaussian" else 5 * torch.randn(30, dims)[torch.randint(30, (count,))] + 0.3 * noise


@pytest.mark.parametrize("kind", ["gaussian", "clustered"])
@pytest.mark.parametrize("count", [8, 30, 128])
def test_inertia_is_within_two_percent_of_the_reference(kind, count):
    cluster = pytest.importorskip("sklearn.cluster")
    x = points(kind)
    reference = cluster.KMeans(count, n_init=3, max_iter=50, random_state=0).fit(x.numpy())
    assert kmeans(x, count).inertia < 1.02 * reference.inertia_


def test_centres_counts_and_inertia_belong_together():
    x = points("gaussian")
    found = kmeans(x, 16)
    labels, errors = nearest(x, found.centres)
    assert torch.equal(torch.bincount(labels, minlength=16), found.counts)
    assert found.inertia == pytest.approx(errors.sum().item(), rel=1e-4)
    assert found.counts.min() > 0
    for i in range(16):
        torch.testing.assert_close(x[labels == i].mean(dim=0), found.centres[i], atol=0.05, rtol=0)


def test_blocks_change_nothing(monkeypatch):
    x = points("gaussian", 500)
    whole = nearest(x, x[:7])
    monkeypatch.setattr(module, "_BLOCK_ELEMENTS", 20)
    assert torch.equal(whole[0], nearest(x, x[:7])[0])
    torch.testing.assert_close(whole[1], nearest(x, x[:7])[1], atol=1e-5, rtol=1e-5)


def test_the_same_seed_gives_the_same_centres_and_leaves_torchs_generator_alone():
    x = points("clustered", 2000)
    torch.manual_seed(7)
    first = kmeans(x, 20, seed=1)
    drawn = torch.rand(1)
    torch.manual_seed(7)
    assert torch.equal(torch.rand(1), drawn)
    assert torch.equal(kmeans(x, 20, seed=1).centres, first.centres)
    assert not torch.equal(kmeans(x, 20, seed=2).centres, first.centres)


def test_empty_clusters_are_split_from_the_largest(monkeypatch):
    x = torch.cat([points("gaussian", 3000, 2), torch.full((20, 2), 40.0) + 0.01 * torch.randn(20, 2)])
    # A seeding as bad as can be: all centres but one are the same point.
    monkeypatch.setattr(module, "seed_centres", lambda p, count, generator: torch.zeros(count, 2) + p[0])
    found = kmeans(x, 12, iterations=200)
    assert found.counts.min() > 0
    monkeypatch.undo()
    assert found.inertia < 1.3 * kmeans(x, 12).inertia


def test_fewer_distinct_points_than_centres():
    x = torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    found = kmeans(x, 3)
    assert found.inertia == 0
    assert found.centres.isfinite().all()
    with pytest.raises(ValueError, match="5 clusters cannot be made of 4 points"):
        kmeans(x, 5)
    with pytest.raises(ValueError, match="0 clusters"):
        kmeans(x, 0)


def test_seeding_takes_a_part_of_many_points():
    x = points("gaussian", 50_000)
    centres = seed_centres(x, 4, torch.Generator().manual_seed(0))
    assert (nearest(centres, x)[1] < 1e-6).all()
    assert torch.pdist(centres).min() > 0.5
