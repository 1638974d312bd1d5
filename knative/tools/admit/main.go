// Command admit reads manifests from standard input and says what Knative's admission webhooks would: it decodes each
// object strictly, sets defaults and validates it with the code of Serving and Eventing themselves. Objects of other
// groups are passed over. The feature flags are read from the patch file named as the only argument.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/kubernetes/fake"
	eventingconfig "knative.dev/eventing/pkg/apis/config"
	eventingv1 "knative.dev/eventing/pkg/apis/eventing/v1"
	eventingv1alpha1 "knative.dev/eventing/pkg/apis/eventing/v1alpha1"
	"knative.dev/eventing/pkg/apis/feature"
	"knative.dev/eventing/pkg/apis/sinks"
	sinksv1alpha1 "knative.dev/eventing/pkg/apis/sinks/v1alpha1"
	sourcesv1 "knative.dev/eventing/pkg/apis/sources/v1"
	"knative.dev/pkg/apis"
	"knative.dev/serving/pkg/apis/config"
	servingv1 "knative.dev/serving/pkg/apis/serving/v1"
	"sigs.k8s.io/json"
	sigsyaml "sigs.k8s.io/yaml"
)

type resource interface {
	apis.Defaultable
	apis.Validatable
}

var kinds = map[schema.GroupVersionKind]func() resource{
	servingv1.SchemeGroupVersion.WithKind("Service"):            func() resource { return &servingv1.Service{} },
	eventingv1.SchemeGroupVersion.WithKind("Broker"):            func() resource { return &eventingv1.Broker{} },
	eventingv1.SchemeGroupVersion.WithKind("Trigger"):           func() resource { return &eventingv1.Trigger{} },
	eventingv1alpha1.SchemeGroupVersion.WithKind("EventPolicy"): func() resource { return &eventingv1alpha1.EventPolicy{} },
	sourcesv1.SchemeGroupVersion.WithKind("PingSource"):         func() resource { return &sourcesv1.PingSource{} },
	sourcesv1.SchemeGroupVersion.WithKind("SinkBinding"):        func() resource { return &sourcesv1.SinkBinding{} },
	sinksv1alpha1.SchemeGroupVersion.WithKind("JobSink"):        func() resource { return &sinksv1alpha1.JobSink{} },
}

func main() {
	checked, failed, err := run(os.Stdin, os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	fmt.Printf("%d objects checked, %d refused\n", checked, failed)
	if failed > 0 || checked == 0 {
		os.Exit(1)
	}
}

func run(in io.Reader, args []string) (checked, failed int, err error) {
	if len(args) != 1 {
		return 0, 0, fmt.Errorf("usage: admit FEATURES.yaml < MANIFESTS.yaml")
	}
	ctx, err := withFeatures(context.Background(), args[0])
	if err != nil {
		return 0, 0, err
	}
	ctx = withEventing(ctx)
	documents := yaml.NewYAMLReader(bufio.NewReader(in))
	for {
		document, err := documents.Read()
		if err == io.EOF {
			return checked, failed, nil
		}
		if err != nil {
			return checked, failed, err
		}
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		head := struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
			Metadata   struct {
				Name string `json:"name"`
			} `json:"metadata"`
		}{}
		if err := sigsyaml.Unmarshal(document, &head); err != nil {
			return checked, failed, err
		}
		make, known := kinds[schema.FromAPIVersionAndKind(head.APIVersion, head.Kind)]
		if !known {
			continue
		}
		checked++
		if err := admit(ctx, make(), document); err != nil {
			failed++
			fmt.Fprintf(os.Stderr, "%s %s: %v\n", head.Kind, head.Metadata.Name, err)
		}
	}
}

func admit(ctx context.Context, object resource, document []byte) error {
	text, err := sigsyaml.YAMLToJSONStrict(document)
	if err != nil {
		return err
	}
	// As the API server does it: names are told apart by case, too.
	strict, err := json.UnmarshalStrict(text, object)
	if err = errors.Join(append(strict, err)...); err != nil {
		return err
	}
	ctx = apis.WithinCreate(ctx)
	object.SetDefaults(ctx)
	// A typed nil inside an interface is not nil: the comparison is made on the type itself.
	if errs := object.Validate(ctx); errs != nil {
		return errs
	}
	return nil
}

func withFeatures(ctx context.Context, path string) (context.Context, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var flags corev1.ConfigMap
	if err := sigsyaml.UnmarshalStrict(text, &flags); err != nil {
		return nil, err
	}
	features, err := config.NewFeaturesConfigFromMap(flags.Data)
	if err != nil {
		return nil, err
	}
	all := config.FromContextOrDefaults(ctx)
	all.Features = features
	return config.ToContext(ctx, all), nil
}

// withEventing is a cluster with Eventing as it comes, and with OIDC authentication, which an EventPolicy presupposes.
func withEventing(ctx context.Context) context.Context {
	ctx = feature.ToContext(ctx, feature.Flags{
		feature.DeliveryTimeout:    feature.Enabled,
		feature.OIDCAuthentication: feature.Enabled,
	})
	ctx = eventingconfig.ToContext(ctx, &eventingconfig.Config{Defaults: &eventingconfig.Defaults{
		ClusterDefaultConfig: &eventingconfig.DefaultConfig{DefaultBrokerClass: "MTChannelBasedBroker"},
	}})
	return sinks.WithConfig(ctx, &sinks.Config{KubeClient: fake.NewSimpleClientset()})
}
