// Package form looks for one hidden field at the beginning of the body of a form, and takes
// no byte of it from the handler.
package form

import (
	"bytes"
	"io"
	"sync"

	"github.com/revisit-go/revisit/internal/token"
)

// Field is the name of the hidden field.
const Field = "revisit"

// The media types of forms.
const (
	URLEncoded = "application/x-www-form-urlencoded"
	Multipart  = "multipart/form-data"
)

// New returns the body of a form of a media type. If the client waits to be asked for the
// body, Peek does not read it.
func New(body io.ReadCloser, kind string, clientWaits bool) *Body {
	return &Body{body: body, kind: kind, waiting: clientWaits}
}

// Limit is how far into the body of a POST the field is looked for.
const Limit = 4 << 10

// A Body is the body of a POST that may have the field of Field in it. Its beginning is taken
// down while the handler reads it, or read before that.
type Body struct {
	kind    string // media type
	waiting bool   // the client waits to be asked for the body

	mu   sync.Mutex // for what follows
	body io.ReadCloser
	seen []byte // the beginning of the body, as far as it was read
	read int    // how much of seen the handler has read
	err  error  // what came behind seen
}

// Text returns the value of the field in what was read, and whether more of the body
// could bring it.
func (f *Body) Text() (text string, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	find := findInQuery
	if f.kind == Multipart {
		find = findInParts
	}
	text, found := find(f.seen)
	return text, !found && f.err == nil && len(f.seen) < Limit
}

// Peek reads what it takes to find the field. The handler gets all of it.
func (f *Body) Peek() {
	for range Limit { // of a client that sends byte by byte
		if _, open := f.Text(); !open || f.waiting {
			return
		}
		f.mu.Lock()
		if f.err == nil && len(f.seen) < Limit {
			f.grow()
			var n int
			n, f.err = f.body.Read(f.seen[len(f.seen):Limit])
			f.seen = f.seen[:len(f.seen)+n]
		}
		f.mu.Unlock()
	}
}

func (f *Body) grow() {
	if f.seen == nil {
		f.seen = make([]byte, 0, Limit)
	}
}

// Read gives the handler the body as if nobody had looked, and takes down its beginning.
func (f *Body) Read(p []byte) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read < len(f.seen) {
		n = copy(p, f.seen[f.read:])
		f.read += n
		return n, nil
	}
	if f.err != nil {
		return 0, f.err
	}
	n, err = f.body.Read(p)
	if room := Limit - len(f.seen); room > 0 && n > 0 {
		f.grow()
		f.seen = append(f.seen, p[:min(n, room)]...)
		f.read = len(f.seen)
	}
	if err != nil && len(f.seen) < Limit {
		f.err = err
	}
	return n, err
}

// Close closes the body.
func (f *Body) Close() error { return f.body.Close() }

// findInQuery and findInParts find a token in the beginning of a body. They need
// not tell a field from a text that looks like one: a token that can be opened
// is one that this browser was given.
func findInQuery(b []byte) (string, bool) {
	const begin = Field + "="
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte(begin))
		if i < 0 {
			return "", false
		}
		at += i
		if at == 0 || b[at-1] == '&' {
			return cutToken(b[at+len(begin):])
		}
		at += len(begin)
	}
}

func findInParts(b []byte) (string, bool) {
	const begin = "; name=\"" + Field + "\"\r\n\r\n"
	i := bytes.Index(b, []byte(begin))
	if i < 0 {
		return "", false
	}
	return cutToken(b[i+len(begin):])
}

func cutToken(b []byte) (string, bool) {
	if len(b) < token.BoundLen {
		return "", false
	}
	return string(b[:token.BoundLen]), true
}
