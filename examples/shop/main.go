// Shop is a small shop that shows revisit at work: products, a cart, a lead
// form, a consent banner, and a page that tells visitors what is known of them.
//
//	go run ./shop -strategy hybrid -consent optin -data ./data
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/revisit-go/revisit"
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
	addr := flags.String("addr", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	strategy := flags.String("strategy", "hybrid", "how visitors are recognised: cookie, etag or hybrid")
	consent := flags.String("consent", "optin", "whom to recognise: optin (who said yes), optout (who did not say no) or granted (everybody)")
	data := flags.String("data", "", "`folder` that keeps the signing key and the sessions, so that a restart knows visitors; default: none, they are in memory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	host, _, err := net.SplitHostPort(*addr)
	if err != nil {
		return fmt.Errorf("-addr: %w", err)
	}
	logger := slog.New(slog.NewTextHandler(stderr, nil))

	config := revisit.Config{Logger: logger}
	// A Secure cookie is not kept over plain http, save for development here.
	cookie := revisit.Cookie{Insecure: isLoopback(host)}
	switch *strategy {
	case "cookie":
		config.Strategy = cookie
	case "etag":
		config.Strategy = revisit.ETag{}
	case "hybrid":
		config.Strategy = revisit.Hybrid(cookie, revisit.ETag{})
	default:
		return fmt.Errorf("-strategy %q: want cookie, etag or hybrid", *strategy)
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
	if *data != "" {
		key, err := loadKey(*data)
		if err != nil {
			return fmt.Errorf("-data: %w", err)
		}
		config.Keys = [][]byte{key}
		// FlushEvery stays 0: each page view is saved before the page is made, and
		// survives whatever happens to the process.
		store, err := sqlitestore.Open(filepath.Join(*data, "sessions.db"), sqlitestore.Options{})
		if err != nil {
			return fmt.Errorf("-data: %w", err)
		}
		defer store.Close()
		config.Store = store
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
	server := &http.Server{
		Handler:           newShop(tracker, *consent, *strategy).routes(),
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	fmt.Fprintf(stdout, "The shop is open: http://%s/\n", listener.Addr())

	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
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

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
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
	key = make([]byte, 32)
	rand.Read(key)
	// All of it or nothing: half a key would be refused at the next start.
	temp := path + ".new"
	if err := os.WriteFile(temp, key, 0o600); err != nil {
		return nil, err
	}
	return key, os.Rename(temp, path)
}
