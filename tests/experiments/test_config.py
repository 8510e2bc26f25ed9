"""Experiment files: what they may say, and one clear sentence for all that they may not."""

import hashlib
import json

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ksae_lab.experiments import config
from ksae_lab.experiments.settings import Experiment, Optimizer, Training
from ksae_lab.nn.activations import ACTIVATIONS
from ksae_lab.nn.penalties import PENALTIES
from ksae_lab.nn.relaxations import RELAXATIONS
from tests.repo import ROOT

ALL = sorted((ROOT / "experiments").glob("*.yaml"))
FILES = [path for path in ALL if "sweep:" not in path.read_text(encoding="utf-8")]


@pytest.fixture
def said(tmp_path):
    """What `load` says to a file of that text."""

    def load(text, name="own.yaml"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ValueError) as caught:
            config.load(path)
        sentence = str(caught.value)
        assert sentence.startswith(str(path))
        assert "\n" not in sentence
        return sentence.removeprefix(str(path)).removeprefix(": ")

    return load


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_experiment_of_the_repository_is_valid(path):
    experiment = config.load(path)
    assert experiment.data == "mnist5k"  # they run without a network


def test_a_sweep_is_no_single_experiment(said):
    assert said("sweep: {seed: [0, 1]}") == "it lists many runs; give it to `sweep`."


def test_what_is_left_out_is_the_books_recipe(tmp_path):
    path = tmp_path / "short.yaml"
    path.write_text("data: mnist5k\n")
    experiment = config.load(path)
    assert experiment == Experiment()
    assert experiment.model_dump() == {
        "data": "mnist5k",
        "scaling": None,
        "fit_on": "train",
        "seed": 0,
        "model": {
            "n_units": 100,
            "k": 10,
            "activation": "relu",
            "by": "value",
            "tied": False,
            "start": "data",
        },
        "dream": None,
        "optimizer": {
            "name": "adam",
            "learning_rate": 0.002,
            "momentum": 0.0,
            "lazy": False,
            "decay_from": 0.5,
        },
        "curriculum": None,
        "auxk": None,
        "diversity": None,
        "resets": None,
        "selection": None,
        "training": {
            "epochs": 80,
            "batch_size": 64,
            "noise": 0.0,
            "shifts": None,
            "engine": None,
            "dead_after": None,
        },
    }


fractions = st.floats(0, 1, exclude_max=True)
positive = st.floats(1e-9, 1000)


@st.composite
def experiments(draw):
    n = draw(st.integers(1, 200))
    k = draw(st.integers(1, n))
    epochs = draw(st.integers(2, 500))
    name = draw(st.sampled_from(["sgd", "rmsprop", "adagrad", "adam"]))
    sections = {
        "curriculum": {
            "k_start": draw(st.integers(k, n)),
            "finish": draw(st.floats(1e-3, 0.99 * (1 - 1 / epochs))),
        },
        "auxk": {"k_aux": draw(st.integers(1, n)), "weight": draw(positive)},
        "diversity": {"weight": draw(positive)},
        "resets": {"every": draw(st.integers(1, 9)), "until": draw(fractions)},
        "dream": {
            "n_units": n,
            "penalty": draw(st.sampled_from(list(PENALTIES))),
            "sparsity": draw(positive),
            "sparsity_start": draw(st.none() | positive),
            "init": draw(st.sampled_from(["as_found", "repaired"])),
            "wake_rate": draw(st.none() | st.floats(1e-9, 1)),
            "frozen": draw(st.lists(st.sampled_from(["W", "S", "b"]))),
        },
        "selection": {
            "name": draw(st.sampled_from(list(RELAXATIONS))),
            "temperature": draw(positive),
            "end": draw(st.none() | positive),
        },
    }
    given = {key: draw(st.none() | st.just(section)) for key, section in sections.items()}
    if given["dream"]:
        given = dict.fromkeys(sections) | {"dream": given["dream"]}
    else:
        given["model"] = {
            "n_units": n,
            "k": k,
            "activation": draw(st.sampled_from(list(ACTIVATIONS))),
            "by": draw(st.sampled_from(["value", "magnitude"])),
            "tied": draw(st.booleans()),
            "start": draw(st.sampled_from(["data", "mean", "random"])),
        }
    return Experiment.model_validate(
        {
            # Words that YAML likes to take for something else are among these.
            "data": draw(
                st.text(min_size=1) | st.sampled_from(["1e5", "no", "010", "null", "~", "\x85"])
            ),
            "fit_on": draw(st.sampled_from(["train", "train+validation"])),
            "seed": draw(st.integers(0, 2**63 - 1)),
            "optimizer": {
                "name": name,
                "learning_rate": draw(positive),
                "momentum": draw(fractions) if name == "sgd" else 0.0,
                "lazy": draw(st.booleans()),
                "decay_from": draw(st.none() | fractions),
            },
            "training": {"epochs": epochs, "batch_size": draw(st.integers(1, 10**6))},
            **given,
        }
    )


