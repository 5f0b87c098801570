"""The translations: complete, with the placeholders of their originals, and compiled."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest
from django.utils.translation import override

from telltale.pages.catalogue import MESSAGES, catalogue, plural
from telltale.pages.durations import duration
from tests.servers import ROOT

LOCALE = ROOT / "src" / "telltale" / "locale"
LANGUAGES = ["ar", "de", "es", "fr", "ja"]
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|\{\w+\}")
SHARED_WORDS = {("fr", "Notifications")}
"""Texts that are the same in English."""
COUNTS = {"{n}", "%(n)s"}
"""What the form for one number may leave out: "one task"."""

each_language = pytest.mark.parametrize("language", LANGUAGES)


def po_path(language: str, *, locale: Path = LOCALE) -> Path:
    return locale / language / "LC_MESSAGES" / "django.po"


def placeholders(text: str) -> set[str]:
    return set(PLACEHOLDER.findall(text))


@each_language
def test_every_text_is_translated(language: str) -> None:
    po = polib.pofile(str(po_path(language)))
    assert [entry.msgid for entry in po if not entry.translated() or entry.fuzzy] == []
    assert po.obsolete_entries() == []


@each_language
def test_a_translation_has_the_placeholders_of_its_original(language: str) -> None:
    for entry in polib.pofile(str(po_path(language))):
        expected = placeholders(entry.msgid_plural or entry.msgid)
        if not entry.msgid_plural:
            assert placeholders(entry.msgstr) == expected, entry.msgid
        for form in entry.msgstr_plural.values():
            assert expected - COUNTS <= placeholders(form) <= expected, entry.msgid


@each_language
def test_the_compiled_translations_are_those_of_the_source(language: str) -> None:
    source, compiled = po_path(language), po_path(language).with_suffix(".mo")

    def texts(entries: list[polib.POEntry]) -> dict[str, object]:
        return {entry.msgid: entry.msgstr_plural or entry.msgstr for entry in entries}

    assert texts(polib.mofile(str(compiled))) == texts(polib.pofile(str(source))), "Run `make messages`."


@each_language
def test_pages_speak_the_language(language: str) -> None:
    with override(language):
        texts = catalogue()["messages"]
    same = [key for key, text in MESSAGES.items() if texts[key] == text and (language, text) not in SHARED_WORDS]
    # Placeholders alone need no translation, and languages share words such as "in".
    assert [key for key in same if len(re.findall(r"[a-z]", PLACEHOLDER.sub("", MESSAGES[key]))) > 2] == []


@pytest.mark.parametrize(
    ("language", "texts"),
    [
        ("ar", {0: "لا توجد مهام", 1: "مهمة واحدة", 2: "مهمتان", 3: "3 مهام", 11: "11 مهمة", 100: "100 مهمة"}),
        ("ja", {0: "0", 1: "1", 2: "2"}),
    ],
)
def test_each_number_has_its_plural_form(language: str, texts: dict[int, str]) -> None:
    with override(language):
        for number, text in texts.items():
            assert text in plural("ahead", number)


def test_numbers_and_durations_are_those_of_the_language() -> None:
    with override("de"):
        assert duration(90 * 60) == "2 Stunden"
    with override("fr"):
        assert duration(1) == "1 seconde"


@pytest.mark.service
def test_no_text_of_the_code_is_missing_in_the_translations(tmp_path: Path) -> None:
    package = tmp_path / "telltale"
    shutil.copytree(ROOT / "src" / "telltale", package, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-m", "django", "makemessages", "--all", "--no-location", "--no-obsolete"]
    environment = {key: value for key, value in os.environ.items() if key != "DJANGO_SETTINGS_MODULE"}
    subprocess.run(command, cwd=package, env=environment, check=True, capture_output=True)
    for language in LANGUAGES:
        found = {entry.msgid for entry in polib.pofile(str(po_path(language, locale=package / "locale")))}
        kept = {entry.msgid for entry in polib.pofile(str(po_path(language)))}
        assert (sorted(found - kept), sorted(kept - found)) == ([], []), "Run `make messages`, and translate."
