// Package httpwriter wraps a ResponseWriter in order to have the last word about the header of
// a response, and about a body that is held back. It is not to be noticed otherwise.
package httpwriter

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/revisit-go/revisit/internal/entitytag"
	"github.com/revisit-go/revisit/internal/header"
)

// A Decider decides about a response.
type Decider interface {
	// Hold returns how many bytes of the body of a 200 without a validator of its own may be
	// held back, 0 for none. First is the beginning of the body, as far as it is known.
	Hold(h http.Header, first []byte) (limit int)

	// Final is called when the final header is about to go, and may change it. It reports
	// whether a body that was held back is the one that the client has: then the answer is
	// 304. It may be called more than once by a handler that goes on after a timeout.
	Final(f Final) (notModified bool)
}

// A Final is a response whose header is about to go.
type Final struct {
	Header http.Header
	Status int
	First  []byte // of the body, as far as it is known
	Whole  *Body  // that was held back from beginning to end, nil for none
	// The handler has written nothing. The server will answer 200 with nothing in it, and
	// this header; or a handler further out answers: frameworks write the errors of
	// their handlers there.
	Unwritten bool
}

// A Writer is the ResponseWriter of a request whose header is of interest. It
// waits for the final header, has the Decider change it, and holds a body back if the Decider
// wants its hash.
type Writer struct {
	http.ResponseWriter // the server's
	decider             Decider

	held     *Body // nil if the body is not held back
	limit    int32 // of what is held
	status   int16 // of the final header, 0 before
	hijacked bool
}

// Reset makes w the writer of a response.
func (w *Writer) Reset(of http.ResponseWriter, d Decider) {
	*w = Writer{ResponseWriter: of, decider: d}
}

// sniffLen is how much of a body http.DetectContentType looks at.
const sniffLen = 512

// Hash is the content part of a tag that speaks for the body: see entitytag.MarkHash.
func (b *Body) Hash() string { return b.hashed }

// A Body is what a handler has written, header and body, while it is held
// back.
type Body struct {
	body     []byte
	declared int // Content-Length, -1 for none
	// The header is the one of WriteHeader: what the handler changes in it later
	// counts for nothing, but for trailers.
	names []string
	lines [][]string
	few   struct { // room for most headers
		names [4]string
		lines [4][]string
	}

	hashed string // what hash returned
}

// hold takes down the header of a body that is held back. Its memory is not
// pooled: a handler that goes on writing after it has returned would write into
// somebody else's page.
func hold(h http.Header, declared int) *Body {
	b := &Body{declared: declared}
	b.names, b.lines = b.few.names[:0], b.few.lines[:0]
	for name, lines := range h {
		b.names = append(b.names, name)
		b.lines = append(b.lines, slices.Clip(lines)) // Header.Add must not write behind
	}
	return b
}

// hash is the content part of a tag that speaks for the body and for what the header
// says of it: a 304 must not keep a wrong Content-Type in the client's cache.
func (b *Body) hash(h http.Header) string {
	n := len(b.body)
	for _, name := range [...]string{"Content-Type", "Content-Encoding", "Content-Language"} {
		b.body = append(b.body, header.Value(h, name)...)
		b.body = append(b.body, 0)
	}
	b.body = strconv.AppendInt(b.body, int64(n), 10) // or a body could end like a header
	text := entitytag.Hash(entitytag.MarkHash, b.body)
	b.body = b.body[:n]
	return text
}

// restore makes h what it was, and returns the trailers, which may change until
// the end.
func (b *Body) restore(h http.Header) (trailers http.Header) {
	for name, lines := range h {
		if strings.HasPrefix(name, http.TrailerPrefix) {
			if trailers == nil {
				trailers = make(http.Header)
			}
			trailers[name] = lines
		}
	}
	clear(h)
	for i, name := range b.names {
		h[name] = b.lines[i]
	}
	return trailers
}