@settings(max_examples=75)
@given(experiment=experiments())
def test_what_is_dumped_is_loaded(tmp_path_factory, experiment):
    folder = tmp_path_factory.mktemp("dump")
    for name, text in (
        ("own.yaml", config.dump(experiment)),
        ("own.json", json.dumps(experiment.model_dump(mode="json"))),
    ):
        (folder / name).write_text(text, encoding="utf-8")
        loaded = config.load(folder / name)
        assert loaded == experiment
        assert loaded.hash == experiment.hash


def test_the_hash_is_of_the_settings_not_of_the_file(tmp_path):
    path = tmp_path / "own.yaml"
    texts = ["seed: 1\nmodel: {k: 10}", "# a note\nmodel:\n  k: 10\nseed: 1\n"]
    hashes = set()
    for text in texts:
        path.write_text(text)
        hashes.add(config.load(path).hash)
    (one,) = hashes
    settings = Experiment(seed=1).model_dump(exclude_none=True)  # no later one changes old hashes
    canonical = json.dumps(settings, sort_keys=True)
    assert one == hashlib.sha256(canonical.encode()).hexdigest()
    assert Experiment(seed=2).hash != one
    assert Experiment(seed=1, optimizer=Optimizer(learning_rate=0.0021)).hash != one
    assert Experiment(seed=1, training=Training(dead_after=3)).hash != one


def test_an_experiment_does_not_change():
    with pytest.raises(ValueError, match="frozen"):
        Experiment().seed = 3


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-3", 1e-3), ("1.e-3", 1e-3), ("+.5E+1", 5.0), ("3", 3.0), ("0.25", 0.25)],
)
def test_numbers_may_be_written_as_people_write_them(tmp_path, text, value):
    path = tmp_path / "own.yaml"
    path.write_text(f"optimizer: {{learning_rate: {text}}}")
    assert config.load(path).optimizer.learning_rate == value


