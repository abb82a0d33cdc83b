package main

import (
	"fmt"
	"html"
	"net/http"
	"time"

	"github.com/revisit-go/revisit"
)

// visitor tells who it is, in the header of the response.
func visitor(w http.ResponseWriter, r *http.Request) {
	if s, ok := revisit.FromContext(r.Context()); ok {
		w.Header().Set("X-Session-Id", s.ID.String())
		w.Header().Set("X-Session-Via", s.Via)
	}
}

// product is the page of a product. It has no validator of its own.
func product(w http.ResponseWriter, r *http.Request, id string) {
	visitor(w, r)
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	fmt.Fprintf(w, "<!doctype html><title>Product %s</title>%1024s", html.EscapeString(id), "")
}

// events is a stream that says something at once, and goes on until the client goes.
func events(w http.ResponseWriter, r *http.Request) {
	visitor(w, r)
	w.Header().Set("Content-Type", "text/event-stream")
	for out := http.NewResponseController(w); ; {
		if _, err := fmt.Fprint(w, "data: in stock\n\n"); err != nil {
			return
		}
		if err := out.Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(30 * time.Second):
		}
	}
}

// upgrade takes the connection over, and echoes what it reads.
func upgrade(w http.ResponseWriter, r *http.Request) {
	id := ""
	if s, ok := revisit.FromContext(r.Context()); ok {
		id = s.ID.String()
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	defer conn.Close()
	fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\nX-Session-Id: %s\r\n\r\n", id)
	if buffered.Flush() != nil {
		return
	}
	line, err := buffered.ReadString('\n')
	if err != nil {
		return
	}
	_, _ = buffered.WriteString(line)
	_ = buffered.Flush()
}
