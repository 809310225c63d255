"""Multiple choice: which sentence goes on with a story about two people and their different aims."""

from __future__ import annotations

from tools.mini.facts import Draw
from tools.mini.settings import CHOICES, SIZES, VERSION
from tools.mini.templates import fill, load
from xstilts.tasks.formats.multiple_choice import MultipleChoiceExample

#: Story → kind of value that tells its people apart.
STORIES = {
    "journey": "city",
    "course": "language",
    "exchange": "currency",
    "contract": "organisation",
    "move": "country",
}


def generate(split: str, language: str) -> list[MultipleChoiceExample]:
    """The choices speak of one of the two; they hold that one's value, the other's, and values from nowhere."""
    draw = Draw(f"{VERSION}/choice/{split}", split)
    rng = draw.random
    examples = []
    for number in range(SIZES[split]):
        story = rng.choice(sorted(STORIES))
        people = draw.values("person", 2, women=rng.random() < 0.5)
        values = draw.values(STORIES[story], CHOICES)
        who = rng.randrange(2)
        order = rng.sample(range(CHOICES), CHOICES)
        wording = load(language)["stories"][story]
        prompt = fill(wording["prompt"], language, p=people[0], q=people[1], x=values[0], y=values[1])
        choices = tuple(fill(wording["next"], language, who=people[who], value=values[place]) for place in order)
        examples.append(MultipleChoiceExample(f"choice-{split}-{number:04}", prompt, choices, order.index(who)))
    return examples
