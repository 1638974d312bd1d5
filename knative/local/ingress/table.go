package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/sets"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/ingress"
)

// objects is what a table is built from.
type objects struct {
	ingresses []*v1alpha1.Ingress
	services  []*corev1.Service
	endpoints []*corev1.Endpoints // and not slices, because Serving writes these
	secrets   []*corev1.Secret
}

// table routes requests. Nothing in it changes but the turns of backends: another state of the cluster is another table.
type table struct {
	external     map[string]virtualHost // by host, in lower case and without port
	internal     map[string]virtualHost
	certificates map[string]*tls.Certificate
	missing      map[types.NamespacedName]error // why an ingress cannot be served in full yet
}

type virtualHost struct {
	owner  types.NamespacedName
	routes []*route
}

// route is one path of a rule.
type route struct {
	path          string // a prefix
	headers       map[string]v1alpha1.HeaderMatch
	setHeaders    map[string]string
	rewriteHost   string
	redirectHTTPS bool
	splits        []split
	total         int // of the weights
}

type split struct {
	weight     int
	setHeaders map[string]string
	backend    *backend
}

// backend is the addresses behind one port of a service, which take turns.
type backend struct {
	h2c       bool
	addresses []string // host:port
	turn      atomic.Uint32
}

// build makes the table for a state of the cluster. It has no side effects.
func build(from objects) *table {
	t := &table{
		external:     map[string]virtualHost{},
		internal:     map[string]virtualHost{},
		certificates: map[string]*tls.Certificate{},
		missing:      map[types.NamespacedName]error{},
	}
	find := backends{byName(from.services), byName(from.endpoints), map[v1alpha1.IngressBackend]*backend{}}
	secrets := byName(from.secrets)
	ingresses := slices.Clone(from.ingresses)
	slices.SortFunc(ingresses, func(x, y *v1alpha1.Ingress) int { // the oldest keeps a host that several claim
		return cmp.Or(x.CreationTimestamp.Compare(y.CreationTimestamp.Time), strings.Compare(key(x).String(), key(y).String()))
	})
	for _, one := range ingresses {
		if err := errors.Join(t.addRoutes(one.DeepCopy(), find), t.addCertificates(one, secrets)); err != nil {
			t.missing[key(one)] = err
		}
	}
	return t
}

// addRoutes adds the rules of an ingress, which it changes. An error does not keep the rest from being served.
func (t *table) addRoutes(one *v1alpha1.Ingress, find backends) error {
	// Before each path one for probes, which sends the hash of the ingress to the backend; that answers with it.
	if _, err := ingress.InsertProbe(one); err != nil {
		return err
	}
	one.SetDefaults(context.Background())
	var missing error // the first
	for _, rule := range one.Spec.Rules {
		var routes []*route
		for _, path := range rule.HTTP.Paths {
			r := &route{
				path: path.Path, headers: path.Headers, setHeaders: path.AppendHeaders, rewriteHost: path.RewriteHost,
				redirectHTTPS: one.Spec.HTTPOption == v1alpha1.HTTPOptionRedirected,
			}
			for _, s := range path.Splits {
				if s.Percent == 0 {
					continue
				}
				b, err := find.backend(s.IngressBackend)
				missing = cmp.Or(missing, err)
				r.splits = append(r.splits, split{s.Percent, s.AppendHeaders, b})
				r.total += s.Percent
			}
			routes = append(routes, r)
		}
		sides := []map[string]virtualHost{t.internal} // what is served outside is reached from inside as well
		if rule.Visibility == v1alpha1.IngressVisibilityExternalIP {
			sides = append(sides, t.external)
		}
		for host := range ingress.ExpandedHosts(sets.New(rule.Hosts...)) {
			for _, side := range sides {
				if other, taken := side[strings.ToLower(host)]; !taken {
					side[strings.ToLower(host)] = virtualHost{key(one), routes}
				} else if other.owner != key(one) {
					missing = cmp.Or(missing, fmt.Errorf("the host %s is that of ingress %s", host, other.owner))
				}
			}
		}
	}
	return missing
}

