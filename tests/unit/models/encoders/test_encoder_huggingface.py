"""Configurations of transformers that have, or have no, counterpart."""

import json
import re

import pytest

from vfmseg.errors import RecipeError
from vfmseg.models.encoders.huggingface import read_blueprint

V3 = {
    "model_type": "dinov3_vit", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 64, "image_size": 64, "patch_size": 16, "num_channels": 3, "hidden_act": "gelu",
    "layer_norm_eps": 1e-5, "layerscale_value": 1.0, "rope_theta": 100.0, "num_register_tokens": 4,
    "query_bias": True, "key_bias": False, "value_bias": True, "proj_bias": True, "mlp_bias": True,
    "use_gated_mlp": False,
}  # fmt: skip
PROCESSOR = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}


def written(folder, config, processor=PROCESSOR):
    (folder / "config.json").write_text(json.dumps(config))
    if processor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return str(folder)


def test_blueprint__statistics_come_from_the_processor(tmp_path):
    blueprint = read_blueprint(written(tmp_path, V3))
    assert blueprint.mean == (0.5, 0.5, 0.5)
    assert blueprint.std == (0.25, 0.25, 0.25)
    assert blueprint.timm_name == "vit_small_patch16_dinov3_qkvb"


def test_blueprint__another_model(tmp_path):
    expected = r"is a 'swin' of transformers; of the Hugging Face hub vfmseg takes dinov2, dinov2_with_regis"
    with pytest.raises(RecipeError, match=expected):
        read_blueprint(written(tmp_path, {"model_type": "swin"}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"key_bias": True}, "has key_bias True in its config.json; vfmseg can run False only"),
        ({"value_bias": False}, "has value_bias False in its config.json; vfmseg can run True only"),
        ({"hidden_act": "relu"}, "has hidden_act 'relu' in its config.json; vfmseg can run 'gelu' only"),
        ({"num_channels": 4}, "has num_channels 4 in its config.json; vfmseg can run 3 only"),
    ],
)
def test_blueprint__variants_without_counterpart(change, message, tmp_path):
    with pytest.raises(RecipeError, match=re.escape(message)):
        read_blueprint(written(tmp_path, {**V3, **change}))


def test_blueprint__incomplete_configuration(tmp_path):
    config = {k: v for k, v in V3.items() if k != "hidden_size"}
    with pytest.raises(
        RecipeError, match=r"its config\.json or preprocessor_config.json lacks 'hidden_size'"
    ):
        read_blueprint(written(tmp_path, config))


def test_blueprint__no_processor(tmp_path):
    with pytest.raises(
        RecipeError, match=r"is a folder without preprocessor_config\.json; save the model and its pro"
    ):
        read_blueprint(written(tmp_path, V3, processor=None))
