package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit/ja4"
)

// A tap takes down what the clients of a listener send first.
type tap struct{ net.Listener }

func (t tap) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	return &tapped{Conn: c}, err
}

type tapped struct {
	net.Conn
	mu   sync.Mutex
	sent []byte
}

func (c *tapped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.sent) < 1<<14 {
		c.sent = append(c.sent, p[:n]...)
	}
	return n, err
}

// handshake is what a client has sent, and what package ja4 says of it.
type handshake struct {
	hello *ja4.Hello
	sent  []byte
	agent string
}

// tlsServer answers with JA4, and returns its port and what it has seen.
func tlsServer(t *testing.T) (port string, seen func() []handshake) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	type key struct{}
	var mu sync.Mutex
	var log0 []handshake
	server := &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hello, ok := ja4.FromContext(r.Context())
			if !ok {
				http.Error(w, "no handshake", http.StatusInternalServerError)
				return
			}
			c := r.Context().Value(key{}).(*tapped)
			c.mu.Lock()
			sent := bytes.Clone(c.sent)
			c.mu.Unlock()
			mu.Lock()
			log0 = append(log0, handshake{hello, sent, r.UserAgent()})
			mu.Unlock()
			fmt.Fprintf(w, "ja4 %s\n", hello.JA4)
		}),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key{}, c.(*tls.Conn).NetConn())
		},
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{testCA().site}, NextProtos: []string{"h2", "http/1.1"}},
		ErrorLog:  log.New(io.Discard, "", 0),
	}
	ja4.Watch(server)
	go func() { _ = server.ServeTLS(tap{listener}, "", "") }()
	t.Cleanup(func() { server.Close() })
	_, port, err = net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	return port, func() []handshake {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(log0)
	}
}

// Real clients: what package ja4 makes of crypto/tls's reading of a handshake is what
// comes out of reading the bytes on the wire by hand.
func TestJA4OfRealClients(t *testing.T) {
	port, seen := tlsServer(t)
	url := "https://localhost:" + port + "/"
	ca := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(ca, []byte("-----BEGIN CERTIFICATE-----\n"+testCA().base64+"\n-----END CERTIFICATE-----\n"), 0o600))
	program := func(stdin, name string, args ...string) func(*testing.T) {
		return func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), patience)
			defer stop()
			cmd := exec.CommandContext(ctx, name, args...)
			cmd.Stdin = strings.NewReader(stdin)
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s", out)
			require.Contains(t, string(out), "ja4 t")
		}
	}
	der, err := base64.StdEncoding.DecodeString(testCA().base64)
	require.NoError(t, err)
	trusted, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots := x509.NewCertPool()
	roots.AddCert(trusted)
	visits := func(b func(*testing.T) browser) func(*testing.T) {
		return func(t *testing.T) { b(t).visit(t, url) }
	}
	for _, c := range []struct {
		name string
		ask  func(*testing.T)
		form string // of the first part
	}{
		{"curl", program("", "curl", "-sS", "--cacert", ca, url), "t13d....h2"},
		{"curl, HTTP/1.1", program("", "curl", "-sS", "--http1.1", "--cacert", ca, url), "t13d....h1"},
		{"curl, TLS 1.2", program("", "curl", "-sS", "--tls-max", "1.2", "--cacert", ca, url), "t12d....h2"},
		{"curl, by address", program("", "curl", "-sSk", "https://127.0.0.1:"+port+"/"), "t13i....h2"},
		{"openssl s_client", program("GET / HTTP/1.0\r\nHost: localhost\r\n\r\n", "openssl", "s_client", "-quiet", "-connect", "localhost:"+port, "-servername", "localhost", "-CAfile", ca), "t13d....00"},
		{"node", program("", "node", "-e", fmt.Sprintf(`require("https").get(%q, {ca: require("fs").readFileSync(%q)}, r => r.pipe(process.stdout))`, url, ca)), "t13d....(00|h1)"},
		{"Go", func(t *testing.T) {
			client := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: roots}}}
			resp, err := client.Get(url)
			require.NoError(t, err)
			resp.Body.Close()
		}, "t13d....h2"},
		{"Chromium", visits(openChromium), "t13d....h2"},
		{"Firefox", visits(openFirefox), "t13d....h2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := len(seen())
			c.ask(t)
			got := seen()[before:]
			require.NotEmpty(t, got)
			stable := make(map[string]bool)
			for _, h := range got {
				want, raw, err := readHello(h.sent)
				require.NoError(t, err)
				assert.Equal(t, want, h.hello.JA4, h.agent)
				assert.Equal(t, raw, h.hello.Raw, h.agent)
				assert.Regexp(t, "^"+c.form+"_", h.hello.JA4)
				stable[h.hello.Stable] = true
			}
			assert.Len(t, stable, 1)
			t.Logf("%s (%d connections)", got[0].hello.JA4, len(got))
		})
	}
}

