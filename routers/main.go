// Routers serves one small site by whichever router is asked for, each with the
// visitor recognised: a product page, a stream of events, and a protocol upgrade.
//
//	go run . -router chi
//	curl -si http://127.0.0.1:8080/products/7
//
// What is to be seen is how a Tracker is put around a router, or around one of its
// routes; each file is one router. Everything here is checked by the same test.
//
// fiber is not among them: it is built on fasthttp, not on net/http.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/revisit-go/revisit"
)

// A site is made by a function for each router.
var sites = map[string]func(*revisit.Tracker) http.Handler{
	"servemux":          serveMux,
	"chi":               chiRouter,
	"gorilla":           gorillaRouter,
	"echo":              echoRouter,
	"gin":               ginRouter,
	"connect":           connectRPC,
	"gzhttp-outside":    gzhttpOutside,
	"gzhttp-inside":     gzhttpInside,
	"otelhttp-outside":  otelhttpOutside,
	"otelhttp-inside":   otelhttpInside,
	"proxy-to-a-server": func(t *revisit.Tracker) http.Handler { return reverseProxy(t, *backend) },
}

var backend = flag.String("backend", "http://127.0.0.1:3000", "of proxy-to-a-server: for example node testdata/backend.js 3000")

func main() {
	log.SetFlags(0)
	var names []string
	for name := range sites {
		names = append(names, name)
	}
	slices.Sort(names)
	router := flag.String("router", "servemux", "one of "+strings.Join(names, ", "))
	addr := flag.String("addr", "127.0.0.1:8080", "where to listen")
	flag.Parse()
	site, ok := sites[*router]
	if !ok {
		log.Fatalf("-router %s: want one of %s", *router, strings.Join(names, ", "))
	}
	tracker, err := revisit.New(config())
	if err != nil {
		log.Fatal(err)
	}
	defer tracker.Close() // which log.Fatal would leave out
	log.Printf("http://%s/products/7 by %s", *addr, *router)
	server := &http.Server{Addr: *addr, Handler: site(tracker)}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		log.Print(server.ListenAndServe())
		stop()
	}()
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = server.Shutdown(ctx)
}

// config recognises everybody, so that one can watch: a site asks first, see OptIn. The
// cookie is for plain http.
func config() revisit.Config {
	return revisit.Config{
		Strategy: revisit.Hybrid(revisit.Cookie{Insecure: true}, revisit.ETag{}),
		Consent:  func(*http.Request) revisit.Permission { return revisit.Restore },
	}
}
