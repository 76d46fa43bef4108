from pathlib import Path

import pytest

from devices.meters import METERS
from devices.profiles import FOLDER, NAMES, BadProfile, DeviceProfile, get_profile, profiles, read_profile
from devices.recognise import PARTS
from exporters import TARGETS
from runtime_py.errors import UnknownName
from runtime_py.host import ISA_NAMES

SMALLEST = 'title = "T"\nkind = "board"\nreached = ["ssh"]\n[signs]\n[sources]\n'


def test_the_list_and_the_folder_name_the_same_profiles() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.toml"))
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("profile", profiles(), ids=NAMES)
def test_a_profile_speaks_the_projects_words(profile: DeviceProfile) -> None:
    assert set(profile.isa) <= set(ISA_NAMES.values())
    assert set(profile.signs.isa) <= set(ISA_NAMES.values())
    assert {core.kind for core in profile.cores} <= set(PARTS.values())
    assert set(profile.meters) <= set(METERS)
    for target, precisions in profile.runtimes.items():
        assert set(precisions) <= set(TARGETS[target].precisions), target


@pytest.mark.parametrize("profile", profiles(), ids=NAMES)
def test_what_a_processor_lacks_is_no_precision_of_a_runtime_that_needs_it(profile: DeviceProfile) -> None:
    """XNNPACK, which is ExecuTorch's, computes in fp16 with half-precision instructions alone on Arm."""
    if profile.cores and "fp16" not in profile.isa:
        assert "fp16" not in profile.runtimes.get("executorch", ())


@pytest.mark.parametrize(
    ("name", "cores", "kind", "mhz"),
    [
        ("rpi5", 4, "cortex-a76", 2400),
        ("rpi4", 4, "cortex-a72", 1800),
        ("rpi3", 4, "cortex-a53", 1400),
        ("rpi_zero2", 4, "cortex-a53", 1000),
        ("jetson_agx_orin", 12, "cortex-a78ae", 2200),
        ("jetson_orin_nx", 8, "cortex-a78ae", 2000),
        ("jetson_nano", 4, "cortex-a57", 1430),
    ],
)
def test_cores_are_the_product_briefs(name: str, cores: int, kind: str, mhz: int) -> None:
    (core,) = get_profile(name).cores
    assert (core.count, core.kind, core.mhz) == (cores, kind, mhz)


@pytest.mark.parametrize("name", ["rpi4", "rpi3", "rpi_zero2", "jetson_nano"])
def test_armv8_0_has_no_dotprod_and_says_so(name: str) -> None:
    profile = get_profile(name)
    assert "dotprod" not in profile.isa
    assert any("no dotprod" in quirk.text for quirk in profile.quirks)


def test_seven_bits_are_a_quirk_of_x86_without_vnni_alone() -> None:
    assert [p.name for p in profiles() if any("7 bit" in quirk.text for quirk in p.quirks)] == ["x86"]


def test_an_unknown_device_gets_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        get_profile("rpi6")
    assert "rpi" in caught.value.hint


def test_a_profile_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        get_profile("rpi5").title = "another"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = ", "invalid"),
        ('kind = "board"\n', "title"),
        (SMALLEST.replace("board", "toaster"), "toaster"),
        ('colour = "red"\n' + SMALLEST, "colour"),
        ('soc = "S"\n' + SMALLEST, "nobody is named who says so: soc"),
        (SMALLEST + 'soc = "a data sheet"\n', "sources of what is not there: soc"),
        (SMALLEST + 'nonsense = "a data sheet"\n', "nonsense"),
        (SMALLEST.replace("[signs]", "[[cores]]\nkind = 'c'\ncount = 0\nmhz = 1\n[signs]"), "count"),
    ],
)
def test_a_bad_file_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text)
    with pytest.raises(BadProfile) as caught:
        read_profile(path)
    assert said.lower() in str(caught.value).lower()
    assert "bad.toml" in caught.value.given


def test_the_least_that_a_profile_needs(tmp_path: Path) -> None:
    path = tmp_path / "small.toml"
    path.write_text(SMALLEST)
    assert read_profile(path).name == "small"
    with pytest.raises(BadProfile):
        read_profile(tmp_path / "absent.toml")
