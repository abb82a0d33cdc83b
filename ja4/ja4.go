// Package ja4 computes the JA4 fingerprint of the TLS clients of an http.Server,
// with the standard library alone:
//
//	server := &http.Server{Handler: mux}
//	ja4.Watch(server)
//	err := server.ListenAndServeTLS("cert.pem", "key.pem")
//
//	func handle(w http.ResponseWriter, r *http.Request) {
//		if hello, ok := ja4.FromContext(r.Context()); ok {
//			log.Print(hello.JA4)
//		}
//	}
//
// JA4 says which software a client is, or pretends to be: all browsers of one kind
// and version have the same. It is no identity of anybody. One browser has several:
// six over its kinds of connections, in Chromium and in Firefox (measured, November
// 2026), because it sends other extensions when it resumes a session, say. Stable
// leaves those out, and had one value over all of them.
//
// Only TLS that ends in this process is seen. Behind a proxy that ends it, ask the
// proxy for the fingerprint.
//
// JA4 is by FoxIO (John Althouse), under the BSD 3-Clause licence; JA4 is a
// trademark of FoxIO. The rest of JA4+ is under other terms, and not here.
package ja4

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
)

// A Hello is what is kept of a ClientHello: strings only.
type Hello struct {
	// JA4 is the fingerprint, as in "t13d1516h2_8daaf6152771_02713d6af862".
	JA4 string
	// Raw is what is hashed in it, in the clear: JA4_r. It is cut after 4 KiB.
	Raw string
	// Stable is what stays the same from one connection of a browser to the next.
	// It is no JA4. Over 4 KiB it is a hash.
	Stable string
}

// Watch has a server keep the fingerprint of each TLS connection, for FromContext.
// It chains ConnContext and TLSConfig.GetConfigForClient, which go on as they were,
// so call it after setting those, and before the server starts.
func Watch(s *http.Server) {
	next := s.ConnContext
	s.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if next != nil {
			ctx = next(ctx, c)
		}
		return NewContext(ctx)
	}
	if s.TLSConfig == nil {
		// Without a configuration the server offers HTTP/2, with one it does what
		// that says.
		s.TLSConfig = &tls.Config{NextProtos: []string{"h2", "http/1.1"}}
	}
	s.TLSConfig = Config(s.TLSConfig)
}

type slotKey struct{}

// slot is in the context of a connection, before its handshake.
type slot struct{ hello atomic.Pointer[Hello] }

// NewContext returns the context of a connection, with room for its fingerprint:
// for servers that are no http.Server, together with Config. For HTTP/3 by quic-go,
// that is where quic.Transport.ConnContext is, and Config goes around
// http3.ConfigureTLSConfig.
func NewContext(ctx context.Context) context.Context {
	return context.WithValue(ctx, slotKey{}, new(slot))
}

// Config returns a TLS configuration (a clone, or a new one for nil) that keeps the
// fingerprint of each handshake in the context of its connection.
func Config(c *tls.Config) *tls.Config {
	if c == nil {
		c = &tls.Config{}
	}
	c = c.Clone()
	next := c.GetConfigForClient
	c.GetConfigForClient = func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		// Called once for each handshake, also where a session is resumed.
		if s, ok := info.Context().Value(slotKey{}).(*slot); ok {
			s.hello.Store(Of(info))
		}
		if next != nil {
			return next(info)
		}
		return nil, nil
	}
	return c
}

// FromContext returns the fingerprint of the connection that the context of a
// request belongs to. There is none without TLS, and without Watch.
func FromContext(ctx context.Context) (*Hello, bool) {
	s, ok := ctx.Value(slotKey{}).(*slot)
	if !ok {
		return nil, false
	}
	h := s.hello.Load()
	return h, h != nil
}

// Extensions with a part of their own.
const (
	extensionServerName = 0
	extensionALPN       = 16
	extensionQUIC       = 0x39
)

// unstable are the extensions that a browser sends on some connections only:
// server_name, ALPN, padding, compress_certificate, session_ticket,
// pre_shared_key, early_data, cookie, and both of ALPS (measured).
var unstable = []uint16{0, 16, 21, 27, 35, 41, 42, 44, 0x4469, 0x44cd}

