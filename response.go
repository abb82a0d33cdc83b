package revisit

import (
	"bufio"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// response is the ResponseWriter of a request whose header is of interest. It
// waits for the final header, lets the strategy write into it, and is not to be
// noticed otherwise.
//
// A body may be held back, so that a validator can be derived from it: see
// ETag.HashLimit.
type response struct {
	http.ResponseWriter // the server's
	v                   *Visit

	status   int       // of the final header, 0 before
	held     *heldBody // nil if the body is not held back
	hijacked bool
}

// sniffLen is how much of a body http.DetectContentType looks at.
const sniffLen = 512

// heldBody is what a handler has written, header and body, while it is held
// back.
type heldBody struct {
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
func hold(h http.Header, declared int) *heldBody {
	b := &heldBody{declared: declared}
	b.names, b.lines = b.few.names[:0], b.few.lines[:0]
	for name, lines := range h {
		b.names = append(b.names, name)
		b.lines = append(b.lines, slices.Clip(lines)) // Header.Add must not write behind
	}
	return b
}

// hash is the content part of a tag that speaks for the body and for what the header
// says of it: a 304 must not keep a wrong Content-Type in the client's cache.
func (b *heldBody) hash(h http.Header) string {
	n := len(b.body)
	for _, name := range [...]string{"Content-Type", "Content-Encoding", "Content-Language"} {
		b.body = append(b.body, headerValue(h, name)...)
		b.body = append(b.body, 0)
	}
	b.body = strconv.AppendInt(b.body, int64(n), 10) // or a body could end like a header
	text := hashText(markHash, b.body)
	b.body = b.body[:n]
	return text
}

// restore makes h what it was, and returns the trailers, which may change until
// the end.
func (b *heldBody) restore(h http.Header) (trailers http.Header) {
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
	flusher       struct{ *response }
	hijacker      struct{ *response }
	flushHijacker struct{ *response }
	flushPusher   struct{ *response }

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

// hook returns the writer for the handler.
func (w *response) hook() http.ResponseWriter {
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
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader is where the strategy has its turn.
func (w *response) WriteHeader(status int) {
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
func (w *response) begin(status int, first []byte) {
	w.status = status
	if declared, ok := w.holds(first); ok {
		w.held = hold(w.Header(), declared)
		return
	}
	w.v.attach(w.Header(), status, first)
}

// holds reports whether the body is to be held back, and its length if it was
// declared, else -1.
func (w *response) holds(first []byte) (declared int, ok bool) {
	limit := int(w.v.holdLimit)
	if limit <= 0 || w.status != http.StatusOK {
		return -1, false
	}
	h := w.Header()
	for _, name := range [...]string{"Etag", "Last-Modified", "Trailer"} {
		if _, ok := h[name]; ok {
			return -1, false
		}
	}
	declared = -1
	if length := headerValue(h, "Content-Length"); length != "" {
		if n, err := strconv.Atoi(length); err == nil {
			declared = n
		}
	}
	if declared > limit || strings.HasPrefix(headerValue(h, "Content-Type"), "text/event-stream") {
		return -1, false
	}
	if contentOf(h, first) == contentAsset {
		return -1, false
	}
	c := cachingOf(h)
	return declared, c.carries() && !c.noStore && w.v.sealable("etag")
}

// release lets go of what is held back. If the handler is done, its whole body
// is there and known to be so; and the answer may be that the client has it.
func (w *response) release(done bool) error {
	held := w.held
	w.held = nil
	h := w.Header()
	trailers := held.restore(h)
	if done && (held.declared < 0 || len(held.body) == held.declared) { // else it was broken off
		held.hashed = held.hash(h)
		w.v.whole = held
	}
	w.v.attach(h, w.status, held.body)
	if w.v.notModified {
		// As for a 304 of the server's own: nothing that speaks of a body.
		for _, name := range [...]string{"Content-Type", "Content-Length", "Content-Encoding", "Content-Language", "Content-Digest", "Repr-Digest"} {
			delete(h, name)
		}
		maps.DeleteFunc(h, func(name string, _ []string) bool { return strings.HasPrefix(name, http.TrailerPrefix) })
		w.ResponseWriter.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.ResponseWriter.WriteHeader(w.status)
	maps.Copy(h, trailers)
	if len(held.body) == 0 {
		return nil
	}
	_, err := w.ResponseWriter.Write(held.body)
	return err
}

func (w *response) Write(p []byte) (int, error) {
	if w.hijacked {
		return w.ResponseWriter.Write(p) // which says so
	}
	if held, err := holdBack(w, p); held || err != nil {
		return len(p), err
	}
	return w.ResponseWriter.Write(p)
}

// WriteString spares io.WriteString a copy.
func (w *response) WriteString(s string) (int, error) {
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
func holdBack[T []byte | string](w *response, p T) (held bool, err error) {
	if w.status == 0 {
		w.begin(http.StatusOK, []byte(p[:min(len(p), sniffLen)]))
	}
	if w.held == nil {
		return false, nil
	}
	after := len(w.held.body) + len(p)
	if after > int(w.v.holdLimit) || w.held.declared >= 0 && after > w.held.declared {
		return false, w.release(false) // more than was declared is the server's to refuse
	}
	if w.held.body == nil {
		w.held.body = make([]byte, 0, len(p)+512) // and what is hashed besides
	}
	w.held.body = append(w.held.body, p...)
	return true, nil
}

// ReadFrom keeps the server's way of sending a file without copying it.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	if w.status == 0 {
		w.begin(http.StatusOK, nil)
	}
	if w.held != nil {
		// Up to the limit into what is held, and one byte to see the end.
		n, err = io.Copy(writer1{w}, io.LimitReader(src, int64(int(w.v.holdLimit)-len(w.held.body))+1))
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
type writer1 struct{ w *response }

func (w writer1) Write(p []byte) (int, error) { return w.w.Write(p) }

// FlushError is what http.ResponseController calls. Without it Flush would go
// past us, and the header out without the strategy.
func (w *response) FlushError() error {
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

func (w *response) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if w.held != nil {
		w.release(false) // the server sends the header before it lets go
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	w.hijacked = w.hijacked || err == nil
	return conn, rw, err
}

// finish sends what is left when the handler has returned. It is not called
// after a panic.
func (w *response) finish() {
	w.v.settleForm(false)
	if w.hijacked {
		return
	}
	if w.held != nil {
		w.release(true) // an error is the connection's, as for the server's own buffer
	}
	if w.status != 0 {
		return
	}
	// Nothing was written, so the server will answer 200 with nothing in it, and our header;
	// or who stands further out answers: frameworks write the errors of their handlers
	// there. So the status is left open, nobody is told that he has this page already, and
	// a tag says nothing of what is in it.
	w.v.resent = true
	w.v.attach(w.Header(), http.StatusOK, nil)
}

// attach gives the strategy its turn, once. First is the beginning of the body, as far as
// it is known.
func (v *Visit) attach(h http.Header, status int, first []byte) {
	v.settleForm(false)
	v.mu.Lock()
	done := v.attached
	v.attached = true
	if v.personal && !done {
		forcePrivate(h)
	}
	v.mu.Unlock()
	if done {
		return
	}
	v.freshening = v.freshens(status)
	v.content = v.contentFor(h, status, first)
	switch {
	case v.clearing.Load():
		v.tracker.strategy.Clear(v, h, status)
		if v.disclaims.Load() && !v.freshening {
			v.endConsent(h)
		}
	case v.session.tracker != nil:
		if status >= 300 && status < 400 && status != http.StatusNotModified && v.New() {
			v.session.isRedirect()
		}
		if v.session.counted && v.navigation && !isShown(status) {
			v.takeViewBack()
		}
		v.tracker.strategy.Attach(v, h, status)
		v.sendLink(h, status)
		v.sendSeen(h, status)
		v.rememberNew(status)
	}
	if v.isPersonalURL() {
		keepFromShared(h)
	}
	v.mu.Lock()
	v.sentPrivate = cachingOf(h).private
	v.mu.Unlock()
}

// isShown reports whether a browser that goes to a page shows a response of this status. A
// redirect leads it to another page, and with 204 and 205 it stays where it is (HTML standard,
// 7.4.5). A 304 shows what it has stored, and an error is a page, too.
func isShown(status int) bool {
	switch status {
	case http.StatusNoContent, http.StatusResetContent:
		return false
	case http.StatusNotModified:
		return true
	}
	return status < 300 || status >= 400
}

// takeViewBack makes the page view of this request none: it was counted before the handler
// ran, and no page was shown. What led to it stays, and so does the visit, which goes on
// with the page that is shown next.
func (v *Visit) takeViewBack() {
	v.session.counted = false
	if !v.session.hasShownNothing() {
		v.tracker.ledger.recordLater(v.context.Context, v.session.Record().ID, &change{at: v.now, via: v.session.Via, undo: 1})
	}
}
