"""The name of a task for people: its label, or one that is made from the name of its function."""

import re
import unicodedata
from typing import Final

_CAPITAL: Final = re.compile(r"(?<=[a-z])[A-Z](?=[a-z])")


def label_from_name(name: str) -> str:
    """A label made from the name of a function or class: `import_contacts`, `ImportContacts`: "Import contacts"."""
    words = name.replace("_", " ").split()
    words = [_CAPITAL.sub(lambda letter: f" {letter[0].lower()}", word) for word in words]
    label = " ".join(words)
    return label[:1].upper() + label[1:] or name


def shown_label(label: str, name: str) -> str:
    """Return the label, or one from the task's dotted name if no character of it is visible; "" without a name."""
    is_visible = any(unicodedata.category(character)[0] not in "CZ" for character in label)
    return label if is_visible else label_from_name(name.rpartition(".")[2])