// Of computes the fingerprint of a ClientHello. It keeps nothing of it.
func Of(info *tls.ClientHelloInfo) *Hello {
	versions := withoutGrease(info.SupportedVersions)
	ciphers := withoutGrease(info.CipherSuites)
	extensions := withoutGrease(info.Extensions)
	schemes := make([]uint16, len(info.SignatureSchemes))
	for i, s := range info.SignatureSchemes {
		schemes[i] = uint16(s)
	}
	schemes = withoutGrease(schemes)
	groups := make([]uint16, len(info.SupportedCurves))
	for i, c := range info.SupportedCurves {
		groups[i] = uint16(c)
	}
	groups = withoutGrease(groups)

	protocol, name := "t", "i"
	if slices.Contains(extensions, extensionQUIC) {
		protocol = "q"
	}
	if slices.Contains(extensions, extensionServerName) {
		name = "d"
	}
	a := fmt.Sprintf("%s%s%s%02d%02d%s", protocol, version(versions), name, min(len(ciphers), 99), min(len(extensions), 99), alpn(info.SupportedProtos))

	sorted := slices.Sorted(slices.Values(ciphers))
	rest := slices.DeleteFunc(slices.Sorted(slices.Values(extensions)), func(e uint16) bool {
		return e == extensionServerName || e == extensionALPN
	})
	b, c := list(sorted), list(rest)
	if len(schemes) > 0 {
		c += "_" + list(schemes)
	}
	lasting := slices.DeleteFunc(slices.Clone(rest), func(e uint16) bool { return slices.Contains(unstable, e) })
	stable := list(versions) + "_" + list(ciphers) + "_" + list(lasting) + "_" + list(schemes) + "_" + list(groups)
	if len(stable) > maxText {
		stable = hash(stable, false)
	}
	raw := a + "_" + b + "_" + c
	return &Hello{
		JA4:    a + "_" + hash(b, len(ciphers) == 0) + "_" + hash(c, len(extensions) == 0),
		Raw:    strings.Clone(raw[:min(len(raw), maxText)]),
		Stable: stable,
	}
}

// maxText bounds what is kept of a connection, for as long as it lasts. Those of real
// clients have some hundred bytes; a hostile ClientHello may have 64 KiB.
const maxText = 4 << 10

// withoutGrease leaves out the values that clients send for servers to ignore (RFC
// 8701): 0x0a0a, 0x1a1a and so on. Chrome sends them in the signature algorithms,
// too, since version 152 (measured).
func withoutGrease(all []uint16) []uint16 {
	kept := make([]uint16, 0, len(all))
	for _, v := range all {
		if v&0x0f0f != 0x0a0a || v>>8 != v&0xff {
			kept = append(kept, v)
		}
	}
	return kept
}

// version is the highest one that the client supports.
func version(versions []uint16) string {
	if len(versions) == 0 {
		return "00"
	}
	switch slices.Max(versions) {
	case tls.VersionTLS13:
		return "13"
	case tls.VersionTLS12:
		return "12"
	case tls.VersionTLS11:
		return "11"
	case tls.VersionTLS10:
		return "10"
	case 0x0300:
		return "s3"
	case 0x0002:
		return "s2"
	}
	return "00"
}

// alpn is the first and the last character of the first protocol.
func alpn(protocols []string) string {
	if len(protocols) == 0 || protocols[0] == "" {
		return "00"
	}
	p := protocols[0]
	if !isAlphanumeric(p[0]) || !isAlphanumeric(p[len(p)-1]) {
		p = hex.EncodeToString([]byte(p))
	}
	return string([]byte{p[0], p[len(p)-1]})
}

func isAlphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// list writes values in four hexadecimal digits each, with commas between.
func list(values []uint16) string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 5*len(values))
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, digits[v>>12], digits[v>>8&15], digits[v>>4&15], digits[v&15])
	}
	return string(b)
}

// hash is the first 12 digits of SHA-256.
func hash(s string, empty bool) string {
	if empty {
		return "000000000000"
	}
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:6])
}

// FromProxy wraps a handler behind proxies that end TLS and say in a header field
// which JA4 the client had. FromContext then finds it, without Raw and Stable. The
// field is believed if Request.RemoteAddr is one of the proxies and it has the form
// of a JA4; the proxies must write it on every request, or it is what the client
// likes.
//
//	handler = ja4.FromProxy(handler, "X-JA4", netip.MustParsePrefix("10.0.0.0/8"))
func FromProxy(next http.Handler, field string, proxies ...netip.Prefix) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		remote, err := netip.ParseAddrPort(r.RemoteAddr)
		if err == nil && slices.ContainsFunc(proxies, func(p netip.Prefix) bool { return p.Contains(remote.Addr().Unmap()) }) {
			s := new(slot) // also an empty one: the handshake of this connection is the proxy's
			if lines := r.Header.Values(field); len(lines) == 1 && form.MatchString(lines[0]) {
				s.hello.Store(&Hello{JA4: lines[0]})
			}
			r = r.WithContext(context.WithValue(r.Context(), slotKey{}, s))
		}
		next.ServeHTTP(w, r)
	})
}

var form = regexp.MustCompile(`^[tqd](13|12|11|10|s3|s2|d1|d2|d3|00)[di][0-9]{4}[0-9a-zA-Z]{2}_[0-9a-f]{12}_[0-9a-f]{12}$`)
