package main

import (
	"context"
	"fmt"
	"log"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/client/clientset/versioned"
	"knative.dev/networking/pkg/client/informers/externalversions"
)

// class of the ingresses served here: `ingress-class` in Serving's config-network.
const class = "local.ingress.networking.knative.dev"

// controller keeps a proxy's table and the ingresses' status up to date.
type controller struct {
	proxy    *proxy
	client   versioned.Interface
	external string // the name of the service before the proxy's external side
	internal string
	objects  func() (objects, error) // from the caches
	changed  chan struct{}           // holds one: many changes make one table
	synced   []cache.InformerSynced
	start    func(stop <-chan struct{})
}

func newController(config *rest.Config, proxy *proxy, external, internal string) (*controller, error) {
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	client, err := versioned.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	core := informers.NewSharedInformerFactory(kube, 0)
	certificates := informers.NewSharedInformerFactoryWithOptions(kube, 0, informers.WithTweakListOptions(
		func(options *metav1.ListOptions) { options.LabelSelector = networking.CertificateUIDLabelKey }))
	knative := externalversions.NewSharedInformerFactory(client, 0)
	ingresses, services := knative.Networking().V1alpha1().Ingresses(), core.Core().V1().Services()
	endpoints, secrets := core.Core().V1().Endpoints(), certificates.Core().V1().Secrets()

	c := &controller{proxy: proxy, client: client, external: external, internal: internal, changed: make(chan struct{}, 1)}
	for _, informer := range []cache.SharedIndexInformer{ingresses.Informer(), services.Informer(), endpoints.Informer(), secrets.Informer()} {
		handler, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { c.change() },
			UpdateFunc: func(any, any) { c.change() },
			DeleteFunc: func(any) { c.change() },
		})
		if err != nil {
			return nil, err
		}
		c.synced = append(c.synced, handler.HasSynced)
	}
	c.start = func(stop <-chan struct{}) {
		core.Start(stop)
		certificates.Start(stop)
		knative.Start(stop)
	}
	c.objects = func() (all objects, err error) {
		every := labels.Everything()
		if all.services, err = services.Lister().List(every); err != nil {
			return all, err
		}
		if all.endpoints, err = endpoints.Lister().List(every); err != nil {
			return all, err
		}
		if all.secrets, err = secrets.Lister().List(every); err != nil {
			return all, err
		}
		found, err := ingresses.Lister().List(every)
		for _, one := range found {
			if networking.GetIngressClass(one.Annotations) == class {
				all.ingresses = append(all.ingresses, one)
			}
		}
		return all, err
	}
	return c, nil
}

func (c *controller) change() {
	select {
	case c.changed <- struct{}{}:
	default:
	}
}

// run works until the context ends. It calls ready once the proxy has a table of all that there is.
func (c *controller) run(ctx context.Context, ready func()) error {
	c.start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), c.synced...) {
		return fmt.Errorf("the API server could not be read: %w", ctx.Err())
	}
	for first := true; ; first = false {
		all, err := c.objects()
		if err != nil {
			return err
		}
		table := build(all)
		c.proxy.table.Store(table)
		if first {
			ready()
		}
		for _, one := range all.ingresses {
			c.report(ctx, one, table.missing[key(one)])
		}
		select {
		case <-ctx.Done():
			return nil
		case <-c.changed:
		}
	}
}

// report writes the status of an ingress whose table is in use.
func (c *controller) report(ctx context.Context, one *v1alpha1.Ingress, missing error) {
	status := statusOf(one, missing, c.external, c.internal)
	if equality.Semantic.DeepEqual(one.Status, status) {
		return
	}
	one = one.DeepCopy()
	one.Status = status
	_, err := c.client.NetworkingV1alpha1().Ingresses(one.Namespace).UpdateStatus(ctx, one, metav1.UpdateOptions{})
	if err != nil && !apierrors.IsConflict(err) { // after a conflict there is a change to come
		log.Printf("status of %s: %v", key(one), err)
		time.AfterFunc(time.Second, c.change)
	}
}

// statusOf is the status of an ingress that is served, but for what is missing. One that was ready stays so until its
// next generation, because endpoints come and go.
func statusOf(one *v1alpha1.Ingress, missing error, external, internal string) v1alpha1.IngressStatus {
	status := *one.Status.DeepCopy()
	if missing != nil && one.IsReady() {
		return status
	}
	status.InitializeConditions()
	status.ObservedGeneration = one.Generation
	if missing != nil {
		status.MarkLoadBalancerNotReady()
		status.MarkIngressNotReady("Incomplete", missing.Error())
		return status
	}
	status.MarkNetworkConfigured()
	status.MarkLoadBalancerReady(
		[]v1alpha1.LoadBalancerIngressStatus{{DomainInternal: external}},
		[]v1alpha1.LoadBalancerIngressStatus{{DomainInternal: internal}},
	)
	return status
}
