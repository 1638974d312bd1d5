"""The command line of gwclient: its commands, options, help texts, and the conversion of arguments."""

from __future__ import annotations

import argparse
import functools
import getpass
import importlib.metadata
import re
import tomllib
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, cast

from gwclient.urls import normalize

T = TypeVar("T")
Command = Callable[[argparse.Namespace], None]

_URL = "http://127.0.0.1:8080/streamdata"
_EPILOG = """\
environment:
  SRV                URL of the store, for --url
  GWID, DTCID        event and detector, for --event and --detector
  INF, SUP           seconds before and after the event, for --inf and --sup
  BEARER_TOKEN       token that is sent to the store; or
  BEARER_TOKEN_FILE  file that holds it
  XDG_STATE_HOME     folder of state files (~/.local/state)

exit codes:
  0  done
  1  something else is wrong, such as a missing package
  2  the command line cannot be understood
  3  the store is frozen, does not freeze yet, or another batch is open
  4  the store, or the internet, does not answer
  5  the store refuses
  6  no such event, detector, file or strain; or the detector was not observing
  130  interrupted
"""
_EXAMPLES = """\
examples:
  gwclient stream --event GW150914 --detector L1 --inf 13 --sup 16 --url localhost:8080
  gwclient watch --until frozen
  gwclient clean -o json
  gwclient get manifest.json --to products/
  gwclient channels 'V1:*'
  gwclient fetch --channel V1:Hrec_hoft_16384Hz --start 1126259446 --duration 32 -o strain.hdf5
  gwclient follow --channel 'V1:*'

"""
_STREAM_EXAMPLES = """\
examples:
  gwclient stream --event GW150914 --detector L1 --inf 13 --sup 16
  gwclient stream --file V-V1_HrecOnline-1187008882-4096.hdf5 --gaps skip --rate 1
  gwclient stream --file day.hdf5 --channel 'V1:*' --seconds 1 --rate 1
  gwclient stream --file /frames/O5 --channel 'V1:*' --gaps skip --follow
  gwclient stream --file strain.csv --detector V1 --sample-rate 4096 --t0 1126259446

"""
_DATASET_EXAMPLES = """\
examples:
  gwclient dataset make request.json --to sets/
  gwclient dataset make request.json --table gravityspy.csv --no-wait

"""
_COVERAGE_EXAMPLES = """\
examples:
  gwclient coverage --channel V1:Hrec_hoft_16384Hz
  gwclient coverage --channel V1:Hrec_hoft_16384Hz --start 1126259446 --duration 3600 --gaps -o json

"""
_FETCH_EXAMPLES = """\
The suffix chooses the format: .hdf5, .h5, .gwf, .csv, .txt, .npy, .json. Interrupted, the same command goes on.

examples:
  gwclient fetch --channel V1:Hrec_hoft_16384Hz --start 1126259446 --duration 32 -o strain.hdf5
  gwclient fetch --channel V1:Hrec_hoft_16384Hz --start 1126259446.5 --end 1126259447.25 --gaps nan -o strain.npy

"""
_FOLLOW_EXAMPLES = """\
examples:
  gwclient follow --channel 'V1:*'
  gwclient follow --channel V1:Hrec_hoft_16384Hz --after gwb1795859940073261959.json -o json --samples

"""


def parse(arguments: list[str] | None, commands: Mapping[str, Command], env: Mapping[str, str]) -> argparse.Namespace:
    """The options of the command line; `run` is the command. Ends the process for --help, --version and mistakes."""
    options = parser(env).parse_args(arguments)
    options.run = commands[options.command]
    return options


