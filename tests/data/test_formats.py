"""The reader's own data: every format, every scaling, and samples that stay on the disk."""

import os
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.preprocessing import MinMaxScaler, StandardScaler, normalize

from ksae_lab import KSparseAutoencoder, SparseCoding
from ksae_lab.data import datasets, files
from ksae_lab.data.datasets import load_dataset, load_in_order
from ksae_lab.data.rows import OnDisk, Rows
from ksae_lab.data.scaling import SCALINGS, Extent, Scaling

PARTS = ("train", "val", "test")


def numbers(n=60, d=5, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def all_of(dataset):
    return dataset.joined(*PARTS)


def rows_of(x):
    return sorted(np.asarray(x, np.float32).reshape(len(x), -1).tolist())


# Formats


def test_an_array_of_any_numbers_is_taken_as_it_is():
    x = numbers()
    own = load_dataset(x, labels=np.arange(60) % 3)
    assert rows_of(all_of(own)) == rows_of(x)
    assert own.image is own.scaling is own.names is None
    assert repr(own) == (
        "Dataset('your data': 42 train, 6 validation, 12 test samples of 5 features, 3 classes)"
    )


def test_a_table_has_names_and_a_column_of_labels(tmp_path):
    frame = pd.DataFrame(numbers(d=3), columns=["mass", "charge", "spin"])
    frame["Label"] = ["cat", "dog", "owl"] * 20
    frame.to_csv(tmp_path / "own.csv", index=False)
    frame.to_parquet(tmp_path / "own.parquet")
    for source in (frame, tmp_path / "own.csv", tmp_path / "own.parquet"):
        own = load_dataset(source)
        assert own.names == ("mass", "charge", "spin")
        assert rows_of(all_of(own)) == rows_of(frame.drop(columns="Label").to_numpy())
        for x, y in ((own.x_train, own.y_train), (own.x_test, own.y_test)):
            by_first = dict(zip(frame.mass.astype(np.float32), frame.Label, strict=True))
            assert [by_first[row[0]] for row in x] == y.tolist()


def test_a_csv_file_without_names_loses_no_line(tmp_path):
    x = numbers(20, 3)
    np.savetxt(tmp_path / "own.csv", x, delimiter=",")
    own = load_dataset(tmp_path / "own.csv")
    assert rows_of(all_of(own)) == rows_of(x) and own.names is None


TABLE = pd.DataFrame(numbers(20, 3), columns=["mass", "charge", "spin"])


@pytest.mark.parametrize(
    ("write", "sentence"),
    [
        (lambda path: TABLE.to_csv(path), "has no name and counts the rows; leave it out"),
        (
            lambda path: TABLE.to_csv(path, sep=";", decimal=",", index=False),
            "more values than its first line has names",
        ),
        (
            lambda path: path.write_text("a,b\n" + "1,2,3\n" * 20),
            "more values than its first line has names",
        ),
        (
            lambda path: TABLE.to_csv(path, sep=";", index=False),
            "column 'mass;charge;spin' of .* is of type",
        ),
        (
            lambda path: TABLE.assign(label=["a", None] * 10).to_csv(path, index=False),
            "Row 1 of .* has no label",
        ),
        (
            lambda path: TABLE.mask(TABLE.iloc[3, 1] == TABLE).to_csv(path, index=False),
            "Sample 3 in .* holds NaN",
        ),
    ],
    ids=["row numbers", "decimal commas", "a name too few", "semicolons", "a label", "a number"],
)
def test_a_table_that_would_be_read_wrongly_is_refused(tmp_path, write, sentence):
    write(tmp_path / "own.csv")
    with pytest.raises(ValueError, match=sentence):
        load_dataset(tmp_path / "own.csv", "standardise")


def test_columns_of_several_kinds_are_numbers_together():
    frame = TABLE.assign(flag=[True, False] * 10, count=pd.array(range(20), dtype="Int64"))
    expected = frame.to_numpy(float)
    assert rows_of(all_of(load_dataset(frame, "none"))) == rows_of(expected)
    frame.loc[4, "count"] = pd.NA
    with pytest.raises(ValueError, match="Sample 4 in your data holds NaN"):
        load_dataset(frame)


def test_an_ending_may_be_in_capitals(tmp_path):
    np.save(tmp_path / "own.npy", TABLE.to_numpy())
    (tmp_path / "own.npy").rename(tmp_path / "OWN.NPY")
    assert rows_of(all_of(load_dataset(tmp_path / "OWN.NPY"))) == rows_of(TABLE.to_numpy())


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_folder_of_pictures_in_folders_that_name_them(tmp_path, mode):
    rng, shape = np.random.default_rng(0), (6, 4) if mode == "L" else (6, 4, 3)
    x = rng.integers(0, 256, (20, *shape), dtype=np.uint8)
    for i, pixels in enumerate(x):
        place = tmp_path / ("even" if i % 2 == 0 else "odd")
        place.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(place / f"{i:02}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    own = load_dataset(tmp_path)
    assert own.image == shape and own.scaling.kind == "0-255"
    assert rows_of(all_of(own)) == rows_of(x.reshape(20, -1) / np.float32(255))
    assert (
        sorted(np.concatenate([own.y_train, own.y_val, own.y_test]))
        == ["even", "odd"] * 0 + ["even"] * 10 + ["odd"] * 10
    )


def test_grey_pictures_of_sixteen_bits_keep_them(tmp_path):
    x = np.random.default_rng(0).integers(0, 2**16, (20, 6, 4), dtype=np.uint16)
    for i, pixels in enumerate(x):
        Image.fromarray(pixels).save(tmp_path / f"{i:02}.png")
    with pytest.raises(ValueError, match=r"of type u?int\d+, .* say how they are scaled"):
        load_dataset(tmp_path)
    own = load_dataset(tmp_path, "minmax")
    assert own.image == (6, 4)
    back = own.scaling.undo(all_of(own))
    np.testing.assert_allclose(rows_of(back), rows_of(x), atol=0.01)


@pytest.mark.filterwarnings("error")
def test_pictures_with_a_palette_show_its_colours(tmp_path):
    x = np.random.default_rng(0).integers(0, 4, (20, 6, 4), dtype=np.uint8)
    colours = np.array([[0, 0, 0], [255, 0, 0], [9, 99, 199], [255, 255, 255]], np.uint8)
    for i, pixels in enumerate(x):
        picture = Image.fromarray(pixels).convert("P")
        picture.putpalette(colours.tobytes())
        picture.save(tmp_path / f"{i:02}.png", transparency=bytes([0, 99, 255, 255]))
    expected = colours[x].reshape(20, -1) / np.float32(255)
    assert rows_of(all_of(load_dataset(tmp_path))) == rows_of(expected)


def test_pictures_of_two_sizes_are_refused(tmp_path):
    for i in range(12):
        Image.new("L", (8, 8 + (i == 7))).save(tmp_path / f"{i:02}.png")
    with pytest.raises(ValueError, match=r"07\.png is of shape \(9, 8\) where .*00\.png"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("shape", "image"),
    [((20, 9), None), ((20, 784), (28, 28)), ((20, 5, 7), (5, 7)), ((20, 5, 7, 3), (5, 7, 3))],
)
def test_what_is_an_image_is_known_by_its_shape(shape, image):
    assert load_dataset(np.random.default_rng(0).random(shape)).image == image


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (np.zeros((20, 3, 5, 5)), r"\(20, 3, 5, 5\); expected .* \(n, height, width, colours\)"),
        ([[1.0, 2.0], [3.0]], "their rows differ in length"),
        (np.ma.masked_less(numbers(), 0), "masked entries"),
        (pd.DataFrame({"a": ["x"] * 20}), "column 'a' of the table is of type"),
        ("", "The name of the data is empty"),
        ("~nosuchuser/x.npy", "a user who has no home here"),
        ("a\0b.npy", r"'a\\x00b\.npy' is no path"),
        ("a" * 5000 + ".npy", "is no path"),
    ],
)
def test_what_is_no_data_gets_a_sentence(source, sentence):
    with pytest.raises((ValueError, FileNotFoundError), match=sentence) as error:
        load_dataset(source)
    assert "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no FIFOs here")
