package revisit

import (
	"bytes"
	"context"
	"html/template"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Field returns a hidden input for a form that is posted to a wrapped handler of
// the same origin:
//
//	<input type="hidden" name="revisit" value="…">
//
// A POST carries no tag, so that under [ETag] alone, and where cookies are
// blocked, nothing else says whose it is. The value is sealed, and worth nothing
// with another User-Agent or Accept-Language, or from another address (an IPv4
// address, the /64 of an IPv6 one: see Config.ClientAddr); it may be sent as
// often as one likes. The request has to show that a page of this origin made it,
// by Sec-Fetch-Site, Origin or Referer, as browsers do. Put the field first: it is
// looked for in the first 4,096 bytes of a body of either kind. Session.Via of such
// a POST is "form".
//
// Nothing of the body is read before the handler runs. FromContext reads as much as it
// takes to find the field, as the handler would, so set a read deadline where clients may
// be slow. If the handler never asks for the session, what it has read itself is looked
// at when it answers.
//
// As with [NoScript], the response is made private, and a handler that computes an
// ETag of its own must include the value. Field returns nothing where there is no
// session, and where the browser shows who it is by a cookie.
func Field(ctx context.Context) template.HTML {
	v := visitOf(ctx)
	if v == nil || !v.personalise(ctx) {
		return ""
	}
	return template.HTML(`<input type="hidden" name="` + fieldName + `" value="` + v.ticket(viaForm, 0) + `">`)
}

const fieldName = "revisit"

// formLimit is how far into the body of a POST Field's input is looked for.
const formLimit = 4 << 10

// A form is the body of a POST that may have Field's input in it, and nothing else that
// says whose it is. Who that is, is settled late: when the handler asks for the session, or
// when its answer is about to go. A handler that refuses a request does not wait for a
// client that is slow to send it.
type form struct {
	kind    string // media type
	waiting bool   // the client waits to be asked for the body

	settling sync.Mutex
	settled  bool

	mu   sync.Mutex // for what follows
	body io.ReadCloser
	seen []byte // the beginning of the body, as far as it was read
	read int    // how much of seen the handler has read
	err  error  // what came behind seen
}

// awaitForm reports whether it depends on a form who the request is of.
func (v *Visit) awaitForm() bool {
	r := v.request
	if !v.isOwnPost() || r.Body == nil || r.Body == http.NoBody || v.permission == Unasked {
		return false
	}
	kind, _, _ := strings.Cut(headerValue(r.Header, "Content-Type"), ";")
	kind = strings.ToLower(trimSpace(kind))
	if kind != "application/x-www-form-urlencoded" && kind != "multipart/form-data" {
		return false
	}
	var room [2]claim
	if v.kind != kindForget && len(v.claims(room[:0])) > 0 { // a form speaks where nothing else does
		return false
	}
	v.form = &form{kind: kind, body: r.Body, waiting: headerValue(r.Header, "Expect") != ""}
	v.bind()
	v.Hook()
	return true
}

// isOwnPost reports whether a page of this origin has sent the request, as a POST.
func (v *Visit) isOwnPost() bool {
	return v.request.Method == http.MethodPost && !v.foreign && isSameOrigin(v.request)
}

// settleForm settles a request that awaits a form. It reads the beginning of the body if
// told so, else it makes do with what the handler has read.
func (v *Visit) settleForm(read bool) {
	f := v.form
	if f == nil {
		return
	}
	f.settling.Lock()
	defer f.settling.Unlock()
	if f.settled {
		return
	}
	if read && v.formText() == "" {
		f.peek()
	}
	f.settled = true
	v.tracker.settle(v)
}

// formTicket returns the ticket of Field's input, if that is there.
func (v *Visit) formTicket() (ticket, bool) {
	if !v.isOwnPost() {
		return ticket{}, false
	}
	text := v.formText()
	if text == "" {
		return ticket{}, false
	}
	return v.openTicket(viaForm, text)
}

// formText returns the value of Field's input, as far as that is known.
func (v *Visit) formText() string {
	if r := v.request; r.PostForm != nil { // somebody further out has parsed it
		if text := r.PostForm.Get(fieldName); text != "" {
			return text
		}
	}
	if v.form == nil {
		return ""
	}
	text, _ := v.form.text()
	return text
}

// text returns the value of Field's input in what was read, and whether more of the body
// could bring it.
func (f *form) text() (text string, open bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	find := findInQuery
	if f.kind == "multipart/form-data" {
		find = findInParts
	}
	text, found := find(f.seen)
	return text, !found && f.err == nil && len(f.seen) < formLimit
}

// peek reads what it takes to find Field's input. The handler gets all of it.
func (f *form) peek() {
	for range formLimit { // of a client that sends byte by byte
		if _, open := f.text(); !open || f.waiting {
			return
		}
		f.mu.Lock()
		if f.err == nil && len(f.seen) < formLimit {
			f.grow()
			var n int
			n, f.err = f.body.Read(f.seen[len(f.seen):formLimit])
			f.seen = f.seen[:len(f.seen)+n]
		}
		f.mu.Unlock()
	}
}

func (f *form) grow() {
	if f.seen == nil {
		f.seen = make([]byte, 0, formLimit)
	}
}

// Read gives the handler the body as if nobody had looked, and takes down its beginning.
func (f *form) Read(p []byte) (n int, err error) {
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
	if room := formLimit - len(f.seen); room > 0 && n > 0 {
		f.grow()
		f.seen = append(f.seen, p[:min(n, room)]...)
		f.read = len(f.seen)
	}
	if err != nil && len(f.seen) < formLimit {
		f.err = err
	}
	return n, err
}

func (f *form) Close() error { return f.body.Close() }

// findInQuery and findInParts find a ticket in the beginning of a body. They need
// not tell a field from a text that looks like one: a ticket that can be opened
// is one that this browser was given.
func findInQuery(b []byte) (string, bool) {
	const begin = fieldName + "="
	for at := 0; ; {
		i := bytes.Index(b[at:], []byte(begin))
		if i < 0 {
			return "", false
		}
		at += i
		if at == 0 || b[at-1] == '&' {
			return cutTicket(b[at+len(begin):])
		}
		at += len(begin)
	}
}

func findInParts(b []byte) (string, bool) {
	const begin = "; name=\"" + fieldName + "\"\r\n\r\n"
	i := bytes.Index(b, []byte(begin))
	if i < 0 {
		return "", false
	}
	return cutTicket(b[i+len(begin):])
}

func cutTicket(b []byte) (string, bool) {
	if len(b) < ticketLen {
		return "", false
	}
	return string(b[:ticketLen]), true
}
