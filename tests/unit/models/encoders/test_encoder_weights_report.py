"""What a person reads about weights."""

from vfmseg.models.encoders.weights_report import WeightsReport, collapse, few


def test_collapse__blocks_become_one_name():
    names = [f"blocks.{i}.mlp.fc1.bias" for i in range(12)] + ["norm.bias", "blocks.3.attn.qkv.bias"]
    assert collapse(names) == "blocks.{0-11}.mlp.fc1.bias, norm.bias, blocks.3.attn.qkv.bias"


def test_few__says_how_many_more():
    assert few("abcde", limit=3) == "a, b, c and 2 more"
    assert few([]) == "none"


def test_lines__only_what_there_is_to_say():
    assert WeightsReport("random").lines() == ["weights: random"]
    report = WeightsReport(
        "w.pth", "model", "beit3.", ("head.weight", "head.bias"), ("positions: 4x4 -> 8x8",)
    )
    assert report.lines() == [
        "weights: w.pth",
        "taken from 'model' inside the file",
        "prefix 'beit3.' cut from every name",
        "not used (2): head.weight, head.bias",
        "positions: 4x4 -> 8x8",
    ]
