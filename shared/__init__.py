"""The library that every function shares. Each package may import only from the layers below it:

                 functions/   one folder a function; files that only one function needs lie in its folder

    serve/       servers               preproc/   spectrograms         logic/     Datastore Logic
                                       datasets/  training sets       archiver/  archives copied
    ------------------------------------------------------------------------------------------------
    web/         requests in, responses out                            catalog/   strain by GPS time
    ------------------------------------------------------------------------------------------------
    auth/        who may do what       ingest/    group commit         storage/   journal, decisions, recovery
                                                                       strain/    segments joined in time
    ------------------------------------------------------------------------------------------------
    archives/    archives that lie elsewhere
    ------------------------------------------------------------------------------------------------
    clients/     HTTP to others        job_process                     volume/    files that survive power loss
    ------------------------------------------------------------------------------------------------
    config/      settings              metrics
    ------------------------------------------------------------------------------------------------
    domain/      values and rules      events     CloudEvents      log_format  lines of the log
    ------------------------------------------------------------------------------------------------
    errors       failpoints   rights   trace_context     checksum

`web`, `auth` and `clients` serve; `storage`, `ingest` and `volume` store. They meet only in `functions/`.
`make check` enforces this with the contracts in pyproject.toml.
"""