func (t *table) addCertificates(one *v1alpha1.Ingress, secrets map[types.NamespacedName]*corev1.Secret) error {
	var missing []error
	for _, each := range one.Spec.TLS {
		name := types.NamespacedName{Namespace: cmp.Or(each.SecretNamespace, one.Namespace), Name: each.SecretName}
		secret := secrets[name]
		if secret == nil {
			missing = append(missing, fmt.Errorf("there is no secret %s with the label %s", name, networking.CertificateUIDLabelKey))
			continue
		}
		pair, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		if err != nil {
			missing = append(missing, fmt.Errorf("secret %s: %w", name, err))
			continue
		}
		for _, host := range each.Hosts {
			t.certificates[strings.ToLower(host)] = &pair
		}
	}
	return errors.Join(missing...)
}

// backends finds services' addresses, each once, so that all routes to one share its turns.
type backends struct {
	services  map[types.NamespacedName]*corev1.Service
	endpoints map[types.NamespacedName]*corev1.Endpoints
	found     map[v1alpha1.IngressBackend]*backend
}

// backend is never nil; with an error it has no addresses.
func (all backends) backend(of v1alpha1.IngressBackend) (*backend, error) {
	b, known := all.found[of]
	if !known {
		b = &backend{}
		all.found[of] = b
		name := types.NamespacedName{Namespace: of.ServiceNamespace, Name: of.ServiceName}
		if service := all.services[name]; service != nil {
			b.resolve(service, all.endpoints[name], of.ServicePort)
		}
	}
	if len(b.addresses) == 0 {
		return b, fmt.Errorf("service %s/%s has no ready endpoint at port %s", of.ServiceNamespace, of.ServiceName, of.ServicePort.String())
	}
	return b, nil
}

func (b *backend) resolve(service *corev1.Service, endpoints *corev1.Endpoints, number intstr.IntOrString) {
	i := slices.IndexFunc(service.Spec.Ports, func(p corev1.ServicePort) bool {
		return number.Type == intstr.Int && p.Port == number.IntVal || number.Type == intstr.String && p.Name == number.StrVal
	})
	if service.Spec.Type == corev1.ServiceTypeExternalName { // it need not list ports
		b.addresses = []string{net.JoinHostPort(service.Spec.ExternalName, number.String())}
	}
	if i < 0 {
		return
	}
	port := service.Spec.Ports[i]
	b.h2c = port.Name == networking.ServicePortNameH2C || port.AppProtocol != nil && *port.AppProtocol == networking.AppProtocolH2C
	if endpoints == nil || len(b.addresses) > 0 {
		return
	}
	for _, subset := range endpoints.Subsets {
		for _, p := range subset.Ports {
			for _, address := range subset.Addresses {
				if p.Name == port.Name {
					b.addresses = append(b.addresses, net.JoinHostPort(address.IP, strconv.Itoa(int(p.Port))))
				}
			}
		}
	}
}

// next is an address, or "" if there is none.
func (b *backend) next() string {
	if len(b.addresses) == 0 {
		return ""
	}
	return b.addresses[int(b.turn.Add(1)%uint32(len(b.addresses)))]
}

// find is the first route that matches a request, or nil.
func (t *table) find(side map[string]virtualHost, r *http.Request) *route {
	for _, each := range side[hostOf(r)].routes {
		if strings.HasPrefix(r.URL.Path, each.path) && each.matches(r.Header) {
			return each
		}
	}
	return nil
}

func (r *route) matches(headers http.Header) bool {
	for name, want := range r.headers {
		if values := headers.Values(name); len(values) == 0 || strings.Join(values, ",") != want.Exact {
			return false
		}
	}
	return true
}

// choose is a split at random, by weight, or nil if there is none.
func (r *route) choose() *split {
	if len(r.splits) == 1 {
		return &r.splits[0]
	}
	if r.total == 0 {
		return nil
	}
	at := rand.IntN(r.total)
	for i := range r.splits {
		if at -= r.splits[i].weight; at < 0 {
			return &r.splits[i]
		}
	}
	return nil
}

func hostOf(r *http.Request) string {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(host)
}

func key(object metav1.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
}

func byName[T metav1.Object](all []T) map[types.NamespacedName]T {
	m := make(map[types.NamespacedName]T, len(all))
	for _, each := range all {
		m[key(each)] = each
	}
	return m
}
