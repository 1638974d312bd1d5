package main

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"knative.dev/networking/pkg/apis/networking"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
	"knative.dev/networking/pkg/http/header"
	"knative.dev/networking/pkg/ingress"
)

func named(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "here", Name: name, Generation: 1}
}

// service is one with a port 80 and endpoints at these addresses, host:port.
func service(name, portName string, addresses ...string) (*corev1.Service, *corev1.Endpoints) {
	s := &corev1.Service{ObjectMeta: named(name), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Name: portName, Port: 80}}}}
	e := &corev1.Endpoints{ObjectMeta: named(name)}
	for _, address := range addresses {
		var port int32
		ip, number, _ := strings.Cut(address, ":")
		fmt.Sscan(number, &port)
		e.Subsets = append(e.Subsets, corev1.EndpointSubset{
			Addresses: []corev1.EndpointAddress{{IP: ip}},
			Ports:     []corev1.EndpointPort{{Name: "metrics", Port: 1}, {Name: portName, Port: port}},
		})
	}
	return s, e
}

func to(service string, percent int, headers ...string) v1alpha1.IngressBackendSplit {
	return v1alpha1.IngressBackendSplit{
		IngressBackend: v1alpha1.IngressBackend{ServiceNamespace: "here", ServiceName: service, ServicePort: intstr.FromInt32(80)},
		Percent:        percent, AppendHeaders: pairs(headers),
	}
}

func pairs(flat []string) map[string]string {
	m := map[string]string{}
	for i := 0; i < len(flat); i += 2 {
		m[flat[i]] = flat[i+1]
	}
	return m
}

func rule(visibility v1alpha1.IngressVisibility, host string, paths ...v1alpha1.HTTPIngressPath) v1alpha1.IngressRule {
	return v1alpha1.IngressRule{Hosts: []string{host}, Visibility: visibility, HTTP: &v1alpha1.HTTPIngressRuleValue{Paths: paths}}
}

func path(splits ...v1alpha1.IngressBackendSplit) v1alpha1.HTTPIngressPath {
	return v1alpha1.HTTPIngressPath{Splits: splits}
}

func ingressOf(name string, rules ...v1alpha1.IngressRule) *v1alpha1.Ingress {
	return &v1alpha1.Ingress{ObjectMeta: named(name), Spec: v1alpha1.IngressSpec{Rules: rules}}
}

// state is a cluster with these ingresses, and services a, b (h2c), none without endpoints, and outside, elsewhere.
func state(ingresses ...*v1alpha1.Ingress) objects {
	from := objects{ingresses: ingresses}
	for _, each := range [][]string{{"a", "http", "10.0.0.1:8012", "10.0.0.2:8012"}, {"b", "http2", "10.0.0.3:8013"}, {"none", "http"}} {
		s, e := service(each[0], each[1], each[2:]...)
		from.services, from.endpoints = append(from.services, s), append(from.endpoints, e)
	}
	from.services = append(from.services, &corev1.Service{ObjectMeta: named("outside"),
		Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeExternalName, ExternalName: "elsewhere.example.org"}})
	return from
}

func (t *table) at(side map[string]virtualHost, url string, headers ...string) *route {
	r := httptest.NewRequest("GET", url, nil)
	for name, value := range pairs(headers) {
		r.Header.Set(name, value)
	}
	return t.find(side, r)
}

func addressOf(t *testing.T, r *route) string {
	t.Helper()
	if r == nil {
		t.Fatal("no route")
	}
	return r.choose().backend.next()
}

func TestRoutesByHostPathAndHeader(t *testing.T) {
	foo, tagged := path(to("b", 100)), path(to("outside", 100))
	foo.Path = "/foo"
	tagged.Headers = map[string]v1alpha1.HeaderMatch{header.RouteTagKey: {Exact: "next"}}
	table := build(state(ingressOf("one", rule(v1alpha1.IngressVisibilityExternalIP, "x.example.com", tagged, foo, path(to("a", 0))))))

	for url, want := range map[string]string{
		"http://x.example.com/":         "8012", // service a
		"http://X.Example.com:8080/bar": "8012",
		"http://x.example.com/foo":      "8013", // service b
		"http://x.example.com/foo/more": "8013",
	} {
		if got := addressOf(t, table.at(table.external, url)); !strings.HasSuffix(got, want) {
			t.Errorf("%s went to %s", url, got)
		}
	}
	if got := addressOf(t, table.at(table.external, "http://x.example.com/foo", header.RouteTagKey, "next")); got != "elsewhere.example.org:80" {
		t.Errorf("with the tag it went to %s", got)
	}
	for _, url := range []string{"http://example.com/", "http://y.x.example.com/"} {
		if table.at(table.external, url) != nil {
			t.Errorf("%s has a route", url)
		}
	}
	if len(table.missing) > 0 {
		t.Error(table.missing)
	}
}

func TestClusterLocalRulesAreInsideOnlyAndUnderShortNames(t *testing.T) {
	table := build(state(ingressOf("one",
		rule(v1alpha1.IngressVisibilityClusterLocal, "x.here.svc.cluster.local", path(to("a", 100))),
		rule(v1alpha1.IngressVisibilityExternalIP, "x.here.example.com", path(to("a", 100))))))
	for _, host := range []string{"x.here", "x.here.svc", "x.here.svc.cluster.local"} {
		if table.at(table.internal, "http://"+host+"/") == nil || table.at(table.external, "http://"+host+"/") != nil {
			t.Errorf("%s is not inside only", host)
		}
	}
	if table.at(table.internal, "http://x.here.example.com/") == nil {
		t.Error("the outer host is not served inside")
	}
}

