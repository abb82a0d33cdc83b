package ja4_test

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/revisit-go/revisit/ja4"
)

// helloOf has a TLS server read the bytes of a ClientHello.
func helloOf(t *testing.T, record []byte) *ja4.Hello {
	t.Helper()
	client, server := net.Pipe()
	defer client.Close()
	var got *ja4.Hello
	conn := tls.Server(server, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		got = ja4.Of(info)
		return nil, io.EOF // enough
	}})
	go func() {
		_, _ = client.Write(record)
		_, _ = io.Copy(io.Discard, client)
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	_ = conn.HandshakeContext(ctx)
	conn.Close()
	require.NotNil(t, got)
	return got
}

type vector struct {
	ID       string
	Proto    string
	Expected string
	Record   string
	JA4R     string `json:"ja4_r"`
}

// Real ClientHellos, and what independent implementations say of them.
func TestJA4Vectors(t *testing.T) {
	text, err := os.ReadFile("testdata/vectors.json")
	require.NoError(t, err)
	var vectors []vector
	require.NoError(t, json.Unmarshal(text, &vectors))
	require.NotEmpty(t, vectors)
	for _, v := range vectors {
		t.Run(v.ID, func(t *testing.T) {
			record, err := hex.DecodeString(v.Record)
			require.NoError(t, err)
			got := helloOf(t, record)
			assert.Equal(t, v.Expected, got.JA4)
			if v.JA4R != "" {
				assert.Equal(t, v.JA4R, got.Raw)
			}
		})
	}
}

func TestOfByHand(t *testing.T) {
	for _, c := range []struct {
		name string
		info tls.ClientHelloInfo
		ja4  string
		raw  string
	}{
		{"nothing", tls.ClientHelloInfo{}, "t00i000000_000000000000_000000000000", "t00i000000__"},
		{"GREASE alone", tls.ClientHelloInfo{CipherSuites: []uint16{0x0a0a, 0xfafa}, Extensions: []uint16{0x1a1a}, SupportedVersions: []uint16{0xbaba},
			SignatureSchemes: []tls.SignatureScheme{0x5a5a}}, "t00i000000_000000000000_000000000000", "t00i000000__"},
		{"in order", tls.ClientHelloInfo{CipherSuites: []uint16{0x1302, 0x1301}, Extensions: []uint16{16, 0, 43, 10}, SupportedVersions: []uint16{0x0303, 0x0304},
			SignatureSchemes: []tls.SignatureScheme{0x0804, 0x0403}, SupportedProtos: []string{"h2", "http/1.1"}},
			"", "t13d0204h2_1301,1302_000a,002b_0804,0403"},
		{"QUIC, and a protocol that is no word", tls.ClientHelloInfo{CipherSuites: []uint16{1}, Extensions: []uint16{0x39}, SupportedVersions: []uint16{0x0304}, SupportedProtos: []string{"\xab\x01\xcd"}},
			"", "q13i0101ad_0001_0039"},
		{"one character", tls.ClientHelloInfo{SupportedVersions: []uint16{0x0301}, SupportedProtos: []string{"x"}}, "", "t10i0000xx__"},
		{"not GREASE", tls.ClientHelloInfo{CipherSuites: []uint16{0x0a1a, 0x1a0a, 0x0b0b}}, "", "t00i030000_0a1a,0b0b,1a0a_"},
	} {
		got := ja4.Of(&c.info)
		if c.ja4 != "" {
			assert.Equal(t, c.ja4, got.JA4, c.name)
		}
		assert.Equal(t, c.raw, got.Raw, c.name)
	}
}

