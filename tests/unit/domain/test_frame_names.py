"""File names after LIGO-T050017, and what files a stream has."""

from __future__ import annotations

from fractions import Fraction

import pytest

from shared.domain.frame_names import FrameFile, clipped, cut, files_between, frametypes, observatory, whole_seconds

G = 1126259446


def test_names():
    file = FrameFile("V", "V1_Hrec_hoft_16384Hz", G, 64, "gwf")
    assert file.path == f"V/V1_Hrec_hoft_16384Hz/V-V1_Hrec_hoft_16384Hz-{G}-64.gwf"
    assert FrameFile.parse(file.name) == file


@pytest.mark.parametrize(
    "name",
    [
        "", "V-A-1-64", "V-A-1-64.txt", "V-A-1.5-64.gwf", "V-A-1-0.gwf", "V-A-B-1-64.gwf", "v-A-1-64.gwf",
        "V-A-1-64.gwf\n",
        "../V-A-1-64.gwf", "V-A-1-12345678901.gwf", "V-É-1-64.gwf", "V-A-\u0661-64.gwf",
    ],
)  # fmt: skip
def test_what_is_no_name(name):
    assert FrameFile.parse(name) is None


def test_frametypes_tell_streams_apart_and_stay():
    keys = [
        ("V1", "V1:Hrec_hoft_16384Hz", 16384.0),
        ("V1", "V1:Hrec-hoft:16384Hz", 16384.0),
        ("V1", "V1:Hrec_hoft_16384Hz", 4096.0),
        ("V1", "V1:Hrec hoft 16384Hz", 4096.0),
        ("L1", "V1:Hrec_hoft_16384Hz", 0.5),
        ("", "", 1.0),
    ]
    assert list(frametypes(tuple(keys))) == [
        ("V", "V1_Hrec_hoft_16384Hz"),
        ("V", "V1_Hrec_hoft_16384Hz_16384HZ"),
        ("V", "V1_Hrec_hoft_16384Hz_4096HZ"),
        ("V", "V1_Hrec_hoft_16384Hz_4096HZ_2"),
        ("L", "V1_Hrec_hoft_16384Hz"),
        ("X", "strain"),
    ]
    for n in range(len(keys)):  # a stream that arrives later takes no other one's name
        assert list(frametypes(tuple(keys[:n])).items()) == list(frametypes(tuple(keys)).items())[:n]
    assert (observatory("é1"), observatory("1"), observatory("k1")) == ("X", "X", "K")


def test_thousands_of_channels_with_one_frametype_are_named_in_one_pass():
    class Rate(float):
        written = 0

        def __format__(self, form: str) -> str:
            Rate.written += 1
            return super().__format__(form)

    keys = tuple(("V1", f"V1:{chr(0x4E00 + i)}" + "x" * 253, Rate(4096)) for i in range(1000))
    found = frametypes(keys)
    assert list(found.values()) == list(keys)
    assert Rate.written <= len(keys)
    for observatory_, frametype in found:
        assert FrameFile.parse(FrameFile(observatory_, frametype, G, 64, "gwf").name) is not None


def test_whole_seconds_have_every_sample():
    def whole(start: str, end: str, rate: float = 4.0) -> list[tuple[int, int]]:
        return list(whole_seconds([(Fraction(start), Fraction(end))], rate))

    assert whole("10", "12") == [(10, 12)]
    assert whole("9", "12", 1 / 3) == [(7, 12)]  # the sample before would be at 6
    assert whole("10.25", "11.75") == []
    assert whole("10.25", "12") == [(11, 12)]
    assert whole("10.1", "12.1") == [(10, 12)]  # the sample before would be at 9.85: none is missing
    assert whole("10.1", "11.85") == [(10, 11)]  # the one at 11.85 is missing
    assert whole("0", "3") == [(0, 3)]


def test_files_are_cut_at_multiples():
    assert list(cut([(10, 140), (150, 151)], 4.0, 64)) == [(10, 54), (64, 64), (128, 12), (150, 1)]
    assert list(cut([(10, 140)], 1 / 50, 64)) == [(10, 54), (64, 64)]  # 12 s have no sample of their own
    spans = [(10, 140), (150, 151)]
    for start, end in [(0, 200), (63, 64), (64, 65), (12, 13), (139, 150), (140, 150), (151, 200), (70, 130)]:
        expected = [(s, d) for s, d in cut(spans, 4.0, 64) if s < end and s + d > start]
        assert list(files_between(spans, 4.0, 64, start, end)) == expected
    assert list(clipped(spans, 20, 150)) == [(20, 140)]
