"""Neighbour search: the exact path against plain distances, the index against the exact path, radii in closed form."""

import numpy as np
import pytest
import torch
from conftest import DEVELOPMENT_SPEECH, ROOT

from audiocodec.bottleneck.neighbours import NeighbourIndex, kth_distances
from audiocodec.bottleneck.perturb import perturb

stats = pytest.importorskip("scipy.stats")
KS = (8, 128)


def gaussian(count, dims=8):
    return torch.randn(count, dims)


def clustered(count, dims=8):
    """Twenty clusters of very different sizes and widths, far apart."""
    generator = torch.Generator().manual_seed(5)
    centres = 3 * torch.randn(20, dims, generator=generator)
    widths = torch.logspace(-1.5, 0, 20)
    label = torch.multinomial(torch.linspace(1, 10, 20), count, replacement=True)
    return centres[label] + widths[label, None] * torch.randn(count, dims)


@pytest.fixture(scope="module")
def encoder_latents():
    """Of real speech, the first eight dimensions of the shipped model, scaled as VP's penalty would have them.

    Of the development recordings too where there are any, and from eight offsets within a frame.
    """
    import soundfile
    import soxr

    import audiocodec

    codec = audiocodec.load(ROOT / "pretrained" / "speech-16k")
    rows = []
    for path in [ROOT / "samples" / "speech.flac", *sorted(DEVELOPMENT_SPEECH.glob("*.flac"))]:
        speech = torch.from_numpy(soxr.resample(*soundfile.read(path, dtype="float32"), 16000))
        speech = speech.mean(dim=1) if speech.ndim == 2 else speech
        parts = [speech[offset : offset + (len(speech) - 320) // 320 * 320] for offset in range(0, 320, 40)]
        with torch.inference_mode():
            rows.append(codec.net.encoder(torch.stack(parts), torch.log2(torch.full((8,), 9.0))).flatten(0, 1)[:, :8])
    latents = torch.cat(rows).clone()
    return (latents - latents.mean(dim=0)) / latents.std(dim=0)


@pytest.mark.parametrize(("points", "dims", "ks"), [(10, 3, (1, 8, 10)), (1000, 1, (2,)), (5000, 5, (8, 48, 1))])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_exact_search_and_full_index_agree_with_plain_distances(points, dims, ks, offset):
    torch.manual_seed(0)
    S, q = torch.randn(points, dims) + offset, torch.randn(33, dims) + offset
    plain = torch.cdist(q.double(), S.double()).sort(dim=1).values[:, [k - 1 for k in ks]].float()
    torch.testing.assert_close(kth_distances(q, S, ks), plain, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(kth_distances(q, S, ks, block_elements=1), plain, rtol=1e-4, atol=1e-4)
    whole = NeighbourIndex(S, max(ks), probes=1 << 30)
    torch.testing.assert_close(whole.kth_distances(q, ks), plain, rtol=1e-4, atol=1e-4)


def test_tight_clusters_far_from_the_origin_keep_their_digits():
    torch.manual_seed(0)
    S = torch.cat([50 + 1e-3 * torch.randn(2000, 4), -50 + torch.randn(2000, 4)])
    plain = torch.cdist(S[:50].double(), S.double()).sort(dim=1).values[:, [31]].float()
    torch.testing.assert_close(kth_distances(S[:50], S, (32,)), plain, rtol=0.003, atol=0)  # float32 at 50: 4e-6
    torch.testing.assert_close(NeighbourIndex(S, 32).kth_distances(S[:50], (32,)), plain, rtol=0.02, atol=0)


@pytest.mark.parametrize("count", [8, 9, 129, 1000, 4097])
def test_any_number_of_points_and_equal_ones(count):
    S = torch.zeros(count, 3)
    S[: count // 2] = torch.randn(count // 2, 3)
    found = NeighbourIndex(S, 8).kth_distances(S[-1:], (1, 8))
    assert found.isfinite().all()
    assert found[0, 0] == 0
    assert NeighbourIndex(S, 8).kth_distances(S[:0], (1,)).shape == (0, 1)


@pytest.mark.parametrize("ks", [(), (0,), (11,)])
def test_neighbours_that_do_not_exist_are_refused(ks):
    with pytest.raises(ValueError, match="neighbours wanted"):
        kth_distances(torch.zeros(2, 2), torch.zeros(10, 2), ks)
    with pytest.raises(ValueError, match="neighbours wanted"):
        NeighbourIndex(torch.zeros(10, 2), 10).kth_distances(torch.zeros(2, 2), ks)


@pytest.mark.parametrize("search", ["exact", "index"])
def test_mass_within_the_mth_neighbour_has_its_beta_distribution(search):
    """The probability of the ball that the m-th of n neighbours closes is Beta(m, n + 1 - m), whatever the density."""
    torch.manual_seed(1)
    n, m, d = 16_384, 64, 4
    q, S = torch.randn(400, d), torch.randn(n, d)
    radius = (kth_distances(q, S, (m,)) if search == "exact" else NeighbourIndex(S, m).kth_distances(q, (m,)))[:, 0]
    mass = stats.ncx2.cdf(radius.double().square(), d, q.double().square().sum(dim=1))
    # 400 balls around as many points overlap, and are not quite independent: the test is kept from being too sharp.
    assert stats.kstest(mass, stats.beta(m, n + 1 - m).cdf).pvalue > 1e-3
    assert np.mean(mass) == pytest.approx(m / n, rel=0.02)


def moves(neighbourhood, queries, seed):
    torch.manual_seed(seed)
    made = perturb(queries, neighbourhood)
    return made.radius, (made.moved - queries).norm(dim=1)[made.accepted], made.accepted.float()


@pytest.mark.parametrize("kind", ["gaussian", "clustered", "encoder"])
def test_index_and_exact_search_draw_perturbations_from_one_distribution(kind, request):
    """Two-sample Kolmogorov-Smirnov tests on independent queries, a z-test on the acceptance rate."""
    torch.manual_seed(2)
    if kind == "encoder":
        pool = request.getfixturevalue("encoder_latents")
        pool = pool[torch.randperm(len(pool))]
        count = min(2048, len(pool) // 8)
        S, first, second = pool[2 * count :], pool[:count], pool[count : 2 * count]
    else:
        draw = gaussian if kind == "gaussian" else clustered
        S, first, second = draw(65_536), draw(2048), draw(2048)
    m = 128
    index = NeighbourIndex(S, m)
    exact = moves(lambda z: kth_distances(z, S, (8, m)).unbind(1), first, seed=3)
    fast = moves(lambda z: index.kth_distances(z, (8, m)).unbind(1), second, seed=4)
    for name, one, other in zip(("radius", "length"), exact, fast, strict=False):
        assert stats.ks_2samp(one.numpy(), other.numpy(), method="asymp").pvalue > 0.01, name
    rates = exact[2].mean().item(), fast[2].mean().item()
    spread = (sum(rate * (1 - rate) for rate in rates) / len(first)) ** 0.5
    assert abs(rates[0] - rates[1]) < 2.58 * spread  # p = 0.01
    assert min(rates) > 0.05
    # The same queries one by one: the index finds what the exact search finds, nearly always.
    ratio = index.kth_distances(first[:512], (8, m)) / kth_distances(first[:512], S, (8, m))
    assert ratio.min() > 0.999
    assert ratio.mean() < 1.004