// What a ResponseWriter can do besides is asked by type assertion, so it is
// claimed only where the server's can: Flush and Hijack on HTTP/1.1, Flush and
// Push on HTTP/2. ResponseController finds the rest through Unwrap; it must not
// find Hijack there, because then we would not know.
type (
	flusher       struct{ *Writer }
	hijacker      struct{ *Writer }
	flushHijacker struct{ *Writer }
	flushPusher   struct{ *Writer }

	// The server's writer of HTTP/1.1 and of HTTP/2, which some frameworks ask for without
	// looking: gin's Stream does.
	serverWriter   struct{ flushHijacker }
	serverWriterH2 struct{ flushPusher }
)

// closeNotifier is http.CloseNotifier, which is deprecated, and asked for all the same.
type closeNotifier interface{ CloseNotify() <-chan bool }

func (w serverWriter) CloseNotify() <-chan bool {
	return w.ResponseWriter.(closeNotifier).CloseNotify()
}

func (w serverWriterH2) CloseNotify() <-chan bool {
	return w.ResponseWriter.(closeNotifier).CloseNotify()
}

func (w flusher) Flush()       { _ = w.FlushError() }
func (w flushHijacker) Flush() { _ = w.FlushError() }
func (w flushPusher) Flush()   { _ = w.FlushError() }

func (w hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error)      { return w.hijack() }
func (w flushHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return w.hijack() }

func (w flushPusher) Push(target string, opts *http.PushOptions) error {
	return w.ResponseWriter.(http.Pusher).Push(target, opts)
}

// Hook returns the writer for the handler.
func (w *Writer) Hook() http.ResponseWriter {
	_, flush := w.ResponseWriter.(http.Flusher)
	hijack := reaches[http.Hijacker](w.ResponseWriter)
	_, push := w.ResponseWriter.(http.Pusher)
	_, notify := w.ResponseWriter.(closeNotifier)
	switch {
	case flush && hijack && notify:
		return serverWriter{flushHijacker{w}}
	case flush && push && notify:
		return serverWriterH2{flushPusher{w}}
	case flush && hijack:
		return flushHijacker{w}
	case flush && push:
		return flushPusher{w}
	case flush:
		return flusher{w}
	case hijack:
		return hijacker{w}
	}
	return w
}

// Unwrap is for http.ResponseController.
func (w *Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader is where the strategy has its turn.
func (w *Writer) WriteHeader(status int) {
	if w.status != 0 {
		if w.held != nil {
			w.release(false)
		}
		w.ResponseWriter.WriteHeader(status) // superfluous: the server says so in its log
		return
	}
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status) // informational: another header follows
		return
	}
	if w.begin(status, nil); w.held == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

// begin takes the header as final. It is held back with the body, or about to go. First is
// the beginning of the body, as far as it is known.
func (w *Writer) begin(status int, first []byte) {
	w.status = int16(status)
	if declared, ok := w.holds(first); ok {
		w.held = hold(w.Header(), declared)
		return
	}
	w.decider.Final(Final{Header: w.Header(), Status: status, First: first})
}

// holds reports whether the body is to be held back, and its length if it was
// declared, else -1.
func (w *Writer) holds(first []byte) (declared int, ok bool) {
	if w.status != http.StatusOK {
		return -1, false
	}
	h := w.Header()
	for _, name := range [...]string{"Etag", "Last-Modified", "Trailer"} {
		if _, ok := h[name]; ok {
			return -1, false
		}
	}
	declared = -1
	if length := header.Value(h, "Content-Length"); length != "" {
		if n, err := strconv.Atoi(length); err == nil {
			declared = n
		}
	}
	if strings.HasPrefix(header.Value(h, "Content-Type"), "text/event-stream") {
		return -1, false
	}
	limit := w.decider.Hold(h, first)
	w.limit = int32(limit)
	return declared, limit > 0 && declared <= limit
}

