import dataclasses
from typing import Annotated, Literal

import pytest
import yaml
from pydantic import BaseModel, ConfigDict, Field

from mapmend.core.errors import ProjectError
from mapmend.core.settings import from_mapping, settings, split_mapping


@settings
class Inner:
    overlap: int = 128
    window: int = 512


@settings
class Outer:
    steps: Annotated[int, Field(ge=1)] = 600
    rate: float = 1e-3
    weights: Literal["none", "inverse_sqrt"] | tuple[float, ...] = "none"
    predict: Inner | None = None
    several: tuple[Inner, ...] = ()
    named: dict[str, Inner] = dataclasses.field(default_factory=dict)


@settings
class Needy:
    name: str


class Model(BaseModel):
    model_config = ConfigDict(extra="forbid")
    colour: str = "red"


@dataclasses.dataclass(frozen=True)
class Plain:
    size: int = 1


def refusal(cls, mapping):
    with pytest.raises(ProjectError) as caught:
        from_mapping(cls, mapping, "project.yaml: train")
    message = str(caught.value)
    assert message.startswith("project.yaml: train")
    assert "\n" not in message
    return message


def test_values_as_yaml_reads_them():
    read = yaml.safe_load("{steps: 30, rate: 1e-4, weights: [1, 2], predict: {window: 256}, several: [{overlap: 1}]}")
    assert isinstance(read["rate"], str)  # YAML 1.1: 1e-4 has no dot
    value = from_mapping(Outer, read, "here")
    assert value == Outer(
        steps=30, rate=0.0001, weights=(1.0, 2.0), predict=Inner(window=256), several=(Inner(overlap=1),)
    )


def test_an_empty_block_is_the_defaults():
    assert from_mapping(Outer, None, "here") == Outer()


def test_a_value_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Outer().steps = 3


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"stepps": 3}, "unknown key 'stepps'; did you mean 'steps'?"),
        ({"zzz": 3}, "unknown key 'zzz'; known: steps, rate, weights"),
        ({3: 3}, "unknown key '3'"),
        ({"predict": {"windw": 3}}, "predict: unknown key 'windw'; did you mean 'window'?"),
        ({"several": [{}, {"overlp": 3}]}, "several[1]: unknown key 'overlp'; did you mean 'overlap'?"),
        ({"named": {"a": {"overlp": 3}}}, "unknown key 'overlp'; did you mean 'overlap'?"),
        ({"steps": 0}, "'steps' is 0: input should be greater than or equal to 1"),
        ({"steps": "many"}, "'steps' is 'many'"),
        ({"steps": 2.5}, "'steps' is 2.5"),
        ({"rate": float("nan")}, "'rate' is nan: input should be a finite number"),
        ({"weights": "inverse"}, "'weights' is 'inverse': input should be 'none' or 'inverse_sqrt', or"),
        ([1, 2], "[1, 2] where keys and values should stand"),
        ("supervised", "'supervised' where keys"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(mapping, says):
    assert says in refusal(Outer, mapping)


def test_a_missing_key_is_named():
    assert "key 'name' is missing" in refusal(Needy, {})


@pytest.mark.parametrize(("cls", "near", "key"), [(Model, "color", "colour"), (Plain, "sise", "size")])
def test_models_and_plain_dataclasses_too(cls, near, key):
    assert f"did you mean '{key}'?" in refusal(cls, {near: 1})
    assert from_mapping(cls, {}, "here") == cls()


def test_one_mapping_for_several_classes():
    outer, inner = split_mapping([Outer, Inner], {"window": 64, "steps": 2}, "here")
    assert outer == Outer(steps=2)
    assert inner == Inner(window=64)


def test_a_key_that_no_class_knows_is_compared_with_all_of_them():
    with pytest.raises(ProjectError, match="unknown key 'widow'; did you mean 'window'"):
        split_mapping([Outer, Inner], {"widow": 64, "steps": 2}, "here")
