"""Panoptic and instance post-processing against transformers and the published order of operations.

Run: python benchmarks/panoptic_postprocess.py [--repeats 7] [--threads 1] [--out FILE.json]
Logits of 200 queries at a quarter of the crop, as a trained EoMT gives them: each segment has a confident query
whose logits rise inside and fall outside, all other queries have noise and no object. "Many kept" has a
confident query for each of 200 segments, and "untrained" has 200 confident queries with noise for masks: the
worst case, where every query may win anywhere. Before timing, the results must agree.

transformers' instance selection is another algorithm (one class a query, nothing below 0.8), so it is timed
but not compared. A third comparison is of instances with run lengths of them.
"""

from __future__ import annotations

from types import SimpleNamespace

import measuring  # first: it sets what torch reads when it is loaded

# isort: split
import numpy as np
import torch
import torch.nn.functional as F
from pycocotools import mask
from torch import Tensor
from transformers.models.eomt.image_processing_eomt import EomtImageProcessor

from vfmseg.postprocess.instance import instances
from vfmseg.postprocess.panoptic import panoptic_map
from vfmseg.postprocess.rle import encode_instances
from vfmseg.transforms.letterbox import LetterboxPlan, plan_letterbox
from vfmseg.types import Instances, MaskLogits

BASE = "published order"
QUERIES = 200
CASES = {  # image size, crop, classes (the last third is stuff), segments; None: untrained
    "640x480, 15 segments": ((480, 640), 640, 133, 15),
    "2048x1024, 30 segments": ((1024, 2048), 1024, 19, 30),
    "2048x1024, many kept": ((1024, 2048), 1024, 19, QUERIES),
    "640x480, untrained": ((480, 640), 640, 133, None),
}


