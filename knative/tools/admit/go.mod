// Pins the admission checks of Knative Serving and Eventing that main.go runs.
module datastore/knative/tools/admit

go 1.25.0

require (
	knative.dev/eventing v0.50.0
	knative.dev/serving v0.50.0
)