def test_a_fifo_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "own.npz")
    with pytest.raises(ValueError, match="is no plain file"):
        load_dataset(tmp_path / "own.npz")


@pytest.mark.parametrize(
    ("ending", "package"), [("csv", "pandas"), ("parquet", "pandas"), ("png", "PIL.Image")]
)
def test_a_missing_package_is_named_with_what_to_install(tmp_path, monkeypatch, ending, package):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    (tmp_path / f"own.{ending}").write_text("1,2")
    source = tmp_path if ending == "png" else tmp_path / f"own.{ending}"
    with pytest.raises(ImportError, match=r"install ksae-lab\[(tables|images)\]"):
        load_dataset(source)


def test_small_sets_come_with_their_packages():
    digits, faces = load_dataset("digits"), load_dataset("lfw_subset")
    x, y = load_digits(return_X_y=True)
    assert rows_of(all_of(digits)) == rows_of(x / 16) and digits.image == (8, 8)
    assert np.bincount(np.concatenate([digits.y_train, digits.y_val, digits.y_test])).tolist() == (
        np.bincount(y).tolist()
    )
    assert (faces.image, all_of(faces).shape, all_of(faces).max()) == ((25, 25), (200, 625), 1)
    assert faces.y_train.mean() == 0.5


# Scaling