def main() -> None:
    options = measuring.parse(measuring.parser(__doc__, repeats=7, threads=1, cases=list(CASES)))
    torch.manual_seed(0)
    found = {}
    for case in options.cases:
        size, crop, num_classes, segments = CASES[case]
        plan = plan_letterbox(size, (crop, crop))
        prediction = logits_of(plan, num_classes, segments)
        is_thing = [class_id < num_classes * 2 // 3 for class_id in range(num_classes)]
        found[f"panoptic {case}"] = panoptic(prediction, plan, is_thing, options.repeats)
        if segments != QUERIES:
            found[f"instance {case}"] = instance(prediction, plan, options.repeats)
            found[f"run lengths {case}"] = run_lengths(prediction, plan, options.repeats)
    measuring.report("panoptic_postprocess", options, f"{BASE}, or pycocotools, in the same round", found)


def panoptic(
    prediction: MaskLogits, plan: LetterboxPlan, is_thing: list[bool], repeats: int
) -> measuring.Group:
    processor, outputs, edges = transformers_side(prediction, plan)
    stuff = [class_id for class_id, thing in enumerate(is_thing) if not thing]

    def theirs() -> Tensor:
        return processor.post_process_panoptic_segmentation(
            outputs, [plan.image_size], stuff_classes=stuff, size=edges
        )[0]["segmentation"]

    found = panoptic_map(prediction, plan, is_thing)
    agreement = {
        BASE: share_of_equal(found.segments, published_panoptic(prediction, plan, is_thing)),
        "transformers": share_of_equal(found.segments, theirs()),
    }
    if min(agreement.values()) < 0.9999:
        raise SystemExit(f"segments do not agree: {agreement}")
    sides = {
        BASE: lambda: published_panoptic(prediction, plan, is_thing),
        "transformers": theirs,
        "vfmseg": lambda: panoptic_map(prediction, plan, is_thing),
    }
    group = measuring.compare(sides, BASE, repeats=repeats)
    for name, share in agreement.items():
        group[name]["agreement"] = share
    group["vfmseg"]["segments"] = len(found.segment_classes)
    return group


def instance(prediction: MaskLogits, plan: LetterboxPlan, repeats: int) -> measuring.Group:
    processor, outputs, edges = transformers_side(prediction, plan)
    found, (masks, classes, scores) = instances(prediction, plan), published_instances(prediction, plan)
    # The published order is by class probability, and neighbours of nearly equal score may swap.
    if not torch.allclose(found.scores, scores.sort(descending=True).values, rtol=0, atol=1e-5):
        raise SystemExit("scores of the instances do not agree")
    counts = unpacked(found).sum(0, dtype=torch.int32)
    agreement = share_of_equal(counts, masks.sum(0, dtype=torch.int32))
    if agreement < 0.999 or sorted(found.classes.tolist()) != sorted(classes.tolist()):
        raise SystemExit(f"instances do not agree: {agreement:.4%} of the pixels, or classes")
    # transformers gives an id map here, without masks that overlap, and merges what scores above 0.8 only.
    sides = {
        BASE: lambda: published_instances(prediction, plan),
        "transformers": lambda: processor.post_process_instance_segmentation(
            outputs, [plan.image_size], size=edges
        ),
        "vfmseg": lambda: instances(prediction, plan),
    }
    group = measuring.compare(sides, BASE, repeats=repeats)
    group[BASE]["agreement"] = agreement
    group["vfmseg"]["instances"] = len(scores)
    return group


def run_lengths(prediction: MaskLogits, plan: LetterboxPlan, repeats: int) -> measuring.Group:
    found = instances(prediction, plan)
    planes = unpacked(found).numpy()
    sides = {
        "pycocotools": lambda: [mask.encode(np.asfortranarray(plane)) for plane in planes],
        "vfmseg": lambda: encode_instances(found),
    }
    theirs, ours = ([str(one["counts"], "ascii") for one in sides["pycocotools"]()], encode_instances(found))
    if theirs != [one["counts"] for one in ours]:
        raise SystemExit("run lengths do not agree")
    return measuring.compare(sides, "pycocotools", repeats=repeats)


def unpacked(found: Instances) -> Tensor:
    """Return the masks of instances, (S, H, W) of 0 and 1."""
    return torch.from_numpy(np.unpackbits(found.packed_masks.numpy(), axis=-1, count=found.size[1]))


def logits_of(plan: LetterboxPlan, num_classes: int, segments: int | None) -> MaskLogits:
    """Generate one image's logits: (Q, crop / 4, crop / 4) and (Q, classes + 1)."""
    grid = [crop // 4 for crop in plan.crop_size]
    masks = F.interpolate(torch.randn(1, QUERIES, *(side // 8 for side in grid)), grid, mode="bicubic")[0]
    classes = torch.full((QUERIES,), num_classes)
    confident = torch.randperm(QUERIES)[: QUERIES if segments is None else segments].sort().values
    classes[confident] = torch.randint(num_classes, (len(confident),))
    if segments is not None:
        # Every pixel of the grid belongs to the nearest of some points; logits grow with the distance
        # to where the second nearest takes over, up to what trained models say.
        points = torch.rand(segments, 2) * torch.tensor(plan.resized_size) / 4
        places = torch.stack(torch.meshgrid(*(torch.arange(side) + 0.5 for side in grid), indexing="ij"), -1)
        distances = torch.cdist(places.view(-1, 2), points).T.view(segments, *grid)
        nearest = distances.topk(2, 0, largest=False).values
        others = torch.where(distances == nearest[0], nearest[1], nearest[0])
        masks[confident] = (2 * (others - distances)).clamp(-8, 8) + 0.5 * masks[confident]
        rest = torch.ones(QUERIES, dtype=torch.bool)
        rest[confident] = False
        masks[rest] -= 4
    class_logits = torch.randn(QUERIES, num_classes + 1) + 12 * F.one_hot(classes, num_classes + 1)
    return MaskLogits(masks, class_logits)


def at_image_size(prediction: MaskLogits, plan: LetterboxPlan) -> Tensor:
    """Resize all masks in full, (Q, H, W): what is published does so before anything else."""
    masks = F.interpolate(prediction.mask_logits[None], plan.crop_size, mode="bilinear")
    masks = masks[..., : plan.resized_size[0], : plan.resized_size[1]]
    return F.interpolate(masks, plan.image_size, mode="bilinear")[0]


def published_panoptic(prediction: MaskLogits, plan: LetterboxPlan, is_thing: list[bool]) -> Tensor:
    """Merge step by step, as specified, on whole maps; return the segments (H, W)."""
    logits = at_image_size(prediction, plan)
    best, classes = prediction.class_logits.softmax(-1).max(-1)
    is_kept = (classes < len(is_thing)) & (best > 0.8)
    segments = torch.full(plan.image_size, -1)
    if not is_kept.any():
        return segments
    masks = logits.sigmoid()[is_kept]
    owners = (best[is_kept][:, None, None] * masks).argmax(0)
    stuff: dict[int, int] = {}
    count = 0
    for number, class_id in enumerate(classes[is_kept].tolist()):
        inside, won = masks[number] >= 0.5, owners == number
        both = inside & won
        if not both.any() or won.sum().item() / inside.sum().item() < 0.8:
            continue
        if class_id in stuff:
            segments[both] = stuff[class_id]
            continue
        segments[both] = count
        if not is_thing[class_id]:
            stuff[class_id] = count
        count += 1
    return segments


def published_instances(prediction: MaskLogits, plan: LetterboxPlan) -> tuple[Tensor, Tensor, Tensor]:
    """Select step by step, as specified, on whole maps; return masks (S, H, W), classes and scores (S,)."""
    logits = at_image_size(prediction, plan)
    probabilities = prediction.class_logits.softmax(-1)[:, :-1]
    best, pairs = probabilities.flatten().topk(100, sorted=False)
    chosen = logits[pairs // probabilities.shape[1]]
    masks = chosen > 0
    inside = (chosen.sigmoid() * masks).sum((1, 2)) / (masks.sum((1, 2)) + 1e-6)
    return masks, pairs % probabilities.shape[1], best * inside


def transformers_side(
    prediction: MaskLogits, plan: LetterboxPlan
) -> tuple[EomtImageProcessor, SimpleNamespace, dict[str, int]]:
    """Return the peer, its input, and the crop in its words."""
    outputs = SimpleNamespace(
        masks_queries_logits=prediction.mask_logits[None], class_queries_logits=prediction.class_logits[None]
    )
    edges = {"shortest_edge": plan.crop_size[0], "longest_edge": plan.crop_size[1]}
    return EomtImageProcessor(do_split_image=False, do_pad=True), outputs, edges


def share_of_equal(a: Tensor, b: Tensor) -> float:
    return (a == b).float().mean().item()


if __name__ == "__main__":
    main()
