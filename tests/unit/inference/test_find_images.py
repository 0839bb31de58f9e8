"""Files and folders in, images with the names of their predictions out."""

from pathlib import Path

import pytest
from PIL import Image

from vfmseg.errors import DataError, ImageError
from vfmseg.inference.image_files import find_images, read_image


def _picture(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(path)
    return path


def test_find_images__names_are_paths_below_the_folder(tmp_path: Path) -> None:
    for name in ("b c.jpg", "a/x.y.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        _picture(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).write_text("")
    assert [one.stem for one in find_images([tmp_path])] == ["a/x.y", "b c"]


def test_find_images__predictions_are_not_predicted_again(tmp_path: Path) -> None:
    _picture(tmp_path / "photo.jpg")
    for kind in ("masks", "overlays", "confidence", "panoptic"):
        _picture(tmp_path / "out" / kind / "photo.png")
    assert [one.stem for one in find_images([tmp_path], out=tmp_path / "out")] == ["photo"]
    assert len(find_images([tmp_path / "out" / "masks"])) == 1, (
        "asked for elsewhere, they are images like others"
    )


def test_find_images__two_that_would_share_a_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"would both be written as photo\.png"):
        find_images([_picture(tmp_path / "photo.jpg"), _picture(tmp_path / "sub" / "photo.png")])


def test_find_images__one_that_is_named_twice_is_predicted_once(tmp_path: Path) -> None:
    photo = _picture(tmp_path / "photo.jpg")
    assert [one.stem for one in find_images([photo, tmp_path, str(photo)])] == ["photo"]


def test_find_images__one_name_in_two_subfolders(tmp_path: Path) -> None:
    for name in ("b/x.png", "a/x.jpg"):
        _picture(tmp_path / name)
    assert [one.stem for one in find_images([tmp_path])] == ["a/x", "b/x"]


def test_find_images__hidden_files_are_no_images_unless_they_are_named(tmp_path: Path) -> None:
    for name in ("x.png", "._x.png", ".trash/y.png", "__MACOSX/x.png"):
        _picture(tmp_path / name)
    assert [one.stem for one in find_images([tmp_path])] == ["x"]
    assert [one.stem for one in find_images([tmp_path / "._x.png"])] == ["._x"]


def test_find_images__a_link_to_nowhere_is_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "link.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "folder.png").mkdir()
    (found,) = find_images([tmp_path])
    with pytest.raises(ImageError, match=r"link\.png cannot be read: No such file"):
        read_image(found.path)


def test_find_images__a_folder_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no image; looked for \.jpg"):
        find_images([tmp_path])
