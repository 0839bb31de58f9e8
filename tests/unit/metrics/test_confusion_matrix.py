import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from support.processes import in_two_processes
from vfmseg.errors import LabelError
from vfmseg.metrics import mean_iou
from vfmseg.metrics.mean_iou import ConfusionMatrix, confusion_of

NUM_CLASSES = 5
IDS = st.sampled_from([0, 1, 2, 3, 4, 255])


def counted_one_by_one(classes, id_map, num_classes):
    matrix = torch.zeros((num_classes, num_classes), dtype=torch.int64)
    for predicted, true in zip(classes.flatten().tolist(), id_map.flatten().tolist(), strict=True):
        if true != 255:
            matrix[true, predicted] += 1
    return matrix


def maps(shape):
    truth = hnp.arrays(np.uint8, shape, elements=IDS)
    predicted = hnp.arrays(np.uint8, shape, elements=st.integers(0, NUM_CLASSES - 1))
    return st.tuples(predicted, truth).map(lambda pair: tuple(map(torch.from_numpy, pair)))


pairs_of_maps = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(maps)


@given(pairs_of_maps)
@settings(max_examples=60, deadline=None)
def test_confusion_of__equals_counting_pixel_by_pixel(pair):
    assert torch.equal(confusion_of(*pair, NUM_CLASSES), counted_one_by_one(*pair, NUM_CLASSES))


@given(st.lists(pairs_of_maps, min_size=1, max_size=5), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_merge__any_split_in_any_order_equals_the_whole(pairs, random):
    whole = ConfusionMatrix(NUM_CLASSES)
    for pair in pairs:
        whole.update(*pair)
    random.shuffle(pairs)
    cut = random.randint(0, len(pairs))
    parts = [ConfusionMatrix(NUM_CLASSES), ConfusionMatrix(NUM_CLASSES)]
    for part, share in zip(parts, (pairs[:cut], pairs[cut:]), strict=True):
        for pair in share:
            part.update(*pair)
    parts[0].merge(parts[1])
    assert torch.equal(parts[0].state, whole.state)


@given(pairs_of_maps, st.permutations(range(NUM_CLASSES)))
@settings(max_examples=40, deadline=None)
def test_confusion_of__renaming_the_classes_permutes_the_matrix(pair, order):
    new_id = torch.tensor([*order, *range(NUM_CLASSES, 256)], dtype=torch.uint8)
    renamed = confusion_of(new_id[pair[0].long()], new_id[pair[1].long()], NUM_CLASSES)
    permutation = torch.tensor(order)
    assert torch.equal(renamed[permutation][:, permutation], confusion_of(*pair, NUM_CLASSES))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_update__whole_number_types_agree(dtype):
    classes = torch.tensor([[0, 1], [2, 2]], dtype=dtype)
    id_map = torch.tensor([[0, 2], [2, 255]], dtype=dtype)
    assert confusion_of(classes, id_map, 3).tolist() == [[1, 0, 0], [0, 0, 0], [0, 1, 1]]


def test_update__returns_the_image_alone_and_adds_it_to_the_state():
    matrix = ConfusionMatrix(2)
    first = matrix.update(torch.tensor([[0, 1]]), torch.tensor([[0, 0]]))
    second = matrix.update(torch.tensor([[1, 1]]), torch.tensor([[1, 255]]))
    assert first.tolist() == [[1, 1], [0, 0]]
    assert second.tolist() == [[0, 0], [0, 1]]
    assert matrix.state.tolist() == [[1, 1], [0, 1]]
    matrix.reset()
    assert matrix.state.sum() == 0


def test_update__transposed_and_strided_maps_are_read_in_their_own_order():
    classes = torch.tensor([[0, 1, 2], [2, 1, 0]], dtype=torch.uint8)
    id_map = torch.tensor([[0, 0, 2], [1, 1, 1]], dtype=torch.uint8)
    expected = counted_one_by_one(classes, id_map, 3)
    assert torch.equal(confusion_of(classes.T, id_map.T, 3), expected)
    wide = torch.stack([id_map, id_map], dim=-1)
    assert torch.equal(confusion_of(classes, wide[..., 1], 3), expected)


def test_update__image_without_pixels_counts_nothing():
    empty = torch.zeros((0, 4), dtype=torch.uint8)
    assert confusion_of(empty, empty, 3).sum() == 0


def test_confusion_of__more_pixels_than_one_exact_piece(monkeypatch):
    monkeypatch.setattr(mean_iou, "_EXACT_PIXELS", 7)
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 3, (9, 5), generator=generator, dtype=torch.uint8)
    id_map = torch.randint(0, 3, (9, 5), generator=generator, dtype=torch.uint8)
    assert torch.equal(confusion_of(classes, id_map, 3), counted_one_by_one(classes, id_map, 3))


def test_count__device_path_equals_the_processor_path():
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 256, (40, 50), generator=generator, dtype=torch.uint8)
    id_map = torch.randint(0, 256, (40, 50), generator=generator, dtype=torch.uint8)
    on_cpu = mean_iou._count_on_cpu(classes, id_map, 19)
    assert torch.equal(mean_iou._count(classes, id_map, 19), on_cpu.long())