// readHello reads a ClientHello off the wire by hand, and makes JA4 and JA4_r of it
// as their description has it.
func readHello(sent []byte) (fingerprint, raw string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("not a whole ClientHello: %v", p)
		}
	}()
	// Records (RFC 8446, section 5.1), put together until the message is whole.
	var message []byte
	for len(message) < 4 || len(message) < 4+int(message[1])<<16+int(message[2])<<8+int(message[3]) {
		if sent[0] != 22 {
			return "", "", errors.New("no handshake record")
		}
		n := int(binary.BigEndian.Uint16(sent[3:]))
		message = append(message, sent[5:5+n]...)
		sent = sent[5+n:]
	}
	if message[0] != 1 {
		return "", "", errors.New("no ClientHello")
	}
	in := message[4:]
	u16 := func(b []byte) (all []uint16) {
		for ; len(b) > 0; b = b[2:] {
			v := binary.BigEndian.Uint16(b)
			if !(v>>8 == v&0xff && v&0x0f == 0x0a) { // GREASE (RFC 8701)
				all = append(all, v)
			}
		}
		return all
	}
	take := func(b *[]byte, size int) []byte { // a vector with a length of that size
		n := 0
		for _, c := range (*b)[:size] {
			n = n<<8 | int(c)
		}
		v := (*b)[size : size+n]
		*b = (*b)[size+n:]
		return v
	}
	version := binary.BigEndian.Uint16(in)
	in = in[2+32:]
	take(&in, 1) // session ID
	ciphers := u16(take(&in, 2))
	take(&in, 1) // compression
	extensions := take(&in, 2)
	var kinds []uint16
	var schemes []uint16
	name, protocol, first := "i", "t", "00"
	for len(extensions) > 0 {
		kind := binary.BigEndian.Uint16(extensions)
		extensions = extensions[2:]
		body := take(&extensions, 2)
		if len(u16([]byte{byte(kind >> 8), byte(kind)})) == 0 {
			continue
		}
		kinds = append(kinds, kind)
		switch kind {
		case 0:
			name = "d"
		case 13:
			schemes = u16(take(&body, 2))
		case 16:
			list := take(&body, 2)
			p := string(take(&list, 1))
			first = p[:1] + p[len(p)-1:]
		case 43:
			version = slices.Max(u16(take(&body, 1)))
		case 57:
			protocol = "q"
		}
	}
	written := func(values []uint16) string {
		var texts []string
		for _, v := range values {
			texts = append(texts, fmt.Sprintf("%04x", v))
		}
		return strings.Join(texts, ",")
	}
	a := fmt.Sprintf("%s%s%s%02d%02d%s", protocol, map[uint16]string{0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10"}[version], name, len(ciphers), len(kinds), first)
	slices.Sort(ciphers)
	slices.Sort(kinds)
	kinds = slices.DeleteFunc(kinds, func(k uint16) bool { return k == 0 || k == 16 })
	b, c := written(ciphers), written(kinds)
	if len(schemes) > 0 {
		c += "_" + written(schemes)
	}
	digits := func(s string) string {
		sum := sha256.Sum256([]byte(s))
		return hex.EncodeToString(sum[:])[:12]
	}
	return a + "_" + digits(b) + "_" + digits(c), a + "_" + b + "_" + c, nil
}

// HTTP/3, by quic-go: the handshake comes in QUIC, which the fingerprint says.
func TestJA4OverQUIC(t *testing.T) {
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer socket.Close()
	transport := &quic.Transport{
		Conn: socket,
		ConnContext: func(ctx context.Context, _ *quic.ClientInfo) (context.Context, error) {
			return ja4.NewContext(ctx), nil
		},
	}
	defer transport.Close()
	config := ja4.Config(http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{testCA().site}}))
	listener, err := transport.ListenEarly(config, nil)
	require.NoError(t, err)
	var mu sync.Mutex
	var hellos []*ja4.Hello
	server := &http3.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hello, ok := ja4.FromContext(r.Context())
		if !ok {
			http.Error(w, "no handshake", http.StatusInternalServerError)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		hellos = append(hellos, hello)
		fmt.Fprintf(w, "ja4 %s over %s\n", hello.JA4, r.Proto)
	})}
	go func() { _ = server.ServeListener(listener) }()
	defer server.Close()

	for range 2 {
		round := &http3.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"}}
		client := &http.Client{Transport: round, Timeout: 30 * time.Second}
		resp, err := client.Get("https://" + socket.LocalAddr().String() + "/")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, 200, resp.StatusCode)
		assert.Regexp(t, `^ja4 q13d[0-9]{4}h3_[0-9a-f]{12}_[0-9a-f]{12} over HTTP/3.0\n$`, string(body))
		round.Close()
	}
	mu.Lock() // nothing orders what comes by UDP
	defer mu.Unlock()
	require.Len(t, hellos, 2)
	assert.Equal(t, hellos[0], hellos[1])
	assert.Contains(t, hellos[0].Raw, ",0039", "the transport parameters of QUIC")
}
