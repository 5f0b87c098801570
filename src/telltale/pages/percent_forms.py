"""How languages write a percentage, "44%" or "44 %". Django has no format for it; the forms are those of browsers."""

from typing import Final

_USUAL: Final = "{n}%"
_OTHERS: Final = {
    "{n}\N{NO-BREAK SPACE}%": "be br ca cs da de dsb es fi fr gl hr hsb lb lt mk nb nn no ro ru sk sl sv tk tt",
    "{n}\N{LEFT-TO-RIGHT MARK}%\N{LEFT-TO-RIGHT MARK}": "ar",
    "{n}\N{ARABIC PERCENT SIGN}": "fa",
    "{n}\N{NO-BREAK SPACE}\N{ARABIC PERCENT SIGN}": "ckb",
    "%{n}": "tr",
    "%\N{NO-BREAK SPACE}{n}": "eu",
    # Spanish in Latin America has no space.
    _USUAL: "es-ar es-co es-mx es-ni es-ve",
}
_FORMS: Final = {language: form for form, languages in _OTHERS.items() for language in languages.split()}


def percent_form(language: str) -> str:
    """Return the form with "{n}" for the number; `language`: a code as in `LANGUAGES`, such as "de" or "es-mx"."""
    return _FORMS.get(language) or _FORMS.get(language.partition("-")[0], _USUAL)
