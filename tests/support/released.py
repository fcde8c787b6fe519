"""What published trainers make of a picture and a mask, by their own code where a package has it: SAM 2, SAM 3.

Of the others each function is the data code of one trainer, written out once beside the file that it is from, on the
packages that it calls: torchvision, transformers, SAM. What is changed at random is left out. A function returns tensors
by their keys in a batch. `make test-recipes` installs the packages.
"""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_masks
from torch import Tensor, nn
from torch.library import Library
from torch.nn.functional import interpolate

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
SAM = ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))


def _declare_operators() -> Library:
    """Let torchvision be imported whose compiled operators are of another build than torch's: its transforms use none of them."""
    library = Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


try:
    functional = import_module("torchvision.transforms.functional")
except RuntimeError:
    DECLARED = _declare_operators()
    functional = import_module("torchvision.transforms.functional")


def _import_below(package: str, *names: str) -> list[ModuleType]:
    """Return modules of a package whose `__init__` is not run: it imports models, and with them triton, timm and hydra."""
    spec = find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(package)
    sys.modules[package] = module_from_spec(spec)
    return [import_module(f"{package}.{name}") for name in names]


longest_side = import_module("segment_anything.utils.transforms")
sam = import_module("segment_anything.modeling")
transformers = import_module("transformers")
sam2_steps = import_module("training.dataset.transforms")
sam2_data = import_module("training.utils.data_utils")
(sam2_inference,) = _import_below("sam2", "utils.transforms")
sam3_steps, sam3_masks, sam3_data = _import_below(
    "sam3", "train.transforms.basic_for_api", "train.transforms.segmentation", "train.data.sam3_image_dataset"
)


def default(picture: Image.Image, mask: Tensor) -> dict[str, Tensor]:
    """Plain torchvision and Pillow."""

    def resize_mask(side: int) -> Tensor:
        resized = Image.fromarray(mask.numpy() * 255).resize((side, side), Image.Resampling.NEAREST)
        return torch.from_numpy(np.array(resized) > 0)

    return {
        "pixel_values": _squash(picture, 448, "bilinear", IMAGENET),
        "g_pixel_values": functional.pil_to_tensor(functional.resize(picture, (1024, 1024))),
        "prompt_masks": resize_mask(16),
        "masks": resize_mask(1024),
    }


def sa2va(picture: Image.Image, mask: Tensor) -> dict[str, Tensor]:
    """bytedance/Sa2VA, projects/sa2va: datasets/base.py, datasets/sa2va_data_06_vp.py, models/preprocess/image_resize.py.

    It makes no mask of 1024: `sa2va_target` is its target.
    """
    return {
        "pixel_values": _squash(picture, 448, "bicubic", IMAGENET),
        "g_pixel_values": functional.pil_to_tensor(picture.resize((1024, 1024))),
        "prompt_masks": _torch_nearest(mask, 16),
    }


def sa2va_target(mask: Tensor) -> Tensor:
    """bytedance/Sa2VA, projects/sa2va/models/sa2va.py: the mask at the size of SAM2's predictions."""
    return _torch_nearest(mask, 256)


def sam2(picture: Image.Image, mask: Tensor) -> dict[str, Tensor]:
    """facebookresearch/sam2, the steps of sam2/configs/sam2.1_training that draw nothing."""
    return _run_sam2(picture, mask, 1024)


def medsam2(picture: Image.Image, mask: Tensor) -> dict[str, Tensor]:
    """bowang-lab/MedSAM2, sam2/configs/sam2.1_hiera_tiny512_FLARE_RECIST.yaml, by SAM 2's code."""
    return _run_sam2(picture, mask, 512)


def sam3(picture: Image.Image, mask: Tensor) -> dict[str, Tensor]:
    """facebookresearch/sam3, sam3/train/configs/roboflow_v100: the mask as DecodeRle gives it, before any resizing."""
    encoded = coco_masks.encode(np.asfortranarray(mask.numpy()))
    box = torch.tensor([0.0, 0.0, *picture.size])
    image = sam3_data.Image(
        picture, [sam3_data.Object(box, area=1.0, segment=encoded)], size=picture.size[::-1]
    )
    datapoint = sam3_masks.DecodeRle()(sam3_data.Datapoint(find_queries=[], images=[image]))
    decoded = image.objects[0].segment
    steps = (
        sam3_steps.RandomResizeAPI(1008, consistent_transform=False, square=True),
        sam3_steps.ToTensorAPI(),
        sam3_steps.NormalizeAPI(*HALVES),
    )
    for step in steps:
        datapoint = step(datapoint)
    return {"g_pixel_values": image.data, "masks": decoded}


def lisa(picture: Image.Image, mask: Tensor) -> dict[str, Tensor]:
    """dvlab-research/LISA, utils/dataset.py, with openai/clip-vit-large-patch14."""
    return _clip_and_sam(picture, mask, 224)


