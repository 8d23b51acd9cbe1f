"""Items of torch Datasets: what they hold, and what is said of those that cannot be used."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ganzoo.datasets.advice import advice
from ganzoo.datasets.array import (
    LABEL_KEYS,
    SAMPLE_KEYS,
    as_label_array,
    as_number_array,
    pick_keys,
)
from ganzoo.datasets.reading import Classes, Labels, classes_named, classes_of_values
from ganzoo.errors import ConfigError, DataError, GanzooError, an, listing

if TYPE_CHECKING:
    import numpy as np

    from ganzoo.datasets.array import AnyArray

__all__ = [
    "Item",
    "NoClass",
    "classes_of",
    "columns_of",
    "count_of",
    "each_item",
    "gather",
    "is_sequential",
    "labels_of",
    "left_out",
    "read_item",
    "read_items",
    "title_of",
    "told",
]

_LONGEST_LABEL = 4096  # values of a label that may be a one-hot row


class NoClass(NamedTuple):
    """A label that is no class: of what type it is."""

    type: str


class Item(NamedTuple):
    """An item of a torch Dataset.

    Attributes:
        data: The sample.
        label: An integer, a string, an array that may be a one-hot row; None if there is none.
        more: How many parts there are beside sample and label.
    """

    data: AnyArray
    label: Any
    more: int = 0


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


def read_item(
    item: Any, index: int, title: str, key: str | None = None, labels_key: str | None = None
) -> Item:
    """Return what an item of a torch Dataset holds.

    Args:
        item: A tensor, an array or a Pillow image; a tuple of that, a label and whatever else; or
            a dict with such keys as ``image`` and ``label``.
        index: Which item it is, for messages.
        title: What messages call the dataset.
        key: Under which name a dict has the sample.
        labels_key: Under which name a dict has the label.

    Returns:
        Array of numbers, and the label. Pillow images are (C, H, W): uint8, or uint16, int32 or
        float32 for their deep modes.

    Raises:
        ConfigError: If names are given and it is no dict, or has others.
        DataError: If it is something else.
    """
    origin = f"Item {index} of {title}"
    try:
        return _parts(item, origin, key, labels_key)
    except GanzooError:
        raise
    except Exception as error:  # tensors without numbers in memory, and whatever acts as an array
        raise _unreadable(origin, error) from error


def _parts(item: Any, origin: str, key: str | None, labels_key: str | None) -> Item:
    label: Any = None
    more = 0
    if isinstance(item, Mapping):
        name, labels_name = _keys(item, origin, key, labels_key)
        item, label = item[name], item[labels_name] if labels_name else None
        if isinstance(item, list):  # as other libraries keep arrays in tables
            item = _of_lists(item)
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
    return Item(array, _label(label), more)


def _of_lists(value: list[Any]) -> Any:
    """Numbers in lists as an array; anything else as it is."""
    import numpy as np

    try:
        array = np.asarray(value)
    except ValueError:
        return value
    return array if array.dtype.kind in "biuf" else value


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
            f"ganzoo.datasets.Given.of say which are meant."
        ) from None


def _label(label: Any) -> Any:
    """A label as an integer, a string, or an array that may be one-hot; or what it is instead."""
    import numpy as np

    if label is None or isinstance(label, (int, str, float)):
        return label
    if isinstance(label, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return label.decode()
    if isinstance(label, list):
        label = _of_lists(label)
    if not (hasattr(label, "shape") and hasattr(label, "dtype")):
        return NoClass(type(label).__name__)
    detached = label.detach().cpu() if hasattr(label, "detach") else label
    try:
        value = np.asarray(detached)
    except TypeError:  # bfloat16, which numpy has not
        value = np.asarray(detached.float())
    if value.size == 1 and value.dtype.kind in "biuUf":
        return value.item() if value.dtype.kind != "f" else value.reshape(())[()]
    if value.dtype.kind in "biuf" and value.size <= _LONGEST_LABEL:
        return np.array(value)
    return NoClass(f"{value.dtype} values{f' of shape {value.shape}' if value.shape else ''}")


def labels_of(found: list[Any], title: str, indices: Sequence[int] | None = None) -> Labels | None:
    """Return the labels of items together; None where no item has one.

    Args:
        found: The label of each, as ``read_items`` has it.
        title: What messages call the dataset.
        indices: Which items they are of; by default 0, 1, ...
    """
    import numpy as np

    if all(label is None for label in found):
        return None
    missing = next((index for index, label in enumerate(found) if label is None), None)
    if missing is not None:
        index = missing if indices is None else indices[missing]
        return Labels(
            None, f"Item {index} of {title} has no label but others have; label all or none"
        )
    other = next((label for label in found if isinstance(label, NoClass)), None)
    if other is not None:
        values = "" if " values" in other.type else "of type "
        return Labels(None, f"{values}{other.type}")
    arrays = [label for label in found if isinstance(label, np.ndarray)]
    if arrays and (len(arrays) < len(found) or len({each.shape for each in arrays}) > 1):
        return Labels(None, "values of different shapes")
    kinds = {isinstance(label, str) for label in found}
    if len(kinds) > 1:
        return Labels(None, "strings and numbers")
    return as_label_array(np.stack(found) if arrays else found)


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
    elif image.mode not in _KEPT_MODES:
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

    Args:
        dataset: Torch Dataset; map-style where there are indices.
        indices: Numbers of the items; by default all of them, in the dataset's own order.
        like: Shape and type that each must have; by default those of the first.
        key: As ``read_item`` has it.
        labels_key: As ``read_item`` has it.
        alike: Whether they must be of one shape and type.

    Raises:
        ConfigError: As ``read_item``.
        DataError: If an item cannot be read, or is not what the others are.
    """
    import numpy as np

    title = title_of(dataset)
    for index, value in each_item(dataset, indices):
        item = read_item(value, index, title, key, labels_key)
        array = item.data
        like = like or (array.shape, array.dtype)
        if alike and (array.shape, array.dtype) != like:
            raise DataError(
                f"Item {index} of {title} has shape {array.shape} {array.dtype} but item 0 has "
                f"{like[0]} {like[1]}; bring all items to one shape (resize or crop them)."
            )
        # A copy: an item may be a view of something larger, or of a buffer that is used again.
        yield item._replace(data=np.array(array))


