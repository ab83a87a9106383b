from dataclasses import fields

from figment.base.docs import field_docs
from figment.train.config import Networks, Recipe, Schedule


def test_every_field_of_a_configuration_has_its_line():
    docs = field_docs("train/config.py")
    for kind in (Networks, Recipe, Schedule):
        for field in fields(kind):
            assert docs[field.name].endswith("."), field.name
