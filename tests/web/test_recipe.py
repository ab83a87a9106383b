import math

import pytest

from figment.base.errors import FigmentError
from figment.web.recipe import MAX_TERMS, Recipe, blend, breed, parse_recipe, read_number


@pytest.mark.parametrize(
    "text",
    [
        "17@0.7",
        "0@1",
        "17:0.6,22:0.4@-0.5",
        "17;22;17,5:0.1@0.7",
        "17@0.7!age:-2,smile:1.5",
        "p0123456789abcdef,4294967295:0.5@1",
        "1;1;2@0.123456789",
    ],
)
def test_a_recipe_is_read_as_it_was_written(text):
    assert str(parse_recipe(text)) == text


def test_what_says_the_same_is_the_same_recipe():
    assert str(parse_recipe("007")) == "7@0.7"
    assert parse_recipe("7;7;7@.70!a:0") == parse_recipe("7")
    assert str(parse_recipe("7:0.25,7:0.5!b:1,a:2")) == "7:0.75@0.7!a:2,b:1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "4294967296",
        "17@nan",
        "17@inf",
        "17@1e99",
        "17@3",
        "17@0.7@1",
        "17:nan",
        "17:9",
        "17:",
        "17,",
        "17;22",
        "1;2;3;4",
        "17!smile",
        "17!:1",
        "17!smile:inf",
        "17!smile:21",
        "17!../x:1",
        "p123",
        "\u0663",
        "17@\u0660",
        "1_000",
        ",".join(map(str, range(MAX_TERMS + 1))),
        "1" * 3000,
        "17!" + ",".join(f"d{i}:1" for i in range(17)),
    ],
)
def test_bad_recipes_are_one_line(text):
    with pytest.raises(FigmentError) as caught:
        parse_recipe(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_bands_are_those_of_the_family():
    recipe = parse_recipe("1;2", bands=("low", "high"))
    assert recipe.bands == ((("1", 1.0),), (("2", 1.0),)) and str(recipe) == "1;2@0.7"
    assert len(parse_recipe("1", bands=("low", "high")).bands) == 2
    assert [len(child.bands) for child in (breed([recipe, recipe], 1), blend(recipe, recipe, (0, 1)))] == [2, 2]
    with pytest.raises(FigmentError, match="one for each of low;high"):
        parse_recipe("1;2;3", bands=("low", "high"))


def test_numbers_are_plain_and_bounded():
    assert read_number("1e-1", "psi", 0, 1) == 0.1
    for text in ("nan", "", "1.5", "0x1", " 1", "1_0", "infinity"):
        with pytest.raises(FigmentError, match="from 0 to 1"):
            read_number(text, "psi", 0, 1)


def test_a_blend_goes_from_one_to_the_other():
    one, other = parse_recipe("1@0.5!a:2"), parse_recipe("2:0.5@1!a:1,b:3")
    assert blend(one, other, (0, 0, 0)) == one
    assert str(blend(one, other, (1, 1, 1))) == "2@0.5!a:1,b:3"  # twice the weight at half the psi
    half = blend(one, other, (0.5, 0, 1))
    assert half.bands == ((("1", 0.5), ("2", 0.5)), (("1", 1.0),), (("2", 1.0),))
    assert half.edits == (("a", 1.5), ("b", 1.5))


def test_a_child_is_its_parents_and_a_little_more():
    parents = [parse_recipe("1@0.7"), parse_recipe("2@0.7"), parse_recipe("3@0.7")]
    child = breed(parents, 5, 0.1)
    assert child == breed(parents, 5, 0.1) != breed(parents, 6, 0.1)
    for terms in child.bands:
        weights = dict(terms)
        assert math.isclose(sum(weights.get(source, 0) for source in "123"), 1, abs_tol=2e-4)
    strangers = {source for source in child.sources if source not in "123"}
    assert len(strangers) == 1
    assert all(source in "123" for source in breed(parents, 5, 0).sources)
    assert len({str(breed(parents, seed, 0.1)) for seed in range(20)}) == 20


def test_generations_stay_short_enough_to_read_again():
    family = [Recipe(((((str(seed)), 1.0),),) * 3) for seed in range(4)]
    for generation in range(30):
        family = [breed(family, generation * 4 + i, 0.3) for i in range(4)]
    for child in family:
        assert parse_recipe(str(child)) == child
        assert all(len(terms) <= MAX_TERMS for terms in child.bands)
