package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"knative.dev/networking/pkg/apis/networking/v1alpha1"
)

const (
	out = v1alpha1.IngressVisibilityExternalIP
	web = "http://x.example.com"
)

// backendAt serves a handler over HTTP/1.1 and h2c, and returns its address.
func backendAt(t *testing.T, handler http.HandlerFunc) string {
	server := httptest.NewUnstartedServer(handler)
	server.Config = newServer(handler)
	server.Start()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// through is a client whose connections all go to the external side of a proxy with this ingress, whose service x is at
// the address; the service's port is named portName.
func through(t *testing.T, one *v1alpha1.Ingress, portName, address string, protocols *http.Protocols) (*http.Client, string) {
	s, e := service("x", portName, address)
	p := newProxy()
	p.table.Store(build(objects{ingresses: []*v1alpha1.Ingress{one}, services: []*corev1.Service{s}, endpoints: []*corev1.Endpoints{e}}))
	front := backendAt(t, p.external().ServeHTTP)
	client := &http.Client{
		Transport: &http.Transport{
			Protocols: protocols,
			Dial:      func(string, string) (net.Conn, error) { return net.Dial("tcp", front) },
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	t.Cleanup(client.CloseIdleConnections)
	return client, front
}

func simple() *v1alpha1.Ingress {
	return ingressOf("one", rule(out, "x.example.com", path(to("x", 100))))
}

func read(t *testing.T, response *http.Response, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestRequestsReachTheBackendAsTheyWere(t *testing.T) {
	seen := make(chan *http.Request, 1)
	address := backendAt(t, func(w http.ResponseWriter, r *http.Request) { seen <- r })
	one := ingressOf("one", rule(out, "x.example.com", path(to("x", 100, "From-Split", "s"))))
	one.Spec.Rules[0].HTTP.Paths[0].AppendHeaders = map[string]string{"From-Path": "p"}
	client, _ := through(t, one, "http", address, nil)

	request, _ := http.NewRequest("GET", web+"/a%2Fb//c?q=1;2&%zz", nil)
	request.Header.Set("From-Path", "forged")
	request.Header.Set("X-Forwarded-For", "192.0.2.1")
	request.Header.Set("X-Forwarded-Proto", "https")
	client.Transport.(*http.Transport).DisableCompression = true
	response, err := client.Do(request)
	read(t, response, err)
	got := <-seen
	for name, want := range map[string]string{
		"From-Path": "p", "From-Split": "s", "X-Forwarded-For": "192.0.2.1, 127.0.0.1", "X-Forwarded-Proto": "http",
		"Accept-Encoding": "", "X-Forwarded-Host": "",
	} {
		if value := strings.Join(got.Header[name], "|"); value != want {
			t.Errorf("%s is %q", name, value)
		}
	}
	if got.Host != "x.example.com" || got.RequestURI != "/a%2Fb//c?q=1;2&%zz" {
		t.Error(got.Host, got.RequestURI)
	}
}

func TestHostIsRewritten(t *testing.T) {
	address := backendAt(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })
	one := simple()
	one.Spec.Rules[0].HTTP.Paths[0].RewriteHost = "y.here.svc.cluster.local"
	client, _ := through(t, one, "http", address, nil)
	response, err := client.Get(web)
	if got := read(t, response, err); got != "y.here.svc.cluster.local" {
		t.Error(got)
	}
}

func TestAnswersWithoutABackend(t *testing.T) {
	closed, _ := net.Listen("tcp", "127.0.0.1:0")
	closed.Close()
	redirected := simple()
	redirected.Spec.HTTPOption = v1alpha1.HTTPOptionRedirected
	for name, c := range map[string]struct {
		one     *v1alpha1.Ingress
		address string
		url     string
		status  int
	}{
		"unknown host": {simple(), closed.Addr().String(), "http://y.example.com/", 404},
		"no endpoint":  {ingressOf("one", rule(out, "x.example.com", path(to("none", 100)))), closed.Addr().String(), web, 503},
		"refused":      {simple(), closed.Addr().String(), web, 503},
		"redirected":   {redirected, closed.Addr().String(), web + "/a?b=c", 301},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := through(t, c.one, "http", c.address, nil)
			response, err := client.Get(c.url)
			read(t, response, err)
			if response.StatusCode != c.status {
				t.Error(response.Status)
			}
			if location := response.Header.Get("Location"); c.status == 301 && location != "https://x.example.com/a?b=c" {
				t.Error(location)
			}
		})
	}
}

// Both sides of a stream take turns, so neither may be held back; and trailers arrive, as gRPC needs.
func TestStreamsInBothDirections(t *testing.T) {
	h2c := new(http.Protocols)
	h2c.SetUnencryptedHTTP2(true)
	for portName, protocols := range map[string]*http.Protocols{"http": nil, "http2": h2c} {
		t.Run(portName, func(t *testing.T) {
			address := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
				control := http.NewResponseController(w)
				if r.ProtoMajor == 1 {
					control.EnableFullDuplex()
				}
				w.Header().Set("Trailer", "Grpc-Status")
				for lines := bufio.NewScanner(r.Body); lines.Scan(); control.Flush() {
					fmt.Fprintln(w, r.Proto, lines.Text())
				}
				w.Header().Set("Grpc-Status", "0")
			})
			client, _ := through(t, simple(), portName, address, protocols)
			body, send := io.Pipe()
			go fmt.Fprintln(send, "0")
			response, err := client.Post(web, "text/plain", body)
			if err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(response.Body)
			for i := range 3 {
				want := fmt.Sprint(map[string]string{"http": "HTTP/1.1 ", "http2": "HTTP/2.0 "}[portName], i)
				if !lines.Scan() || lines.Text() != want {
					t.Fatalf("%q, not %q: %v", lines.Text(), want, lines.Err())
				}
				fmt.Fprintln(send, i+1)
			}
			send.Close()
			read(t, response, nil)
			if response.Trailer.Get("Grpc-Status") != "0" {
				t.Error(response.Trailer)
			}
		})
	}
}

