"""Items of torch Datasets: what they hold, and what is said of those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ganzoo.datasets.array import as_label_array, as_number_array, pick_keys
from ganzoo.errors import ConfigError, DataError, GanzooError

if TYPE_CHECKING:
    import numpy as np

    from ganzoo.datasets.array import AnyArray

__all__ = [
    "classes_of",
    "count_of",
    "gather",
    "is_sequential",
    "read_item",
    "read_items",
    "title_of",
    "told",
]

_KEPT_MODES = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L")


def title_of(dataset: Any) -> str:
    """Return what errors call a dataset."""
    return type(dataset).__name__


def is_sequential(dataset: Any) -> bool:
    """Whether a torch Dataset can only be iterated over."""
    from torch.utils.data import IterableDataset

    return isinstance(dataset, IterableDataset) or not hasattr(dataset, "__getitem__")


def count_of(dataset: Any) -> int:
    """Return how many items a map-style dataset has.

    Raises:
        DataError: If it has no length or no items, or its length fails.
    """
    title = title_of(dataset)
    if not hasattr(dataset, "__len__"):
        raise DataError(f"The dataset {title} has no length; give it a __len__.")
    try:
        count = len(dataset)
    except GanzooError:
        raise
    except Exception as error:
        raise DataError(
            f"The dataset {title} cannot tell its length ({told(error)}); mend its __len__."
        ) from error
    if not count:
        raise DataError(f"The dataset {title} is empty; give at least one sample.")
    return count


def read_item(item: Any, index: int, title: str) -> tuple[AnyArray, int | str | None]:
    """Return the sample of an item of a torch Dataset, and its label or None.

    Args:
        item: A tensor, an array or a Pillow image; a pair of that and a label; or a dict with
            such keys as ``image`` and ``label``.
        index: Which item it is, for messages.
        title: What messages call the dataset.

    Returns:
        Array of numbers, and an integer, a string or None. Pillow images are (C, H, W): uint8, or
        uint16, int32 or float32 for their deep modes.

    Raises:
        DataError: If it is something else.
    """
    origin = f"Item {index} of {title}"
    try:
        return _parts(item, origin)
    except GanzooError:
        raise
    except Exception as error:  # tensors without numbers in memory, and whatever acts as an array
        raise _unreadable(origin, error) from error


def _parts(item: Any, origin: str) -> tuple[AnyArray, int | str | None]:
    label: Any = None
    if isinstance(item, Mapping):
        key, labels_key = _keys(item, origin)
        item, label = item[key], item[labels_key] if labels_key else None
    elif isinstance(item, (tuple, list)) and len(item) in (1, 2):
        item, label = item[0], item[1] if len(item) == 2 else None

    if hasattr(item, "getbands"):
        array = _from_pillow(item)
    elif hasattr(item, "shape") and hasattr(item, "dtype"):
        array = as_number_array(item, origin)
    else:
        raise DataError(
            f"{origin} is {_article(type(item).__name__)}; an item is a tensor, an array or a "
            f"Pillow image, a pair of that and a label, or a dict with image and label."
        )
    if label is None or isinstance(label, (int, str)):
        return array, label
    if hasattr(label, "shape") and (scalar := _scalar(label)) is not None:
        return array, scalar
    raise DataError(
        f"{origin} has a label that is {_article(type(label).__name__)}; give one integer or "
        f"string per sample, or no labels."
    )


def _keys(item: Mapping[Any, Any], origin: str) -> tuple[str, str | None]:
    """Under which keys a dict has the sample and the label."""
    try:
        return pick_keys([key for key in item if isinstance(key, str)], origin)
    except ConfigError:
        keys = ", ".join(repr(key) for key in list(item)[:9]) or "none"
        raise DataError(
            f"{origin} is a dict in which it is not clear what the sample and what the label is "
            f"(keys: {keys}); return a pair (image, label)."
        ) from None


def _scalar(label: Any) -> int | str | None:
    """A label out of an array or tensor with one integer or string, or None."""
    import numpy as np

    value = np.asarray(label.detach().cpu() if hasattr(label, "detach") else label)
    found: int | str | None = None
    if value.size == 1 and value.dtype.kind in "biuU":
        found = value.item()
    return found


def _from_pillow(image: Any) -> AnyArray:
    """A Pillow image as (C, H, W): uint8, or uint16, int32 or float32 for its deep modes."""
    import numpy as np

    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode not in _KEPT_MODES:
        image = image.convert("RGB")
    array = np.array(image)
    return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)


def read_items(
    dataset: Any,
    indices: Iterable[int] | None = None,
    like: tuple[tuple[int, ...], np.dtype[Any]] | None = None,
) -> Iterator[tuple[AnyArray, int | str | None]]:
    """Yield items, which share no memory with the dataset, and their labels.

    Args:
        dataset: Torch Dataset; map-style where there are indices.
        indices: Numbers of the items; by default all of them, in the dataset's own order.
        like: Shape and type that each must have; by default those of the first.

    Raises:
        DataError: If an item cannot be read, or is not what the others are.
    """
    import numpy as np

    title = title_of(dataset)
    for index, item in _items(dataset, indices, title):
        array, label = read_item(item, index, title)
        like = like or (array.shape, array.dtype)
        if (array.shape, array.dtype) != like:
            raise DataError(
                f"Item {index} of {title} has shape {array.shape} {array.dtype} but item 0 has "
                f"{like[0]} {like[1]}; bring all items to one shape (resize or crop them)."
            )
        # A copy: an item may be a view of something larger, or of a buffer that is used again.
        yield np.array(array), label


def _items(dataset: Any, indices: Iterable[int] | None, title: str) -> Iterator[tuple[int, Any]]:
    """Items as the dataset gives them, and their numbers."""
    index = 0
    try:
        if indices is None:
            for item in dataset:
                yield index, item
                index += 1
        else:
            for index in indices:
                yield index, dataset[index]
    except GanzooError:
        raise
    except Exception as error:
        raise _unreadable(f"Item {index} of {title}", error) from error


def gather(
    dataset: Any,
    indices: Iterable[int],
    like: tuple[tuple[int, ...], np.dtype[Any]] | None = None,
) -> tuple[AnyArray, list[int | str | None]]:
    """Return items of a map-style dataset in one array, and their labels, as ``read_items`` does.

    Raises:
        DataError: If an item cannot be read, or is not what the others are.
    """
    import numpy as np

    arrays, labels = zip(*read_items(dataset, indices, like), strict=True)
    return np.stack(arrays), list(labels)


def classes_of(dataset: Any) -> tuple[dict[int | str, int], tuple[str, ...]]:
    """Return the class of each label, and the names of classes, without reading an item.

    Raises:
        DataError: If the dataset does not say them.
    """
    import numpy as np
    from torch.utils.data import Subset, TensorDataset

    whole = dataset
    while isinstance(whole, Subset):
        whole = whole.dataset
    names = getattr(whole, "classes", None)
    if isinstance(names, (list, tuple)) and names and all(isinstance(one, str) for one in names):
        numbers: dict[int | str, int] = {number: number for number in range(len(names))}
        return {**numbers, **{name: number for number, name in enumerate(names)}}, tuple(names)
    targets = getattr(whole, "targets", getattr(whole, "labels", None))
    if isinstance(whole, TensorDataset) and len(whole.tensors) == 2:
        targets = whole.tensors[1]
    title = title_of(dataset)
    if targets is None:
        raise DataError(
            f"The dataset {title} does not say what classes it has, which conditional training "
            f"needs to know before it reads the items. Give it an attribute 'classes' (names, in "
            f"the order of the labels 0, 1, ...) or 'targets' (the label of each item), or leave "
            f"'workers' out: it is then read into memory."
        )
    values = np.unique(as_label_array(targets, f"The dataset {title}")).tolist()
    return {value: number for number, value in enumerate(values)}, tuple(map(str, values))


def told(error: BaseException) -> str:
    """Return an error in one line; of a traceback that it quotes, that is the last one."""
    try:
        text = str(error)
    except Exception:  # what a class of somebody else's makes of itself
        text = ""
    if "Traceback (most recent call last)" in text:
        return text.strip().splitlines()[-1].strip()
    text = " ".join(text.split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _unreadable(origin: str, error: Exception) -> DataError:
    return DataError(f"{origin} cannot be read ({told(error)}); mend it or leave it out.")


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"