func TestSplitsByWeight(t *testing.T) {
	table := build(state(ingressOf("one", rule(v1alpha1.IngressVisibilityExternalIP, "x.example.com",
		path(to("a", 20), to("none", 0), to("b", 80))))))
	got, b := 0, table.at(table.external, "http://x.example.com/")
	for range 10_000 {
		if b.choose().backend.h2c {
			got++
		}
	}
	if got < 7_700 || got > 8_300 { // 7 standard deviations
		t.Errorf("%d of 10000 went to the split of 80 %%", got)
	}
	if len(table.missing) > 0 { // what gets nothing may be missing
		t.Error(table.missing)
	}
}

func TestAddressesTakeTurns(t *testing.T) {
	table := build(state(ingressOf("one", rule(v1alpha1.IngressVisibilityExternalIP, "x.example.com", path(to("a", 100))))))
	seen := map[string]int{}
	for range 10 {
		seen[addressOf(t, table.at(table.external, "http://x.example.com/"))]++
	}
	if seen["10.0.0.1:8012"] != 5 || seen["10.0.0.2:8012"] != 5 {
		t.Error(seen)
	}
}

func TestProbesCarryTheHashOfTheIngress(t *testing.T) {
	one := ingressOf("one", rule(v1alpha1.IngressVisibilityExternalIP, "x.example.com", path(to("a", 0))))
	table := build(state(one))
	hash, err := ingress.ComputeHash(one) // the original is as it was
	if err != nil {
		t.Fatal(err)
	}
	probed := table.at(table.external, "http://x.example.com/healthz", header.HashKey, header.HashValueOverride)
	if probed.setHeaders[header.HashKey] != fmt.Sprintf("%x", hash) {
		t.Error(probed.setHeaders)
	}
	if plain := table.at(table.external, "http://x.example.com/healthz"); len(plain.setHeaders) > 0 {
		t.Error(plain.setHeaders)
	}
}

func TestOldestIngressKeepsItsHost(t *testing.T) {
	young := ingressOf("young", rule(v1alpha1.IngressVisibilityExternalIP, "x.example.com", path(to("b", 100))))
	young.CreationTimestamp = metav1.NewTime(time.Unix(2, 0))
	old := ingressOf("zold", rule(v1alpha1.IngressVisibilityExternalIP, "x.example.com", path(to("a", 100))))
	table := build(state(young, old))
	if table.at(table.external, "http://x.example.com/").splits[0].backend.h2c {
		t.Error("the younger has the host")
	}
	if table.missing[key(young)] == nil || table.missing[key(old)] != nil {
		t.Error(table.missing)
	}
}

func TestStatusIsReadyOnceAllIsThere(t *testing.T) {
	lacking := ingressOf("one", rule(v1alpha1.IngressVisibilityExternalIP, "x.example.com", path(to("none", 100))))
	lacking.Spec.TLS = []v1alpha1.IngressTLS{{Hosts: []string{"x.example.com"}, SecretName: "pair"}}
	missing := build(state(lacking)).missing[key(lacking)]
	for _, want := range []string{"here/none has no ready endpoint", "no secret here/pair"} {
		if !strings.Contains(fmt.Sprint(missing), want) {
			t.Errorf("%q does not say %q", missing, want)
		}
	}
	lacking.Status = statusOf(lacking, missing, "out", "in")
	if lacking.IsReady() || lacking.Status.ObservedGeneration != 1 {
		t.Error(lacking.Status)
	}

	lacking.Status = statusOf(lacking, nil, "out", "in")
	if !lacking.IsReady() {
		t.Error(lacking.Status)
	}
	if out := lacking.Status.PublicLoadBalancer.Ingress[0].DomainInternal; out != "out" {
		t.Error(out)
	}
	if in := lacking.Status.PrivateLoadBalancer.Ingress[0].DomainInternal; in != "in" {
		t.Error(in)
	}
	if lacking.Status = statusOf(lacking, missing, "out", "in"); !lacking.IsReady() {
		t.Error("an endpoint that goes makes it unready")
	}
	lacking.Generation = 2
	if lacking.Status = statusOf(lacking, missing, "out", "in"); lacking.IsReady() || lacking.Status.ObservedGeneration != 2 {
		t.Error("the next generation is ready without its endpoints")
	}
}

func TestServicePortsByNameAndProtocol(t *testing.T) {
	protocol := networking.AppProtocolH2C
	s, e := service("a", "web", "10.0.0.9:1234")
	s.Spec.Ports[0].AppProtocol = &protocol
	b := &backend{}
	b.resolve(s, e, intstr.FromString("web"))
	if !b.h2c || b.next() != "10.0.0.9:1234" {
		t.Error(b.h2c, b.addresses)
	}
	b = &backend{}
	if b.resolve(s, e, intstr.FromInt32(81)); b.next() != "" {
		t.Error(b.addresses)
	}
}
