"""Labels and classes: what counts as a class, and which number it has."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ganzoo.datasets.conversion import as_numpy
from ganzoo.errors import DataError, listing

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.datasets.conversion import AnyArray

__all__ = [
    "Classes",
    "Labels",
    "NoClass",
    "as_labels",
    "choose_classes",
    "class_indices",
    "classes_named",
    "classes_of",
    "classes_of_values",
    "in_order",
    "item_label",
    "labels_of_items",
    "rare_classes",
    "read_labels",
]

_SHOWN = 3  # classes that a notice names
_LONGEST_LABEL = 4096  # values of a label that may be a one-hot row


# -- classes ----------------------------------------------------------------------------------


class Classes(NamedTuple):
    """The names of classes by number, the number that each label stands for, what was guessed."""

    names: tuple[str, ...]
    numbers: Mapping[int | str, int]
    notices: tuple[str, ...] = ()


def classes_named(names: Iterable[str], values: Sequence[int] | None = None) -> Classes:
    """Return classes that the data name themselves; by default their labels are 0, 1, ..."""
    found = tuple(names)
    labels = range(len(found)) if values is None else values
    numbers: dict[int | str, int] = {label: number for number, label in enumerate(labels)}
    return Classes(found, {**{name: number for number, name in enumerate(found)}, **numbers})


def classes_of_values(values: Iterable[int | str]) -> Classes:
    """Return the classes of labels that have no other names: the distinct values in order."""
    distinct = in_order(set(values))
    names = tuple(str(value) for value in distinct)
    notices: tuple[str, ...] = ()
    if all(_is_whole(name) for name in names) and names != tuple(map(str, range(len(names)))):
        shown = listing(names if len(names) <= 6 else (*names[:3], "...", *names[-2:]))
        notices = (
            f"The labels {shown} are numbered 0 to {len(names) - 1} in this order, and stay the "
            f"names of their classes.",
        )
    return Classes(names, {value: number for number, value in enumerate(distinct)}, notices)


def rare_classes(names: Sequence[str], counts: Sequence[int]) -> tuple[str, ...]:
    """Say which of these classes have one sample only."""
    single = [f"'{name}'" for name, count in zip(names, counts, strict=True) if count == 1]
    if not single:
        return ()
    which = f"class {single[0]} has"
    if len(single) > 1:
        more = f" and {len(single) - _SHOWN} more" if len(single) > _SHOWN else ""
        which = f"classes {', '.join(single[:_SHOWN])}{more} have"
    return (
        f"The {which} only one sample, too few to learn a class from; add samples or leave the "
        f"class out.",
    )


def in_order(values: Iterable[Any]) -> list[Any]:
    """Return labels or names of classes in their order: numeric if all are whole numbers."""
    found = list(values)
    if found and all(isinstance(value, str) and _is_whole(value) for value in found):
        return sorted(found, key=lambda value: (int(value), value))
    if all(isinstance(value, str) for value in found):
        return sorted(found)
    return sorted(found, key=lambda value: (isinstance(value, str), value))


def _is_whole(text: str) -> bool:
    text = text.removeprefix("-")
    return text.isascii() and text.isdecimal() and len(text) < 100


# -- labels -----------------------------------------------------------------------------------


class Labels(NamedTuple):
    """Labels as they were found.

    Attributes:
        values: (N,) integers, bool or strings; None where they are not classes.
        problem: Why they are not classes, as the end of a sentence that begins with them; empty
            where they are.
        classes: Those that follow from their form alone, as of one-hot rows.
        notices: What was guessed.
    """

    values: AnyArray | None
    problem: str = ""
    classes: Classes | None = None
    notices: tuple[str, ...] = ()


def read_labels(value: Any) -> Labels:
    """Find classes in what came as labels.

    Args:
        value: (N,) or (N, 1) integers, bool, strings or bytes of UTF-8, or one-hot rows (N, K), as
            an array or sequence; whatever else is not a class.
    """
    import numpy as np

    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        array = np.empty(len(value), dtype=object)
        array[:] = list(value)
    if array.dtype.kind == "O" and array.size:
        plain = ((bytes, bytes), (str, str), ((int, np.integer), np.int64))
        for kinds, dtype in plain:
            if all(isinstance(item, kinds) for item in array.flat):
                try:
                    array = array.astype(dtype)
                except OverflowError:
                    return Labels(None, "integers beyond 64 bits")
                break
    if array.dtype.kind == "S":  # as HDF5 keeps strings
        with contextlib.suppress(UnicodeDecodeError):
            array = np.char.decode(array, "utf-8")
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim == 2 and array.dtype.kind in "biuf" and _is_one_hot(array):
        count = array.shape[1]
        return Labels(
            array.argmax(1),
            classes=classes_named(map(str, range(count))),
            notices=(
                f"The labels are one-hot rows of {count}: classes are 0 to {count - 1}, the column "
                f"that is 1.",
            ),
        )
    if array.ndim != 1:
        shape = array.shape[1:]
        kind = f"{_type_of(array)} of shape {shape}" if shape else f"of type {type(value).__name__}"
        return Labels(None, kind)
    if array.dtype.kind not in "biuU":
        whole = array.dtype.kind == "f" and bool((array == np.round(array)).all())
        return Labels(None, ("whole " if whole else "") + _type_of(array))
    return Labels(array)


def _is_one_hot(array: AnyArray) -> bool:
    return bool(
        array.shape[1] > 1
        and ((array == 0) | (array == 1)).all()
        and (array.astype(bool).sum(1) == 1).all()
    )


def _type_of(array: AnyArray) -> str:
    if array.dtype.kind == "O":
        kinds = in_order({type(item).__name__ for item in array.flat})
        return f"Python objects ({listing(kinds[:3])})"
    return "bytes" if array.dtype.kind == "S" else f"{array.dtype} values"


def as_labels(value: Any) -> Labels:
    """Return what labels are: an array, a tensor or a sequence, as ``read_labels`` has it."""
    return value if isinstance(value, Labels) else read_labels(as_numpy(value))


def class_indices(
    labels: Any,
    count: int,
    classes: Classes | None = None,
    wanted: bool | None = None,
    origin: str = "The array",
    item: str = "sample {}",
    indices: Sequence[int] | None = None,
    whole: bool = True,
) -> tuple[Tensor | None, tuple[str, ...] | None, tuple[str, ...]]:
    """Return labels as numbers of classes, the names of these, and notices.

    Args:
        labels: As ``read_labels`` takes or returns them, or None.
        count: How many samples there are.
        classes: Those that the data themselves name; by default the distinct values in order.
        wanted: As ``as_samples`` has it.
        origin: What the labels belong to, to start a message.
        item: What messages call a sample, with ``{}`` for its number.
        indices: Numbers of the samples; by default 0, 1, ...
        whole: Whether these are the labels of all samples.

    Raises:
        DataError: If there are not as many as samples; if labels are wanted and are not classes.
    """
    import numpy as np
    import torch

    if labels is None:
        return None, None, ()
    found = as_labels(labels)
    values = found.values
    if values is None:
        return None, None, _unused(found.problem, wanted, origin)
    if len(values) != count:
        raise DataError(
            f"{origin} has {count} samples but {len(values)} labels; give one label per sample."
        )
    distinct, which = np.unique(values, return_inverse=True)
    known = choose_classes(found, classes) or classes_of_values(distinct.tolist())
    strange = [value not in known.numbers for value in distinct.tolist()]
    if any(strange):
        first = int(np.array(strange)[which.reshape(-1)].argmax())
        problem = (
            f"{item.format(first if indices is None else indices[first])} has the label "
            f"{values[first].item()!r}, which is none of its classes ({listing(known.names)}); "
            f"correct its classes or targets"
        )
        return None, None, () if wanted is False else _unused(problem, wanted, origin)
    numbers = np.array([known.numbers[value] for value in distinct.tolist()], np.int64)
    taken = torch.from_numpy(numbers[which.reshape(-1)])
    notices = () if wanted is False else (*found.notices, *known.notices)
    if whole and wanted is not False:
        counts = torch.bincount(taken, minlength=len(known.names))
        notices += rare_classes(known.names, counts.tolist())
    return taken, known.names, notices


def choose_classes(found: Labels, classes: Classes | None) -> Classes | None:
    """Return the classes that labels are of: those that are named, or that follow from the form."""
    if found.classes is None or (classes and len(classes.names) == len(found.classes.names)):
        return classes
    return found.classes


def _unused(problem: str, wanted: bool | None, origin: str) -> tuple[str, ...]:
    """The notice that labels are left out, if they have a problem; an error if wanted."""
    if not problem:
        return ()
    if problem.startswith("whole "):  # floats, as files of other programs keep classes
        problem += "; numpy.asarray(labels).astype('int64') makes classes of them"
    if wanted:
        raise DataError(
            f"{origin} has labels that are not classes ({problem}), and conditional training needs "
            f"them: give one integer or string per sample, or leave conditional off."
        )
    return (
        f"The labels are not classes ({problem}) and are left out; a class is one integer or "
        f"string per sample.",
    )


# -- labels and classes of torch Datasets -----------------------------------------------------


class NoClass(NamedTuple):
    """A label that is not a class: of what type it is."""

    type: str


def item_label(label: Any) -> Any:
    """A label as an integer, a string, or an array that may be one-hot; or what it is instead."""
    import numpy as np

    if label is None or isinstance(label, (int, str, float)):
        return label
    if isinstance(label, bytes):
        with contextlib.suppress(UnicodeDecodeError):
            return label.decode()
    if isinstance(label, list):
        label = from_lists(label)
    if not (hasattr(label, "shape") and hasattr(label, "dtype")):
        return NoClass(type(label).__name__)
    value = np.asarray(as_numpy(label))
    if value.size == 1 and value.dtype.kind in "biuUf":
        return value.item() if value.dtype.kind != "f" else value.reshape(())[()]
    if value.dtype.kind in "biuf" and value.size <= _LONGEST_LABEL:
        return np.array(value)
    return NoClass(f"{value.dtype} values{f' of shape {value.shape}' if value.shape else ''}")


def from_lists(value: list[Any]) -> Any:
    """Numbers in lists as an array; anything else as it is."""
    import numpy as np

    try:
        array = np.asarray(value)
    except ValueError:
        return value
    return array if array.dtype.kind in "biuf" else value


def labels_of_items(
    found: list[Any], title: str, indices: Sequence[int] | None = None
) -> Labels | None:
    """Return the labels of items together; None where no item has one.

    Args:
        found: The label of each, as ``item_label`` has it.
        title: What messages call the dataset.
        indices: Which items they are of; by default 0, 1, ...
    """
    import numpy as np

    if all(label is None for label in found):
        return None
    for index, label in enumerate(found):
        if label is None:
            number = index if indices is None else indices[index]
            return Labels(
                None, f"Item {number} of {title} has no label but others have; label all or none"
            )
    other = next((label for label in found if isinstance(label, NoClass)), None)
    arrays = [label for label in found if isinstance(label, np.ndarray)]
    if other is not None:
        problem = other.type if " values" in other.type else f"of type {other.type}"
    elif arrays and (len(arrays) < len(found) or len({each.shape for each in arrays}) > 1):
        problem = "values of different shapes"
    elif len({isinstance(label, str) for label in found}) > 1:
        problem = "strings and numbers"
    else:
        return as_labels(np.stack(found) if arrays else found)
    return Labels(None, problem)


def classes_of(dataset: Any, labels_key: str | None = None) -> Classes | None:
    """Return the classes that a dataset says it has, without reading an item; None if it does not.

    These are its ``classes`` (names in the order of their labels, or the labels where they are
    integers), with the numbers of ``class_to_idx`` where it has them, the names of its column of
    class labels, or else the distinct values of its ``targets``, ``labels`` or second tensor. A
    ``Subset`` has those of its whole, a ``ConcatDataset`` those that its parts agree on.

    Raises:
        DataError: If the parts of a ``ConcatDataset`` have different classes.
    """
    return _found_by(_names_of, dataset, labels_key) or _found_by(_targets_of, dataset, labels_key)


def _found_by(
    find: Callable[[Any, str | None], Classes | None], dataset: Any, labels_key: str | None
) -> Classes | None:
    from torch.utils.data import ConcatDataset, Subset

    found = _unless_transformed(dataset, find(dataset, labels_key))
    if found is None and isinstance(dataset, Subset):
        return _found_by(find, dataset.dataset, labels_key)
    if found is not None or not isinstance(dataset, ConcatDataset):
        return found
    parts = [_found_by(find, each, labels_key) for each in dataset.datasets]
    known = [each for each in parts if each is not None]
    if find is _targets_of:
        if not known or len(known) < len(parts):
            return None
        return classes_of_values(value for each in known for value in each.numbers)
    for other in known[1:]:
        if other.names != known[0].names:
            raise DataError(
                f"The parts of {type(dataset).__name__} have different classes "
                f"({listing(known[0].names[:4])} and {listing(other.names[:4])}), so that one "
                f"label means several of them; give all parts the same classes, or say which with "
                f"data.classes = [...]."
            )
    return known[0] if known else None


def _unless_transformed(dataset: Any, classes: Classes | None) -> Classes | None:
    """The classes, unless the ``target_transform`` makes other labels than those they are of."""
    transform = getattr(dataset, "target_transform", None)
    if transform is None or classes is None:
        return classes
    numbers = classes.numbers
    integers = [label for label in numbers if isinstance(label, int)]
    try:
        for label in integers or numbers:
            found = as_labels([item_label(transform(label))]).values
            if found is None or found[0] not in (label, numbers[label]):
                return None
    except Exception:  # the transform is not ours and may fail in any way
        return None
    return classes


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
        known_too = {} if places.keys() & set(words) else places
        return values._replace(numbers={**values.numbers, **known_too})
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
    found = list(value) if isinstance(value, (tuple, list)) else []
    return bool(found) and all(isinstance(each, str) for each in found)


def _targets_of(dataset: Any, labels_key: str | None) -> Classes | None:
    """The distinct labels that a dataset lists apart from its items."""
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
        found = as_labels(targets)
    except Exception:  # ``targets`` of a dataset of unknown origin may be anything
        return None
    if found.values is None:
        return None
    return found.classes or classes_of_values(found.values.tolist())