def glamm(picture: Image.Image, mask: Tensor) -> dict[str, Tensor]:
    """mbzuai-oryx/groundingLMM, dataset/segm_datasets/RefCOCO_Segm_ds.py, with openai/clip-vit-large-patch14-336."""
    return _clip_and_sam(picture, mask, 336)


def omg_llava(picture: Image.Image, mask: Tensor) -> dict[str, Tensor]:
    """lxtGH/OMG-Seg, omg_llava/dataset/ReferringSegDataset.py, dataset/utils/utils.py, configs/finetune."""
    mean, std = [0.4814, 0.4578, 0.4082], [0.2686, 0.2613, 0.2757]
    side = max(picture.size)
    left, top = ((side - length) // 2 for length in picture.size)
    canvas = Image.new("RGB", (side, side), tuple(int(level * 255) for level in mean))
    canvas.paste(picture, (left, top))
    padded = np.zeros((side, side), np.uint8)
    padded[top : top + picture.height, left : left + picture.width] = mask
    return {
        "pixel_values": _clip(canvas, 1024, (mean, std)),
        "masks": _torch_nearest(torch.from_numpy(padded), 1024),
    }


TRAINERS: Mapping[str, Callable[[Image.Image, Tensor], dict[str, Tensor]]] = {
    "default": default,
    "sa2va": sa2va,
    "sam2": sam2,
    "medsam2": medsam2,
    "sam3": sam3,
    "lisa": lisa,
    "glamm": glamm,
    "omg-llava": omg_llava,
}
"""By the names of the recipes."""


AT_INFERENCE: Mapping[str, Callable[[Image.Image], Tensor]] = {
    "sam2": sam2_inference.SAM2Transforms(1024, mask_threshold=0.0),
    "sam2 of transformers": lambda picture: _by_transformers("Sam2ImageProcessor", picture),
    "sam3 of transformers": lambda picture: _by_transformers("Sam3ImageProcessor", picture),
    "lisa of transformers": lambda picture: _by_transformers("SamImageProcessorPil", picture),
}
"""What makes the segmenter's image where nothing is trained: by the recipe, and by whom if not by its own project."""


def prepare(recipe: str, picture: NDArray[np.uint8], mask: NDArray[np.bool_]) -> dict[str, Tensor]:
    """Return what the trainer that a recipe follows makes of a picture, uint8 [H, W, 3], and a mask, bool [H, W]."""
    return TRAINERS[recipe](Image.fromarray(picture), torch.from_numpy(mask.astype(np.uint8)))


def _torch_nearest(mask: Tensor, side: int) -> Tensor:
    return interpolate(mask[None, None].float(), (side, side), mode="nearest")[0, 0]


def _squash(picture: Image.Image, side: int, name: str, norm: tuple[tuple[float, ...], ...]) -> Tensor:
    resized = functional.resize(picture, (side, side), functional.InterpolationMode(name))
    return functional.normalize(functional.to_tensor(resized), *norm)


def _run_sam2(picture: Image.Image, mask: Tensor, side: int) -> dict[str, Tensor]:
    frame = sam2_data.Frame(picture, [sam2_data.Object(1, 0, mask)])
    video = sam2_data.VideoDatapoint([frame], 0, picture.size[::-1])
    steps = (
        sam2_steps.RandomResizeAPI(side, consistent_transform=True, square=True),
        sam2_steps.ToTensorAPI(),
        sam2_steps.NormalizeAPI(*IMAGENET),
    )
    for step in steps:
        video = step(video)
    return {"g_pixel_values": frame.data, "masks": frame.objects[0].segment}


def _clip_and_sam(picture: Image.Image, mask: Tensor, side: int) -> dict[str, Tensor]:
    encoder = nn.Module()
    encoder.img_size = 1024
    model = sam.Sam(encoder, nn.Identity(), nn.Identity(), *map(list, SAM))
    resized = longest_side.ResizeLongestSide(1024).apply_image(np.asarray(picture))
    return {
        "pixel_values": _clip(picture, side, CLIP),
        "g_pixel_values": model.preprocess(torch.from_numpy(resized).permute(2, 0, 1).contiguous()),
        "g_pixel_values_sizes": torch.tensor(resized.shape[:2]),
        "masks": mask,
    }


def _clip(picture: Image.Image, side: int, norm: tuple[object, object]) -> Tensor:
    mean, std = norm
    processor = transformers.CLIPImageProcessorPil(
        size={"shortest_edge": side}, crop_size=side, resample=3, image_mean=mean, image_std=std
    )
    return processor(np.asarray(picture), return_tensors="pt", input_data_format="channels_last")[
        "pixel_values"
    ][0]


def _by_transformers(name: str, picture: Image.Image) -> Tensor:
    processor: Any = getattr(transformers, name)()
    pixels: Tensor = processor(picture, return_tensors="pt")["pixel_values"][0]
    return pixels
