"""The commands of gwclient, their output and exit codes (see `gwclient.errors`)."""

from __future__ import annotations

import argparse
import functools
import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gwclient.arguments import parse, parser
from gwclient.errors import ClientError, NoData, WrongState
from gwclient.output import print_rows

if TYPE_CHECKING:
    from gwclient.blocks import Blocks
    from gwclient.grid import Channel
    from gwclient.sources import Strain
    from gwclient.store import Row, Store
    from gwclient.upload import Segments, UploadOptions

_IN_FLIGHT = 32 << 20  # bytes of samples in blocks at once: a store holds bodies of 64 MiB


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return its exit code."""
    options = parse(arguments, _COMMANDS, os.environ)
    try:
        options.run(options)
        sys.stdout.flush()
        return 0
    except ClientError as error:
        _say(f"gwclient: {error}")
        return error.exit_code
    except ModuleNotFoundError as error:
        _say(
            f"gwclient: {error.name} is not installed: run `pip install '.[client]'` in a checkout of the project, "
            "or `make .venv/.extras` and .venv/bin/gwclient"
        )
        return 1
    except KeyboardInterrupt:
        _say("gwclient: interrupted")
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        _say(f"gwclient: {error.filename or 'the system'}: {error.strerror or error}")
        return 1
    except Exception as error:
        if os.environ.get("GWCLIENT_TRACEBACK"):
            raise
        _say(
            f"gwclient: unexpected {type(error).__name__}: {error}. GWCLIENT_TRACEBACK=1 shows where; please report it"
        )
        return 1


# -- streaming ------------------------------------------------------------------------------------------------


def _stream(options: argparse.Namespace) -> None:
    from gwclient.progress import progress
    from gwclient.resume_file import ResumeFile, default_folder
    from gwclient.upload import upload

    if options.follow or len(options.file) > 1 or (options.file and options.file[0].is_dir()):
        _stream_files(options)
        return
    several = bool(set("*?[") & set(options.channel))
    what = "blocks" if several else "segments"
    segments, name, summary = _blocks(options) if several else _segments(options)
    url = _sendf(options)
    stream_id = segments.stream_id(url)
    path: Path = options.state or default_folder() / f"{stream_id[:32]}.json"
    if options.restart:
        path.unlink(missing_ok=True)
    resume = ResumeFile(path, stream_id, segments.count)
    _say(f"{name}: {summary}, to {url}")
    if resume.resumed:
        _say(f"going on after {resume.done} of {resume.count} {what} (state in {path})")
    began = time.monotonic()
    sent = resume.count - resume.done
    with progress(name, resume.done, resume.count, what) as display:
        upload(segments, url, resume, _how(options, segments.size), display)
    resume.finish()
    seconds = max(time.monotonic() - began, 1e-3)
    _say(f"{name}: all {resume.count} {what} stored; {sent} in {seconds:.1f} s, {sent / seconds:.0f}/s")


def _how(options: argparse.Namespace, size: int) -> UploadOptions:
    """How to send pieces of `size` bytes."""
    from gwclient.upload import UploadOptions

    in_flight = min(options.in_flight, max(1, _IN_FLIGHT // size))
    return UploadOptions(in_flight=in_flight, rate=options.rate, wait=options.wait, timeout=options.timeout)


def _stream_files(options: argparse.Namespace) -> None:
    """Send several files in blocks, or those of a folder."""
    from gwclient.resume_file import default_folder
    from gwclient.stream_files import FileStream, SentFiles, frame_files

    if not options.channel or not options.file or options.gps is not None:
        raise NoData("several files, or the files of a folder, need --file and --channel, and are sent whole")
    places: list[Path] = [path.resolve() for path in options.file]
    folder = places[0]
    if options.follow and (len(places) > 1 or not folder.is_dir()):
        raise NoData("--follow watches one folder: name it as --file")
    url: str = _sendf(options)
    about = [url, options.channel, options.detector, str(options.seconds), options.gaps, *map(str, places)]
    stream_id = hashlib.sha256("\n".join(about).encode()).hexdigest()
    sent = SentFiles(options.state or default_folder() / stream_id[:32])
    if options.restart:
        sent.restart()
    stream = FileStream(
        read=functools.partial(_blocks_of, options), url=url, stream_id=stream_id, sent=sent,
        options=functools.partial(_how, options), say=_say,
    )  # fmt: skip
    if len(sent):
        _say(f"going on after {len(sent)} files (state in {sent.folder})")
    if options.follow:
        _say(f"{folder}: new files are sent to {url} as they appear")
        stream.follow(folder)
    paths = [path for place in places for path in (frame_files(place) if place.is_dir() else [place])]
    began = time.monotonic()
    blocks = stream.send(paths)
    sent.forget()
    seconds = max(time.monotonic() - began, 1e-3)
    _say(f"all of {len(paths)} files stored; {blocks} blocks in {seconds:.1f} s, {blocks / seconds:.0f}/s")


def _sendf(options: argparse.Namespace) -> str:
    url: str = options.url
    return url if url.count("/") > 2 else f"{url}/sendF"


def _segments(options: argparse.Namespace) -> tuple[Segments, str, str]:
    """What to send of one channel, its name, and a text about it."""
    from gwclient.upload import Segments

    parts = _source(options).finite_parts(skip_gaps=options.gaps == "skip")
    return Segments(parts, options.chunk), parts[0].detector or "strain", _summary(parts)


def _blocks(options: argparse.Namespace) -> tuple[Blocks, str, str]:
    """What to send of several channels of a file, as `_segments`."""
    if not options.file:
        raise NoData("several channels are read from a --file")
    blocks = _blocks_of(options, options.file[0])
    samples = sum(len(strain.samples) for strain in blocks.channels)
    return blocks, options.channel, f"{samples} samples of {len(blocks.channels)} channels in {blocks.count} blocks"


def _blocks_of(options: argparse.Namespace, path: Path, spare: Sequence[Strain] = ()) -> Blocks:
    from gwclient import sources
    from gwclient.blocks import Blocks

    found = sources.several_from_file(path, options.detector, options.channel, spare)
    if options.gps is not None:
        found = [strain.around(options.gps, options.inf, options.sup) for strain in found]
    if options.gaps != "skip":
        found = [part for strain in found for part in strain.finite_parts()]
    return Blocks(found, options.seconds)


def _summary(parts: Sequence[Strain]) -> str:
    samples = sum(len(part.samples) for part in parts)
    begin, end = parts[0].time_of(0), parts[-1].time_of(len(parts[-1].samples))
    gaps = f" with {len(parts) - 1} gap(s)" if len(parts) > 1 else ""
    return f"{samples} samples at {float(parts[0].rate):g} Hz, GPS {begin:.6f} to {end:.6f}{gaps}"


def _source(options: argparse.Namespace) -> Strain:
    from gwclient import sources

    window = options.inf, options.sup
    if options.file:
        strain = sources.from_file(options.file[0], options.detector, options.channel, options.t0, options.sample_rate)
        return strain if options.gps is None else strain.around(options.gps, *window)
    if options.sample:
        return sources.from_sample(options.detector or "V1")
    if not options.event:
        raise NoData("there is nothing to stream: give --event (or GWID), --file or --sample")
    rate = options.sample_rate or 4096
    if rate.denominator != 1:
        raise NoData("open data has a --sample-rate of 4096 or 16384")
    return sources.from_event(options.event, options.detector or "L1", window, int(rate), options.gwosc)


# -- operating ------------------------------------------------------------------------------------------------


def _store(options: argparse.Namespace) -> Store:
    from gwclient.store import Store

    return Store(options.url)


def _ping(options: argparse.Namespace) -> None:
    print_rows([_store(options).ping()], options.output)


def _stat(options: argparse.Namespace) -> None:
    print_rows([_store(options).stat()], options.output)


def _files(options: argparse.Namespace) -> None:
    store = _store(options)
    print_rows(({"name": name} for name in store.files(_archive(store, options))), options.output)


def _log(options: argparse.Namespace) -> None:
    store = _store(options)
    entries = (entry for entry in store.log(_archive(store, options)) if options.by in (None, entry.get("by")))
    print_rows(map(_short, entries) if options.output == "table" else entries, options.output)


def _archive(store: Store, options: argparse.Namespace) -> Row | None:
    return store.find_archives([options.archive])[0] if options.archive else None


def _short(entry: Row) -> Row:
    """An entry for a table: of a block the number of its channels, instead of all their names."""
    holds = entry.get("holds")
    return entry if holds is None else {**entry, "holds": f"{sum(len(runs[-1]) for runs in holds)} channels"}


def _channels(options: argparse.Namespace) -> None:
    if options.pattern or options.batch:
        found = _store(options).channels(options.pattern or "*", options.batch)
        print_rows((_describe_row(row) for row in found), options.output)
        return
    print_rows([_describe(channel) for channel in _read_channels(options)], options.output)


def _describe(channel: Channel) -> Row:
    return {
        "detector": channel.detector,
        "channel": channel.channel,
        "rate": float(channel.rate),
        "segments": channel.segments,
        "seconds": float(sum(span.end - span.begin for span in channel.spans)),
        "begin": float(channel.spans[0].begin),
        "end": float(max(span.end for span in channel.spans)),
        "gaps": len(channel.gaps()),
    }


def _describe_row(row: Row) -> Row:
    """A channel as /channels describes it, in the words of the other form of the command."""
    kept = {name: row.get(name) for name in ("detector", "channel", "rate", "samples", "seconds")}
    return {
        "name": row.get("channel"),
        **kept,
        "begin": row.get("start"),
        "end": row.get("end"),
        "gaps": row.get("gaps"),
    }


def _coverage(options: argparse.Namespace) -> None:
    from gwclient.download import decimal_seconds

    if options.duration is not None and options.start is None:
        raise NoData("--duration needs --start")
    query = {"channel": options.channel, "detector": options.detector, "batch": options.batch, "rate": _rate(options)}
    for name in ("start", "end", "duration"):
        if (value := getattr(options, name)) is not None:
            query[name] = decimal_seconds(value)
    found = _store(options).coverage({name: value for name, value in query.items() if value})
    spans = found.get("gaps" if options.gaps else "active") or []
    rows = [{"begin": begin, "end": end, "seconds": round(end - begin, 9)} for begin, end in spans]
    print_rows(rows, options.output)
    complete = "complete" if found.get("complete") else f"{len(found.get('gaps') or [])} gap(s)"
    _say(f"{options.channel}: {found.get('seconds')} s at {found.get('rate')} Hz stored, {complete}")


def _rate(options: argparse.Namespace) -> str:
    return "" if options.rate is None else repr(float(options.rate))


def _fetch(options: argparse.Namespace) -> None:
    from gwclient.download import FORMATS, FileSink, Request, download
    from gwclient.progress import byte_progress

    path: Path = options.output
    format = FORMATS[path.suffix.lower()]
    more = {"gaps": options.gaps, "detector": options.detector, "rate": _rate(options), "batch": options.batch}
    interval = (options.start, options.end, options.duration)
    request = Request.of(options.url, format, options.channel, interval, **more)
    sink = FileSink(path)
    if sink.size:
        _say(f"going on after {sink.size} bytes in {path}.part")
    try:
        with byte_progress(path.name) as report:
            described = download(request, sink, options.timeout, report)
        sink.finish(format, described.samples)
    finally:
        sink.close()
    _say(
        f"{path}: {described.samples} samples at {float(described.rate):g} Hz from GPS {float(described.t0)!r}, "
        f"{sink.size} bytes"
    )


def _follow(options: argparse.Namespace) -> None:
    import json

    from gwclient.follow import follow

    def report(row: Row) -> None:
        if options.output == "json":
            print(json.dumps(row), flush=True)
        elif options.output == "name":
            print(row["name"], flush=True)
        else:
            print(f"{row['name']}  {row['channel'] or row['detector'] or '-'}  {row['t0']!r}  {row['n']}", flush=True)

    samples = options.samples and options.output == "json"
    follow(options.url, options.channel, options.after, report, _say, samples=samples, timeout=options.timeout)


def _gaps(options: argparse.Namespace) -> None:
    print_rows(
        [
            {
                "detector": channel.detector,
                "channel": channel.channel,
                "rate": float(channel.rate),
                "begin": float(begin),
                "end": float(end),
                "seconds": float(end - begin),
            }
            for channel in _read_channels(options)
            for begin, end in channel.gaps()
        ],
        options.output,
    )


def _read_channels(options: argparse.Namespace) -> list[Channel]:
    from gwclient.grid import channels

    found, unusable = channels(_store(options).log())
    if unusable:
        _say(f"{unusable} segments have no usable time and are left out")
    return found


def _archives(options: argparse.Namespace) -> None:
    store = _store(options)
    if options.action == "list":
        _print_archives(store.archives(), options.output)
        return
    from gwclient import archives
    from gwclient.progress import progress

    if not options.names:
        raise WrongState(f"archives {options.action} needs the NAME of an archive; `archives list` prints them")
    for name in options.names:
        with progress(name, 0, 0) as display:
            if options.action == "get":
                done = str(archives.download(store, name, options.to, display.show))
            else:
                done = archives.wait_for(store, name, options.action, display.show, options.timeout)
        _say(f"{name}: {done}")


def _print_archives(archives: list[Row], form: str) -> None:
    if form == "table":  # what is known of every archive; JSON has the rest
        keys = ["name", "batch", "time", "n_itm", "buff_size"]
        keys += [key for key in ("copied", "elsewhere") if any(key in row for row in archives)]
        archives = [{key: row.get(key) for key in keys} for row in archives]
    print_rows(archives, form)


def _products(options: argparse.Namespace) -> None:
    verdict, rows = _store(options).products()
    if not rows:
        _say(f"there are no products (verdict: {verdict})")
    print_rows(rows, options.output)


def _get(options: argparse.Namespace) -> None:
    store = _store(options)
    for name in options.names:
        content = store.get(name)
        if options.to == "-":
            sys.stdout.buffer.write(content)
            continue
        path = Path(options.to, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = path.with_name(f".{path.name}.part")
        temp.write_bytes(content)
        temp.replace(path)
        _say(f"{path}: {len(content)} bytes")


def _verify(options: argparse.Namespace) -> None:
    store = _store(options)
    chosen: list[Row | None] = [None]
    if options.all or options.names:
        chosen = [*store.find_archives(options.names), *chosen[: options.all]]
    problems = [problem for archive in chosen for problem in _verify_batch(store, archive)]
    print_rows(problems, options.output)
    if problems:
        sys.stdout.flush()
        raise ClientError(f"{len(problems)} segments are missing or altered")


def _verify_batch(store: Store, archive: Row | None) -> list[Row]:
    """The problems of the open batch, or of an archive."""
    from gwclient.progress import progress
    from gwclient.verification import check_entries, verify

    entries = list(store.log(archive))
    verified = store.batch
    name = f"archive {archive['name']}" if archive else f"batch {verified}" if verified else "the batch"
    check_entries(entries, _say)
    with progress(name, 0, len(entries)) as display:
        problems = verify(store, entries, archive["name"] if archive else verified, display)
    if problems and not archive:
        next(store.log(), None)
        if store.batch != verified:
            raise WrongState(f"{name} was archived meanwhile; `verify --all` compares what lies in archives too")
    if problems:
        _say(f"{name}: {len(problems)} of {len(entries)} segments are missing or altered")
    else:
        _say(f"{name}: all {len(entries)} segments are as they were stored")
    of = {"archive": archive["name"]} if archive else {}
    return [{**of, "name": problem.name, "problem": problem.reason} for problem in problems]


def _dataset(options: argparse.Namespace) -> None:
    {"make": _make_dataset, "list": _list_datasets, "get": _get_datasets}[options.action](options)


def _make_dataset(options: argparse.Namespace) -> None:
    from gwclient import datasets
    from gwclient.progress import progress

    store = _store(options)
    row = store.make_dataset(datasets.read_request(options.request, options.table, options.table_format))
    name = str(row["name"])
    if options.wait and row.get("state") != "done":
        with progress(name, 0, 1, "events") as display:
            row = datasets.wait_for(store, name, display.show, options.timeout)
    print_rows([_summary_of(row)], options.output)
    if options.to and row.get("state") == "done":
        _download(store, name, options.to)


def _summary_of(row: Row) -> Row:
    counts = {key: len(row[key]) for key in ("events", "left_out") if isinstance(row.get(key), list)}
    return {"name": row["name"], "state": row.get("state"), **counts}


def _list_datasets(options: argparse.Namespace) -> None:
    rows = _store(options).datasets()
    columns = ("name", "state", "batch", "events", "left_out", "size", "url")
    print_rows([{column: row.get(column) for column in columns} for row in rows], options.output)


def _get_datasets(options: argparse.Namespace) -> None:
    for name in options.names:
        _download(_store(options), name, options.to)


def _download(store: Store, name: str, folder: Path) -> None:
    from gwclient import datasets
    from gwclient.progress import progress

    with progress(name, 0, 1, "bytes") as display:
        path = datasets.download(store, name, folder, display.show)
    _say(f"{path}: checksums verified")


def _freeze(options: argparse.Namespace) -> None:
    print_rows([_store(options).freeze(options.user, options.label, options.policy, options.batch)], options.output)


def _clean(options: argparse.Namespace) -> None:
    _print_archives(_store(options).clean(options.batch), options.output)


def _watch(options: argparse.Namespace) -> None:
    import json

    from gwclient.store import watch

    def report(now: Row) -> None:
        print(time.strftime("%H:%M:%S"), json.dumps(now), flush=True)

    watch(
        _store(options),
        report,
        _say,
        interval=options.interval,
        until=options.until or "",
        timeout=options.timeout,
    )


def _completion(options: argparse.Namespace) -> None:
    import shtab

    print(shtab.complete(parser({}), options.shell))


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


_COMMANDS = {
    "stream": _stream,
    "ping": _ping,
    "stat": _stat,
    "files": _files,
    "log": _log,
    "channels": _channels,
    "gaps": _gaps,
    "coverage": _coverage,
    "fetch": _fetch,
    "follow": _follow,
    "archives": _archives,
    "products": _products,
    "get": _get,
    "verify": _verify,
    "dataset": _dataset,
    "freeze": _freeze,
    "clean": _clean,
    "watch": _watch,
    "completion": _completion,
}
