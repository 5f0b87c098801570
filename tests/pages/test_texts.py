"""Every text that people can read is listed in docs/texts.md: a new or changed text shows up there for review."""

import re
from pathlib import Path

import pytest

from telltale.pages.catalogue import MESSAGES, PLURALS
from tests.pages import texts


def test_docs_list_every_text_that_people_can_read() -> None:
    recorded = texts.FILE.read_text(encoding="utf-8").splitlines()
    current = texts.document().splitlines()
    assert recorded == current, "run `python -m tests.pages.texts`, read the difference, keep it if the texts are plain"


def test_the_browser_uses_known_messages_only() -> None:
    scripts = "".join(path.read_text(encoding="utf-8") for path in (texts.SOURCE / "static").rglob("*.js"))
    assert {*re.findall(r'\.message\("(\w+)"', scripts)} <= MESSAGES.keys()
    assert {*re.findall(r'\.plural\("(\w+)"', scripts)} <= PLURALS.keys()
    assert [key for key in (*MESSAGES, *PLURALS) if f'"{key}"' not in scripts] == []


def test_texts_are_found_in_python(tmp_path: Path) -> None:
    path = tmp_path / "views.py"
    path.write_text(
        "from django.utils.translation import gettext as _, ngettext\n"
        "print(_('Back'), 'not shown', ngettext('{n} task', '{n} tasks', 2))\n"
    )
    assert list(texts.texts_of_python(path)) == ["Back", "{n} task / {n} tasks"]


def test_a_text_that_is_not_a_literal_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "views.py"
    path.write_text("from django.utils.translation import gettext\nprint(gettext(f'{1} task'))\n")
    with pytest.raises(ValueError, match=r"views\.py:2: gettext\(.*needs a literal"):
        list(texts.texts_of_python(path))


def test_texts_are_found_in_templates() -> None:
    source = (
        '{# no #}<{{ tag }} class="a"></{{ tag }}><p title="Shown">Plain {{ value }}</p>'
        '{% if x %}<b>{% translate "Back" %}</b>{% endif %}'
        "{% blocktranslate count n=n %}{{ n }} task{% plural %}{{ n }} tasks{% endblocktranslate %}"
    )
    assert list(texts.texts_of_template(source)) == ["Back", "{{ n }} task / {{ n }} tasks", "Shown", "Plain"]
