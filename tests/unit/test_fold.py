"""An encoder with its batch normalisations folded is the same function, or it is left alone."""

import copy

import pytest
import timm
import torch
from torch import nn

from galaxymill.models.fold import folded

SIZE = 64


def norms(module):
    return [part for part in module.modules() if isinstance(part, nn.BatchNorm2d)]


def trained(module):
    """Give batch statistics and weights as a trained network has them."""
    generator = torch.Generator().manual_seed(1)
    for norm in norms(module):
        norm.running_mean.normal_(0, 0.3, generator=generator)
        norm.running_var.uniform_(0.3, 3, generator=generator)
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(norm.bias, 0, 0.3, generator=generator)
    return module.eval()


def compare(module, result):
    images = torch.rand(3, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = module(images)
        return float((result(images) - wanted).abs().max() / wanted.abs().max())


@pytest.mark.parametrize(
    "name",
    ["test_efficientnet", "test_resnet", "resnet10t", "tf_efficientnet_lite0", "regnetx_002"],
)
def test_all_are_folded_and_the_features_stay(name):
    encoder = trained(timm.create_model(name, num_classes=0))
    before = copy.deepcopy(encoder.state_dict())
    result = folded(encoder, SIZE)
    assert norms(encoder)
    assert not norms(result)
    assert compare(encoder, result) < 1e-4
    for key, value in encoder.state_dict().items():
        assert torch.equal(value, before[key])


def test_without_batch_normalisation_nothing_changes():
    encoder = timm.create_model("test_convnext", num_classes=0).eval()
    assert compare(encoder, folded(encoder, SIZE)) == 0


class Branches(nn.Module):
    """The first convolution's output goes to two places, the second's to its norm alone."""

    def __init__(self, hidden):
        super().__init__()
        self.hidden = hidden
        self.conv1, self.norm1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4, affine=False)
        self.other = nn.Identity()

    def forward(self, images):
        first = self.conv1(images)
        aside = first if self.hidden else self.other(first)
        whole = self.norm1(first) + aside
        return self.norm2(self.conv2(whole)).mean((2, 3))


def test_what_a_branch_also_takes_is_not_folded():
    encoder = trained(Branches(hidden=False))
    result = folded(encoder, SIZE)
    assert norms(result) == [result.norm1]
    assert compare(encoder, result) < 1e-4


def test_an_encoder_that_would_change_is_left_alone():
    encoder = trained(Branches(hidden=True))
    assert folded(encoder, SIZE) is encoder


def test_a_convolution_that_is_used_twice_is_not_folded():
    class Shared(Branches):
        def forward(self, images):
            first = self.norm1(self.conv1(images))
            return self.norm2(self.conv2(self.conv2(first))).mean((2, 3))

    encoder = trained(Shared(hidden=False))
    result = folded(encoder, SIZE)
    assert norms(result) == [result.norm2]
    assert compare(encoder, result) < 1e-4