def each_item(dataset: Any, indices: Iterable[int] | None = None) -> Iterator[tuple[int, Any]]:
    """Yield items as the dataset gives them, and their numbers; by default all in its own order.

    Raises:
        DataError: If one cannot be read.
    """
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


def gather(
    dataset: Any,
    indices: Iterable[int],
    like: tuple[tuple[int, ...], np.dtype[Any]] | None = None,
    key: str | None = None,
    labels_key: str | None = None,
) -> tuple[AnyArray, list[Any]]:
    """Return items of a map-style dataset in one array, and their labels, as ``read_items`` does.

    Raises:
        ConfigError: As ``read_item``.
        DataError: If an item cannot be read, or is not what the others are.
    """
    import numpy as np

    found = list(read_items(dataset, indices, like, key, labels_key))
    return np.stack([item.data for item in found]), [item.label for item in found]


def columns_of(
    dataset: Any, key: str | None, labels_key: str | None
) -> tuple[str | None, str | None]:
    """Return which columns of a table are samples and labels, where it says what columns are.

    They are those given, or else the one of pictures and the one of class labels, as they are for
    a table in a file.
    """
    features = getattr(dataset, "features", None)
    if not isinstance(features, Mapping):
        return key, labels_key
    kinds = {name: type(kind).__name__ for name, kind in features.items()}
    if key is None:
        pictures = [name for name, kind in kinds.items() if kind == "Image"]
        named = [name for name in pictures if name in (*SAMPLE_KEYS, "img", "picture", "photo")]
        chosen = pictures if len(pictures) == 1 else named
        key = chosen[0] if len(chosen) == 1 else None
    if labels_key is None:
        labels = [name for name, kind in kinds.items() if kind == "ClassLabel"]
        named = [name for name in labels if name in LABEL_KEYS]
        chosen = labels if len(labels) == 1 else named
        labels_key = chosen[0] if len(chosen) == 1 else None
    with contextlib.suppress(GanzooError):  # which reading an item will tell
        key, labels_key = pick_keys(list(features), "The table", key, labels_key)
    return key, labels_key


def classes_of(dataset: Any, labels_key: str | None = None) -> Classes | None:
    """Return the classes that a dataset says it has, without reading an item; None if it does not.

    These are its ``classes`` (names in the order of their labels 0, 1, ..., or the labels where
    they are integers), with the numbers of ``class_to_idx`` where it has them, the names of its
    column of class labels, or else the distinct values of its ``targets``, ``labels`` or second
    tensor. A ``Subset`` has those of its whole, a ``ConcatDataset`` those that its parts agree on.
    What a ``target_transform`` turns into other labels does not count.

    Raises:
        DataError: If the parts of a ``ConcatDataset`` have different classes.
    """
    return _named(dataset, labels_key) or _valued(dataset, labels_key)