// Watch on a real server, by both protocols, and what the server had before goes on.
func TestWatch(t *testing.T) {
	type key struct{}
	asked := 0
	for _, h2 := range []bool{false, true} {
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			hello, ok := ja4.FromContext(r.Context())
			if !ok {
				t.Error("there is no fingerprint")
				return
			}
			_, _ = io.WriteString(w, r.Context().Value(key{}).(string)+" "+hello.JA4+" "+hello.Stable)
		}))
		server.EnableHTTP2 = h2
		server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context { return context.WithValue(ctx, key{}, "kept") }
		server.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { asked++; return nil, nil }}
		if h2 {
			server.TLS.NextProtos = []string{"h2"}
		}
		server.Config.TLSConfig = server.TLS // httptest has one of its own
		ja4.Watch(server.Config)
		server.TLS = server.Config.TLSConfig
		server.StartTLS()
		get := func() string {
			resp, err := server.Client().Get(server.URL)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			return string(body)
		}
		first := get()
		assert.True(t, strings.HasPrefix(first, "kept t13i"), first)
		server.Client().CloseIdleConnections()
		second := get()
		assert.Equal(t, strings.Fields(first)[2], strings.Fields(second)[2], "the stable string")
		server.Close()
	}
	assert.Equal(t, 4, asked)
	_, ok := ja4.FromContext(t.Context())
	assert.False(t, ok)

	plain := &http.Server{}
	ja4.Watch(plain)
	assert.NotNil(t, plain.TLSConfig.GetConfigForClient)
	assert.Contains(t, plain.TLSConfig.NextProtos, "h2", "HTTP/2 goes on where nobody has said anything")
	_, ok = ja4.FromContext(plain.ConnContext(t.Context(), nil))
	assert.False(t, ok, "a connection without TLS")
}

// A proxy's word counts if it is one of ours and speaks in the right form.
func TestFromProxy(t *testing.T) {
	const good = "t13d1516h2_8daaf6152771_02713d6af862"
	for _, c := range []struct {
		name, remote string
		lines        []string
		ok           bool
	}{
		{"ours", "10.0.0.1:1", []string{good}, true},
		{"ours, IPv4 in IPv6", "[::ffff:10.0.0.1]:1", []string{good}, true},
		{"not ours", "198.51.100.7:1", []string{good}, false},
		{"twice", "10.0.0.1:1", []string{good, good}, false},
		{"none", "10.0.0.1:1", nil, false},
		{"something else", "10.0.0.1:1", []string{"<script>"}, false},
		{"and something else", "10.0.0.1:1", []string{good + "\n"}, false},
		{"no address", "@", []string{good}, false},
	} {
		var got *ja4.Hello
		ok := false
		h := ja4.FromProxy(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { got, ok = ja4.FromContext(r.Context()) }), "x-ja4", netip.MustParsePrefix("10.0.0.0/8"))
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = c.remote
		r.Header["X-Ja4"] = c.lines
		h.ServeHTTP(httptest.NewRecorder(), r)
		assert.Equal(t, c.ok, ok, c.name)
		if c.ok {
			assert.Equal(t, ja4.Hello{JA4: good}, *got, c.name)
		}
	}
}

// What a fingerprint costs on top of a handshake, which takes some 100 µs and more.
func BenchmarkOf(b *testing.B) {
	text, err := os.ReadFile("testdata/vectors.json")
	require.NoError(b, err)
	var vectors []vector
	require.NoError(b, json.Unmarshal(text, &vectors))
	var infos []*tls.ClientHelloInfo
	for _, v := range vectors {
		record, err := hex.DecodeString(v.Record)
		require.NoError(b, err)
		client, server := net.Pipe()
		conn := tls.Server(server, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			infos = append(infos, info)
			return nil, io.EOF
		}})
		go func() { _, _ = client.Write(record); _, _ = io.Copy(io.Discard, client) }()
		_ = conn.HandshakeContext(b.Context())
		conn.Close()
		client.Close()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		ja4.Of(infos[i%len(infos)])
	}
}

// Whatever a client sends: no panic, and a fingerprint of the right form.
func FuzzOf(f *testing.F) {
	f.Add([]byte{0x13, 0x01, 0x0a, 0x0a}, "h2", uint16(0x0304))
	f.Fuzz(func(t *testing.T, b []byte, protocol string, version uint16) {
		var values []uint16
		for i := 0; i+1 < len(b); i += 2 {
			values = append(values, uint16(b[i])<<8|uint16(b[i+1]))
		}
		info := &tls.ClientHelloInfo{CipherSuites: values, Extensions: values, SupportedVersions: []uint16{version}, SupportedProtos: []string{protocol}}
		for _, v := range values {
			info.SignatureSchemes = append(info.SignatureSchemes, tls.SignatureScheme(v))
		}
		got := ja4.Of(info)
		if len(got.JA4) != 36 {
			t.Fatalf("%q", got.JA4)
		}
	})
}
