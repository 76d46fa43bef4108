import pytest

from devices.profiles import NAMES, profiles
from devices.recognise import Match, Seen, cores_of, processor_of, properties_of, recognise
from tests.devices.boards import ARMV8_0, ARMV8_2

NEON = ("neon", "fp16", "dotprod")
ANDROID = {"ro.build.version.release": "15"}


def matched(seen: Seen) -> Match:
    match = recognise(seen, profiles())
    assert match is not None
    return match


@pytest.mark.parametrize(
    ("seen", "name"),
    [
        (Seen("Linux", "aarch64", "Raspberry Pi 5 Model B Rev 1.0"), "rpi5"),
        (Seen("Linux", "aarch64", "Raspberry Pi Compute Module 5 Rev 1.0"), "rpi5"),
        (Seen("Linux", "aarch64", "Raspberry Pi 4 Model B Rev 1.4"), "rpi4"),
        (Seen("Linux", "aarch64", "Raspberry Pi 400 Rev 1.0"), "rpi4"),
        (Seen("Linux", "aarch64", "Raspberry Pi 3 Model B Plus Rev 1.3"), "rpi3"),
        (Seen("Linux", "aarch64", "Raspberry Pi Zero 2 W Rev 1.0"), "rpi_zero2"),
        (Seen(model="NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super"), "jetson_orin_nano"),
        (Seen("Linux", "aarch64", "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"), "jetson_orin_nx"),
        (Seen("Linux", "aarch64", "NVIDIA Jetson AGX Orin Developer Kit"), "jetson_agx_orin"),
        (Seen("Linux", "aarch64", "NVIDIA Jetson Nano Developer Kit"), "jetson_nano"),
        (Seen("Linux", "aarch64", "A carrier of ours", ("a,carrier", "nvidia,p3767-0000")), "jetson_orin_nx"),
        (Seen("Linux", "aarch64", "A carrier of ours", ("a,carrier", "nvidia,p3767-0004")), "jetson_orin_nano"),
        (Seen("Linux", "aarch64", properties=ANDROID), "android"),
        (Seen("Linux", "aarch64", properties=ANDROID | {"ro.product.model": "SM-S911B"}), "android"),
        (Seen("Linux", "aarch64", properties=ANDROID | {"ro.product.model": "Pixel 8 Pro"}), "pixel"),
        (Seen("Linux", "aarch64", properties=ANDROID | {"ro.product.model": "Pixel 5"}), "android"),
        (Seen("Darwin", "arm64", cpu="Apple M2"), "mac"),
        (Seen("Linux", "x86_64", isa=("avx2", "avx512f", "avx512_vnni")), "x86_vnni"),
        (Seen("Linux", "x86_64", isa=("avx2", "avx_vnni")), "x86_vnni"),
        (Seen("Linux", "x86_64", isa=("avx2", "avx512f")), "x86"),
        (Seen("Windows", "AMD64"), "x86"),
    ],
)  # fmt: skip
def test_a_device_by_its_signs(seen: Seen, name: str) -> None:
    match = matched(seen)
    assert match.profile.name == name
    assert match.why


@pytest.mark.parametrize(
    "seen",
    [
        Seen(),
        Seen("Linux", "aarch64", "Radxa ROCK 5B", ("radxa,rock-5b", "rockchip,rk3588")),
        Seen("Linux", "aarch64", "Raspberry Pi Zero W Rev 1.1"),
        Seen("Darwin", "x86_64x"),
        Seen("Linux", "riscv64"),
    ],
)
def test_no_profile_is_guessed(seen: Seen) -> None:
    assert recognise(seen, profiles()) is None


def test_an_iphone_has_no_signs_and_is_never_recognised() -> None:
    assert "iphone" in NAMES
    assert all(recognise(Seen(system, "arm64"), profiles()) is None for system in ("iOS", "iPhone OS", ""))


def test_another_processor_than_the_boards_is_a_doubt() -> None:
    emulated = Seen("Linux", "aarch64", "Raspberry Pi 5 Model B", isa=("neon",), cores={"cortex-a53": 4})
    doubts = matched(emulated).doubts
    assert "cortex-a53" in doubts[0]
    assert "an emulator?" in doubts[0]
    assert "fp16, dotprod" in doubts[1]


def test_fewer_cores_are_a_doubt_and_the_same_none() -> None:
    model = "NVIDIA Jetson Orin NX Engineering Reference Developer Kit"
    small, whole = (Seen(model=model, isa=NEON, cores={"cortex-a78ae": count}) for count in (6, 8))
    assert matched(small).doubts == ("it has 6 cores, and the profile 8",)
    assert matched(whole).doubts == ()


def test_cores_of_a_phone_are_counted_by_kind() -> None:
    parts = ["0xd05"] * 4 + ["0xd41"] * 2 + ["0xd44"] * 2
    text = "\n".join(f"processor : {n}\nCPU implementer\t: 0x41\nCPU part\t: {part}\n" for n, part in enumerate(parts))
    assert cores_of(text) == {"cortex-a55": 4, "cortex-a78": 2, "cortex-x1": 2}
    assert cores_of("CPU implementer : 0x51\nCPU part : 0xc00\n") == {"implementer 0x51 part 0xc00": 1}
    assert cores_of("") == {}


def test_a_processor_without_a_name_is_called_by_its_cores() -> None:
    assert processor_of(f"processor: 0\nFeatures : {ARMV8_2}\nCPU implementer : 0x41\nCPU part : 0xd0b\n") == (
        "1x cortex-a76",
        NEON,
    )
    assert processor_of(f"Features : {ARMV8_0}\n")[1] == ("neon",)


def test_properties_of_android() -> None:
    assert properties_of("[ro.product.model]: [Pixel 8]\r\n[a.b]: []\nno property\n[c]: [d]: [e]]") == {
        "ro.product.model": "Pixel 8",
        "a.b": "",
        "c": "d]: [e]",
    }
