package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"knative.dev/networking/pkg/http/header"
)

// proxy passes requests on as its table says. Nothing in it has a timeout but the dialling of a backend.
type proxy struct {
	table atomic.Pointer[table]
	http1 http.RoundTripper
	h2c   http.RoundTripper
}

func newProxy() *proxy {
	p := &proxy{http1: transport(false), h2c: transport(true)}
	p.table.Store(build(objects{}))
	return p
}

func transport(h2c bool) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!h2c)
	protocols.SetUnencryptedHTTP2(h2c)
	return &http.Transport{
		Protocols:             protocols,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		MaxIdleConnsPerHost:   512,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true,        // bodies are not ours to change
		ExpectContinueTimeout: time.Second, // then the body is sent, as curl does
	}
}

// external serves what is visible outside, internal also what is visible in the cluster only.
func (p *proxy) external() http.Handler {
	return p.handler(func(t *table) map[string]virtualHost { return t.external }, true)
}

func (p *proxy) internal() http.Handler {
	return p.handler(func(t *table) map[string]virtualHost { return t.internal }, false)
}

func (p *proxy) handler(side func(*table) map[string]virtualHost, redirects bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t := p.table.Load()
		route := t.find(side(t), r)
		if route == nil {
			http.Error(w, "no route for host and path", http.StatusNotFound)
			return
		}
		if redirects && route.redirectHTTPS && r.TLS == nil {
			http.Redirect(w, r, "https://"+hostOf(r)+r.URL.RequestURI(), http.StatusMovedPermanently)
			return
		}
		split := route.choose()
		var address string
		if split != nil {
			address = split.backend.next()
		}
		if address == "" {
			http.Error(w, "no healthy upstream", http.StatusServiceUnavailable)
			return
		}
		p.forward(w, r, route, split, address)
	})
}

func (p *proxy) forward(w http.ResponseWriter, r *http.Request, route *route, split *split, address string) {
	upgrade := strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
	if !upgrade {
		r.Header.Del("Upgrade") // to h2c, for instance: it would be the backend's offer, not ours
	}
	if r.ProtoMajor == 1 { // an answer may begin before the request's body ends
		http.NewResponseController(w).EnableFullDuplex()
	}
	transport := p.http1
	if split.backend.h2c && !upgrade {
		transport = p.h2c
	}
	(&httputil.ReverseProxy{
		Transport:     transport,
		FlushInterval: -1,
		BufferPool:    buffers,
		ErrorHandler:  failed,
		Rewrite: func(both *httputil.ProxyRequest) {
			in, out := both.In, both.Out
			out.URL.Scheme, out.URL.Host, out.URL.RawQuery = "http", address, in.URL.RawQuery
			out.Host = cmp.Or(route.rewriteHost, in.Host)
			forwarded(in, out)
			for _, headers := range []map[string]string{route.setHeaders, split.setHeaders} {
				for name, value := range headers {
					out.Header.Set(name, value)
				}
			}
		},
	}).ServeHTTP(w, r)
}

// forwarded sets X-Forwarded-For and -Proto as Envoy does at an edge. What else the client said stays.
func forwarded(in, out *http.Request) {
	for _, name := range []string{"Forwarded", "X-Forwarded-Host"} {
		if values := in.Header[name]; values != nil {
			out.Header[name] = values
		}
	}
	client, _, _ := net.SplitHostPort(in.RemoteAddr)
	out.Header.Set("X-Forwarded-For", strings.Join(slices.Concat(in.Header["X-Forwarded-For"], []string{client}), ", "))
	scheme := "http"
	if in.TLS != nil {
		scheme = "https"
	}
	out.Header.Set("X-Forwarded-Proto", scheme)
}

// failed answers when the backend does not. It is 503 as with Envoy, so that clients know that they may try again.
func failed(w http.ResponseWriter, r *http.Request, err error) {
	if !errors.Is(err, context.Canceled) && r.Header.Get(header.ProbeKey) == "" {
		log.Printf("%s %s%s: %v", r.Method, r.Host, r.URL.Path, err)
	}
	http.Error(w, "upstream connect error or disconnect before headers", http.StatusServiceUnavailable)
}

// certificate is the one for the name that a client asked for.
func (p *proxy) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if found := p.table.Load().certificates[strings.ToLower(hello.ServerName)]; found != nil {
		return found, nil
	}
	return nil, fmt.Errorf("no certificate for %q", hello.ServerName)
}

type pool struct{ sync.Pool }

func (p *pool) Get() []byte  { return *p.Pool.Get().(*[]byte) }
func (p *pool) Put(b []byte) { p.Pool.Put(&b) }

var buffers = &pool{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}}