// release lets go of what is held back. If the handler is done, its whole body
// is there and known to be so; and the answer may be that the client has it.
func (w *Writer) release(done bool) error {
	held := w.held
	w.held = nil
	h := w.Header()
	trailers := held.restore(h)
	f := Final{Header: h, Status: int(w.status), First: held.body}
	if done && (held.declared < 0 || len(held.body) == held.declared) { // else it was broken off
		held.hashed, f.Whole = held.hash(h), held
	}
	if w.decider.Final(f) {
		// As for a 304 of the server's own: nothing that speaks of a body.
		for _, name := range [...]string{"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Digest", "Repr-Digest"} {
			delete(h, name)
		}
		maps.DeleteFunc(h, func(name string, _ []string) bool { return strings.HasPrefix(name, http.TrailerPrefix) })
		w.ResponseWriter.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.ResponseWriter.WriteHeader(int(w.status))
	maps.Copy(h, trailers)
	if len(held.body) == 0 {
		return nil
	}
	_, err := w.ResponseWriter.Write(held.body)
	return err
}

func (w *Writer) Write(p []byte) (int, error) {
	if w.hijacked {
		return w.ResponseWriter.Write(p) // which says so
	}
	if held, err := holdBack(w, p); held || err != nil {
		return len(p), err
	}
	return w.ResponseWriter.Write(p)
}

// WriteString spares io.WriteString a copy.
func (w *Writer) WriteString(s string) (int, error) {
	if w.hijacked {
		return io.WriteString(w.ResponseWriter, s)
	}
	if held, err := holdBack(w, s); held || err != nil {
		return len(s), err
	}
	return io.WriteString(w.ResponseWriter, s)
}

// holdBack takes p if the body is held back and p fits. What was held is on its
// way otherwise.
func holdBack[T []byte | string](w *Writer, p T) (held bool, err error) {
	if w.status == 0 {
		w.begin(http.StatusOK, []byte(p[:min(len(p), sniffLen)]))
	}
	if w.held == nil {
		return false, nil
	}
	after := len(w.held.body) + len(p)
	if after > int(w.limit) || w.held.declared >= 0 && after > w.held.declared {
		return false, w.release(false) // more than was declared is the server's to refuse
	}
	if w.held.body == nil {
		w.held.body = make([]byte, 0, len(p)+512) // and what is hashed besides
	}
	w.held.body = append(w.held.body, p...)
	return true, nil
}

// ReadFrom keeps the server's way of sending a file without copying it.
func (w *Writer) ReadFrom(src io.Reader) (n int64, err error) {
	if w.status == 0 {
		w.begin(http.StatusOK, nil)
	}
	if w.held != nil {
		// Up to the limit into what is held, and one byte to see the end.
		n, err = io.Copy(writer1{w}, io.LimitReader(src, int64(int(w.limit)-len(w.held.body))+1))
		if err != nil || w.held != nil {
			return n, err
		}
	}
	var m int64
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok {
		m, err = rf.ReadFrom(src)
	} else {
		m, err = io.Copy(writer1{w}, src)
	}
	return n + m, err
}

// writer1 hides ReadFrom from io.Copy, which would call it again.
type writer1 struct{ w *Writer }

func (w writer1) Write(p []byte) (int, error) { return w.w.Write(p) }

// FlushError is what http.ResponseController calls. Without it Flush would go
// past us, and the header out without the strategy.
func (w *Writer) FlushError() error {
	if !reaches[http.Flusher](w.ResponseWriter) && !reaches[interface{ FlushError() error }](w.ResponseWriter) {
		return http.ErrNotSupported
	}
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.held != nil {
		if err := w.release(false); err != nil {
			return err
		}
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// reaches looks where http.ResponseController does.
func reaches[T any](w http.ResponseWriter) bool {
	for {
		switch t := w.(type) {
		case T:
			return true
		case interface{ Unwrap() http.ResponseWriter }:
			w = t.Unwrap()
		default:
			return false
		}
	}
}

func (w *Writer) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.held != nil {
		w.release(false) // the server sends the header before it lets go
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = w.hijacked || err == nil
	return conn, rw, err
}

// Finish sends what is left when the handler has returned. It is not called
// after a panic.
func (w *Writer) Finish() {
	if w.hijacked {
		return
	}
	if w.held != nil {
		w.release(true) // an error is the connection's, as for the server's own buffer
	}
	if w.status != 0 {
		return
	}
	w.decider.Final(Final{Header: w.Header(), Status: http.StatusOK, Unwritten: true})
}
