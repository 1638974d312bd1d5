// Command ingress is a small networking layer for Knative Serving, for throw-away local clusters and tests only. It is
// there because no networking layer of Knative's own can be had as a Go module. Users run Kourier.
//
// It watches Knative's ingresses of its class and routes HTTP/1.1, h2c, gRPC and websockets by host, path prefix,
// header and weight straight to the endpoints of services. The external side (ports 80 and 443 of the service
// `ingress`) has the rules that are visible outside; the internal one (`ingress-internal`) has all. It does not
// encrypt the internal side, nor the way to the backends.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"knative.dev/pkg/network"
)

func main() {
	external := flag.String("external", ":8080", "address for HTTP from outside")
	externalTLS := flag.String("external-tls", ":8443", "address for HTTPS from outside")
	internal := flag.String("internal", ":8081", "address for HTTP from inside the cluster")
	health := flag.String("health", ":8090", "address of /ready")
	namespace := flag.String("namespace", "knative-serving", "where the services ingress and ingress-internal are")
	kubeconfig := flag.String("kubeconfig", "", "a kubeconfig, if this does not run in a pod")
	flag.Parse()

	config, err := rest.InClusterConfig()
	if *kubeconfig != "" {
		config, err = clientcmd.BuildConfigFromFlags("", *kubeconfig)
	}
	if err != nil {
		log.Fatal(err)
	}
	config.QPS, config.Burst = 100, 200       // the status of every ingress is written at once
	config.WarningHandler = rest.NoWarnings{} // of deprecated endpoints, which Serving writes
	proxy := newProxy()
	controller, err := newController(config, proxy,
		network.GetServiceHostname("ingress", *namespace), network.GetServiceHostname("ingress-internal", *namespace))
	if err != nil {
		log.Fatal(err)
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	var ready atomic.Bool
	probed := http.NewServeMux()
	probed.HandleFunc("GET /ready", func(w http.ResponseWriter, _ *http.Request) {
		if !ready.Load() {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		}
	})
	servers := []*http.Server{
		serve(*external, proxy.external(), nil),
		serve(*externalTLS, proxy.external(), &tls.Config{GetCertificate: proxy.certificate}),
		serve(*internal, proxy.internal(), nil),
	}
	serve(*health, probed, nil)
	if err := controller.run(ctx, func() { ready.Store(true) }); err != nil {
		log.Fatal(err)
	}

	ready.Store(false)
	time.Sleep(5 * time.Second) // until no new connections are sent here
	ending, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, server := range servers {
		if err := server.Shutdown(ending); err != nil {
			log.Print(err)
		}
	}
}

// serve listens at once and serves in the background.
func serve(address string, handler http.Handler, encrypted *tls.Config) *http.Server {
	server := newServer(handler)
	server.TLSConfig = encrypted
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	go func() {
		if encrypted != nil {
			err = server.ServeTLS(listener, "", "")
		} else {
			err = server.Serve(listener)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			log.Fatal(err)
		}
	}()
	return server
}

func newServer(handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{Handler: handler, Protocols: protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000}}
}