func TestAnswersArriveAsTheyAreWritten(t *testing.T) {
	read := make(chan bool)
	address := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "8")
		for range 2 {
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			<-read
		}
	})
	client, _ := through(t, simple(), "http", address, nil)
	response, err := client.Get(web)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for range 2 {
		if _, err := io.ReadFull(response.Body, make([]byte, 4)); err != nil {
			t.Fatal(err)
		}
		read <- true
	}
}

func TestRefusalArrivesBeforeTheBodyIsSent(t *testing.T) {
	address := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refused" {
			w.WriteHeader(413)
			return
		}
		io.Copy(w, r.Body)
	})
	_, front := through(t, simple(), "http", address, nil)
	for path, want := range map[string]string{"/refused": "HTTP/1.1 413 ", "/taken": "HTTP/1.1 100 "} {
		connection, err := net.Dial("tcp", front)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		fmt.Fprintf(connection, "POST %s HTTP/1.1\r\nHost: x.example.com\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n", path)
		answer := bufio.NewReader(connection)
		if line, _ := answer.ReadString('\n'); !strings.HasPrefix(line, want) {
			t.Fatalf("%s: %q", path, line)
		}
		if path == "/taken" {
			answer.ReadString('\n')
			io.WriteString(connection, "body")
			response, err := http.ReadResponse(answer, nil)
			if got := read(t, response, err); got != "body" {
				t.Error(got)
			}
		}
	}
}

func TestRefusalArrivesWhileALargeBodyIsSent(t *testing.T) {
	address := backendAt(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(413) })
	client, _ := through(t, simple(), "http", address, nil)
	response, err := client.Post(web, "application/octet-stream", bytes.NewReader(make([]byte, 8<<20)))
	read(t, response, err)
	if response.StatusCode != 413 {
		t.Error(response.Status)
	}
}

func TestWebsocketsAreTunnelledAndNothingElse(t *testing.T) {
	address := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			return
		}
		connection, buffered, _ := http.NewResponseController(w).Hijack()
		defer connection.Close()
		io.WriteString(connection, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		io.CopyN(connection, buffered, 4)
	})
	_, front := through(t, simple(), "http2", address, nil) // upgrades are HTTP/1.1 even there
	for protocol, want := range map[string]string{"websocket": "HTTP/1.1 101 ", "h2c": "HTTP/1.1 200 "} {
		connection, err := net.Dial("tcp", front)
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		fmt.Fprintf(connection, "GET / HTTP/1.1\r\nHost: x.example.com\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol)
		answer := bufio.NewReader(connection)
		if line, _ := answer.ReadString('\n'); !strings.HasPrefix(line, want) {
			t.Fatalf("%s: %q", protocol, line)
		}
		if protocol == "websocket" {
			for line := ""; line != "\r\n"; line, _ = answer.ReadString('\n') {
			}
			io.WriteString(connection, "ping")
			if echo, err := io.ReadAll(answer); string(echo) != "ping" {
				t.Error(string(echo), err)
			}
		}
	}
}

// A body that breaks off must not look whole.
func TestBrokenAnswersBreakOff(t *testing.T) {
	address := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	client, _ := through(t, simple(), "http", address, nil)
	response, err := client.Get(web)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if body, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("%q looks whole", body)
	}
}

func TestCertificatesByName(t *testing.T) {
	server := httptest.NewUnstartedServer(nil)
	server.StartTLS()
	defer server.Close()
	p := newProxy()
	known := &server.TLS.Certificates[0]
	p.table.Store(&table{certificates: map[string]*tls.Certificate{"x.example.com": known}})
	if got, err := p.certificate(&tls.ClientHelloInfo{ServerName: "X.example.com"}); got != known || err != nil {
		t.Error(got, err)
	}
	if got, err := p.certificate(&tls.ClientHelloInfo{ServerName: "y.example.com"}); got != nil || err == nil {
		t.Error(got, err)
	}
}