def _kept(dataset: Any, classes: Classes | None) -> Classes | None:
    """Return the classes unless the dataset gives other labels than those that they are of.

    Its ``target_transform`` may do so; to one-hot rows or the same numbers is no other.
    """
    transform = getattr(dataset, "target_transform", None)
    if transform is None or classes is None:
        return classes
    numbers = classes.numbers
    integers = [label for label in numbers if isinstance(label, int)]
    try:
        for label in integers or numbers:
            found = as_label_array([_label(transform(label))]).values
            if found is None or found[0] not in (label, numbers[label]):
                return None
    except Exception:  # what somebody else's transform cannot take
        return None
    return classes


def _named(dataset: Any, labels_key: str | None) -> Classes | None:
    from torch.utils.data import ConcatDataset, Subset

    found = _kept(dataset, _names_of(dataset, labels_key))
    if found is None and isinstance(dataset, Subset):
        return _named(dataset.dataset, labels_key)
    if found is None and isinstance(dataset, ConcatDataset):
        parts = [one for each in dataset.datasets if (one := _named(each, labels_key))]
        if len({each.names for each in parts}) > 1:
            first, other = parts[0], next(each for each in parts if each.names != parts[0].names)
            raise DataError(
                f"The parts of {title_of(dataset)} have different classes "
                f"({listing(first.names[:4])} and {listing(other.names[:4])}), so that one label "
                f"means several of them; give all parts the same classes, or say which with "
                f"data.classes = [...]."
            )
        return parts[0] if parts else None
    return found


def _valued(dataset: Any, labels_key: str | None) -> Classes | None:
    from torch.utils.data import ConcatDataset, Subset

    found = _kept(dataset, _targets_of(dataset, labels_key))
    if found is None and isinstance(dataset, Subset):
        return _valued(dataset.dataset, labels_key)
    if found is None and isinstance(dataset, ConcatDataset):
        parts = [_valued(each, labels_key) for each in dataset.datasets]
        known = [each for each in parts if each is not None]
        if known and len(known) == len(parts):
            return classes_of_values(value for each in known for value in each.numbers)
    return found


def _names_of(dataset: Any, labels_key: str | None) -> Classes | None:
    """Classes that a dataset names."""
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        known = getattr(features.get(labels_key), "names", None)
        return classes_named(known) if known else None
    names: Any = getattr(dataset, "classes", None)
    if hasattr(names, "tolist"):
        names = names.tolist()
    if isinstance(names, int) and not isinstance(names, bool) and names > 0:
        return classes_named(map(str, range(names)))
    numbered = [getattr(dataset, name, None) for name in ("class_to_idx", "idx_to_class")]
    pairs = [found for each in (*numbered, names) if (found := _pairs(each))]
    words: list[Any] = []
    if isinstance(names, (list, tuple)):
        # Those of ImageNet are tuples of words that mean the same.
        words = [", ".join(each) if _is_words(each) else each for each in names]
    # Numbers are those of the mapping, unless several of its names mean the same.
    if pairs and (not words or sorted(name for _, name in pairs[0]) == sorted(map(str, words))):
        return classes_named((name for _, name in pairs[0]), [number for number, _ in pairs[0]])
    if words and all(isinstance(each, int) for each in words):
        values = classes_named(map(str, words), words)  # the labels themselves
        places: dict[int | str, int] = {number: number for number in range(len(words))}
        if places.keys() & set(words):
            return values
        return values._replace(numbers={**values.numbers, **places})
    if words and all(isinstance(each, str) for each in words):
        return classes_named(words)
    return None


def _pairs(mapping: Any) -> list[tuple[int, str]]:
    """Numbers and names of classes in the order of the numbers, of a mapping of either way."""
    if not isinstance(mapping, Mapping):
        return []
    for pairs in (mapping.items(), [(number, name) for name, number in mapping.items()]):
        if all(isinstance(number, int) and isinstance(name, str) for number, name in pairs):
            return sorted(pairs)
    return []


def _is_words(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list))
        and bool(value)
        and all(isinstance(each, str) for each in value)
    )


def _targets_of(dataset: Any, labels_key: str | None) -> Classes | None:
    """The distinct labels that a dataset keeps beside its items."""
    from torch.utils.data import TensorDataset

    targets = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if isinstance(dataset, TensorDataset):
        targets = dataset.tensors[1] if len(dataset.tensors) > 1 else None
    features = getattr(dataset, "features", None)
    try:
        if isinstance(features, Mapping) and hasattr(dataset, "unique"):
            targets = dataset.unique(labels_key) if labels_key in features else None
        if targets is None or callable(targets):
            return None
        found = as_label_array(targets)
    except Exception:  # what somebody else calls targets may be anything
        return None
    if found.values is None:
        return None
    return found.classes or classes_of_values(found.values.tolist())


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