def parser(env: Mapping[str, str]) -> argparse.ArgumentParser:
    """The parser of the command line, with defaults from the environment `env`."""
    parser = argparse.ArgumentParser(
        "gwclient",
        description="Stream strain into a DT datastore, and operate it. `gwclient COMMAND --help` has the options.",
        epilog=_EXAMPLES + _EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"gwclient {_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="command", title="commands")

    def command(name: str, help: str, forms: str = "", epilog: str = "", of: Any = commands) -> argparse.ArgumentParser:
        """Add a command; `forms` are the forms of its output, the default first."""
        added = of.add_parser(
            name,
            help=help,
            description=f"{help[0].upper()}{help[1:]}.",
            epilog=epilog + _EPILOG,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        store = added.add_argument_group("store")
        store.add_argument(
            "--url",
            type=_url,
            default=env.get("SRV") or _URL,
            help="URL of the store or of any of its routes; http:// may be left out (SRV; %(default)s)",
        )
        if forms:
            choices = forms.split()
            added.add_argument(
                "-o", "--output", choices=sorted(choices), default=choices[0], help="form of the output (%(default)s)"
            )
        return cast(argparse.ArgumentParser, added)

    _add_stream(command("stream", "send strain: open data of an event, a file, or a sample", "", _STREAM_EXAMPLES), env)
    command("ping", "say whether the store is ready, and how fast it answers", "table json")
    command("stat", "print counts and state", "json table")
    files = command("files", "print the names of the stored segments", "name json table")
    log = command("log", "print the log of the stored segments", "json name table")
    for listing in (files, log):
        listing.add_argument(
            "--archive", metavar="NAME", type=_name, help="of this archive, in place of the open batch"
        )
    log.add_argument("--by", metavar="NAME", help="only segments that NAME sent, a name or subject of credentials")
    channels = command(
        "channels", "print detectors and channels of the stored segments, with their times", "table json name"
    )
    channels.add_argument(
        "pattern",
        nargs="?",
        type=_name,
        help="such as 'V1:*': channels of all batches (without: of the open batch's log)",
    )
    _add_batch(channels)
    command("gaps", "print the times between the first and last segment of a channel that are not stored", "table json")
    _add_by_time(command)
    archives = command("archives", "print the newest archives; get, verify or restore copies", "table json name")
    archives.add_argument(
        "action", nargs="?", choices=("list", "get", "verify", "restore"), default="list",
        help="list (default); get: download the copy at ARCHIVE_URL; verify: have it read back; restore: have the "
        "segments brought back to the volume",
    )  # fmt: skip
    archives.add_argument("names", nargs="*", type=_name, metavar="NAME", help="as `archives list` prints it")
    archives.add_argument("--to", type=Path, default=Path(), metavar="FOLDER", help="for the copies' folders (.)")
    _add_timeout(archives)
    command("products", "print the products of the batch's preprocessing", "table json name")
    get = command("get", "download segments or products to files")
    get.add_argument("names", nargs="+", type=_name, metavar="NAME", help="as `files` and `products` print it")
    get.add_argument("--to", default=".", metavar="FOLDER", help="folder for the files, or - for standard output (.)")
    about = "compare the stored segments with the log: names, sizes, checksums"
    _add_verified(command("verify", about, "table json name"))
    _add_dataset(commands.add_parser("dataset", help="have training sets made, list and download them"), command)
    freeze = command("freeze", "close the batch to new segments", "json table")
    freeze.add_argument("--user", default=_user(), help="recorded with the batch (%(default)s)")
    freeze.add_argument("--label", default="gwclient", help="text recorded with the batch as `token` (%(default)s)")
    freeze.add_argument("--token", dest="label", default=argparse.SUPPRESS, help=argparse.SUPPRESS)  # the older name
    freeze.add_argument("--policy", action="store_true", help="only if the store holds enough, otherwise exit code 3")
    clean = command("clean", "archive the batch and open the next one; print the archive", "table json name")
    for changing in (freeze, clean):
        changing.add_argument(
            "--batch", type=_up_to(1 << 53), metavar="NUMBER", help="only if this batch is open, otherwise exit code 3"
        )
    watch = command("watch", "print counts and state whenever they change; outlives a restart of the store")
    watch.add_argument(
        "--interval", type=_seconds, default=1.0, metavar="SECONDS", help="between two looks (%(default)s)"
    )
    watch.add_argument("--until", type=_until, metavar="STATE", help="end when `frozen`, `open`, or so many bytes")
    _add_timeout(watch)
    completion = commands.add_parser("completion", help="print a script that completes commands in a shell")
    completion.add_argument("shell", choices=("bash", "zsh", "tcsh"))
    return parser


def _add_stream(stream: argparse.ArgumentParser, env: Mapping[str, str]) -> None:
    group = stream.add_argument_group("source")
    source = group.add_mutually_exclusive_group()
    source.add_argument(
        "--event", default=env.get("GWID"), metavar="NAME", help="event with open data, such as GW150914 (GWID)"
    )
    files = source.add_argument(
        "--file",
        type=Path,
        nargs="+",
        default=[],
        help="HDF5, GWF, or text; of several, and of the HDF5 and GWF files in a folder, channels are sent in blocks",
    )
    _complete_files(files)
    group.add_argument("--follow", action="store_true", help="of a folder, also files that appear in it, for ever")
    source.add_argument("--sample", action="store_true", help="1 s of real strain from gwpy's wheel; needs no internet")
    group.add_argument("--detector", type=_name, default=env.get("DTCID") or "", help="such as L1 (DTCID)")
    group.add_argument(
        "--channel",
        type=_name,
        default="",
        help="channel of a file, or a name for its strain; 'V1:*' sends all that match, in blocks",
    )
    group.add_argument(
        "--inf",
        type=_span,
        default=env.get("INF") or "13",
        metavar="SECONDS",
        help="before the event, or before --gps (INF; 13)",
    )
    group.add_argument(
        "--sup",
        type=_span,
        default=env.get("SUP") or "16",
        metavar="SECONDS",
        help="after the event, or after --gps (SUP; 16)",
    )
    group.add_argument("--gps", type=_gps, metavar="SECONDS", help="of a file, take only INF before this to SUP after")
    group.add_argument("--t0", type=_gps, metavar="SECONDS", help="GPS time of the first sample, for text without")
    group.add_argument(
        "--sample-rate", type=_sample_rate, metavar="HERTZ", help="for open data 4096 or 16384; for text without"
    )
    group.add_argument(
        "--gaps",
        choices=("refuse", "skip"),
        default="refuse",
        help="strain with gaps (NaN): refuse it, or send what lies between them (%(default)s)",
    )
    group.add_argument(
        "--gwosc", type=_url, default="https://gwosc.org", metavar="URL", help="source of open data (%(default)s)"
    )
    sending = stream.add_argument_group("sending")
    sending.add_argument(
        "--chunk", type=_up_to(10**6), default=300, metavar="SAMPLES", help="in a segment (%(default)s)"
    )
    sending.add_argument("--seconds", type=_span, default="1", help="in a block (%(default)s)")
    sending.add_argument("--rate", type=_rate, default="max", help="1 is real time, 10 ten times that, or max (max)")
    sending.add_argument(
        "--in-flight", type=_up_to(1000), default=8, metavar="REQUESTS", help="at once; 1 keeps the order (%(default)s)"
    )
    sending.add_argument("--wait", action="store_true", help="while the store is frozen, wait")
    _add_timeout(sending)
    resuming = stream.add_argument_group("interruption")
    state = resuming.add_argument(
        "--state", type=Path, metavar="FILE", help="state file (by default one for this stream)"
    )
    _complete_files(state)
    resuming.add_argument("--restart", action="store_true", help="forget an interrupted stream and begin anew")


def _add_verified(verify: argparse.ArgumentParser) -> None:
    which = verify.add_mutually_exclusive_group()
    named = "an archive, in place of the open batch"
    which.add_argument("names", nargs="*", type=_name, metavar="NAME", default=[], help=named)
    which.add_argument("--all", action="store_true", help="every archive and the open batch")


def _add_dataset(dataset: argparse.ArgumentParser, command: Callable[..., argparse.ArgumentParser]) -> None:
    actions = dataset.add_subparsers(required=True, metavar="ACTION", dest="action", title="actions")
    make = command("make", "have a training set made, and wait for it", "table json", _DATASET_EXAMPLES, of=actions)
    _complete_files(make.add_argument("request", type=Path, metavar="FILE", help="with the request, JSON"))
    table = make.add_argument("--table", type=Path, metavar="FILE", help="trigger table whose rows are the events")
    _complete_files(table)
    make.add_argument("--table-format", default="ascii.csv", help="as gwpy's EventTable calls it (%(default)s)")
    make.add_argument("--to", type=Path, metavar="FOLDER", help="download the set into a folder of its name there")
    make.add_argument("--no-wait", dest="wait", action="store_false", help="end when the request is accepted")
    _add_timeout(make)
    command("list", "print the training sets", "table json name", of=actions)
    get = command("get", "download training sets; what is there already is kept", of=actions)
    get.add_argument("names", nargs="+", type=_name, metavar="NAME", help="as `dataset list` prints it")
    get.add_argument("--to", type=Path, default=Path(), metavar="FOLDER", help="for the sets' folders (.)")


def _add_by_time(command: Callable[..., argparse.ArgumentParser]) -> None:
    coverage = command(
        "coverage", "print the times for which strain of a channel is stored", "table json", _COVERAGE_EXAMPLES
    )
    _add_stream_choice(coverage)
    _add_interval(coverage)
    coverage.add_argument("--gaps", action="store_true", help="print the times for which it is missing")
    fetch = command("fetch", "download strain of a channel by GPS time to a file", "", _FETCH_EXAMPLES)
    _add_stream_choice(fetch)
    _add_interval(fetch, required=True)
    fetch.add_argument(
        "--gaps",
        choices=("error", "nan", "zero", "split"),
        default="error",
        help="what is not stored: refuse, fill, or (csv, hdf5, json) take the pieces that are there (%(default)s)",
    )
    target = fetch.add_argument("-o", "--output", type=_strain_file, required=True, metavar="FILE", help="to write")
    _complete_files(target)
    _add_timeout(fetch)
    follow = command(
        "follow", "print each segment as it is stored; outlives a restart", "text json name", _FOLLOW_EXAMPLES
    )
    follow.add_argument("--channel", type=_name, default="*", metavar="PATTERN", help="with * ? [...] (%(default)s)")
    follow.add_argument(
        "--after", default="", metavar="NAME", help="begin behind this file; gwb0.json: with all there are"
    )
    follow.add_argument("--samples", action="store_true", help="with the samples, for -o json")
    _add_timeout(follow)


def _add_stream_choice(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("stream")
    group.add_argument(
        "--channel", type=_name, required=True, help="such as V1:Hrec_hoft_16384Hz; `channels` prints them"
    )
    group.add_argument("--detector", type=_name, default="", help="if several have this channel")
    group.add_argument("--rate", type=_sample_rate, metavar="HERTZ", help="if it was sampled at several rates")
    _add_batch(group)


def _add_batch(group: Any) -> None:
    group.add_argument("--batch", type=_name, default="", help="open, all, a number or the name of an archive (all)")


def _add_interval(command: argparse.ArgumentParser, required: bool = False) -> None:
    group = command.add_argument_group("interval, in GPS seconds with any number of digits")
    group.add_argument("--start", type=_gps, required=required, metavar="SECONDS")
    either = group.add_mutually_exclusive_group(required=required)
    either.add_argument("--end", type=_gps, metavar="SECONDS")
    either.add_argument("--duration", type=_span, metavar="SECONDS")


def _add_timeout(group: Any) -> None:
    group.add_argument(
        "--timeout", type=_seconds, default=300.0, metavar="SECONDS", help="without an answer to give up (%(default)g)"
    )
    group.add_argument(  # the older name
        "--patience", type=_seconds, dest="timeout", default=argparse.SUPPRESS, help=argparse.SUPPRESS
    )


def _complete_files(action: argparse.Action) -> None:
    """Have shells complete the names of files; the form of it is shtab's."""
    action.complete = {"bash": "_shtab_compgen_files", "zsh": "_files", "tcsh": "f"}  # type: ignore[attr-defined]


def _version() -> str:
    """The version of the checkout that runs, otherwise of the installed package."""
    try:
        project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
        return str(project["version"])
    except (OSError, ValueError, KeyError):
        try:
            return importlib.metadata.version("dt-datastore")
        except importlib.metadata.PackageNotFoundError:
            return "of an unknown version"


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user need not have a name
        return "gwclient"


# -- conversion -----------------------------------------------------------------------------------------------


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


def _up_to(maximum: int) -> Callable[[str], int]:
    @_argument(f"a whole number from 1 to {maximum}")
    def convert(text: str) -> int:
        number = int(text)
        if not 1 <= number <= maximum:
            raise ValueError
        return number

    return convert


@_argument("a positive number of seconds")
def _seconds(text: str) -> float:
    return float(_positive(text))


@_argument("a positive number of seconds")
def _span(text: str) -> Fraction:
    return _positive(text)


@_argument("a positive number of samples per second")
def _sample_rate(text: str) -> Fraction:
    return _positive(text)


@_argument("a positive number, `real` or `max`")
def _rate(text: str) -> float:
    return 0.0 if text == "max" else float(_positive("1" if text == "real" else text))


@_argument("a GPS time in seconds")
def _gps(text: str) -> Fraction:
    gps = _number(text)
    if gps >= 1 << 31:
        raise ValueError
    return gps


@_argument("`frozen`, `open` or a number of bytes")
def _until(text: str) -> str:
    if text not in ("frozen", "open") and not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError
    return text


@_argument("a file name that ends in .hdf5, .h5, .gwf, .csv, .txt, .npy or .json")
def _strain_file(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in (".hdf5", ".h5", ".gwf", ".csv", ".txt", ".npy", ".json"):
        raise ValueError
    return path


@_argument("an http:// or https:// URL, or host:port")
def _url(text: str) -> str:
    return normalize(text)


@_argument("a name of printable characters")
def _name(text: str) -> str:
    if not text.isprintable():
        raise ValueError
    return text


def _positive(text: str) -> Fraction:
    number = _number(text)
    if not Fraction(1, 10**9) <= number < 10**9:
        raise ValueError
    return number


def _number(text: str) -> Fraction:
    """A decimal number, or a fraction such as 1/3. Exponents are short, because Fraction writes them out."""
    text = text.strip()
    if len(text) > 40 or not re.fullmatch(r"[0-9]+(/[0-9]+)?|[0-9]*\.?[0-9]*(e[+-]?[0-9]{1,2})?", text, re.IGNORECASE):
        raise ValueError
    return Fraction(text)
