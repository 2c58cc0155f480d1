import pytest
from hypothesis import given
from hypothesis import strategies as st

from assetforge.domain import names
from assetforge.errors import UsageError


@pytest.mark.parametrize("name", ["mara", "brass-lamp", "7", "a" * 64, "ink-wash-2"])
def test_usable_names(name):
    assert names.check_name(name, what="asset") == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Mara",
        "-mara",
        "ma ra",
        "mara/v2",
        "../mara",
        "a" * 65,
        "mara\n",
        "mära",
        "con",
        "lpt1",
        ".hidden",
        "a_b",
        "\0",
    ],
)
def test_unusable_names_are_refused(name):
    with pytest.raises(UsageError):
        names.check_name(name, what="asset")


def test_a_refused_name_comes_with_one_that_would_do():
    with pytest.raises(UsageError, match="'brass-lamp-2' would do"):
        names.check_name("Brass Lamp #2", what="asset")


@given(st.text())
def test_whatever_is_accepted_is_a_plain_file_name(text):
    try:
        name = names.check_name(text, what="asset")
    except UsageError:
        return
    assert name.isascii()
    assert not set(name) & set("/\\.:\n ")
    assert 1 <= len(name) <= 64


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("mara/v2", names.VersionAddress("mara", number=2)),
        ("mara@approved", names.VersionAddress("mara", alias="approved")),
        ("brass-lamp@latest", names.VersionAddress("brass-lamp", alias="latest")),
    ],
)
def test_versions(text, address):
    assert names.parse_version(text) == address
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["mara", "mara/v0", "mara/v02", "mara/v-1", "mara/d2", "mara@", "@latest", "mara/v2 ", "mara@A", "a@b@c"]
)
def test_no_versions(text):
    with pytest.raises(UsageError):
        names.parse_version(text)


@pytest.mark.parametrize(("text", "number"), [("mara/d3", 3), ("mara", None), ("mara@latest", None)])
def test_datasets(text, number):
    assert names.parse_dataset(text) == names.DatasetAddress("mara", number)


@pytest.mark.parametrize("text", ["mara/v3", "mara@approved", "mara/d0", "Mara/d1", ""])
def test_no_datasets(text):
    with pytest.raises(UsageError):
        names.parse_dataset(text)


def test_references():
    assert names.parse_reference("mara/ref/3f9a1c") == names.ReferenceAddress("mara", "3f9a1c")
    assert names.reference_address("mara", "3f9a1c" + "0" * 58) == "mara/ref/3f9a1c"
    for text in ("mara/ref/3f", "mara/ref/XYZW", "mara/3f9a1c", "mara/ref/" + "0" * 65):
        with pytest.raises(UsageError):
            names.parse_reference(text)
