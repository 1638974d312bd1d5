"""The command `gwclient`: its arguments, its output and its exit codes (see `gwclient.errors`)."""

from __future__ import annotations

import argparse
import functools
import getpass
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gwclient.errors import ClientError, NoData

if TYPE_CHECKING:
    from gwclient.sources import Strain
    from gwclient.store import Store

T = TypeVar("T")

_URL = "http://127.0.0.1:8080/streamdata"


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = parser(os.environ).parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
        return 0
    except ClientError as error:
        print(f"gwclient: {error}", file=sys.stderr)
        return error.exit_code
    except ModuleNotFoundError as error:
        print(f"gwclient: {error.name} is missing: pip install 'dt-datastore[client]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("gwclient: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    """The parser of the command line, with defaults from the environment `env`."""
    parser = argparse.ArgumentParser("gwclient", description="Stream strain into a DT datastore, and operate it.")
    commands = parser.add_subparsers(required=True, metavar="command")
    url = {"default": env.get("SRV") or _URL, "help": "of the store or of one of its routes (SRV; %(default)s)"}

    stream = commands.add_parser("stream", help="send strain: open data of an event, a file, or a sample")
    stream.set_defaults(run=_stream)
    source = stream.add_mutually_exclusive_group()
    source.add_argument("--event", default=env.get("GWID"), help="event with open data, such as GW150914 (GWID)")
    source.add_argument("--file", type=Path, help="HDF5 (GWOSC's or gwpy's), GWF, or text")
    source.add_argument("--sample", action="store_true", help="1 s of real strain from gwpy's wheel; needs no internet")
    stream.add_argument("--detector", default=env.get("DTCID") or "", help="such as L1 (DTCID)")
    stream.add_argument("--channel", default="", help="its name, or which one of a file")
    stream.add_argument("--inf", type=_span, default=env.get("INF") or "13", help="seconds before the event (INF; 13)")
    stream.add_argument("--sup", type=_span, default=env.get("SUP") or "16", help="seconds after it (SUP; 16)")
    stream.add_argument("--gps", type=_gps, help="of a file, take only INF seconds before this time to SUP after")
    stream.add_argument("--t0", type=_gps, help="GPS time of the first sample, for text files that do not say")
    stream.add_argument(
        "--sample-rate", type=_sample_rate, help="samples per second: of open data 4096 or 16384; of text"
    )
    stream.add_argument(
        "--gaps",
        choices=("refuse", "skip"),
        default="refuse",
        help="strain with gaps (NaN): refuse it, or send what lies between them (%(default)s)",
    )
    stream.add_argument("--gwosc", default="https://gwosc.org", help="where open data is (%(default)s)")
    stream.add_argument("--url", **url)  # type: ignore[arg-type]
    stream.add_argument("--chunk", type=_count, default=300, help="samples in a segment (%(default)s)")
    stream.add_argument(
        "--rate", type=_rate, default="max", help="1 is real time, 10 ten times that, or max (%(default)s)"
    )
    stream.add_argument("--in-flight", type=_count, default=8, help="requests at once (%(default)s)")
    stream.add_argument("--wait", action="store_true", help="while the store is frozen, wait")
    stream.add_argument(
        "--timeout", "--patience", type=_seconds, default=300.0, help="seconds without success to give up (%(default)s)"
    )
    stream.add_argument(
        "--state", type=Path, help="state file; by default one for this stream in ~/.local/state/gwclient"
    )
    stream.add_argument("--restart", action="store_true", help="forget an interrupted stream and begin anew")

    def command(name: str, run: object, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help)
        added.add_argument("--url", **url)  # type: ignore[arg-type]
        added.set_defaults(run=run)
        return added

    command("stat", _stat, "print counts and state, as JSON")
    command("files", _files, "print the names of the stored segments, one a line")
    command("log", _log, "print the log of stored segments, one JSON object a line")
    freeze = command("freeze", _freeze, "close the batch to new segments")
    freeze.add_argument("--user", default=_user(), help="recorded with the batch (%(default)s)")
    freeze.add_argument("--token", default="gwclient", help="recorded with the batch (%(default)s)")
    freeze.add_argument(
        "--policy", action="store_true", help="only if the store says that it holds enough (exit code 3)"
    )
    command("clean", _clean, "file the batch away and open the next one")
    watch = command("watch", _watch, "print counts and state whenever they change")
    watch.add_argument("--interval", type=_seconds, default=1.0, help="seconds between two looks (%(default)s)")
    watch.add_argument("--until", type=_until, default="", help="frozen, open, or a number of bytes; then end")
    return parser


def _stream(options: argparse.Namespace) -> None:
    from gwclient.http import normalize
    from gwclient.progress import progress
    from gwclient.resume_file import ResumeFile, default_folder
    from gwclient.upload import Segments, UploadOptions, upload

    parts = _source(options).finite_parts(skip_gaps=options.gaps == "skip")
    segments = Segments(parts, options.chunk)
    url = normalize(options.url)
    url = url if url.count("/") > 2 else f"{url}/sendF"
    stream_id = segments.stream_id(url)
    path: Path = options.state or default_folder() / f"{stream_id[:32]}.json"
    if options.restart:
        path.unlink(missing_ok=True)
    resume = ResumeFile(path, stream_id, segments.count)
    name = parts[0].detector or "strain"
    _say(f"{name}: {_summary(parts)}, to {url}")
    if resume.resumed:
        _say(f"going on after {resume.done} of {resume.count} segments (state in {path})")
    how = UploadOptions(in_flight=options.in_flight, rate=options.rate, wait=options.wait, timeout=options.timeout)
    began = time.monotonic()
    sent = resume.count - resume.done
    with progress(name, resume.done, resume.count) as display:
        upload(segments, url, resume, how, display)
    resume.finish()
    seconds = max(time.monotonic() - began, 1e-3)
    _say(f"{name}: all {resume.count} segments stored; {sent} in {seconds:.1f} s, {sent / seconds:.0f}/s")


def _summary(parts: Sequence[Strain]) -> str:
    samples = sum(len(part.samples) for part in parts)
    begin, end = parts[0].time_of(0), parts[-1].time_of(len(parts[-1].samples))
    gaps = f" with {len(parts) - 1} gap(s)" if len(parts) > 1 else ""
    return f"{samples} samples at {float(parts[0].rate):g} Hz, GPS {begin:.6f} to {end:.6f}{gaps}"


def _source(options: argparse.Namespace) -> Strain:
    from gwclient import sources

    window = options.inf, options.sup
    if options.file:
        strain = sources.from_file(options.file, options.detector, options.channel, options.t0, options.sample_rate)
        return strain if options.gps is None else strain.around(options.gps, *window)
    if options.sample:
        return sources.from_sample(options.detector or "V1")
    if not options.event:
        raise NoData("there is nothing to stream: give --event (or GWID), --file or --sample")
    rate = int(options.sample_rate or 4096)
    return sources.from_event(options.event, options.detector or "L1", window, rate, options.gwosc)


def _store(options: argparse.Namespace) -> Store:
    from gwclient.store import Store

    return Store(options.url)


def _stat(options: argparse.Namespace) -> None:
    print(json.dumps(_store(options).stat()))


def _files(options: argparse.Namespace) -> None:
    _store(options).files(print)


def _log(options: argparse.Namespace) -> None:
    _store(options).log(lambda entry: print(json.dumps(entry)))


def _freeze(options: argparse.Namespace) -> None:
    print(json.dumps(_store(options).freeze(options.user, options.token, options.policy)))


def _clean(options: argparse.Namespace) -> None:
    print(json.dumps(_store(options).clean()))


def _watch(options: argparse.Namespace) -> None:
    from gwclient.store import watch

    def say(now: dict[str, object]) -> None:
        print(time.strftime("%H:%M:%S"), json.dumps(now), flush=True)

    watch(_store(options), say, options.interval, options.until)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container's user need not have a name
        return "gwclient"


def _argument(expected: str) -> Callable[[Callable[[str], T]], Callable[[str], T]]:
    """Decorate a converter of arguments: whatever it raises becomes "must be <expected>".

    argparse would print the converter's name instead.
    """

    def decorate(convert: Callable[[str], T]) -> Callable[[str], T]:
        @functools.wraps(convert)
        def checked(text: str) -> T:
            try:
                return convert(text)
            except (ValueError, ArithmeticError):
                raise argparse.ArgumentTypeError(f"must be {expected}, not {text!r}") from None

        return checked

    return decorate


@_argument("a positive number of seconds")
def _seconds(text: str) -> float:
    return _positive(text)


@_argument("a positive number of seconds")
def _span(text: str) -> Fraction:
    return _positive_fraction(text)


@_argument("a positive number of samples per second")
def _sample_rate(text: str) -> Fraction:
    return _positive_fraction(text)


@_argument("a whole number of 1 or more")
def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


@_argument("a positive number, `real` or `max`")
def _rate(text: str) -> float:
    return 0.0 if text == "max" else _positive("1" if text == "real" else text)


@_argument("`frozen`, `open` or a number of bytes")
def _until(text: str) -> str:
    if text not in ("frozen", "open") and not (text.isascii() and text.isdecimal()):
        raise ValueError
    return text


@_argument("a GPS time in seconds")
def _gps(text: str) -> Fraction:
    gps = Fraction(text)
    if not 0 <= gps < 1 << 31:
        raise ValueError
    return gps


def _positive_fraction(text: str) -> Fraction:
    number = Fraction(text)
    if not 0 < number < 10**9:
        raise ValueError
    return number


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e9:
        raise ValueError
    return number
