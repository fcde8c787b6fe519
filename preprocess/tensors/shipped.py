"""The recipes that come with the package, each from what the code of a published trainer does (docs/recipes.md).

`default` is what a trainer does that resizes with Pillow's BILINEAR. The others follow the files that stand beside them, less
what changes at random while training. Views are called by the part that they play: `pixel_values` is the image for the language
model, `g_pixel_values` that for the segmenter, `masks` the target, `prompt_masks` the object that is asked about.
"""

from msgspec.structs import replace

from ...loader.format.norms import CLIP, SAM
from ...loader.format.recipe import (
    DEFAULT_RECIPE,
    DEFAULT_VIEWS,
    ImageView,
    MaskView,
    Recipe,
    View,
)

# lxtGH/OMG-Seg, omg_llava/configs/finetune: CLIP's, as written there.
OMG_MEAN = (0.4814, 0.4578, 0.4082)
OMG_STD = (0.2686, 0.2613, 0.2757)


def _filtered(**filters: str) -> dict[str, View]:
    """Return the default recipe's views with other filters."""
    return {
        name: replace(view, filter=filters.get(name, view.filter)) for name, view in DEFAULT_VIEWS.items()
    }


def _segmenter(side: int) -> dict[str, View]:
    """Return what SAM2's data code makes: a squashed image, and masks that are set where over half is covered."""
    return {
        "g_pixel_values": ImageView(size=(side, side)),
        "masks": MaskView(over="g_pixel_values", size=(side, side), filter="half"),
    }


def _clip_and_sam(side: int) -> dict[str, View]:
    """Return what LISA's data code makes, with CLIP's image of a side."""
    return {
        "pixel_values": ImageView(
            size=(side, side), fit="crop", filter="bicubic", mean=CLIP.mean, std=CLIP.std
        ),
        "g_pixel_values": ImageView(size=(1024, 1024), fit="pad", **SAM._asdict()),
        "masks": MaskView(over="g_pixel_values", size="own"),
    }


SHIPPED = (
    DEFAULT_RECIPE,
    # bytedance/Sa2VA, projects/sa2va: datasets/base.py and models/preprocess/image_resize.py (images),
    # datasets/sa2va_data_06_vp.py (prompts), models/sa2va.py (targets: nearest to 256, which every fourth pixel of these is).
    Recipe(
        name="sa2va",
        views=_filtered(
            pixel_values="bicubic",
            g_pixel_values="bicubic",
            prompt_masks="torch-nearest",
            masks="torch-nearest",
        ),
    ),
    # facebookresearch/sam2, training/dataset/transforms.py.
    Recipe(name="sam2", views=_segmenter(1024)),
    # bowang-lab/MedSAM2, sam2/configs/sam2.1_hiera_tiny512_FLARE_RECIST.yaml: SAM2's transforms.
    Recipe(name="medsam2", views=_segmenter(512)),
    # facebookresearch/sam3, sam3/train/configs/roboflow_v100, sam3/train/transforms/basic_for_api.py and segmentation.py.
    Recipe(
        name="sam3",
        views={
            "g_pixel_values": ImageView(size=(1008, 1008), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
            "masks": MaskView(over="g_pixel_values", size="own"),
        },
    ),
    # dvlab-research/LISA, utils/dataset.py and utils/refer_seg_dataset.py.
    Recipe(name="lisa", views=_clip_and_sam(224)),
    # mbzuai-oryx/groundingLMM, dataset/segm_datasets/RefCOCO_Segm_ds.py, and train.py for the size.
    Recipe(name="glamm", views=_clip_and_sam(336)),
    # lxtGH/OMG-Seg, omg_llava/dataset/ReferringSegDataset.py and utils/utils.py (expand2square).
    Recipe(
        name="omg-llava",
        views={
            "pixel_values": ImageView(
                size=(1024, 1024),
                fit="pad-first",
                filter="bicubic",
                pad=(122, 116, 104),
                mean=OMG_MEAN,
                std=OMG_STD,
            ),
            "masks": MaskView(over="pixel_values", size=(1024, 1024), filter="torch-nearest"),
        },
    ),
)

RECIPES = {recipe.name: recipe for recipe in SHIPPED}
"""By name."""

FORMER_RECIPES = {
    "sa2va": Recipe(
        name="sa2va",
        views=_filtered(pixel_values="bicubic", g_pixel_values="bicubic", prompt_masks="torch-nearest"),
    )
}
"""What a name meant before: such a store is sound, and no more of this recipe can be made."""