REFERENCES = {
    "none": lambda x: x,
    "0-255": lambda x: x / 255,
    "minmax": lambda x: MinMaxScaler().fit_transform(x),
    "standardise": lambda x: StandardScaler().fit_transform(x),
    "centre": lambda x: x - x.mean(axis=0),
    "unit": normalize,
}


@pytest.mark.parametrize("kind", SCALINGS)
@given(seed=st.integers(0, 999), shift=st.floats(-50, 50), size=st.floats(0.01, 100))
def test_scalings_are_those_of_scikit_learn_and_lead_back(kind, seed, shift, size):
    x = shift + size * numbers(30, 4, seed)
    x[:, 2] = 7  # never varies
    scaling = Scaling.fitted(kind, [x[:11], x[11:12], x[12:]])
    scaled = scaling.apply(x)
    assert scaled.dtype == np.float32
    expected = REFERENCES[kind](x)
    np.testing.assert_allclose(
        scaled, expected, rtol=1e-5, atol=2e-6 * (1 + np.abs(expected).max())
    )
    tolerance = {"rtol": 1e-5, "atol": 1e-5 * (1 + np.abs(x).max())}
    np.testing.assert_allclose(scaling.undo(scaled, like=x), x, **tolerance)
    if kind != "unit":
        np.testing.assert_allclose(scaling.undo(scaled), x, **tolerance)


@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(1, 28), max_size=4))
def test_an_extent_does_not_depend_on_the_blocks(seed, cuts):
    x = 1000 + numbers(29, 3, seed)
    extent = Extent(np.split(x, sorted(set(cuts))))
    np.testing.assert_array_equal(extent.least, x.min(axis=0))
    np.testing.assert_array_equal(extent.most, x.max(axis=0))
    np.testing.assert_allclose(extent.mean, x.mean(axis=0))
    np.testing.assert_allclose(extent.deviation, x.std(axis=0))
    np.testing.assert_allclose(extent.spread, np.sqrt(x.var(axis=0).mean()))


