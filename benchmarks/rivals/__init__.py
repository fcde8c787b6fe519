"""Other projects, one file each: a `Case` that reads their format, and `write` and `read` where their writer is timed.

Modules but `environments` and `writing` run in the interpreter that has the project, and import nothing of this one.
"""

TWO, NONE = {"workers": 2}, {"workers": 0}
STORE = "store.zarr"

READERS = {
    "FFCV, 2 threads": ("rivals.ffcv", "Ffcv", TWO, "ffcv", "ffcv", "ffcv"),
    "TensorStore": ("rivals.tensorstore", "TensorStore", {}, STORE, "tensorstore"),
    "LitData, 2 workers": ("rivals.litdata", "LitData", TWO, "litdata", "litdata", "litdata"),
    "MosaicML Streaming, 2 workers": ("rivals.mds", "Mds", TWO, "mds", "mosaicml-streaming", "mds"),
    "WebDataset, 2 workers": ("rivals.webdataset", "WebDataset", TWO, "wds", "webdataset", "webdataset"),
    "Hugging Face datasets, no workers": (
        *("rivals.huggingface", "HuggingFace", NONE, "hf", "datasets", "huggingface"),
    ),
    "safetensors, no workers": (
        *("rivals.safetensors", "Safetensors", NONE, "safetensors", "safetensors", "safetensors"),
    ),
    "Lance": ("rivals.lance", "Lance", {}, "lance", "pylance", "lance"),
    "Grain, 16 threads": ("rivals.grain", "Grain", {"workers": 16}, "array_record", "grain", "grain"),
    "zarr-python, no workers": ("rivals.zarr_python", "ZarrPython", NONE, STORE, "zarr"),
}
"""Of each reader: module, class, options, folder, whose version is named, and its name in `environments`, if it needs one."""