def test_the_mark_of_some_editors_at_the_start_is_no_harm(tmp_path):
    for name, text in (("own.yaml", "seed: 4"), ("own.json", '{"seed": 4}')):
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert config.load(tmp_path / name).seed == 4


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "optimizer: {learnig_rate: 1}",
            "`learnig_rate` is not known in optimizer; did you mean `learning_rate`?",
        ),
        ("modell: {}", "`modell` is not known at the top level; did you mean `model`?"),
        ("k: 5", "`k` is not known at the top level; did you mean `model.k`?"),
        ("model: {epochs: 5}", "`epochs` is not known in model; did you mean `training.epochs`?"),
        (
            "diversity: {xyz: 5, weight: 1}",
            "`xyz` is not known in diversity; choose from weight.",
        ),
        ("1: 5", "`1` is not known at the top level; choose from data, scaling, fit_on, "),
        ("model: {k: 0}", "`model.k` is 0; it should be greater than or equal to 1 (active"),
        ("model: {k: ten}", "`model.k` is 'ten'; it should be a valid integer (active units of"),
        ("model: {k: '10'}", "`model.k` is '10'; it should be a valid integer"),
        ("model: {k: 10.0}", "`model.k` is 10.0; it should be a valid integer"),
        ("model: {k: true}", "`model.k` is True; it should be a valid integer"),
        ("model: {tied: 1}", "`model.tied` is 1; it should be a valid boolean"),
        ("model: {tied: no}", "`model.tied` is 'no'; it should be a valid boolean"),
        ("model: {n_units: 1000000}", "`model.n_units` is 1000000; it should be less than"),
        ("model: {activation: relu6}", "`model.activation` is 'relu6'; it should be 'linear', "),
        ("model: {by: size}", "`model.by` is 'size'; it should be 'value' or 'magnitude'"),
        ("model:", "`model` is None; it should be a section with keys of its own: n_units, k, "),
        ("auxk: true", "`auxk` is True; it should be a section with keys of its own: k_aux, "),
        ("curriculum: {}", "`curriculum.k_start` is missing; give a value (active units at"),
        ("optimizer: {learning_rate: 0}", "`optimizer.learning_rate` is 0; it should be greater"),
        ("optimizer: {learning_rate: 010}", "`optimizer.learning_rate` is '010'; it should be"),
        ("optimizer: {learning_rate: .nan}", "`optimizer.learning_rate` is '.nan'; it should"),
        ("optimizer: {decay_from: 1}", "`optimizer.decay_from` is 1; it should be less than 1"),
        ("training: {epochs: -1}", "`training.epochs` is -1; it should be greater than or equal"),
        ("training: {noise: 2}", "`training.noise` is 2; it should be less than or equal to 1"),
        ("data: ''", "`data` is ''; it should have at least 1 character"),
        ('"a\\nb": 5', "`a b` is not known at the top level"),
        ('"a\\nb": 5\n"a\\nb": 6', "`a b` is there twice"),
        ("data: 5", "`data` is 5; it should be a valid string (name of a data set, or path"),
        # Settings that are at odds.
        ("model: {n_units: 9}", "`model.k` is 10; choose it up to `model.n_units`, 9."),
        (
            "optimizer: {name: adam, momentum: .9}",
            "`optimizer.momentum` is for sgd; leave it out with adam.",
        ),
        ("curriculum: {k_start: 9}", "`curriculum.k_start` is 9; choose it from `model.k`, 10, "),
        ("curriculum: {k_start: 101}", "`curriculum.k_start` is 101; choose it from `model.k`"),
        (
            "{curriculum: {k_start: 20, finish: .6}, training: {epochs: 2}}",
            "`curriculum.finish` is 0.6, which leaves no whole epoch of `training.epochs`, 2, at",
        ),
        ("auxk: {k_aux: 101}", "`auxk.k_aux` is 101; choose it up to `model.n_units`, 100."),
        (
            "{dream: {}, curriculum: {k_start: 60}}",
            "`curriculum` is for the k-sparse network; leave it or `dream` out.",
        ),
        ("{dream: {}, model: {k: 5}}", "`model` is for the k-sparse network; leave it or"),
        ("dream: {frozen: [W, V]}", "`dream.frozen.1` is 'V'; it should be 'W', 'S' or 'b'"),
        ("dream: {init: random}", "`dream.init` is 'random'; it should be 'as_found' or 'repa"),
        # Files that are no settings.
        ("", "holds no settings; begin with a line such as `data: mnist5k`."),
        ("[data]", "holds no settings"),
        ("data: x\nmodel: {k: 3\n", ", line 3, column 1: expected ',' or '}', but got '<stream"),
        ("data: a: b", ", line 1, column 8: mapping values are not allowed here"),
        ("\tdata: x", ", line 1, column 1: found character '\\t'"),
        ("seed: 1\ndata: x\nseed: 2", ", line 3, column 1: `seed` is there twice"),
        ("model:\n  k: 1\n  k: 1", ", line 3, column 3: `k` is there twice"),
        ("data: x\n---\ndata: y", ", line 2, column 1: but found another document"),
        ("{[1]: 2}", ", line 1, column 2: found unhashable key"),
        ("data: !!python/object/apply:os.getcwd []", ", line 1, column 7: could not determine"),
        ("seed: !!int x", "is neither YAML nor JSON (invalid literal for int"),
        ("data: \x07", "is neither YAML nor JSON (unacceptable character"),
        ("[" * 3000, "is neither YAML nor JSON"),
        (b"\xff\xfe\x00", "cannot be read as text; give the path of a YAML or JSON file."),
    ],
)
def test_one_sentence_says_what_is_wrong(said, text, sentence):
    assert sentence in said(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"seed": 1, "seed": 2}', "is neither YAML nor JSON (`seed` is there twice)"),
        ('{"model": {"k": 1, "k": 2}}', "is neither YAML nor JSON (`k` is there twice)"),
        ('{"seed": 1,}', "is neither YAML nor JSON ("),
        ('{"optimizer": {"learning_rate": NaN}}', "is nan; it should be a finite number"),
        ('{"sed": 1}', "`sed` is not known at the top level; did you mean `seed`?"),
        ("[" * 10**5, "is neither YAML nor JSON"),
    ],
)
def test_the_same_for_json(said, text, sentence):
    assert sentence in said(text, "own.json")


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no file .*nothing\.yaml; give"):
        config.load(tmp_path / "nothing.yaml")
    with pytest.raises(ValueError, match="cannot be read as text"):
        config.load(tmp_path)


keys = st.sampled_from(
    ["data", "model", "seed", "k", "auxk", "weight", "<<", ": ", "- ", "\n", "&a"]
)
pieces = st.text(max_size=8) | keys | st.sampled_from(["*a", "!!set", "{", "}", "? ", "|", "1e9"])


@settings(max_examples=300)
@given(text=st.lists(pieces, max_size=12).map("".join), name=st.sampled_from(["a.yaml", "a.json"]))
def test_any_text_gives_an_experiment_or_a_sentence(tmp_path_factory, text, name):
    path = tmp_path_factory.getbasetemp() / name
    path.write_text(text, encoding="utf-8", newline="")
    try:
        assert isinstance(config.load(path), Experiment)
    except ValueError as error:
        assert str(error).startswith(str(path))
        assert len(str(error).splitlines()) == 1


def test_every_setting_says_what_it_is():
    fields = Experiment.model_fields
    sections = {name: config._keys(field.annotation) for name, field in fields.items()}
    plain = {name: field for name, field in fields.items() if not sections[name]}
    for settings_of in (plain, *sections.values()):
        assert all(field.description for field in settings_of.values())


def test_the_experiments_are_commented():
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert f"ksae train {path.stem} --out runs/{path.stem}" in text
        assert yaml.safe_load(text).keys() <= Experiment.model_fields.keys()
    assert np.unique([config.load(path).hash for path in FILES]).size == len(FILES)