@pytest.mark.gpu
def test_update__cuda_equals_cpu():
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 19, (300, 400), generator=generator, dtype=torch.uint8)
    id_map = torch.randint(0, 19, (300, 400), generator=generator, dtype=torch.uint8)
    id_map[:50] = 255
    matrix = ConfusionMatrix(19, "cuda")
    own = matrix.update(classes, id_map.cuda())
    assert own.device.type == "cpu"
    assert torch.equal(matrix.state.cpu(), confusion_of(classes, id_map, 19))
    with pytest.raises(LabelError, match="holds the id 19"):
        matrix.update(classes, torch.full_like(id_map, 19))


def test_update__wrong_label_id_is_named_and_nothing_is_counted():
    matrix = ConfusionMatrix(3)
    id_map = torch.tensor([[0, 7], [7, 255]], dtype=torch.uint8)
    message = (
        "The label of image 'val/a.png' holds the id 7 (2 px), which no class has: the ids are "
        "0..2 and 255 (ignore). Map or ignore it in the data set's class list; `vfmseg check-data` shows "
        "all ids that occur."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        matrix.update(torch.zeros_like(id_map), id_map, name="val/a.png")
    assert matrix.state.sum() == 0


def test_update__many_wrong_label_ids_are_listed_and_counted():
    id_map = torch.arange(3, 11, dtype=torch.uint8)[None]
    message = (
        "The label holds the ids 3 (1 px), 4 (1 px), 5 (1 px), 6 (1 px), 7 (1 px) "
        "and 3 more, which no class has"
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        confusion_of(torch.zeros_like(id_map), id_map, 3)


def test_update__wrong_predicted_id_is_named__also_where_the_label_is_ignored():
    classes = torch.tensor([[3, 0]], dtype=torch.uint8)
    message = (
        "The prediction holds the id 3 (1 px), which no class has: the ids are 0..2. "
        "The model was trained on another label space than this data set's."
    )
    for true in (0, 255):
        with pytest.raises(LabelError, match=re.escape(message)):
            confusion_of(classes, torch.tensor([[true, 0]], dtype=torch.uint8), 3)


@pytest.mark.parametrize("value", [-1, 256, 1000])
def test_update__ids_beyond_a_byte_are_named_rather_than_wrapped(value):
    id_map = torch.tensor([[0, value]], dtype=torch.int32)
    message = f"The label of image 'x' holds the id {value}; allowed are 0..2 and 255 (ignore)."
    with pytest.raises(LabelError, match=re.escape(message)):
        confusion_of(torch.zeros_like(id_map), id_map, 3, name="x")


def test_update__scores_instead_of_ids():
    message = "The prediction holds torch.float32 values; class ids are whole numbers, 0..2."
    with pytest.raises(LabelError, match=re.escape(message)):
        confusion_of(torch.rand(2, 2), torch.zeros((2, 2), dtype=torch.uint8), 3)


def test_update__sizes_differ():
    message = (
        "The prediction of image 'x' has size (2, 3), its label (3, 2): scores are counted at the label's "
        "own size. Resize the prediction to it first."
    )
    with pytest.raises(LabelError, match=re.escape(message)):
        confusion_of(torch.zeros(2, 3).byte(), torch.zeros(3, 2).byte(), 3, name="x")


@pytest.mark.parametrize("num_classes", [0, 256])
def test_confusion_matrix__number_of_classes(num_classes):
    message = f"{num_classes} classes cannot be scored: 1..255 are possible, as the id 255 means ignore."
    with pytest.raises(LabelError, match=re.escape(message)):
        ConfusionMatrix(num_classes)


def test_merge__other_label_space():
    message = "Counts of 3 classes cannot be added to counts of 2: both must be over the same label space."
    with pytest.raises(LabelError, match=re.escape(message)):
        ConfusionMatrix(2).merge(ConfusionMatrix(3))


def test_all_reduce__alone_changes_nothing():
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([[0, 1]]), torch.tensor([[0, 1]]))
    matrix.all_reduce()
    assert matrix.state.tolist() == [[1, 0], [0, 1]]


def count_in_one_of_two_processes(rank, folder):
    torch.distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    matrix = ConfusionMatrix(2)
    matrix.update(torch.full((1, 3 + rank), rank), torch.full((1, 3 + rank), rank))
    matrix.all_reduce()
    torch.save(matrix.state, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_all_reduce__two_processes_hold_the_sum(tmp_path):
    in_two_processes(count_in_one_of_two_processes, str(tmp_path))
    for rank in (0, 1):
        assert torch.load(tmp_path / f"{rank}.pt", weights_only=True).tolist() == [[3, 0], [0, 4]]


def test_scores__of_everything_counted():
    matrix = ConfusionMatrix(2)
    matrix.update(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 0], [1, 1]]))
    assert matrix.scores(["a", "b"]).miou == pytest.approx((1 / 2 + 2 / 3) / 2)
