// Package conformance runs the conformance tests that knative.dev/networking has for networking layers.
package conformance

import (
	"testing"

	"knative.dev/networking/test/conformance/ingress"
	_ "knative.dev/pkg/system/testing" // the namespace of Serving, which the tests ask for
)

func TestIngress(t *testing.T) { ingress.RunConformance(t) }