def test_a_scaling_is_found_on_the_training_samples_alone():
    x = numbers(100)
    own = load_dataset(x, "standardise")
    np.testing.assert_allclose(own.x_train.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(own.x_train.std(axis=0), 1, atol=1e-6)
    assert abs(own.x_test.mean()) > 1e-3
    # And one that was found earlier is used as it is.
    again = load_dataset(2 * x, own.scaling)
    expected = own.scaling.apply(2 * own.scaling.undo(own.x_test))
    np.testing.assert_allclose(again.x_test, expected, rtol=1e-5, atol=1e-5)


def test_pixels_share_one_range_and_other_features_have_their_own():
    x = np.random.default_rng(0).integers(0, 17, (40, 8, 8)).astype(np.uint8)
    images, features = load_dataset(x, "minmax"), load_dataset(x.reshape(40, 64), "minmax")
    assert set(images.scaling.scale) == {16.0}
    assert len(set(features.scaling.scale)) > 1


def test_an_unknown_scaling_lists_the_known_ones():
    with pytest.raises(ValueError, match="no scaling 'zscore'; expected one of none, 0-255"):
        load_dataset(numbers(), "zscore")


def test_a_named_set_is_scaled_from_what_it_is_without():
    plain, none = load_dataset("digits"), load_dataset("digits", "none")
    np.testing.assert_array_equal(none.x_train, plain.x_train)
    assert plain.scaling is None and none.scaling.kind == "none"


def test_a_model_of_bytes_sees_published_bytes_as_they_are():
    """Not divided twice: by `load_dataset`, and by the scaling that was stored with a model."""
    plain, scaled = load_dataset("mnist5k"), load_dataset("mnist5k", Scaling("0-255", 784))
    np.testing.assert_array_equal(scaled.x_test, plain.x_test)
    rows, _ = load_in_order("mnist5k", Scaling("0-255", 784))
    assert rows[:50].max() == 1


@pytest.mark.parametrize("source", ["digits", np.random.default_rng(0).random((20, 9))])
@pytest.mark.parametrize("scaling", ["0-255", Scaling("0-255", 64)])
def test_what_is_small_already_is_not_divided_by_255(source, scaling):
    with pytest.raises(ValueError, match=r"between 0 and 1, and `0-255` would divide them"):
        load_dataset(source, scaling)


def test_all_samples_in_their_order():
    x, y = load_digits(return_X_y=True)
    rows, found = load_in_order("digits")
    np.testing.assert_array_equal(rows[:], (x / 16).astype(np.float32))
    np.testing.assert_array_equal(found.y, y)


# On the disk


@pytest.fixture
def on_disk(tmp_path, monkeypatch):
    """A file of samples that counts as large, and what it holds."""
    x = np.random.default_rng(0).random((300, 7, 5)).astype(np.float32)
    np.save(tmp_path / "own.npy", x)
    monkeypatch.setattr(datasets, "LARGE", 1000)
    monkeypatch.setattr("ksae_lab.nn.inputs.BLOCK", 500)
    return tmp_path / "own.npy", x


@pytest.mark.parametrize("scaling", [None, *sorted(SCALINGS.keys() - {"0-255"})])
def test_rows_on_the_disk_are_those_in_memory(on_disk, monkeypatch, scaling):
    path, _ = on_disk
    large = load_dataset(path, scaling)
    monkeypatch.setattr(datasets, "LARGE", 2**30)
    small = load_dataset(path, scaling)
    for part in PARTS:
        rows, array = getattr(large, f"x_{part}"), getattr(small, f"x_{part}")
        assert isinstance(rows, Rows) and isinstance(array, np.ndarray)
        assert (rows.shape, rows.ndim, rows.dtype, len(rows)) == (array.shape, 2, "f4", len(array))
        for index in (slice(3, 9), np.array([5, 0, 5]), np.arange(len(array)) % 3 == 0):
            np.testing.assert_array_equal(rows[index], array[index])
        np.testing.assert_array_equal(np.asarray(rows), array)
        np.testing.assert_array_equal(np.concatenate([*rows.blocks()]), array)
        np.testing.assert_allclose(rows.mean(axis=0), array.mean(axis=0), rtol=1e-5, atol=1e-6)
    joined = large.joined("val", "test")
    np.testing.assert_array_equal(joined[:], np.concatenate([small.x_val, small.x_test]))
    with pytest.raises(IndexError, match="give a slice or a list"):
        rows[0]


def test_models_start_from_the_disk_as_from_memory(on_disk):
    rows = load_dataset(on_disk[0]).x_train
    for make in (
        lambda: KSparseAutoencoder(35, 6, 2, rng=0),
        lambda: SparseCoding(35, 6, 1, rng=0),
    ):
        lazy, plain = make(), make()
        lazy.init_from_data(rows, 1)
        plain.init_from_data(rows[:], 1)
        for name, w in plain.parameters.items():
            np.testing.assert_allclose(lazy.parameters[name], w, atol=1e-6)
        with pytest.raises(ValueError, match=r"shape \(210, 35\); expected \(batch, 7\)"):
            KSparseAutoencoder(7, 6, 2, rng=0).init_from_data(rows, 1)


def test_little_of_a_large_file_is_in_memory_at_a_time(tmp_path, monkeypatch):
    x = np.lib.format.open_memmap(tmp_path / "own.npy", "w+", np.float32, (20_000, 500))
    x[:] = np.random.default_rng(0).random((1, 500))
    x[::2] = 0
    del x
    monkeypatch.setattr(datasets, "LARGE", 2**20)
    monkeypatch.setattr("ksae_lab.nn.inputs.BLOCK", 2**18)
    tracemalloc.start()
    own = load_dataset(tmp_path / "own.npy")
    for _ in own.x_train.blocks():
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6  # of 40 million bytes


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_a_file_on_the_disk_in_every_version_and_order(tmp_path, order, version):
    x = np.asarray(numbers(), order=order)
    with open(tmp_path / "own.npy", "wb") as file:
        np.lib.format.write_array(file, x, version)
    rows = OnDisk(tmp_path / "own.npy")
    assert (rows.shape, rows.dtype, rows.ndim) == (x.shape, x.dtype, 2)
    np.testing.assert_array_equal(rows[np.array([3, 1])], x[[3, 1]])


def test_every_format_is_named():
    assert all(ending in files.FORMATS for ending in (".npz", ".npy", ".csv", ".parquet", ".png"))
