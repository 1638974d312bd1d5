// Builds the `func` command line at a pinned version. It cannot be had with `go install`, which refuses a module with
// a replace line: so its one is repeated here.
module datastore/knative/tools

go 1.26

require knative.dev/func v0.49.2

replace github.com/imdario/mergo => dario.cat/mergo v1.0.1

tool knative.dev/func/cmd/func
