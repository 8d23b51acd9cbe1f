"""Items of torch Datasets: reading them, and what is said of those that cannot be used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ganzoo.datasets.advice import advice
from ganzoo.datasets.classes import from_lists, item_label
from ganzoo.datasets.conversion import as_number_array
from ganzoo.datasets.keys import pick_keys
from ganzoo.errors import ConfigError, DataError, GanzooError, an

if TYPE_CHECKING:
    import numpy as np

    from ganzoo.datasets.conversion import AnyArray

__all__ = ["Item", "count_of", "is_sequential", "left_out", "one_line", "read_items", "title_of"]


class Item(NamedTuple):
    """An item of a torch Dataset.

    Attributes:
        data: The sample.
        label: An integer, a string, an array that may be a one-hot row; None if there is none.
        more: How many parts there are after sample and label.
    """

    data: AnyArray
    label: Any
    more: int = 0


_MODES = ("L", "LA", "RGB", "RGBA", "I", "F", "I;16", "I;16B", "I;16L")


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
            f"The dataset {title} cannot tell its length ({one_line(error)}); correct its __len__."
        ) from error
    if not count:
        raise DataError(f"The dataset {title} is empty; give at least one sample.")
    return count


def _parts(item: Any, origin: str, key: str | None, labels_key: str | None) -> Item:
    """What an item holds: a tensor, an array or a Pillow image, alone, in a tuple or in a dict."""
    label: Any = None
    more = 0
    if isinstance(item, Mapping):
        name, labels_name = _keys(item, origin, key, labels_key)
        item, label = item[name], item[labels_name] if labels_name else None
        if isinstance(item, list):  # as other libraries keep arrays in tables
            item = from_lists(item)
    elif key or labels_key:
        raise ConfigError(
            f"{origin} is {an(type(item).__name__)}, not a dict, so that key and labels_key "
            f"name nothing in it; leave them out."
        )
    elif isinstance(item, (tuple, list)) and item:
        item, label, more = item[0], item[1] if len(item) > 1 else None, max(0, len(item) - 2)

    if hasattr(item, "getbands"):
        array = _from_pillow(item)
    elif hasattr(item, "shape") and hasattr(item, "dtype"):
        array = as_number_array(item, origin)
    else:
        how = advice(item, "each item")
        raise DataError(
            f"{origin} is {an(type(item).__name__)}; an item is a tensor, an array or a "
            f"Pillow image, a tuple of that and a label, or a dict with image and label"
            f"{f': {how}' if how else ''}."
        )
    return Item(array, item_label(label), more)


def _keys(
    item: Mapping[Any, Any], origin: str, key: str | None, labels_key: str | None
) -> tuple[str, str | None]:
    """Under which keys a dict has the sample and the label."""
    try:
        return pick_keys([name for name in item if isinstance(name, str)], origin, key, labels_key)
    except ConfigError:
        if key is not None or labels_key is not None:
            raise
        keys = ", ".join(repr(key) for key in list(item)[:9]) or "none"
        raise DataError(
            f"{origin} is a dict in which it is not clear what the sample and what the label is "
            f"(keys: {keys}); return a pair (image, label). The options key and labels_key of "
            f"ganzoo.datasets.InMemoryDataset.of say which are meant."
        ) from None


def left_out(more: int) -> tuple[str, ...]:
    """Return the notice that items have more parts than are used."""
    if not more:
        return ()
    return (
        f"Of each item the first part is taken as the sample and the second as the label; "
        f"{more} more {'is' if more == 1 else 'are'} left out.",
    )


def _from_pillow(image: Any) -> AnyArray:
    """A Pillow image as (C, H, W): uint8, or uint16, int32 or float32 for its deep modes."""
    import numpy as np

    if image.mode == "1":
        image = image.convert("L")
    elif image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    elif image.mode not in _MODES:
        image = image.convert("RGB")
    array = np.array(image)
    return array[None] if array.ndim == 2 else np.moveaxis(array, -1, 0)


def read_items(
    dataset: Any,
    indices: Iterable[int] | None = None,
    like: tuple[tuple[int, ...], np.dtype[Any]] | None = None,
    key: str | None = None,
    labels_key: str | None = None,
    *,
    alike: bool = True,
) -> Iterator[Item]:
    """Yield items, which share no memory with the dataset.

    Pillow images are (C, H, W): uint8, or uint16, int32 or float32 for their deep modes.

    Args:
        dataset: Torch Dataset; map-style where there are indices.
        indices: Numbers of the items; by default all of them, in the dataset's own order.
        like: Shape and type that each must have; by default those of the first.
        key: Name of the sample in a dict.
        labels_key: Name of the label in a dict.
        alike: Whether they must be of one shape and type.

    Raises:
        ConfigError: If there are names and an item is not a dict, or has others.
        DataError: If an item cannot be read, or is not what the others are.
    """
    import numpy as np

    title = title_of(dataset)
    for index, value in _each_item(dataset, indices):
        origin = f"Item {index} of {title}"
        try:
            item = _parts(value, origin, key, labels_key)
        except GanzooError:
            raise
        except Exception as error:  # tensors without numbers in memory, and whatever acts as one
            raise _unreadable(origin, error) from error
        array = item.data
        like = like or (array.shape, array.dtype)
        if alike and (array.shape, array.dtype) != like:
            raise DataError(
                f"Item {index} of {title} has shape {array.shape} {array.dtype} but item 0 has "
                f"{like[0]} {like[1]}; bring all items to one shape (resize or crop them)."
            )
        # A copy: an item may be a view of something larger, or of a buffer that is used again.
        yield item._replace(data=np.array(array))


def _each_item(dataset: Any, indices: Iterable[int] | None = None) -> Iterator[tuple[int, Any]]:
    """Yield items as the dataset gives them, and their numbers; by default all in its own order."""
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
        raise _unreadable(f"Item {index} of {title_of(dataset)}", error) from error


def one_line(error: BaseException) -> str:
    """Return an error in one line; of a traceback that it quotes, that is the last one."""
    try:
        text = str(error)
    except Exception:  # a class of unknown origin may fail in any way
        text = ""
    if "Traceback (most recent call last)" in text:
        return text.strip().splitlines()[-1].strip()
    text = " ".join(text.split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _unreadable(origin: str, error: Exception) -> DataError:
    return DataError(f"{origin} cannot be read ({one_line(error)}); repair it or leave it out.")
