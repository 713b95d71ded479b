"""The settings page: each value with what it means and where it comes from, judged while it is typed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

from textual import on
from textual.app import App, ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button, Footer, Header, Input, Static, Switch

from devflow.errors import Invalid
from devflow_agent import choices
from devflow_agent.choices import Choice, Seen, Value
from devflow_agent.plain import plain
from devflow_agent.settings import Settings
from devflow_agent.store import Store

_HIDDEN: Final = "***@"


@dataclass(frozen=True, slots=True)
class Entered:
    """What stands in the fields: new values, and those that are to be as they come."""

    values: dict[str, Value]
    forgotten: list[str]


class SettingsPage(App[None]):
    """Shows and changes what ``devflow sync configure`` does, by the same table and the same checks."""

    TITLE = "DevFlow settings"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    .field { height: auto; padding: 0 1; }
    .name { width: 22; padding: 1 1; }
    .about { padding: 0 1 0 23; color: $text-muted; }
    .wrong { padding: 0 1 0 23; color: $error; display: none; }
    Input { width: 1fr; }
    #said { height: auto; padding: 0 2; }
    #save { margin: 1 2; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [("ctrl+s", "save", "Save"), ("escape", "quit", "Leave")]

    def __init__(self, store: Store) -> None:
        """Raise Invalid if what is stored cannot be read."""
        super().__init__()
        self._store = store
        self._seen = choices.seen(Settings.load(store), store)

    def compose(self) -> ComposeResult:
        yield Header()
        with VerticalScroll():
            for seen in self._seen:
                yield from _field(seen)
            yield Button("Save", id="save", variant="primary")
        yield Static("", id="said", markup=False)
        yield Footer()

    @on(Input.Changed)
    @on(Switch.Changed)
    def judge(self) -> None:
        """Say beside each field what is wrong with it, as soon as it is."""
        self._say("")
        for seen in self._seen:
            self._tell(seen.choice, self._wrong(seen))

    @on(Button.Pressed, "#save")
    def action_save(self) -> None:
        wrong = [seen.choice for seen in self._seen if self._wrong(seen)]
        if wrong:
            self._say(f"not saved: {', '.join(choice.name for choice in wrong)}")
            self.query_one(f"#{wrong[0].name}").focus()
            return
        entered = self._entered()
        try:
            choices.change(self._store, entered.values, entered.forgotten)
        except Invalid as error:  # another process has changed something meanwhile
            self._say(f"not saved: {plain(str(error))}")
            return
        self._look_again()
        changed = len(entered.values) + len(entered.forgotten)
        self._say("saved; a running `devflow watch` goes by it at once" if changed else "nothing was changed")

    def _look_again(self) -> None:
        """Show what is stored now: another process may have changed what was left alone here."""
        self._seen = choices.seen(Settings.load(self._store), self._store)
        with self.prevent(Input.Changed, Switch.Changed):
            for seen in self._seen:
                self._show(seen)

    def _show(self, seen: Seen) -> None:
        choice = seen.choice
        self.query_one(f"#about-{choice.name}", Static).update(_about(seen))
        if choice.kind == "switch":
            self.query_one(f"#{choice.name}", Switch).value = seen.value is True
        else:
            self.query_one(f"#{choice.name}", Input).value = _shown(seen)

    def _entered(self) -> Entered:
        values: dict[str, Value] = {}
        forgotten = []
        for seen in self._seen:
            text = self._text(seen.choice)
            if text == _shown(seen):
                continue
            value = choices.checked(seen.choice, text)
            if value is None:
                forgotten.append(seen.choice.field)
            else:
                values[seen.choice.field] = value
        return Entered(values, forgotten)

    def _wrong(self, seen: Seen) -> str:
        text = self._text(seen.choice)
        if text == _shown(seen):
            return ""
        if _HIDDEN in text:
            return "type the user and the password again: they are not shown"
        try:
            choices.checked(seen.choice, text)
        except Invalid as error:
            return plain(str(error))
        return ""

    def _text(self, choice: Choice) -> str:
        if choice.kind == "switch":
            return choices.as_text(self.query_one(f"#{choice.name}", Switch).value)
        return self.query_one(f"#{choice.name}", Input).value

    def _tell(self, choice: Choice, wrong: str) -> None:
        beside = self.query_one(f"#wrong-{choice.name}", Static)
        beside.update(wrong)
        beside.display = bool(wrong)

    def _say(self, text: str) -> None:
        self.query_one("#said", Static).update(text)


def _field(seen: Seen) -> Iterator[Vertical]:
    choice = seen.choice
    if choice.kind == "switch":
        entry: Input | Switch = Switch(value=seen.value is True, id=choice.name)
    else:
        # What holds while the field is empty stands in it, dimmed.
        usual = "" if seen.value is None else plain(choices.as_text(seen.value))
        entry = Input(value=_shown(seen), placeholder=usual, id=choice.name)
    yield Vertical(
        Horizontal(Static(choice.name, classes="name", markup=False), entry, classes="field"),
        Static(_about(seen), id=f"about-{choice.name}", classes="about", markup=False),
        Static("", id=f"wrong-{choice.name}", classes="wrong", markup=False),
        classes="field",
    )


def _shown(seen: Seen) -> str:
    """What stands in the field. A value of the environment stands below it: the field is for one's own."""
    if seen.choice.kind == "text" and seen.source != "set":
        return ""
    return "" if seen.value is None else choices.as_text(seen.value)


def _about(seen: Seen) -> str:
    unit = f" In {seen.choice.unit}." if seen.choice.unit else ""
    here = f" {choices.as_text(seen.value)}" if seen.source in seen.choice.variables else ""
    return plain(f"{seen.choice.says}{unit} ({seen.origin}{here})")
