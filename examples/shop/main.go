// Shop is a small shop that shows revisit at work: products, a cart, a lead
// form, a checkout, a consent banner, a page that tells visitors what is known of
// them, and a dashboard that shows which campaign has earned what.
//
//	go run ./shop -strategy hybrid -consent optin -data ./data -seed-days 30
package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/revisit-go/revisit"
	"github.com/revisit-go/revisit/examples/shop/report"
	"github.com/revisit-go/revisit/ja4"
	"github.com/revisit-go/revisit/sqlitestore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run serves the shop until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("shop", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on; port 0 chooses a free port")
	strategy := flags.String("strategy", "hybrid", "how visitors are recognised: cookie, etag, hybrid, fingerprint or hybrid+fingerprint")
	consent := flags.String("consent", "optin", "which visitors to recognise: optin (those who said yes), optout (those who did not say no) or granted (all)")
	useTLS := flags.Bool("tls", false, "serve https with a self-made certificate that browsers do not trust, and compute JA4 from the handshake")
	pay := flags.String("pay", "127.0.0.1:0", "`address` on which the demonstration's payment provider listens")
	seedDays := flags.Int("seed-days", 0, "`days` of made-up history for the dashboard, if it has none yet; at most 90, because nobody can buy while the history is written")
	data := flags.String("data", "", "`folder` for the signing key and the sessions, so that visitors are recognised after a restart (default: keep them in memory)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *seedDays < 0 || *seedDays > 90 {
		return fmt.Errorf("-seed-days: %d, want 0 to 90", *seedDays)
	}
	host, _, err := net.SplitHostPort(*addr)
	if err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))

	ctx, stop := context.WithCancel(ctx)
	defer stop()

	providing, err := net.Listen("tcp", *pay)
	if err != nil {
		return fmt.Errorf("-pay: %w", err)
	}
	defer providing.Close()
	payHost, _, err := net.SplitHostPort(providing.Addr().String())
	if err != nil {
		return err
	}
	config := revisit.Config{
		Logger: logger,
		// Nothing is in front of the shop, also where visitors come from this machine.
		ClientAddr: revisit.Forwarded("X-Forwarded-For"),
		OwnHosts:   ownHosts(payHost), // who comes back from paying was not brought by that
	}
	// A Secure cookie is not kept over plain http, save for development here.
	cookie := revisit.Cookie{Insecure: isLoopback(host) && !*useTLS}
	fingerprint := revisit.Fingerprint{TLS: *useTLS}
	switch *strategy {
	case "cookie":
		config.Strategy = cookie
	case "etag":
		config.Strategy = revisit.ETag{}
	case "hybrid":
		config.Strategy = revisit.Hybrid(cookie, revisit.ETag{})
	case "fingerprint":
		config.Strategy = fingerprint
	case "hybrid+fingerprint":
		config.Strategy = revisit.Hybrid(cookie, revisit.ETag{}, fingerprint)
	default:
		return fmt.Errorf("-strategy %q: want cookie, etag, hybrid, fingerprint or hybrid+fingerprint", *strategy)
	}
	switch *consent {
	case "optin":
		config.Consent = revisit.OptIn(consentCookie, "yes")
	case "optout":
		config.Consent = revisit.OptOut(optOutCookie)
	case "granted":
		config.Consent = func(*http.Request) revisit.Permission { return revisit.Restore }
	default:
		return fmt.Errorf("-consent %q: want optin, optout or granted", *consent)
	}
	dir, key := *data, random()
	if dir == "" {
		if dir, err = os.MkdirTemp("", "shop"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		memory := revisit.NewMemoryStore(revisit.MemoryOptions{})
		defer memory.Close()
		config.Store = memory
	} else {
		if key, err = loadKey(dir); err != nil {
			return fmt.Errorf("-data: %w", err)
		}
		// FlushEvery stays 0: each page view is saved before the page is made, and
		// survives whatever happens to the process.
		store, err := sqlitestore.Open(filepath.Join(dir, "sessions.db"), sqlitestore.Options{})
		if err != nil {
			return fmt.Errorf("-data: %w", err)
		}
		defer store.Close()
		config.Store = store
	}
	config.Keys = [][]byte{key}
	// The shop's own tables are in a file of their own, as if it had a database already.
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: filepath.Join(dir, "report.db")}).EscapedPath()+
		"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(4)
	books, err := report.Open(ctx, db, false)
	if err != nil {
		return err
	}
	config.OnMerge, config.OnForget = books.Merge, books.Forget
	config.OnHit = func(ctx context.Context, h revisit.Hit) {
		if err := books.Hit(ctx, h); err != nil {
			logger.Warn("the dashboard misses a page view", "error", err)
		}
	}
	tracker, err := revisit.New(config)
	if err != nil {
		return err
	}
	defer tracker.Close()

	listener, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	s := newShop(tracker, *consent, *strategy)
	s.report, s.provider, s.secret = books, "http://"+providing.Addr().String(), []byte(macOf(key, "payments"))
	s.board = newDashboard(books)
	if s.board.madeUp = *seedDays > 0; s.board.madeUp {
		s.board.seeding.Store(0)
	}
	server := &http.Server{
		Handler:           s.routes(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	scheme, serve := "http", func() error { return server.Serve(listener) }
	if *useTLS {
		certificate, err := selfSigned(host)
		if err != nil {
			return fmt.Errorf("-tls: %w", err)
		}
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
		ja4.Watch(server)
		scheme, serve = "https", func() error { return server.ServeTLS(listener, "", "") }
	}
	fmt.Fprintf(stdout, "The shop is open: %s://%s/\n", scheme, listener.Addr())

	provider := &http.Server{Handler: payments(s.secret), ReadHeaderTimeout: 10 * time.Second}
	defer provider.Close()
	go func() { _ = provider.Serve(providing) }()

	served := make(chan error, 1)
	go func() { served <- serve() }()
	seeded := make(chan struct{})
	go func() {
		defer close(seeded)
		if err := s.seed(ctx, config.Store, *seedDays, stdout); err != nil && ctx.Err() == nil {
			logger.Error("the made-up history is incomplete", "error", err)
		}
	}()
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		housekeeping(ctx, tracker, books, logger)
	}()
	defer func() {
		stop()
		<-seeded
		<-kept
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	timeout, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := server.Shutdown(timeout); err != nil {
		return err
	}
	fmt.Fprintln(stdout, "The shop is closed.")
	return tracker.Close()
}

// housekeeping does what nobody's request does: it tells of merges whose visitors do not
// come again, and deletes what is older than the sessions are kept.
func housekeeping(ctx context.Context, tracker *revisit.Tracker, books *report.Report, logger *slog.Logger) {
	const retention = 761 * 24 * time.Hour // Config.Retention's default
	for {
		if err := tracker.NotifyMerges(ctx); err != nil && ctx.Err() == nil {
			logger.Warn("cannot notify of merges", "error", err)
		}
		if err := books.Expire(ctx, time.Now().Add(-retention)); err != nil && ctx.Err() == nil {
			logger.Warn("cannot delete expired data", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Hour):
		}
	}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// ownHosts has no IPv6 addresses: those are no host names, and the shop's own anyway.
func ownHosts(host string) []string {
	if strings.Contains(host, ":") {
		return nil
	}
	return []string{host}
}

func random() []byte {
	b := make([]byte, 32)
	rand.Read(b)
	return b
}

// loadKey reads the key of the folder, and makes one if there is none.
func loadKey(dir string) ([]byte, error) {
	path := filepath.Join(dir, "key")
	key, err := os.ReadFile(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	key = random()
	// All of it or nothing: half a key would be refused at the next start.
	temp := path + ".new"
	if err := os.WriteFile(temp, key, 0o600); err != nil {
		return nil, err
	}
	return key, os.Rename(temp, path)
}
