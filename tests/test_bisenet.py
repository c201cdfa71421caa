"""BiSeNet: the names and sizes of its file, and what the public code computes."""

import pytest
import torch
from weights_by_name import named

from musetalk_stream.models.bisenet import BiSeNet


@pytest.fixture(scope="module")
def parser() -> BiSeNet:
    return named(BiSeNet())


def picture(height: int, width: int) -> torch.Tensor:
    """Two ramps and their product: [1, 3, H, W]"""
    down, right = torch.linspace(-2, 2, height)[:, None], torch.linspace(-2, 2, width)[None]
    return torch.stack(torch.broadcast_tensors(down, right, down * right))[None]


def test_it_has_the_parameters_of_its_file(parser: BiSeNet) -> None:
    state = parser.state_dict()
    assert len(state) == 191
    assert sum(parameter.numel() for parameter in parser.parameters()) == 13_300_416
    assert {
        "cp.resnet.conv1.weight",
        "cp.resnet.layer2.0.downsample.1.running_mean",
        "cp.arm16.conv.conv.weight",
        "cp.arm32.bn_atten.bias",
        "cp.conv_avg.bn.num_batches_tracked",
        "ffm.convblk.conv.weight",
        "conv_out.conv_out.weight",
        "conv_out16.conv.bn.weight",
    } <= state.keys()


@torch.inference_mode()
def test_it_computes_what_the_public_code_does(parser: BiSeNet) -> None:
    """Scores that the steps of its `model.py` give with these weights, one by one."""
    scores = parser(picture(64, 64))
    assert scores.shape == (1, 19, 64, 64)
    expected = torch.tensor(
        [
            [-0.3706, -0.8914, -0.9407, -0.9955],
            [0.3666, 0.0344, -0.1149, 0.2979],
            [-0.2207, -0.8774, -0.9943, -0.4866],
            [1.0420, 0.9143, 0.7302, 1.6258],
        ]
    )
    torch.testing.assert_close(scores[0, :4, 32, ::21], expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_pictures_do_not_see_each_other(parser: BiSeNet) -> None:
    pictures = torch.cat([picture(64, 96), -picture(64, 96)])
    together = parser(pictures)
    assert together.shape == (2, 19, 64, 96)
    for i in range(2):
        torch.testing.assert_close(together[i : i + 1], parser(pictures[i : i + 1]))


@torch.inference_mode()
def test_the_heads_of_training_change_nothing() -> None:
    parser = named(BiSeNet())
    before = parser(picture(64, 64))
    for head in (parser.conv_out16, parser.conv_out32):
        head.conv_out.weight.zero_()
    assert torch.equal(parser(picture(64, 64)), before)
