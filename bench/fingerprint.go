package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"testing"
	"time"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/ja4"
)

// Groups of fingerprints.
const (
	Matched   = "By fingerprint: a returning visitor"
	Robots    = "Who is a bot"
	Handshake = "JA4 of a TLS handshake"
)

func fingerprints() []Case {
	print := revisit.Fingerprint{}
	r := request()
	return []Case{
		{Matched, "HMAC-SHA-256 of the signals alone", func(b *testing.B) {
			key, signals := make([]byte, 32), []byte(r.Host+r.RemoteAddr+r.UserAgent()+r.Header.Get("Accept-Language"))
			b.ReportAllocs()
			for b.Loop() {
				mac := hmac.New(sha256.New, key)
				mac.Write(signals)
				mac.Sum(nil)
			}
		}},
		{Matched, "revisit, cookie", func(b *testing.B) { returning(b, tracked(b, revisit.Cookie{}, plain)) }},
		{Matched, "revisit, cookie, at the front of a hybrid with a fingerprint", func(b *testing.B) {
			returning(b, tracked(b, revisit.Hybrid(revisit.Cookie{}, print), plain))
		}},
		{Matched, "revisit, fingerprint", func(b *testing.B) { returning(b, tracked(b, print, plain)) }},

		{Robots, "a browser", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if revisit.IsBot(r) {
					b.Fatal("a browser is no bot")
				}
			}
		}},
		{Robots, "a crawler", func(b *testing.B) {
			r := request()
			r.Header.Set("User-Agent", "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")
			b.ReportAllocs()
			for b.Loop() {
				if !revisit.IsBot(r) {
					b.Fatal("a crawler is one")
				}
			}
		}},

		{Handshake, "TLS 1.3 handshake of crypto/tls, client and server", func(b *testing.B) { handshakes(b, false) }},
		{Handshake, "the same, with JA4", func(b *testing.B) { handshakes(b, true) }},
	}
}

// handshakes makes one after another.
func handshakes(b *testing.B, watched bool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		b.Fatal(err)
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	if watched {
		config = ja4.Config(config)
	}
	b.ReportAllocs()
	for b.Loop() {
		client, server := net.Pipe()
		done := make(chan error, 1)
		ctx := ja4.NewContext(context.Background())
		go func() {
			c := tls.Server(server, config)
			err := c.HandshakeContext(ctx)
			if err == nil {
				_, err = c.Write([]byte{1})
			}
			done <- err
		}()
		c := tls.Client(client, &tls.Config{InsecureSkipVerify: true, ServerName: "localhost"})
		if _, err := c.Read(make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		if _, ok := ja4.FromContext(ctx); ok != watched {
			b.Fatal("not what was to be measured")
		}
		client.Close()
		server.Close()
	}
}
