"""A small intent data set that fedsim makes itself.

Decides templates and vocabulary: requests to a household assistant, whose label is an action on
an object. Refuses to resemble any published data set: it exists so that every run works without a
file and without a network, and accuracy on it says nothing about accuracy elsewhere.
"""

from collections.abc import Iterator

import numpy as np

from fedsim.errors import ScenarioError
from fedsim.runtime.data.random_stream import random_stream, seed_mistakes
from fedsim.runtime.data.text_dataset import TextDataset

_ACTIONS = (
    ("start", "begin", "launch"),
    ("stop", "halt", "end"),
    ("raise", "increase", "lift"),
    ("lower", "reduce", "decrease"),
    ("clean", "wash", "rinse"),
    ("repair", "fix", "mend"),
    ("lock", "secure", "seal"),
    ("check", "inspect", "examine"),
    ("move", "shift", "carry"),
    ("order", "buy", "purchase"),
)
_OBJECTS = (
    ("heater", "radiator"),
    ("lamp", "light"),
    ("curtain", "blind"),
    ("oven", "stove"),
    ("window", "pane"),
    ("garage", "carport"),
    ("kettle", "teapot"),
    ("mower", "trimmer"),
    ("speaker", "stereo"),
    ("sprinkler", "hose"),
)
_OPENINGS = (
    "please",
    "could you",
    "i want you to",
    "hello there can you",
    "it is time to",
    "remember to",
    "would it be possible to",
    "now",
)
_PLACES = ("upstairs", "in the hall", "near the door", "outside", "by the stairs", "next door")
# No clause may hold a word of an action or of an object: clauses vary the length, not the label.
_CLAUSES = (
    "because guests arrive this evening",
    "and tell me when that is done",
    "since nobody did it yesterday",
    "although my neighbor says it can wait",
    "before the children come home from school",
    "so that we save a little money",
    "as we agreed on the phone last week",
    "if the weather stays like this",
)
MAX_GENERATED_LABELS = len(_ACTIONS) * len(_OBJECTS)

# Number of clauses: Pareto with this exponent, cut. 65 % of the texts get none, 3 % ten or more,
# so a batch padded to its longest text is mostly padding, as it is with real queries.
_CLAUSE_TAIL_EXPONENT = 1.5
_MAX_CLAUSES = 15

_TRAIN_STREAM, _TEST_STREAM = 1, 2


def generated_intents(
    num_train: int, num_test: int, num_labels: int, seed: int
) -> tuple[TextDataset, TextDataset]:
    """Small generated data set of intents, learnable and of uneven text length.

    Parameters
    ----------
    num_train, num_test
        Number of rows of each set. [samples]
    num_labels
        Number of intents, 2 to ``MAX_GENERATED_LABELS``.
    seed
        Same seed, same rows. More rows keep the first ones as they were.

    Returns
    -------
    tuple of TextDataset
        Training set and test set, drawn from separate random streams. Each run of `num_labels`
        rows holds every label once.

    Raises
    ------
    ScenarioError
        If a size is below 1, or `num_labels` or `seed` is out of range.

    Notes
    -----
    A label is a pair (action, object). The pair fixes which synonyms may appear; the rest of a
    text says nothing about it. Two labels may share the action or the object, so beyond ten labels
    one word alone no longer tells them apart.
    """
    mistakes = list(_argument_mistakes(num_train, num_test, num_labels, seed))
    if mistakes:
        raise ScenarioError("\n".join(f"generated data: {mistake}" for mistake in mistakes))
    return (
        _dataset("generated/train", num_train, num_labels, random_stream(seed, _TRAIN_STREAM)),
        _dataset("generated/test", num_test, num_labels, random_stream(seed, _TEST_STREAM)),
    )


def _argument_mistakes(num_train: int, num_test: int, num_labels: int, seed: int) -> Iterator[str]:
    for name, value in (("num_train", num_train), ("num_test", num_test)):
        if value < 1:
            yield f"{name} = {value}: at least 1 row is needed"
    if not 2 <= num_labels <= MAX_GENERATED_LABELS:
        yield f"num_labels = {num_labels}: allowed is 2 to {MAX_GENERATED_LABELS}"
    yield from seed_mistakes(seed)


def _action_and_object(label: int) -> tuple[int, int]:
    # A diagonal walk: the first ten labels differ in both words, and no pair comes twice.
    action = label % len(_ACTIONS)
    return action, (label + label // len(_ACTIONS)) % len(_OBJECTS)


def _dataset(name: str, num_rows: int, num_labels: int, rng: np.random.Generator) -> TextDataset:
    labels: list[int] = []
    texts: list[str] = []
    while len(texts) < num_rows:
        for label in rng.permutation(num_labels).tolist():
            labels.append(label)
            texts.append(_text(label, rng))
    pairs = (_action_and_object(label) for label in range(num_labels))
    return TextDataset(
        name=name,
        texts=tuple(texts[:num_rows]),
        labels=tuple(labels[:num_rows]),
        label_names=tuple(f"{_ACTIONS[action][0]}_{_OBJECTS[thing][0]}" for action, thing in pairs),
    )


def _text(label: int, rng: np.random.Generator) -> str:
    action, thing = _action_and_object(label)
    num_clauses = min(int(rng.pareto(_CLAUSE_TAIL_EXPONENT)), _MAX_CLAUSES)
    words = [
        _pick(_OPENINGS, rng),
        _pick(_ACTIONS[action], rng),
        "the",
        _pick(_OBJECTS[thing], rng),
        _pick(_PLACES, rng),
    ]
    return " ".join(words + [_pick(_CLAUSES, rng) for _ in range(num_clauses)])


def _pick(options: tuple[str, ...], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
