"""A model and files in: what makes no sense is refused before anything is written."""

from pathlib import Path

from PIL import Image
from torch import nn

from support.errors import raises
from vfmseg.errors import DataError, RecipeError
from vfmseg.inference.predictor import Predictor
from vfmseg.runs.predict import predict_files
from vfmseg.tasks.catalog import build_task
from vfmseg.types import LabelSpace


class _Nothing(nn.Module):
    image_size = (32, 32)


def _predictor(task: str) -> Predictor:
    space = LabelSpace(("road", "car"), ((200, 0, 0), (0, 0, 200)), (False, True))
    return Predictor(_Nothing(), space, build_task(task), device="cpu")


def test_predict_files__image_ids_are_for_models_that_write_json(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "x.png")
    with raises(RecipeError, "a model of task semantic writes none. Leave out --image_ids"):
        predict_files(
            _predictor("semantic"), [tmp_path / "x.png"], tmp_path / "out", image_ids=tmp_path / "x.json"
        )
    assert not (tmp_path / "out").exists()


def test_predict_files__image_ids_that_are_not_there_are_said_before_the_work(tmp_path: Path) -> None:
    Image.new("RGB", (4, 3)).save(tmp_path / "x.png")
    (tmp_path / "x.json").write_text('{"images": []}')
    with raises(DataError, "x.json does not list 1 of the 1 images"):
        predict_files(
            _predictor("panoptic"), [tmp_path / "x.png"], tmp_path / "out", image_ids=tmp_path / "x.json"
        )
    assert not (tmp_path / "out").exists()
